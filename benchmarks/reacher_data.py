"""Small datasets of a scripted policy in reacher's source task, for checks of methods that learn from data alone."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.api import Budgets, Problem
from suites.evaluate import Act, Evaluator
from suites.tasks import make_task
from wombet.dataset import TransferDataset
from wombet.interaction import Meter, MeteredEnv

Array = NDArray[np.float32]
GOAL, UPPER_ARM, FOREARM = (0.14, 0.0), 0.1, 0.11
"""Of the source task, in metres; the forearm ends at the fingertip."""


@dataclass(frozen=True)
class ScriptedReacher:
    """Turn both joints to the angles that reach the goal; the default is an expert, more damping makes it slow."""

    damping: float = 0.1  # action per radian per second
    stiffness: float = 1.0  # action per radian
    noise: float = 0.0  # standard deviation added to every action

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return actions (n, 2) for observations (n, 8)."""
        error = wanted_angles() - np.arctan2(obs[:, 2:4], obs[:, 0:2])
        error = np.arctan2(np.sin(error), np.cos(error))
        action = self.stiffness * error - self.damping * obs[:, 4:6]
        return np.clip(action + self.noise * generator.standard_normal(action.shape), -1, 1).astype(np.float32)


EXPERT = ScriptedReacher()
MEDIUM = ScriptedReacher(damping=0.4, noise=0.5)
NARROW = ScriptedReacher(damping=0.4, noise=0.05)


def wanted_angles() -> NDArray[np.float64]:
    """Return shoulder and elbow angles that put the fingertip on the goal."""
    x, y = GOAL
    cosine = (x * x + y * y - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM)
    elbow = np.arccos(cosine)
    shoulder = np.arctan2(y, x) - np.arctan2(FOREARM * np.sin(elbow), UPPER_ARM + FOREARM * cosine)
    return np.array([shoulder, elbow])


def collect(policy: ScriptedReacher, episodes: int, seed: int) -> TransferDataset:
    """Return whole episodes of a policy, labelled with the source task's own reward."""
    task, generator = make_task("reacher"), np.random.default_rng(seed)
    env = task.make_env()
    rows: dict[str, list[NDArray[np.generic]]] = {"obs": [], "action": [], "next_obs": []}
    for _ in range(episodes):
        obs, _ = env.reset(seed=int(generator.integers(2**31)))
        for _ in range(task.horizon):
            action = policy.act(obs[None], generator)[0]
            next_obs = env.step(action)[0]
            for name, value in (("obs", obs), ("action", action), ("next_obs", next_obs)):
                rows[name].append(value)
            obs = next_obs
    env.close()
    stacked: dict[str, Any] = {name: np.stack(values).astype(np.float32) for name, values in rows.items()}
    reward, terminated = task.relabel(stacked["obs"], stacked["action"], stacked["next_obs"])
    n = len(reward)
    return TransferDataset(
        **stacked,
        reward_source=reward,
        terminated=terminated,
        truncated=np.arange(1, n + 1) % task.horizon == 0,
        episode_id=(np.arange(n) // task.horizon).astype(np.int32),
        uncertainty=np.zeros(n, np.float32),
    ).relabel(task)


@functools.cache
def medium_dataset() -> TransferDataset:
    """Return 20 episodes of a noisy and slow policy, on which offline methods are expected to reach its mean return."""
    return collect(MEDIUM, 20, 1)


def offline_problem(dataset: TransferDataset, updates: int, family: str = "reacher") -> Problem:
    """Return the problem of learning a family's source task from its own data, without any interaction."""
    task = make_task(family)
    source, target = (MeteredEnv(task.make_env(), Meter(0, which), lambda i: i) for which in ("source", "target"))
    return Problem(task, task, dataset, Budgets(target_steps=0, offline_updates=updates), source, target)


def mean_return(act: Act, episodes: int, seed: int = 0) -> float:
    """Return the mean return of a policy over episodes that are the same for all policies with one seed."""
    return float(np.mean(Evaluator(make_task("reacher"), episodes, seed, "the policy").evaluate(act, 0).returns))
