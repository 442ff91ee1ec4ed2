"""The same estimates by rliable's own bootstrap, for those who want the reference implementation's numbers.

rliable draws from numpy's global generator (its argument `random_state` has no effect); that generator is seeded for
the length of a call and then put back as it was.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from analysis.bootstrap import Estimate, described, described_improvement, enough_seeds
from analysis.statistics import Array, Scores, Statistic, check_same_tasks
from wombet.errors import InputError

_NAMES = {
    "iqm": "aggregate_iqm",
    "mean": "aggregate_mean",
    "median": "aggregate_median",
    "optimality_gap": "aggregate_optimality_gap",
}


@contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Seed numpy's global generator within the block and restore it afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def matrix(scores: Scores) -> Array:
    """Return scores as rliable wants them, (runs, tasks); raises InputError if tasks have unequal numbers of seeds."""
    sizes = {task.task: task.values.size for task in scores}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InputError(
            f"rliable needs as many seeds in every task, but there are {listed}; the bootstrap `wombet` weights them"
        )
    return np.stack([task.values for task in scores], axis=1)


def rliable_estimates(scores: Scores, statistics: Sequence[Statistic], seed: int, resamples: int) -> list[Estimate]:
    """Return statistics with rliable's stratified percentile intervals; runs that share a dataset count as independent.

    Raises InputError for unequal numbers of seeds.
    """
    from rliable import library, metrics

    bounds: list[tuple[float, float] | None] = [None] * len(statistics)
    if enough_seeds(scores):
        functions = [getattr(metrics, _NAMES[own.__name__]) for own in statistics]
        with seeded_globally(seed):
            _, found = library.get_interval_estimates(
                {"method": matrix(scores)},
                lambda x: np.array([function(x) for function in functions]),
                reps=resamples,
            )
        bounds = [(float(low), float(high)) for low, high in found["method"].T]
    return [described(scores, statistic, own) for statistic, own in zip(statistics, bounds, strict=True)]


def rliable_improvement(x: Scores, y: Scores, seed: int, resamples: int) -> Estimate:
    """Return the probability that a run of x beats a run of y with rliable's interval."""
    from rliable import library, metrics

    check_same_tasks(x, y)
    bounds = None
    if enough_seeds([*x, *y]):
        with seeded_globally(seed):
            _, found = library.get_interval_estimates(
                {"x,y": (matrix(x), matrix(y))},
                lambda a, b: np.array([metrics.probability_of_improvement(a, b)]),
                reps=resamples,
            )
        bounds = float(found["x,y"][0, 0]), float(found["x,y"][1, 0])
    return described_improvement(x, y, bounds)
