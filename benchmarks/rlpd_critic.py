"""One RLPD critic update (ten LayerNorm critics), against an eager list of critics."""

import numpy as np
import torch

from benchmarks.eager_critics import EagerCritics
from benchmarks.peers import ACTION_DIM, OBS_DIM, random_transitions
from benchmarks.result import Result, interleaved_medians
from wombet.learner import ActorCritic, Batch, LearnerConfig
from wombet.process import prepare_process

BATCH, FLOOR, FUSED_FLOOR = 256, 1.25, 1.0
CONFIG = LearnerConfig(n_critics=10, target_subset=2, layer_norm=True, actor_aggregate="mean")


def run() -> list[Result]:
    """Measure ours and both peers in float32 on one thread with two hidden layers of 256."""
    prepare_process(1)
    batch = random_batch(BATCH)
    learner = ActorCritic(OBS_DIM, ACTION_DIM, CONFIG, torch.Generator().manual_seed(0))
    default, fused = EagerCritics(learner), EagerCritics(learner, fused=True)

    def ours() -> None:
        with torch.inference_mode():
            learner.critic_step(batch)

    works = (ours, lambda: default.step(batch), lambda: fused.step(batch))
    own, slow, fast = interleaved_medians(works, turns=40, per_turn=3)
    return [
        _result(own, slow, "an eager list of critics with Adam", FLOOR),
        _result(own, fast, "the same list with fused Adam", FUSED_FLOOR),
    ]


def random_batch(rows: int) -> Batch:
    """Return one minibatch of standard normal numbers."""
    columns = {**random_transitions(rows, np.random.default_rng(0)), "penalty": np.zeros(rows, np.float32)}
    return Batch(**{name: torch.from_numpy(column) for name, column in columns.items()})


def _result(own: float, peer: float, what: str, floor: float) -> Result:
    return Result(
        what="RLPD critic update (10 critics, LayerNorm, 256x256, batch 256, one thread, float32, CPU time)",
        figure=own * 1e3,
        unit="ms",
        peer=what,
        peer_figure=peer * 1e3,
        ratio=peer / own,
        bar=f"ratio at least {floor}",
        passed=peer / own >= floor,
    )
