"""What the algorithm needs to know of a task: shapes, horizon, and the known reward and termination functions."""

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Batch = TypeVar("Batch")
"""A numpy array or a torch tensor of any leading shape; results are of the same library."""


class Task(Protocol):
    """A task whose reward and termination are exact functions of (obs, action, next_obs)."""

    @property
    def id(self) -> str:
        """Name of the task, unique among all tasks, such as `reacher/close`."""

    @property
    def obs_dim(self) -> int: ...

    @property
    def action_dim(self) -> int: ...

    @property
    def horizon(self) -> int:
        """Steps after which an episode is truncated."""

    @property
    def n_rates(self) -> int:
        """How many leading observation entries are mean velocities over the last step: not part of the state."""

    @property
    def angle_indices(self) -> tuple[int, ...]:
        """Observation entries that are unbounded angles, which a model should see as sine and cosine."""

    def reward(self, obs: Batch, action: Batch, next_obs: Batch) -> Batch:
        """Return rewards of shape (...,) for inputs of shape (..., dim), in the inputs' own precision."""

    def terminated(self, next_obs: Batch) -> Any:
        """Return booleans of shape (...,): whether the episode ends in `next_obs`."""

    def relabel(
        self, obs: NDArray[np.float32], action: NDArray[np.float32], next_obs: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return exactly the (reward, terminated) that the environment emits for these rows, bit for bit."""
