"""The peer that learner benchmarks compare with: Stable-Baselines3's SAC on an environment that is never stepped."""

import gymnasium as gym
import numpy as np
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import configure

OBS_DIM, ACTION_DIM = 17, 6


class Spaces(gym.Env):
    """The spaces of HalfCheetah and nothing else."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS_DIM,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACTION_DIM,), np.float32)


def random_transitions(rows: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Return `rows` transitions of standard normal numbers, none of them terminated."""
    return {
        "obs": generator.standard_normal((rows, OBS_DIM), np.float32),
        "action": np.tanh(generator.standard_normal((rows, ACTION_DIM), np.float32)),
        "reward": generator.standard_normal(rows, np.float32),
        "next_obs": generator.standard_normal((rows, OBS_DIM), np.float32),
        "terminated": np.zeros(rows, np.float32),
    }


def sac_of_stable_baselines3(hidden_width: int, buffer_size: int) -> SAC:
    """Return their SAC with an empty replay buffer and a logger that writes nowhere."""
    model = SAC(
        "MlpPolicy",
        Spaces(),
        seed=0,
        device="cpu",
        buffer_size=buffer_size,
        policy_kwargs={"net_arch": [hidden_width, hidden_width]},
    )
    model.set_logger(configure(None, []))
    return model


def fill(buffer: ReplayBuffer, transitions: dict[str, np.ndarray]) -> None:
    """Write transitions into their replay buffer at once, as their `add` would one by one."""
    rows = len(transitions["obs"])
    buffer.observations[:rows, 0] = transitions["obs"]
    buffer.actions[:rows, 0] = transitions["action"]
    buffer.rewards[:rows, 0] = transitions["reward"]
    buffer.next_observations[:rows, 0] = transitions["next_obs"]
    buffer.dones[:rows, 0] = transitions["terminated"]
    buffer.pos, buffer.full = rows % buffer.buffer_size, rows == buffer.buffer_size
