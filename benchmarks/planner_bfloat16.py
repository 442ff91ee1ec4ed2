"""Planning with bfloat16 weights and activations, against float32."""

import sys

from benchmarks.planner_setup import GUIDED, MODEL, PURE, SETTINGS, Bench
from benchmarks.result import Result, interleaved_medians
from wombet.ensemble_network import has_bfloat16_unit

BATCH, FLOOR = {GUIDED: 200, PURE: 32}, 1.3


def run() -> list[Result]:
    """Measure both, where the processor multiplies bfloat16; elsewhere say so and measure nothing."""
    if not has_bfloat16_unit("cpu"):
        print("planner_bfloat16: not measured, this processor has no bfloat16 unit (avx512_bf16)", file=sys.stderr)
        return []
    return [_measure(mode) for mode in BATCH]


def _measure(mode: str) -> Result:
    batch = BATCH[mode]
    works = [Bench(mode, dtype).plan(batch) for dtype in ("bfloat16", "float32")]
    own, theirs = (seconds / batch for seconds in interleaved_medians(works, turns=8, per_turn=1))
    return Result(
        what=f"a plan in bfloat16: {SETTINGS[mode]}, batch {batch} ({MODEL})",
        figure=own * 1e3,
        unit="ms",
        peer="the same in float32",
        peer_figure=theirs * 1e3,
        ratio=theirs / own,
        bar=f"ratio at least {FLOOR}",
        passed=theirs / own >= FLOOR,
    )
