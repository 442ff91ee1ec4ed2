"""What dispatch itself costs: 200 runs that do nothing, through two local workers."""

import tempfile
import time
from pathlib import Path

from baselines.api import Budgets
from benchmarks.result import Result
from suites.dispatch import dispatch
from suites.matrix import available_cores
from suites.spec import PairSpec, RunSpec
from suites.store import Store
from suites.tasks import make_task

RUNS, SECONDS = 200, 60.0


def run() -> list[Result]:
    """Wall seconds of the whole dispatch, start of the workers included, against the bar."""
    runs = _runs()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        summary = dispatch(runs, Store(Path(folder)), workers=min(2, available_cores()))
        took = time.perf_counter() - began
    if summary.counts != {"done": RUNS}:
        raise RuntimeError(f"not all runs were done: {summary.message}")
    what, bar = f"{RUNS} empty runs through two local workers", f"under {SECONDS:g} s"
    return [Result(what, took, "s", "the bar", SECONDS, SECONDS / took, bar, took < SECONDS)]


def _runs() -> list[RunSpec]:
    tasks = [make_task("reacher", level, "both", 5) for level in ("source", "close")]
    pair = PairSpec("reacher-close", "reacher", "close", "both", 5, *(task.fingerprint() for task in tasks))
    evaluation = {"count": 2, "episodes": 1}
    return [RunSpec(pair, "zero", 1, {}, seed, Budgets(target_steps=0), evaluation, None) for seed in range(RUNS)]
