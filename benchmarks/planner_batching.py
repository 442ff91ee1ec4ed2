"""Planning for many episodes at once, against a loop over planners of one episode each."""

from benchmarks.planner_setup import GUIDED, MODEL, PURE, SETTINGS, Bench
from benchmarks.result import Result, interleaved_medians

BATCH = {GUIDED: 200, PURE: 32}
FLOOR = {GUIDED: 3.0, PURE: 1.1}


def run() -> list[Result]:
    """Measure the same plans in both ways."""
    return [_measure(mode) for mode in BATCH]


def _measure(mode: str) -> Result:
    bench, batch = Bench(mode), BATCH[mode]
    together = bench.plan(batch)
    alone = [bench.planner(1, seed) for seed in range(batch)]

    def one_by_one() -> None:
        for i, planner in enumerate(alone):
            planner.plan(bench.obs[i : i + 1])

    own, theirs = (seconds / batch for seconds in interleaved_medians((together, one_by_one), turns=6, per_turn=1))
    return Result(
        what=f"a plan, {batch} episodes together: {SETTINGS[mode]} ({MODEL})",
        figure=own * 1e3,
        unit="ms",
        peer=f"a loop over {batch} planners of one episode",
        peer_figure=theirs * 1e3,
        ratio=theirs / own,
        bar=f"ratio at least {FLOOR[mode]}",
        passed=theirs / own >= FLOOR[mode],
    )
