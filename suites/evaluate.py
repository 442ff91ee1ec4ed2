"""The one place where a score is produced."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.api import EstimatesReturn
from suites.problem import MethodError, check_actions
from suites.tasks.env import TaskEnv
from suites.tasks.native import AnyTask
from suites.tasks.native_env import NativeEnv
from wombet.streams import Streams

Act = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]


@dataclass(frozen=True)
class Evaluation:
    """Return and length in steps of every episode; where a critic was given, its estimate against what came.

    estimated_returns: its estimate at the episode's first state and action. discounted_returns: the rewards that came,
    discounted, and after a truncated episode's last state the critic's estimate in place of those that did not come.
    """

    returns: list[float]
    lengths: list[int]
    estimated_returns: list[float] | None = None
    discounted_returns: list[float] | None = None

    def to_json(self) -> dict[str, list[float] | list[int]]:
        """Return what there is."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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

    def evaluate(self, act: Act, index: int, critic: EstimatesReturn | None = None) -> Evaluation:
        """Play all episodes in lock-step; raises MethodError for an action or a return that is not a proper number.

        With a critic its estimates are recorded too; returns are the same with and without.
        """
        if not self._envs:
            self._envs = [self.task.make_env() for _ in range(self.episodes)]
        generator = self._streams.numpy("acting", index)
        seeds = [self._streams.integer("reset", i) for i in range(self.episodes)]
        obs = [env.reset(seed=seed)[0] for env, seed in zip(self._envs, seeds, strict=True)]
        returns, lengths = [0.0] * self.episodes, [0] * self.episodes
        check = _ReturnCheck(critic, act, self.episodes) if critic is not None else None
        live = list(range(self.episodes))
        while live:
            actions = act(np.stack([obs[i] for i in live]), generator)
            check_actions(self.method, actions, (len(live), self.task.action_dim))
            if check is not None:
                check.begin(obs, actions)
            over = set()
            for row, i in enumerate(live):
                obs[i], reward, terminated, truncated, _ = self._envs[i].step(actions[row])
                if check is not None:
                    check.note(i, lengths[i], reward, truncated and not terminated)
                returns[i] += reward
                lengths[i] += 1
                if terminated or truncated:
                    over.add(i)
            live = [i for i in live if i not in over]
        self._check(returns, index)
        if check is None:
            return Evaluation(returns, lengths)
        return Evaluation(returns, lengths, check.estimated, check.discounted(obs, lengths, generator))

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


class _ReturnCheck:
    """A critic's estimates at the first steps of all episodes beside the discounted rewards that follow."""

    def __init__(self, critic: EstimatesReturn, act: Act, episodes: int) -> None:
        self.critic, self.act = critic, act
        self.estimated: list[float] = []
        self._sums = [0.0] * episodes
        self._truncated: list[int] = []

    def begin(self, obs: list[NDArray[np.float32]], actions: NDArray[np.float32]) -> None:
        """Estimate at the first step; at later ones there is nothing to do."""
        if not self.estimated:
            self.estimated = self.critic.estimate_return(np.stack(obs), actions).astype(float).tolist()

    def note(self, episode: int, step: int, reward: float, truncated: bool) -> None:
        self._sums[episode] += self.critic.discount**step * reward
        if truncated:
            self._truncated.append(episode)

    def discounted(
        self, last_obs: list[NDArray[np.float32]], lengths: list[int], generator: np.random.Generator
    ) -> list[float]:
        """Return the discounted returns, with the critic's estimate where a time limit cut them short."""
        sums = list(self._sums)
        if self._truncated:
            obs = np.stack([last_obs[i] for i in self._truncated])
            tails = self.critic.estimate_return(obs, self.act(obs, generator))
            for i, tail in zip(self._truncated, tails, strict=True):
                sums[i] += self.critic.discount ** lengths[i] * float(tail)
        return sums
