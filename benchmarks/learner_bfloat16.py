"""Updates whose wide matrix products are taken in bfloat16, against float32."""

import dataclasses
import sys

import torch

from benchmarks.peers import ACTION_DIM, OBS_DIM
from benchmarks.result import Result, interleaved_medians
from benchmarks.rlpd_critic import BATCH, CONFIG, random_batch
from wombet.ensemble_network import has_bfloat16_unit
from wombet.learner import ActorCritic, LearnerConfig
from wombet.process import prepare_process

SAC_FLOOR = 1.35


def run() -> list[Result]:
    """Measure both, where the processor multiplies bfloat16; elsewhere say so and measure nothing."""
    if not has_bfloat16_unit("cpu"):
        print("learner_bfloat16: not measured, this processor has no bfloat16 unit (avx512_bf16)", file=sys.stderr)
        return []
    prepare_process(1)
    return [
        _measure("SAC update", LearnerConfig(), turns=60, floor=SAC_FLOOR),
        _measure("RLPD update, UTD 1 (10 critics, LayerNorm)", CONFIG, turns=20, floor=None),
    ]


def _measure(what: str, config: LearnerConfig, turns: int, floor: float | None) -> Result:
    batch = random_batch(BATCH)
    configs = [dataclasses.replace(config, precision=precision) for precision in ("bfloat16", "float32")]
    learners = [ActorCritic(OBS_DIM, ACTION_DIM, c, torch.Generator().manual_seed(0)) for c in configs]
    own, theirs = interleaved_medians([lambda o=o: o.update([batch]) for o in learners], turns, per_turn=5)  # type: ignore[misc]
    return Result(
        what=f"{what} in bfloat16 (256x256, batch 256, one thread, CPU time)",
        figure=own * 1e3,
        unit="ms",
        peer="the same in float32",
        peer_figure=theirs * 1e3,
        ratio=theirs / own,
        bar="reported" if floor is None else f"ratio at least {floor}",
        passed=floor is None or theirs / own >= floor,
    )
