"""Interaction with an environment that is metered, budgeted, reproducible and resumable."""

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from wombet.errors import InputError

Array = NDArray[np.float32]


class BudgetExhausted(RuntimeError):
    """A step was asked for that the budget does not hold; the step was not taken."""


class Meter:
    """Counts environment steps against a budget that cannot be overrun; several environments may share one."""

    def __init__(self, budget: int | None = None, what: str = "interaction") -> None:
        if budget is not None and budget < 0:
            raise InputError(f"the budget for {what} steps is {budget}; it must be zero or more")
        self.budget = budget
        self.what = what
        self.count = 0

    @property
    def remaining(self) -> float:
        """Steps that may still be taken (infinite without a budget)."""
        return float("inf") if self.budget is None else self.budget - self.count

    def charge(self) -> None:
        """Count one step; raises BudgetExhausted before the step if none is left."""
        if self.remaining < 1:
            raise BudgetExhausted(f"the budget of {self.budget} {self.what} steps is spent")
        self.count += 1


class ResumableEnv(Protocol):
    """What MeteredEnv asks of an environment beside the Gymnasium interface."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]: ...

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]: ...

    def state(self) -> dict[str, Any]:
        """Return everything that decides the future of the environment, in the middle of an episode too."""

    def restore(self, state: dict[str, Any]) -> None: ...


class MeteredEnv(gym.Env[Array, Array]):
    """A Gymnasium environment whose steps are charged to a meter and whose episodes are seeded by their index.

    `seed_of_episode(i)` gives the reset seed of episode i, so that runs that share it meet the same initial states.
    `observation` is the current observation; reading it begins the next episode when the last one is over, which lets
    a training loop go on after a restore as if nothing had happened.
    """

    def __init__(self, env: ResumableEnv, meter: Meter, seed_of_episode: Callable[[int], int]) -> None:
        self.env = env
        self.meter = meter
        self.seed_of_episode = seed_of_episode
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.episodes = 0
        self.episode_steps = 0
        self._observation: Array | None = None
        self._info: dict[str, Any] = {}

    @property
    def observation(self) -> Array:
        """The observation to act on, shape (obs_dim,)."""
        if self._observation is None:
            self.reset()
        assert self._observation is not None
        return self._observation

    @property
    def sim_state(self) -> NDArray[np.float64]:
        """Simulator state of the current observation (qpos and qvel), as the environment reports it in `info`."""
        _ = self.observation
        return np.asarray(self._info["sim_state"])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; its seed comes from the episode's index, never from the caller."""
        self._observation, self._info = self.env.reset(seed=self.seed_of_episode(self.episodes), options=options)
        self.episodes += 1
        self.episode_steps = 0
        return self._observation, self._info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take one charged step; raises BudgetExhausted, without stepping, when the budget is spent."""
        _ = self.observation
        self.meter.charge()
        next_obs, reward, terminated, truncated, info = self.env.step(action)
        self.episode_steps += 1
        over = terminated or truncated
        self._observation, self._info = (None, {}) if over else (next_obs, info)
        return next_obs, float(reward), terminated, truncated, info

    def state(self) -> dict[str, Any]:
        """Return counters and, from the first episode on, the environment's own state, between episodes too."""
        running = self._observation is not None
        return {
            "episodes": self.episodes,
            "episode_steps": self.episode_steps,
            "observation": self._observation,
            "sim_state": self._info.get("sim_state") if running else None,
            "env": self.env.state() if self.episodes else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken; the meter is restored by its owner."""
        self.episodes = state["episodes"]
        self.episode_steps = state["episode_steps"]
        self._observation = state["observation"]
        self._info = {} if state["sim_state"] is None else {"sim_state": state["sim_state"]}
        if state["env"] is not None:
            self.env.restore(state["env"])

    def close(self) -> None:
        """Free the simulator."""
        close = getattr(self.env, "close", None)
        if close is not None:
            close()
