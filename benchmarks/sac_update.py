"""One SAC update, sampling included, against Stable-Baselines3's SAC.train()."""

import numpy as np
import torch

from benchmarks.peers import ACTION_DIM, OBS_DIM, fill, random_transitions, sac_of_stable_baselines3
from benchmarks.result import Result, interleaved_medians
from wombet.learner import ActorCritic, LearnerConfig
from wombet.process import prepare_process
from wombet.replay import ReplayBuffer

ROWS, BATCH, FLOOR = 100_000, 256, 1.6


def run() -> list[Result]:
    """Measure both in float32 on one thread with two critics and two hidden layers of 256."""
    prepare_process(1)
    generator = np.random.default_rng(0)
    transitions = random_transitions(ROWS, generator)
    buffer = ReplayBuffer(ROWS, OBS_DIM, ACTION_DIM)
    buffer.extend(transitions)
    learner = ActorCritic(OBS_DIM, ACTION_DIM, LearnerConfig(), torch.Generator().manual_seed(0))
    peer = sac_of_stable_baselines3(256, ROWS)
    assert peer.replay_buffer is not None
    fill(peer.replay_buffer, transitions)

    def ours() -> None:
        learner.update([buffer.sample(buffer.draw_indices(BATCH, generator))])

    own, theirs = interleaved_medians((ours, lambda: peer.train(1, BATCH)), turns=100, per_turn=10)
    return [
        Result(
            what="SAC update (256x256, batch 256, obs 17, act 6, one thread, float32, CPU time)",
            figure=own * 1e3,
            unit="ms",
            peer="Stable-Baselines3 SAC.train()",
            peer_figure=theirs * 1e3,
            ratio=theirs / own,
            bar=f"ratio at least {FLOOR}",
            passed=theirs / own >= FLOOR,
        )
    ]
