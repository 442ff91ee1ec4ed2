"""Cal-QL: conservative Q-learning whose values are not pressed below the return that the data show, by d3rlpy."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from baselines.api import Array, Problem
from baselines.cql import TEMPERATURE, d3rlpy_cql
from baselines.cql_finetune import CQLFinetuneConfig
from baselines.d3rlpy_private import watch_bounded_values
from baselines.finetuned import FineTuned, offline_to_online
from baselines.offline_method import require_all
from baselines.return_bounds import lower_bounds, open_ends
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.replay import ReplayBuffer
from wombet.streams import Streams


@dataclass(frozen=True)
class CalQLConfig(CQLFinetuneConfig):
    """Cal-QL's settings on locomotion."""

    max_backup: bool = True  # back up the largest value of sampled actions (its release), or that of the policy's mode
    tail: Literal["bootstrap", "mask", "none"] = "bootstrap"  # what bounds rows near a time limit
    # where an episode ends without terminating: add the target critics' value of what follows (ours), leave the last
    # rows without a bound (ours), or take the return as it is (the paper, whose tasks end when they are solved)
    bound_interval: int = 10_000  # updates between bootstrapped tails; ours
    masked_rows: int = 300  # before such an end, under "mask"; ours

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("bound_interval",), 1)
        require_all(self, ("masked_rows",), 0)


class CalQL(FineTuned):
    """CQL that presses the policy's values down no further than the return-to-go, offline and online.

    A target-task row is learned from when its episode is over, because its return is known then.
    """

    Config = CalQLConfig
    capabilities = offline_to_online(
        "Nakamoto et al. 2023 (arXiv 2303.05479); d3rlpy 2.8.0 (CalQL)",
        "dense rewards and time limits: the return beyond an open end is bootstrapped from the target critics",
        "a fixed weight without a threshold, as CQL has on locomotion, and two hidden layers",
        "an update after every step instead of as many after every episode; rows enter when their episode is over",
        TEMPERATURE,
    )

    def __init__(self, problem: Problem, config: CalQLConfig, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        task = problem.target
        if config.replay_capacity < task.horizon:
            raise InputError(
                f"replay_capacity is {config.replay_capacity}; it must be at least the horizon, {task.horizon}"
            )
        self._lifted = watch_bounded_values(self.learner.algorithm.impl)
        self._running = ReplayBuffer(task.horizon, task.obs_dim, task.action_dim)
        self._stored = 0
        self._online_over = np.zeros(config.replay_capacity, np.bool_)
        self._online_bounds = np.zeros(config.replay_capacity, np.float32)
        self._bounds = np.zeros(len(self.dataset), np.float32)

    def algorithm(self, config: CalQLConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's Cal-QL."""
        return d3rlpy_cql(config, "CalQLConfig", max_q_backup=config.max_backup)

    def learn(self) -> dict[str, float]:
        """Make an update whose conservative term is bounded; `bound_rate` is the share of values that it lifted."""
        if self.learner.algorithm.grad_step % self.config.bound_interval == 0:
            self._refresh_bounds()
        offline, online = self.draw()
        bounds = np.concatenate([self._bounds[offline], self._online_bounds[online]])
        losses = self.learner.update_on(self.transitions(offline, online), bounds)
        rate = float(np.mean(self._lifted))
        self._lifted.clear()
        return {**losses, "bound_rate": rate}

    def store(self, obs: Array, action: Array, reward: float, next_obs: Array, terminated: bool, over: bool) -> None:
        """Keep a row of the running episode; once that is over, its rows enter the online buffer with their bounds."""
        self._running.add(obs, action, reward, next_obs, terminated)
        if over:
            self._finish_episode()

    def _finish_episode(self) -> None:
        n = len(self._running)
        rows = self._running.last(n)
        self.online.extend({name: column.numpy() for name, column in rows._asdict().items()})
        places = (self._stored + np.arange(n)) % self.config.replay_capacity
        self._stored += n
        self._online_over[places] = np.arange(n) == n - 1
        self._bound_online(places)
        self._running = ReplayBuffer(self._running.capacity, self._running.obs_dim, self._running.action_dim)

    def _refresh_bounds(self) -> None:
        """Compute the bounds of all rows anew, with the target critics as they are now."""
        assert self.dataset.reward_target is not None
        assert self.dataset.terminated_target is not None
        terminated = self.dataset.terminated_target
        over = terminated | self.dataset.terminated | self.dataset.truncated
        ends = self.dataset.next_obs[open_ends(over, terminated)]
        self._bounds = self._bounded(self.dataset.reward_target, terminated, over, ends)
        n = len(self.online)
        if n:
            self._bound_online((self._stored - n + np.arange(n)) % self.config.replay_capacity)

    def _bound_online(self, places: np.ndarray) -> None:
        """Compute the bounds of the online rows in these places, oldest first, which end with an episode's end."""
        rows, over = self.online.sample(places), self._online_over[places]
        terminated = rows.terminated.numpy() > 0
        ends = rows.next_obs.numpy()[open_ends(over, terminated)]
        self._online_bounds[places] = self._bounded(rows.reward.numpy(), terminated, over, ends)

    def _bounded(self, reward: Array, terminated: np.ndarray, over: np.ndarray, ends: Array) -> Array:
        config = self.config
        bootstrapped = config.tail == "bootstrap" and len(ends) > 0
        values = self.learner.smallest_q(ends, self.learner.act(ends), target=True) if bootstrapped else 0.0
        masked = config.masked_rows if config.tail == "mask" else 0
        scaled = config.reward_scale * reward
        return lower_bounds(scaled, terminated, over, values, config.discount, masked)

    def state(self) -> Any:
        """Return the learner, the streams, the rows, the running episode and the bounds."""
        n = len(self.online)
        return {
            **super().state(),
            "running": self._running.state(),
            "stored": self._stored,
            "bounds": self._bounds.copy(),
            "online_bounds": self._online_bounds[:n].copy(),
            "online_over": self._online_over[:n].copy(),
        }

    def restore(self, state: Any) -> None:
        """Take up a state."""
        super().restore(state)
        self._running.restore(state["running"])
        self._stored, self._bounds, n = state["stored"], state["bounds"], len(self.online)
        self._online_bounds[:n], self._online_over[:n] = state["online_bounds"], state["online_over"]
