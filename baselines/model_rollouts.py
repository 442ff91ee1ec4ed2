"""Short rollouts of a policy in a learned model of the dynamics: the second half of MOPO's and COMBO's batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.api import Array
from baselines.d3rlpy_method import Transitions, joined
from wombet.rollouts import LARGEST_ENTRY
from wombet.task import Task
from wombet.world_model import WorldModel

ROWS_PER_PASS = 16384
"""Rollouts that go through the model together; bounds the memory, not the result's meaning."""

Policy = Callable[[Array], Array]


@dataclass(frozen=True)
class Rollouts:
    """How a policy is rolled out: in which model, under whose reward and termination, how far, at what penalty.

    The reward of a row is the task's less `penalty` times the model's configured uncertainty.
    """

    model: WorldModel
    task: Task
    length: int
    penalty: float

    def run(self, starts: Array, policy: Policy, generator: np.random.Generator) -> Transitions:
        """Return the transitions of rollouts from `starts` (n, obs_dim), at most n * length rows.

        A rollout ends where the task terminates, and before a row whose next observation leaves all bounds.
        """
        parts = []
        for first in range(0, len(starts), ROWS_PER_PASS):
            obs = starts[first : first + ROWS_PER_PASS]
            for _ in range(self.length):
                rows = self._step(obs, policy(obs), generator)
                parts.append(rows)
                obs = rows.next_obs[rows.terminated == 0]
                if len(obs) == 0:
                    break
        return joined(parts)

    def _step(self, obs: Array, action: Array, generator: np.random.Generator) -> Transitions:
        next_obs, price = self._next(obs, action, generator)
        with np.errstate(invalid="ignore"):  # a comparison with NaN is False, which is what is meant
            sound = (np.abs(next_obs) <= LARGEST_ENTRY).all(1)
        obs, action, next_obs, price = obs[sound], action[sound], next_obs[sound], price[sound]
        reward, terminated = self.task.relabel(obs, action, next_obs)
        return Transitions(obs, action, reward - price, next_obs, terminated.astype(np.float32))

    def _next(self, obs: Array, action: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Draw from one elite per row, anew in every step (MBPO), and price each row's uncertainty."""
        device = self.model.device
        tensors = torch.from_numpy(obs).to(device), torch.from_numpy(action).to(device)
        prediction = self.model.predict(*tensors)
        member = torch.from_numpy(generator.integers(0, self.model.n_elites, len(obs))).to(device)
        rows = torch.arange(len(obs), device=device)
        noise = torch.from_numpy(generator.standard_normal(obs.shape, np.float32)).to(device)
        drawn = prediction.mean[member, rows] + prediction.std[member, rows] * noise
        price = self.penalty * self.model.uncertainty(*tensors) if self.penalty else torch.zeros(len(obs))
        return drawn.cpu().numpy().astype(np.float32), price.cpu().numpy().astype(np.float32)


class RecentRounds:
    """The transitions of the last rounds of rollouts; older ones are dropped whole."""

    def __init__(self, n_rounds: int) -> None:
        self.n_rounds = n_rounds
        self._rounds: list[Transitions] = []
        self._rows: Transitions | None = None

    def add(self, rows: Transitions) -> None:
        """Take in a round."""
        self._rounds = [*self._rounds, rows][-self.n_rounds :]
        self._rows = joined(self._rounds)

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows.obs)

    def sample(self, n: int, generator: np.random.Generator) -> Transitions:
        """Return n transitions, drawn with replacement; raises RuntimeError if no rollout left any."""
        if self._rows is None or len(self) == 0:
            raise RuntimeError("every rollout left the model's bounds in its first step; the model is of no use")
        drawn = generator.integers(len(self), size=n)
        return Transitions(*(column[drawn] for column in self._rows))

    def state(self) -> Any:
        """Return all rounds."""
        return [list(rows) for rows in self._rounds]

    def restore(self, state: Any) -> None:
        """Take up a state."""
        self._rounds = [Transitions(*columns) for columns in state]
        self._rows = joined(self._rounds) if self._rounds else None
