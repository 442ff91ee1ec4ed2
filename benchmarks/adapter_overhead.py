"""What the adapters of Stable-Baselines3 add to the library's own update, on the same minibatches."""

import gymnasium as gym
import numpy as np

from baselines.sb3_method import SB3Model, Spaces, import_sb3
from baselines.sb3_off_policy import Rows
from benchmarks.peers import ACTION_DIM, OBS_DIM, random_transitions
from benchmarks.peers import Spaces as HalfCheetahSpaces
from benchmarks.result import Result, interleaved_medians
from wombet.process import prepare_process

ROWS, BATCH, WIDTH, CEILING = 100_000, 256, 256, 0.03


def run() -> list[Result]:
    """Measure SAC and TD3 in float32 on one thread, their minibatches drawn and gathered alike on both sides."""
    prepare_process(1)
    transitions = random_transitions(ROWS, np.random.default_rng(0))
    return [_measure(algorithm, transitions) for algorithm in ("SAC", "TD3")]


def _measure(algorithm: str, transitions: dict[str, np.ndarray]) -> Result:
    adapted, bare = (_learner(algorithm, transitions) for _ in range(2))

    # Two at a time: every other update of TD3 moves the actor too.
    def ours() -> None:
        for _ in range(2):
            adapted.train(gradient_steps=1, batch_size=BATCH)

    def library() -> None:
        for _ in range(2):
            bare.model.train(1, BATCH)

    own, theirs = interleaved_medians((ours, library), turns=60, per_turn=5)
    return Result(
        what=f"{algorithm} update behind the adapter ({WIDTH}x{WIDTH}, batch {BATCH}, sampling included, CPU time)",
        figure=own / 2 * 1e3,
        unit="ms",
        peer=f"Stable-Baselines3 {algorithm}.train() in a bare loop, same batch assembly",
        peer_figure=theirs / 2 * 1e3,
        ratio=theirs / own,
        bar=f"at most {CEILING:.0%} more, so ratio at least {1 / (1 + CEILING):.3f}",
        passed=own <= (1 + CEILING) * theirs,
    )


def _learner(algorithm: str, transitions: dict[str, np.ndarray]) -> SB3Model:
    env: gym.Env = HalfCheetahSpaces()
    kind = getattr(import_sb3(), algorithm)
    learner = SB3Model(
        lambda: kind("MlpPolicy", Spaces(env), buffer_size=1, policy_kwargs={"net_arch": [WIDTH, WIDTH]}, device="cpu"),
        seed=0,
        device="cpu",
    )
    rows = Rows(ROWS, OBS_DIM, ACTION_DIM, np.random.default_rng(0), "cpu")
    rows.buffer.extend(transitions)
    learner.model.replay_buffer = rows
    return learner
