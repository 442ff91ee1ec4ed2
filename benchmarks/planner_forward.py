"""How much of the processor's own rate of matrix products is left in a whole planning call."""

import torch

from benchmarks.planner_setup import GUIDED, MODEL, PURE, SETTINGS, Bench
from benchmarks.result import Result, interleaved_medians

BATCH = {GUIDED: 200, PURE: 32}
BLOCK, FLOOR, PEER_CALLS = 1024, 0.6, 100


def run() -> list[Result]:
    """Measure planning for many episodes beside bare products of a hidden layer's shape."""
    return [_measure(mode) for mode in BATCH]


def _measure(mode: str) -> Result:
    bench = Bench(mode)
    plan = bench.plan(BATCH[mode])
    plan()
    bench.model.rows = 0
    plan()
    flops = bench.model.rows * bench.model.flops_per_row()
    width = bench.settings.world_model.hidden_width
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, width, generator=generator) for n in (BLOCK, width))
    product = torch.empty(BLOCK, width)

    def multiply() -> None:
        for _ in range(PEER_CALLS):
            torch.mm(left, right, out=product)

    own, theirs = interleaved_medians((plan, multiply), turns=8, per_turn=1)
    rate, peak = flops / own / 1e9, PEER_CALLS * 2 * BLOCK * width**2 / theirs / 1e9
    return Result(
        what=f"the model's matrix products within a {SETTINGS[mode]}, batch {BATCH[mode]} ({MODEL})",
        figure=rate,
        unit="GFLOP/s",
        peer=f"torch.mm of ({BLOCK}, {width}) and ({width}, {width})",
        peer_figure=peak,
        ratio=rate / peak,
        bar=f"ratio at least {FLOOR}",
        passed=rate / peak >= FLOOR,
    )
