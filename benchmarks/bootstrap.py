"""Intervals of 15 methods x 6 tasks x 5 seeds with 50,000 resamples, all aggregates and all pairwise improvements.

rliable would take hours, so it does a subset in the same run and its time is scaled up: four aggregates of one method
with fewer resamples, and one pair of methods with fewer still. Its cost grows with both numbers in proportion.
"""

import time

import numpy as np

from analysis.aggregates import STATISTICS
from analysis.bootstrap import estimates, improvement_matrix
from analysis.rliable_backend import rliable_estimates, rliable_improvement
from analysis.statistics import TaskScores
from benchmarks.result import Result

METHODS, TASKS, SEEDS, RESAMPLES = 15, 6, 5, 50_000
PEER_RESAMPLES, PEER_PAIR_RESAMPLES = 2000, 200
BAR = 100.0


def run() -> list[Result]:
    """Measure both on one thread's CPU time."""
    generator = np.random.default_rng(0)
    scores = {
        f"method {number}": [
            TaskScores(f"task {task}", generator.normal(0.5 + 0.02 * number, 0.1, SEEDS)) for task in range(TASKS)
        ]
        for number in range(METHODS)
    }
    start = time.process_time()
    for own in scores.values():
        estimates(own, STATISTICS, generator, RESAMPLES)
    improvement_matrix(scores, generator, RESAMPLES)
    ours = time.process_time() - start
    theirs = _rliable(list(scores.values()))
    pairs = METHODS * (METHODS - 1) // 2
    return [
        Result(
            what=f"{METHODS} x {TASKS} x {SEEDS}, {RESAMPLES:,} resamples, 4 aggregates and {pairs} improvements (CPU)",
            figure=ours,
            unit="s",
            peer=f"rliable, {PEER_RESAMPLES} and {PEER_PAIR_RESAMPLES} resamples of one method and one pair, scaled up",
            peer_figure=theirs,
            ratio=theirs / ours,
            bar=f"at least {BAR:.0f} times faster",
            passed=theirs / ours >= BAR,
        )
    ]


def _rliable(scores: list[list[TaskScores]]) -> float:
    """Seconds that rliable would take for everything, from a subset of it."""
    rliable_improvement(scores[0], scores[1], 0, 2)
    start = time.process_time()
    rliable_estimates(scores[0], STATISTICS, 0, PEER_RESAMPLES)
    aggregate = (time.process_time() - start) / PEER_RESAMPLES
    start = time.process_time()
    rliable_improvement(scores[0], scores[1], 0, PEER_PAIR_RESAMPLES)
    pair = (time.process_time() - start) / PEER_PAIR_RESAMPLES
    return RESAMPLES * (METHODS * aggregate + METHODS * (METHODS - 1) / 2 * pair)
