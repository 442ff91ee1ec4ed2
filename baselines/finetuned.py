"""Offline methods that go on in the target task: sampled actions, rows of two kinds, and the same updates as before."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.d3rlpy_method import Transitions, joined, transitions_of
from baselines.offline_method import NetworkConfig, OfflineMethod, require_all
from wombet.errors import InputError
from wombet.replay import ReplayBuffer, offline_count
from wombet.streams import Streams


@dataclass(frozen=True)
class OnlineConfig(NetworkConfig):
    """Settings of the online phase."""

    mixing: Literal["append", "fixed"] = "append"  # how the offline share is set
    # share of the dataset's rows in a minibatch: "append" as if all rows lay in one buffer, "fixed" offline_fraction
    offline_fraction: float = 0.5  # share of every minibatch under "fixed", exact where it is a whole number of rows
    utd: int = 1  # updates per target step
    collection_steps: int = 0  # target steps before the first online update
    replay_capacity: int = 1_000_000  # online rows kept; the dataset's are never dropped
    reward_scale: float = 1.0  # factor on all rewards, the dataset's and those of the target task alike

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("utd", "replay_capacity"), 1)
        require_all(self, ("collection_steps",), 0)
        require_all(self, ("reward_scale",), 1e-8)
        if not 0 <= self.offline_fraction <= 1:
            raise InputError(f"offline_fraction is {self.offline_fraction}; it must be between 0 and 1")


class FineTuned(OfflineMethod):
    """An offline method of d3rlpy that makes its updates on the dataset, then on the dataset and target-task rows.

    Everything goes on at the switch: networks, targets, temperature, optimisers and step sizes. To be mixed into the
    offline method, or used with an `algorithm` of its own. A method may say how it acts (`explore`), which rows count
    (`store`), what an update is (`learn`), and what changes at the switch (`begin_online`).
    """

    config: Any

    def __init__(self, problem: Problem, config: Any, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        task = problem.target
        self.online = ReplayBuffer(config.replay_capacity, task.obs_dim, task.action_dim)
        self.steps = 0
        self._last: dict[str, float] = {}

    @property
    def updates(self) -> int:
        """Updates made in both phases."""
        return self.learner.algorithm.grad_step

    @property
    def offline_share(self) -> float:
        """Share of the dataset's rows in the minibatches."""
        if not self.online:
            return 1.0
        if self.config.mixing == "fixed":
            return float(self.config.offline_fraction)
        return len(self._rows) / (len(self._rows) + len(self.online))

    def train(self, phase: Phase, tick: Tick) -> None:
        """Make the budgeted number of updates, or act, store and learn to the end of the target steps."""
        if phase is Phase.OFFLINE:
            super().train(phase, tick)
            return
        self.begin_online()
        while self.steps < self.problem.budgets.target_steps:
            self._interact()
            if self.steps > self.config.collection_steps:
                for _ in range(self.config.utd):
                    self._last = self.learn()
            tick(updates=self.updates, metrics=lambda: {**self._last, "offline_fraction": self.offline_share})

    def begin_online(self) -> None:
        """Get ready for target steps; called again when a run is resumed in the online phase."""

    def explore(self, obs: Array) -> Array:
        """Return actions (n, action_dim) to learn from: drawn from the policy."""
        return self.learner.sample(obs)

    def store(self, obs: Array, action: Array, reward: float, next_obs: Array, terminated: bool, over: bool) -> None:
        """Keep a row of the target task; `over` says that its episode has ended, by termination or time limit."""
        self.online.add(obs, action, reward, next_obs, terminated)

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the next minibatch's rows in the dataset and in the online buffer."""
        size = self.config.batch_size
        n_offline = offline_count(self.offline_share, size, self._sampling)
        offline = self._rows[self._sampling.integers(len(self._rows), size=n_offline)]
        if n_offline == size:
            return offline, np.zeros(0, np.int64)
        return offline, self.online.draw_indices(size - n_offline, self._sampling)

    def transitions(self, offline: np.ndarray, online: np.ndarray) -> Transitions:
        """Return the rows of the given indices, the dataset's first, with their rewards scaled alike."""
        met = self.online.sample(online)
        parts = (
            transitions_of(self.dataset, offline),
            Transitions(
                *(column.numpy() for column in (met.obs, met.action, met.reward, met.next_obs, met.terminated))
            ),
        )
        found = joined(parts)
        return found._replace(reward=np.float32(self.config.reward_scale) * found.reward)

    def batch(self) -> Transitions:
        """Return the next minibatch."""
        return self.transitions(*self.draw())

    def state(self) -> Any:
        """Return the learner, the streams, the online rows and the counts."""
        return {**super().state(), "online": self.online.state(), "steps": self.steps, "last": dict(self._last)}

    def restore(self, state: Any) -> None:
        """Take up a state."""
        super().restore(state)
        self.online.restore(state["online"])
        self.steps, self._last = state["steps"], dict(state["last"])

    def policy_state(self) -> Any:
        """Return the policy's parameters."""
        return self.learner.parts("policy")

    def restore_policy(self, state: Any) -> None:
        """Take up the policy's parameters."""
        self.learner.take_parts(state)

    def _interact(self) -> None:
        env = self.problem.target_env
        obs = env.observation
        action = self.explore(obs[None])[0]
        next_obs, reward, terminated, truncated, _ = env.step(action)
        self.store(obs, action, reward, next_obs, terminated, terminated or truncated)
        self.steps += 1


def offline_to_online(source: str, *deviations: str) -> Capabilities:
    """Return the capabilities of a method that learns from the dataset and then in the target task."""
    return Capabilities(
        phases=(Phase.OFFLINE, Phase.ONLINE),
        needs_dataset=True,
        kind="offline-to-online",
        source=source,
        deviations=deviations,
    )
