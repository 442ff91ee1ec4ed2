"""The environment of a native task: a stock Gymnasium one that can be stored in mid-episode."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from suites.tasks.native import NativeTask
from suites.tasks.physics import restore_physics, save_physics
from wombet.errors import InputError

Observation = NDArray[np.float32]


class NativeEnv(gym.Env[Observation, Observation]):
    """A stock environment whose observations are cast to float32 and whose actions are rescaled to [-1, 1].

    Rewards, initial states and termination are the stock environment's. An episode is truncated at the task's horizon,
    unless it terminates there. `info["sim_state"]` is (qpos, qvel) in float64.
    """

    def __init__(self, task: NativeTask, render_mode: str | None = None) -> None:
        self.task = task
        self._stock = stock_environment(task.env_id, render_mode)
        low, high = self._stock.action_space.low, self._stock.action_space.high
        self._centre, self._half = (high + low) / 2, (high - low) / 2
        self._steps = 0
        self._begun = False
        self.render_mode = render_mode
        self.metadata = self._stock.metadata
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (task.obs_dim,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (task.action_dim,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode as the stock environment does with this seed; returns (obs, info)."""
        obs, _ = self._stock.reset(seed=seed)
        self._steps, self._begun = 0, True
        return obs.astype(np.float32), {"sim_state": self._sim_state()}

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises InputError for an action of wrong shape or with NaN, and ResetNeeded before the first episode.
        """
        if not self._begun:
            raise gym.error.ResetNeeded(f"reset the environment of {self.task.id} before the first step")
        next_obs, reward, terminated, _, _ = self._stock.step(self._centre + self._half * self._checked(action))
        self._steps += 1
        truncated = not terminated and self._steps >= self.task.horizon
        return next_obs.astype(np.float32), float(reward), bool(terminated), truncated, {"sim_state": self._sim_state()}

    def state(self) -> dict[str, Any]:
        """Return all that decides the future of this environment, as arrays and plain values, in mid-episode too."""
        return {
            "fingerprint": self.task.fingerprint(),
            **save_physics(self._stock.model, self._stock.data),
            "generator": self._stock.np_random.bit_generator.state,
            "steps": self._steps,
            "begun": self._begun,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on, byte for byte, where `state` was taken; raises InputError if that was in another task."""
        if state["fingerprint"] != self.task.fingerprint():
            raise InputError(
                f"this state was taken in another task than {self.task.id}; restore it in the task it is of"
            )
        restore_physics(self._stock.model, self._stock.data, state)
        self._stock.np_random.bit_generator.state = state["generator"]
        self._steps, self._begun = int(state["steps"]), bool(state["begun"])

    @property
    def dt(self) -> float:
        """Seconds of simulated time per step."""
        return float(self._stock.dt)

    def render(self) -> Any:
        """Return or show a frame, as `render_mode` says."""
        return self._stock.render()

    def close(self) -> None:
        """Free the renderer."""
        self._stock.close()

    def _sim_state(self) -> NDArray[np.float64]:
        return np.concatenate([self._stock.data.qpos, self._stock.data.qvel])

    def _checked(self, action: ArrayLike) -> NDArray[np.float32]:
        values = np.asarray(action, np.float32)
        if values.shape != (self.task.action_dim,) or np.isnan(values).any():
            raise InputError(
                f"an action of {self.task.id} is {self.task.action_dim} numbers, "
                f"and this one has shape {values.shape} or holds NaN"
            )
        return np.clip(values, np.float32(-1.0), np.float32(1.0))


def stock_environment(env_id: str, render_mode: str | None = None) -> Any:
    """Return Gymnasium's environment without wrappers: a native task has its own time limit and checks."""
    return gym.make(env_id, max_episode_steps=-1, disable_env_checker=True, render_mode=render_mode).unwrapped
