"""Replay by priority over offline and online rows together (balanced replay of Off2On, Lee et al. 2021)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wombet.errors import InputError
from wombet.learner import Batch
from wombet.replay import ReplayBuffer

Indices = NDArray[np.int64]
Priorities = NDArray[np.float64]


class SumTree:
    """Non-negative numbers whose sums over halves, quarters and so on are kept, so that one is found by its mass."""

    def __init__(self, leaves: int) -> None:
        self.size = 1 << (leaves - 1).bit_length()
        self.nodes = np.zeros(2 * self.size)  # node 1 is the root, and those of i are 2 i and 2 i + 1

    @property
    def total(self) -> float:
        """The sum of all numbers."""
        return float(self.nodes[1])

    def read(self, start: int, stop: int) -> Priorities:
        """Return a copy of the numbers from `start` to `stop`."""
        return self.nodes[self.size + start : self.size + stop].copy()

    def set(self, indices: Indices, values: Priorities) -> None:
        """Give the numbers at `indices` new values; where an index repeats, its last value counts."""
        nodes = self.size + np.asarray(indices)
        self.nodes[nodes] = values
        while nodes[0] > 1:
            nodes = np.unique(nodes >> 1)
            self.nodes[nodes] = self.nodes[2 * nodes] + self.nodes[2 * nodes + 1]

    def find(self, masses: Priorities) -> Indices:
        """Return, for masses in [0, total), the index at which the running sum first exceeds each.

        An index whose number is zero is never returned, whatever the rounding.
        """
        nodes, left_over = np.ones(len(masses), np.int64), masses.copy()
        while nodes[0] < self.size:
            left = self.nodes[2 * nodes]
            right = (left_over >= left) & (self.nodes[2 * nodes + 1] > 0)
            left_over -= np.where(right, left, 0)
            nodes = 2 * nodes + right
        return nodes - self.size


class BalancedReplay:
    """Offline rows with priority 1 and a ring of online rows that enter at the highest priority there has been.

    The highest begins where the first `first_rows` online rows together make up `online_share` of all mass:
    p_0 = N_offline share / ((1 - share) first_rows). It never decreases.
    """

    def __init__(self, offline: ReplayBuffer, capacity: int, online_share: float, first_rows: int) -> None:
        if not 0 < online_share < 1:
            raise InputError(f"online_share is {online_share}; it must be between 0 and 1, without either")
        self.offline = offline
        self.online = ReplayBuffer(capacity, offline.obs_dim, offline.action_dim, offline.device)
        self.tree = SumTree(len(offline) + capacity)
        self.tree.set(np.arange(len(offline)), np.ones(len(offline)))
        self.highest = len(offline) * online_share / ((1 - online_share) * first_rows)
        self._added = 0

    def add(self, *transition: Any) -> None:
        """Store one online transition, as `ReplayBuffer.add` does."""
        row = len(self.offline) + self._added % self.online.capacity
        self.online.add(*transition)
        self.tree.set(np.array([row]), np.array([self.highest]))
        self._added += 1

    def draw(self, n: int, generator: np.random.Generator) -> tuple[Batch, Indices]:
        """Return n transitions, one from each n-th of the mass, offline ones first, and their indices (n,)."""
        masses = (np.arange(n) + generator.random(n)) * (self.tree.total / n)
        indices = self.tree.find(masses)
        split = int(np.searchsorted(indices, len(self.offline)))
        parts = self.offline.sample(indices[:split]), self.online.sample(indices[split:] - len(self.offline))
        return Batch(*(torch.cat(columns) for columns in zip(*parts, strict=True))), indices

    def set_priorities(self, indices: Indices, priorities: Priorities) -> None:
        """Give drawn rows new priorities."""
        self.tree.set(indices, priorities)
        self.highest = max(self.highest, float(priorities.max()))

    def state(self) -> dict[str, Any]:
        """Return copies of the online rows and of all priorities."""
        priorities = self.tree.read(0, len(self.offline) + len(self.online))
        return {
            "online": self.online.state(),
            "priorities": priorities,
            "highest": self.highest,
            "added": self._added,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.online.restore(state["online"])
        self.tree.set(np.arange(len(state["priorities"])), state["priorities"])
        self.highest, self._added = state["highest"], state["added"]
