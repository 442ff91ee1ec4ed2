"""The one place where a score is produced."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suites.problem import MethodError, check_actions
from suites.tasks.env import TaskEnv
from suites.tasks.native import AnyTask
from suites.tasks.native_env import NativeEnv
from wombet.streams import Streams

Act = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]


@dataclass(frozen=True)
class Evaluation:
    """Return and length in steps of every episode."""

    returns: list[float]
    lengths: list[int]


class Evaluator:
    """Plays episodes of a task with environments and random streams of its own; training does not notice.

    Episode i begins in the same state at every evaluation and for every method with the same seed, so that scores are
    paired; what a stochastic policy draws depends on the evaluation's index.
    """

    def __init__(self, task: AnyTask, episodes: int, seed: int, method: str) -> None:
        self.task = task
        self.episodes = episodes
        self.method = method
        self._streams = Streams(seed).child("evaluation")
        self._envs: list[TaskEnv | NativeEnv] = []

    def evaluate(self, act: Act, index: int) -> Evaluation:
        """Play all episodes in lock-step; raises MethodError for an action or a return that is not a proper number."""
        if not self._envs:
            self._envs = [self.task.make_env() for _ in range(self.episodes)]
        generator = self._streams.numpy("acting", index)
        seeds = [self._streams.integer("reset", i) for i in range(self.episodes)]
        obs = [env.reset(seed=seed)[0] for env, seed in zip(self._envs, seeds, strict=True)]
        returns, lengths = [0.0] * self.episodes, [0] * self.episodes
        live = list(range(self.episodes))
        while live:
            actions = act(np.stack([obs[i] for i in live]), generator)
            check_actions(self.method, actions, (len(live), self.task.action_dim))
            over = set()
            for row, i in enumerate(live):
                obs[i], reward, terminated, truncated, _ = self._envs[i].step(actions[row])
                returns[i] += reward
                lengths[i] += 1
                if terminated or truncated:
                    over.add(i)
            live = [i for i in live if i not in over]
        self._check(returns, index)
        return Evaluation(returns, lengths)

    def close(self) -> None:
        """Free the simulators."""
        for env in self._envs:
            env.close()
        self._envs = []

    def _check(self, returns: list[float], index: int) -> None:
        for episode, value in enumerate(returns):
            if not np.isfinite(value):
                raise MethodError(
                    f"method {self.method} led to a return of {value} in episode {episode} of evaluation {index}; "
                    f"the simulation of {self.task.id} has diverged"
                )
