"""A minibatch from a million transitions, against Stable-Baselines3's ReplayBuffer.sample()."""

import numpy as np

from benchmarks.peers import ACTION_DIM, OBS_DIM, fill, random_transitions, sac_of_stable_baselines3
from benchmarks.result import Result, interleaved_medians
from wombet.process import prepare_process
from wombet.replay import ReplayBuffer

ROWS, BATCH, BAR_MS = 1_000_000, 256, 0.1


def run() -> list[Result]:
    """Measure drawing 256 random indices and gathering their rows, on one thread."""
    prepare_process(1)
    generator = np.random.default_rng(0)
    transitions = random_transitions(ROWS, generator)
    buffer = ReplayBuffer(ROWS, OBS_DIM, ACTION_DIM)
    buffer.extend(transitions)
    peer = sac_of_stable_baselines3(8, ROWS).replay_buffer
    assert peer is not None
    fill(peer, transitions)

    def ours() -> None:
        buffer.sample(buffer.draw_indices(BATCH, generator))

    own, theirs = interleaved_medians((ours, lambda: peer.sample(BATCH)), turns=200, per_turn=20)
    return [
        Result(
            what="minibatch of 256 from 1M transitions (obs 17, act 6, one thread, CPU time)",
            figure=own * 1e3,
            unit="ms",
            peer="Stable-Baselines3 ReplayBuffer.sample()",
            peer_figure=theirs * 1e3,
            ratio=theirs / own,
            bar=f"below {BAR_MS} ms",
            passed=own * 1e3 < BAR_MS,
        )
    ]
