"""What an agent sees of the simulator, and the simulator state that an observation stands for."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Observation(Protocol):
    """A layout of observations; implementations are frozen dataclasses, whose fields enter a task's fingerprint.

    An observation is `n_rates` mean velocities over the last step, zero at a reset, followed by `read`.
    """

    @property
    def obs_dim(self) -> int: ...

    @property
    def n_rates(self) -> int: ...

    @property
    def angle_indices(self) -> tuple[int, ...]:
        """Entries that are angles without limits."""

    def position(self, model: Any, data: Any) -> Array:
        """Return the point, shape (n_rates,), whose mean velocity leads the observation."""

    def read(self, model: Any, data: Any) -> Array:
        """Return the entries after the rates, shape (obs_dim - n_rates,)."""

    def sim_state(self, obs: ArrayLike) -> Array:
        """Return (qpos, qvel), shape (..., nq + nv), for observations of shape (..., obs_dim)."""


@dataclass(frozen=True)
class JointObservation:
    """Mean velocity of a point, then qpos without its first `n_omitted` entries, then qvel.

    The point is the first `n_rates` entries of qpos, or with `rate_of="mass"` the centre of mass of the moving bodies.
    """

    nq: int
    nv: int
    n_omitted: int = 0
    n_rates: int = 0
    rate_of: Literal["root", "mass"] = "root"
    angle_indices: tuple[int, ...] = ()

    @property
    def obs_dim(self) -> int:
        return self.n_rates + self.nq - self.n_omitted + self.nv

    def position(self, model: Any, data: Any) -> Array:
        """Return the point, shape (n_rates,), in metres."""
        if self.rate_of == "root":
            return data.qpos[: self.n_rates].copy()
        import mujoco

        # Body positions lag one substep behind qpos after a step.
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        return data.subtree_com[1, : self.n_rates].copy()

    def read(self, model: Any, data: Any) -> Array:
        """Return the joint positions and velocities that are shown."""
        return np.concatenate([data.qpos[self.n_omitted :], data.qvel])

    def sim_state(self, obs: ArrayLike) -> Array:
        """Return (qpos, qvel); omitted positions are zero."""
        joints = np.asarray(obs, np.float64)[..., self.n_rates :]
        return np.concatenate([np.zeros((*joints.shape[:-1], self.n_omitted)), joints], axis=-1)


@dataclass(frozen=True)
class ReacherObservation:
    """Reacher without its target: cosines and sines of two angles, their velocities, fingertip x and y (8 entries)."""

    obs_dim: int = 8
    n_rates: int = 0
    angle_indices: tuple[int, ...] = ()

    def position(self, model: Any, data: Any) -> Array:
        """Return no point, shape (0,)."""
        return np.zeros(0)

    def read(self, model: Any, data: Any) -> Array:
        """Return the observation."""
        import mujoco

        # Body positions lag one substep behind qpos after a step.
        mujoco.mj_kinematics(model, data)
        angles = data.qpos[:2]
        return np.concatenate([np.cos(angles), np.sin(angles), data.qvel[:2], data.body("fingertip").xpos[:2]])

    def sim_state(self, obs: ArrayLike) -> Array:
        """Return (qpos, qvel), angles within half a turn of zero; the target's marker is at its resting place."""
        obs = np.asarray(obs, np.float64)
        state = np.zeros((*obs.shape[:-1], 8))
        state[..., 0:2] = np.arctan2(obs[..., 2:4], obs[..., 0:2])
        state[..., 2:4] = (0.1, -0.1)
        state[..., 4:6] = obs[..., 4:6]
        return state


@dataclass(frozen=True)
class PusherObservation:
    """Pusher without its goal: seven angles, their velocities, tip x y z, object x y and its velocity (21 entries)."""

    obs_dim: int = 21
    n_rates: int = 0
    angle_indices: tuple[int, ...] = ()

    def position(self, model: Any, data: Any) -> Array:
        """Return no point, shape (0,)."""
        return np.zeros(0)

    def read(self, model: Any, data: Any) -> Array:
        """Return the observation."""
        import mujoco

        # Body positions lag one substep behind qpos after a step.
        mujoco.mj_kinematics(model, data)
        tip, thing = data.body("tips_arm").xpos, data.body("object").xpos[:2]
        return np.concatenate([data.qpos[:7], data.qvel[:7], tip, thing, data.qvel[[8, 7]]])

    def sim_state(self, obs: ArrayLike) -> Array:
        """Return (qpos, qvel); the goal's marker is at its resting place."""
        obs = np.asarray(obs, np.float64)
        state = np.zeros((*obs.shape[:-1], 22))
        state[..., 0:7] = obs[..., 0:7]
        # The object's slides run y first, and count from where the model puts it.
        state[..., 7] = obs[..., 18] + 0.05
        state[..., 8] = obs[..., 17] - 0.45
        state[..., 11:18] = obs[..., 7:14]
        state[..., 18] = obs[..., 20]
        state[..., 19] = obs[..., 19]
        return state
