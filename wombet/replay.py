"""Transitions in memory, and minibatches that mix offline and online ones in exact numbers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from wombet.errors import InputError
from wombet.learner import Batch


class ReplayBuffer:
    """A ring of transitions: when it is full, the oldest makes room for the next.

    Every transition is one row of one float32 matrix, so that a minibatch is one gather. Rows live in main memory;
    batches are handed out on `device`. Raises InputError for sizes below one.
    """

    def __init__(self, capacity: int, obs_dim: int, action_dim: int, device: str | torch.device = "cpu") -> None:
        if min(capacity, obs_dim, action_dim) < 1:
            raise InputError(
                f"a replay buffer's capacity is {capacity}, obs_dim {obs_dim} and action_dim {action_dim}; "
                "each must be at least 1"
            )
        self.capacity, self.obs_dim, self.action_dim = capacity, obs_dim, action_dim
        self.device = torch.device(device)
        self._widths = (obs_dim, action_dim, 1, obs_dim, 1, 1)
        # Not zeros: memory that no transition has reached is never touched, hence never taken from the system.
        self._rows = torch.empty(capacity, sum(self._widths))
        offsets = np.cumsum((0, *self._widths))
        self._columns: dict[str, NDArray[np.float32]] = {
            name: self._rows.numpy()[:, start:stop]
            for name, start, stop in zip(Batch._fields, offsets[:-1], offsets[1:], strict=True)
        }
        self._position = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(
        self,
        obs: ArrayLike,
        action: ArrayLike,
        reward: float,
        next_obs: ArrayLike,
        terminated: bool,
        penalty: float = 0.0,
    ) -> None:
        """Store one transition; `terminated` is true for a true termination, never for a time limit."""
        row, columns = self._position, self._columns
        columns["obs"][row] = obs
        columns["action"][row] = action
        columns["reward"][row] = reward
        columns["next_obs"][row] = next_obs
        columns["terminated"][row] = terminated
        columns["penalty"][row] = penalty
        self._advance(1)

    def extend(self, arrays: Mapping[str, ArrayLike]) -> None:
        """Store n transitions in order, given as columns named like Batch's fields; `penalty` may be left out (zeros).

        Raises InputError, storing nothing, for a missing or unknown column, a wrong shape, or more rows than capacity.
        """
        columns = self._checked(arrays)
        n = len(columns["obs"])
        rows = (self._position + np.arange(n)) % self.capacity
        for name, column in columns.items():
            self._columns[name][rows] = column
        self._advance(n)

    def sample(self, indices: NDArray[np.integer[Any]] | Tensor) -> Batch:
        """Return the transitions at the given indices (n,), each in [0, len(self)), where 0 is no particular age."""
        return self._split(self._gather(torch.as_tensor(indices, dtype=torch.int64)))

    def last(self, n: int) -> Batch:
        """Return the n transitions added last, or all if there are fewer, oldest first."""
        n = min(n, self._size)
        return self.sample((self._position - n + np.arange(n)) % self.capacity)

    def draw_indices(self, n: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return n indices for `sample`, uniform and with repetition."""
        if self._size == 0:
            raise InputError("a replay buffer without transitions was sampled; add some first")
        return generator.integers(self._size, size=n)

    def state(self) -> dict[str, Any]:
        """Return a copy of the filled rows and where the next one goes."""
        return {"rows": self._rows[: self._size].clone(), "position": self._position}

    def restore(self, state: dict[str, Any]) -> None:
        """Hold exactly the transitions that `state` was taken with; raises InputError if they do not fit."""
        rows: Tensor = state["rows"]
        if rows.shape[1] != self._rows.shape[1] or len(rows) > self.capacity:
            raise InputError(
                f"the state holds {len(rows)} transitions of width {rows.shape[1]} and the replay buffer takes "
                f"{self.capacity} of width {self._rows.shape[1]}; restore into a buffer of the same sizes"
            )
        self._size, self._position = len(rows), state["position"]
        self._rows[: self._size] = rows

    def _advance(self, n: int) -> None:
        self._position = (self._position + n) % self.capacity
        self._size = min(self._size + n, self.capacity)

    def _checked(self, arrays: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float32]]:
        unknown, missing = set(arrays) - set(Batch._fields), set(Batch._fields) - {"penalty"} - set(arrays)
        if unknown or missing:
            raise InputError(
                f"transitions have the columns {', '.join(arrays)}; they must be {', '.join(Batch._fields)} "
                "(penalty may be left out)"
            )
        n = len(np.asarray(arrays["obs"]))
        if n > self.capacity:
            raise InputError(f"{n} transitions do not fit a replay buffer of capacity {self.capacity}; make it larger")
        columns = {}
        for name, width in zip(Batch._fields, self._widths, strict=True):
            column = np.asarray(arrays.get(name, np.zeros(n)), np.float32)
            shape = (n, width) if name in ("obs", "action", "next_obs") else (n,)
            if column.shape != shape:
                raise InputError(f"the transitions' {name} has shape {column.shape}; it must be {shape}")
            columns[name] = column.reshape(n, width)
        return columns

    def _gather(self, indices: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.index_select(self._rows, 0, indices, out=out)

    def _split(self, rows: Tensor) -> Batch:
        obs, action, reward, next_obs, terminated, penalty = rows.to(self.device).split(self._widths, 1)
        return Batch(obs, action, reward[:, 0], next_obs, terminated[:, 0], penalty[:, 0])


def offline_count(fraction: float, batch_size: int, generator: np.random.Generator) -> int:
    """Return fraction * batch_size, rounded up or down at random so that its mean is exact.

    A random number is drawn only if the product is not an integer (to within 1e-9, the rounding of the product).
    Raises InputError for a fraction outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"the offline fraction is {fraction}; it must be in [0, 1]")
    exact = fraction * batch_size
    if abs(exact - round(exact)) < 1e-9:
        return round(exact)
    return math.floor(exact) + int(generator.random() < exact - math.floor(exact))


def draw_mixed(
    offline: ReplayBuffer | None,
    online: ReplayBuffer | None,
    offline_fraction: float,
    batch_size: int,
    generator: np.random.Generator,
) -> Batch:
    """Return a minibatch of `offline_count` offline rows, then online rows, each drawn uniformly with repetition.

    A buffer that is None or empty contributes nothing and the other one fills the batch, whatever the fraction;
    then no rounding is drawn. Raises InputError if neither has a row, or if their rows differ in width.
    """
    if not online:
        if not offline:
            raise InputError("a minibatch was drawn and neither the offline nor the online buffer holds a transition")
        return offline.sample(offline.draw_indices(batch_size, generator))
    if not offline:
        return online.sample(online.draw_indices(batch_size, generator))
    if offline._widths != online._widths:
        raise InputError(
            f"offline rows have (obs, action) of {offline._widths[:2]} entries and online rows of "
            f"{online._widths[:2]}; both must come from tasks of the same sizes"
        )
    n_offline = offline_count(offline_fraction, batch_size, generator)
    rows = torch.empty(batch_size, sum(online._widths))
    for buffer, part in ((offline, rows[:n_offline]), (online, rows[n_offline:])):
        if len(part):
            buffer._gather(torch.from_numpy(buffer.draw_indices(len(part), generator)), out=part)
    return online._split(rows)
