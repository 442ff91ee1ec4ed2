"""Recorded episodes, and Minari datasets made of them through Minari's own function."""

import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

from suites.tasks.task import Task

HORIZON = 20
HOPPER_HORIZON = 200
Episode = dict[str, Any]


def recorded(task: Task, episodes: int, seed: int = 0) -> list[Episode]:
    """Episodes of random actions, as the environment gave them; `sim_state` is the state before each step."""
    env, generator = task.make_env(), np.random.default_rng(seed)
    made = []
    for number in range(episodes):
        obs, info = env.reset(seed=100 * seed + number)
        rows: dict[str, list[Any]] = {name: [] for name in ("actions", "rewards", "terminations", "truncations")}
        rows |= {"observations": [obs], "sim_state": []}
        ended = False
        while not ended:
            action = generator.uniform(-1, 1, task.action_dim).astype(np.float32)
            rows["sim_state"].append(info["sim_state"])
            obs, reward, terminated, truncated, info = env.step(action)
            ended = terminated or truncated
            for name, value in zip(rows, (action, reward, terminated, truncated, obs), strict=False):
                rows[name].append(value)
        made.append({name: np.array(values) for name, values in rows.items()})
    return made


def publish(name: str, episodes: list[Episode], task: Task, **changes: Any) -> str:
    """Make a Minari dataset through Minari's own function; returns its name."""
    spaces = {
        "observation_space": gym.spaces.Box(-np.inf, np.inf, (task.obs_dim,), np.float32),
        "action_space": gym.spaces.Box(-1, 1, (task.action_dim,), np.float32),
    }
    columns = ("observations", "actions", "rewards", "terminations", "truncations")
    buffers = [EpisodeBuffer(**{column: episode[column] for column in columns}) for episode in episodes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(name, buffers, **{**spaces, **changes})
    return name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
