"""Recorded steps of every family and level, shared by the tests of tasks."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from suites.tasks import Task, make_task


@dataclass(frozen=True)
class Recording:
    """Rows of a task: what its environment showed, took, paid and reported."""

    obs: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    sim_state: np.ndarray
    next_sim_state: np.ndarray
    dt: float


def record(task: Task, steps: int = 300) -> Recording:
    """Act at random, often beyond the action bounds, over as many episodes as it takes."""
    env, generator = task.make_env(), np.random.default_rng(5)
    rows: list[tuple[Any, ...]] = []
    obs, info = env.reset(seed=3)
    for _ in range(steps):
        action = generator.uniform(-1.3, 1.3, task.action_dim).astype(np.float32)
        next_obs, reward, terminated, truncated, after = env.step(action)
        stored = action.clip(-1.0, 1.0)
        rows.append((obs, stored, next_obs, reward, terminated, info["sim_state"], after["sim_state"]))
        obs, info = env.reset() if terminated or truncated else (next_obs, after)
    return Recording(*map(np.array, zip(*rows, strict=True)), env.dt)


@pytest.fixture(scope="session")
def recording() -> Callable[[str, str], Recording]:
    """Give the recording of a family and level, made once."""
    return functools.cache(lambda family, level: record(make_task(family, level)))
