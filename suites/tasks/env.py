"""The Gymnasium environment of a task: a stock MuJoCo environment with the task's observation, reward and resets."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import ArrayLike, NDArray

from suites.tasks.families import Family
from suites.tasks.initial_states import draw
from suites.tasks.physics import restore_physics, save_physics
from suites.tasks.task import Task
from wombet.errors import InputError

Observation = NDArray[np.float32]


class TaskEnv(gym.Env[Observation, Observation]):
    """The environment of a task, given as a Task or as what `Task.to_json` returns.

    Observations are float32 of shape (obs_dim,); actions float32 of shape (action_dim,), clipped to [-1, 1]. An episode
    is truncated at the task's horizon, unless it terminates there. `info["sim_state"]` is (qpos, qvel) in float64 and
    `info["native_reward"]` what the stock environment pays, which knows nothing of the task's goal.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(self, task: Task | Mapping[str, Any], render_mode: str | None = None) -> None:
        self.task = task if isinstance(task, Task) else Task.from_json(task)
        family = self.task.definition
        self._stock = _stock_environment(family, render_mode)
        self._model, self._data = self._stock.model, self._stock.data
        # Some stock environments write into init_qpos.
        self._base = self._stock.init_qpos.copy(), self._stock.init_qvel.copy()
        self._free_root = self._model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
        self._view = family.observation
        self._scale = self._stock.action_space.high.astype(np.float64)
        self._obs: Observation | None = None
        self._steps = 0
        self.render_mode = render_mode
        self.metadata = self._stock.metadata
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (self.task.obs_dim,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (self.task.action_dim,), np.float32)
        self.spec = EnvSpec(
            f"wombet/{self.task.id.replace('/', '-')}-v0",
            entry_point="suites.tasks.env:TaskEnv",
            kwargs={"task": self.task.to_json(), "render_mode": render_mode},
        )

    @property
    def model(self) -> Any:
        """The compiled MuJoCo model, the same for all tasks of a family."""
        return self._model

    @property
    def n_actions(self) -> int:
        """Entries of an action of the stock environment, which those of the task have to be."""
        return int(self._scale.size)

    @property
    def dt(self) -> float:
        """Seconds of simulated time per step."""
        return float(self._stock.dt)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in a state drawn from the task's initial states; returns (obs, info)."""
        super().reset(seed=seed)
        qpos, qvel = draw(self.task.initial_states, *self._base, self._free_root, self.np_random)
        obs = self._begin(qpos, qvel)
        if self.render_mode == "human":
            self.render()
        return obs, {"sim_state": self._sim_state()}

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises InputError for an action of wrong shape or with NaN, and ResetNeeded before the first episode.
        """
        if self._obs is None:
            raise gym.error.ResetNeeded(f"reset the environment of {self.task.id} before the first step")
        clipped = self._checked(action)
        before = self._view.position(self._model, self._data)
        native_reward = self._stock.step(clipped * self._scale)[1]
        rates = (self._view.position(self._model, self._data) - before) / self._stock.dt
        next_obs = self._observe(rates)
        rewards, ends = self.task.relabel(self._obs[None], clipped[None], next_obs[None])
        self._obs = next_obs
        self._steps += 1
        terminated = bool(ends[0])
        truncated = not terminated and self._steps >= self.task.horizon
        info = {"sim_state": self._sim_state(), "native_reward": float(native_reward)}
        return next_obs.copy(), float(rewards[0]), terminated, truncated, info

    def set_sim_state(self, state: ArrayLike) -> Observation:
        """Begin an episode in a state (qpos, qvel) and return its observation, with rates of zero.

        Raises InputError for a state of wrong length or with NaN.
        """
        values, nq = np.asarray(state, np.float64), self._model.nq
        if values.shape != (nq + self._model.nv,) or not np.isfinite(values).all():
            raise InputError(
                f"a simulator state of {self.task.family} is {nq + self._model.nv} finite numbers (qpos, qvel), "
                f"and this one has shape {values.shape} or a number that is not finite"
            )
        return self._begin(values[:nq], values[nq:])

    def state(self) -> dict[str, Any]:
        """Return all that decides the future of this environment, as arrays and plain values, in mid-episode too."""
        return {
            "fingerprint": self.task.fingerprint(),
            **save_physics(self._model, self._data),
            "generator": self.np_random.bit_generator.state,
            "steps": self._steps,
            "obs": None if self._obs is None else self._obs.copy(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on, byte for byte, where `state` was taken; raises InputError if that was in a task of other numbers."""
        if state["fingerprint"] != self.task.fingerprint():
            raise InputError(
                f"this state was taken in another task than {self.task.id}; restore it in the task it is of"
            )
        restore_physics(self._model, self._data, state)
        self.np_random.bit_generator.state = state["generator"]
        self._steps = int(state["steps"])
        self._obs = None if state["obs"] is None else np.array(state["obs"], np.float32)

    def render(self) -> Any:
        """Return or show a frame, as `render_mode` says."""
        return self._stock.render()

    def close(self) -> None:
        """Free the renderer."""
        self._stock.close()

    def _begin(self, qpos: NDArray[np.float64], qvel: NDArray[np.float64]) -> Observation:
        mujoco.mj_resetData(self._model, self._data)
        self._stock.set_state(qpos, qvel)
        self._steps = 0
        self._obs = self._observe(np.zeros(self.task.n_rates))
        return self._obs.copy()

    def _observe(self, rates: NDArray[np.float64]) -> Observation:
        return np.concatenate([rates, self._view.read(self._model, self._data)]).astype(np.float32)

    def _sim_state(self) -> NDArray[np.float64]:
        return np.concatenate([self._data.qpos, self._data.qvel])

    def _checked(self, action: ArrayLike) -> NDArray[np.float32]:
        values = np.asarray(action, np.float32)
        if values.shape != (self.task.action_dim,) or np.isnan(values).any():
            raise InputError(
                f"an action of {self.task.family} is {self.task.action_dim} numbers, "
                f"and this one has shape {values.shape} or holds NaN"
            )
        return np.clip(values, np.float32(-1.0), np.float32(1.0))


def _stock_environment(family: Family, render_mode: str | None) -> Any:
    # Without wrappers: the task has its own time limit and checks.
    made = gym.make(
        family.env_id, max_episode_steps=-1, disable_env_checker=True, render_mode=render_mode, **family.kwargs
    )
    return made.unwrapped
