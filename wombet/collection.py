"""Real experience of the source task: episodes by random actions, by a planner, or by a source agent.

Every step goes through a `MeteredEnv`. Rows are recorded between it and the simulator, so that whoever acts does not
matter: actions as executed, next observations from before any reset, simulator states, whole episodes in order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from wombet.dataset import TransferDataset
from wombet.interaction import Array, MeteredEnv
from wombet.noise import coloured_noise
from wombet.task import Task
from wombet.world_model import WorldModel

COLOURS = (1.0, 2.0, 3.0)
"""Exponents of the coloured random episodes, in turn: slow actions reach states that white noise never does."""
COLOUR_SCALES = (0.4, 0.7, 1.0)
"""Standard deviations of their actions, in turn."""

Progress = Callable[[], None]
"""Called after every unit of progress; may raise to stop."""


class Pilot(Protocol):
    """Whoever acts in rollouts of many episodes at once: a `Planner`, or something that stands where one does."""

    @property
    def model(self) -> WorldModel: ...

    def reset(self, n: int) -> None:
        """Begin n episodes."""

    def drop(self, keep: torch.Tensor) -> None:
        """Go on with the episodes of a boolean mask (n,)."""

    def plan(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the next actions (n, interval, action_dim) for observations (n, obs_dim)."""


class StartableEnv(Protocol):
    """A simulator whose state can be set: what executed rollouts need beside the Gymnasium interface."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]: ...

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]: ...

    def set_sim_state(self, state: NDArray[np.float64]) -> Any:
        """Begin an episode in a simulator state and return its observation."""

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class Recorder:
    """An environment that keeps every row of the episodes that run in it, and can begin one in a given state.

    `reset(options={"sim_state": s})` begins the episode in simulator state s.
    """

    def __init__(self, env: StartableEnv) -> None:
        self.env = env
        self.observation_space: gym.Space[Any] = env.observation_space
        self.action_space: gym.Space[Any] = env.action_space
        self._rows: list[dict[str, Any]] = []
        self._stored: dict[str, NDArray[Any]] | None = None
        self._obs: Any = None
        self._sim_state: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a drawn state, or in the simulator state that `options` names."""
        start = (options or {}).get("sim_state")
        self._cut_episode()
        obs, info = self.env.reset(seed=seed)
        if start is not None:
            obs, info = self.env.set_sim_state(start), {**info, "sim_state": np.array(start, np.float64)}
        self._obs, self._sim_state = obs, info["sim_state"]
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step and keep its row."""
        executed = np.clip(np.asarray(action, np.float32), np.float32(-1), np.float32(1))
        next_obs, reward, terminated, truncated, info = self.env.step(executed)
        self._rows.append(
            {
                "obs": self._obs,
                "action": executed,
                "next_obs": next_obs,
                "terminated": terminated,
                "truncated": truncated and not terminated,
                "sim_state": self._sim_state,
            }
        )
        self._obs, self._sim_state = next_obs, info["sim_state"]
        return next_obs, reward, terminated, truncated, info

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the rows so far as columns; raises ValueError before the first step."""
        if self._rows:
            new = {name: np.stack([row[name] for row in self._rows]) for name in self._rows[0]}
            old = self._stored
            self._stored = new if old is None else {name: np.concatenate([old[name], new[name]]) for name in new}
            self._rows = []
        if self._stored is None:
            raise ValueError("no step was recorded")
        return dict(self._stored)

    def take(self, task: Task) -> TransferDataset:
        """Return all episodes with the task's reward, and forget them; one still running is truncated here."""
        rows, self._stored = self.rows(task), None
        return rows

    def rows(self, task: Task) -> TransferDataset:
        """Return all episodes so far with the task's reward; of one still running, what there is, truncated."""
        columns = self.columns()
        columns["truncated"] = columns["truncated"].copy()
        columns["truncated"][-1] |= not columns["terminated"][-1]
        return labelled(columns, task)

    def state(self) -> dict[str, Any]:
        """Return the rows, the current observation, and the environment's own state."""
        rows = self.columns() if self._rows or self._stored is not None else None
        return {"env": self.env.state(), "rows": rows, "obs": self._obs, "sim_state": self._sim_state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.env.restore(state["env"])
        self._rows, self._stored = [], None if state["rows"] is None else dict(state["rows"])
        self._obs, self._sim_state = state["obs"], state["sim_state"]

    def close(self) -> None:
        """Free the simulator."""
        close = getattr(self.env, "close", None)
        if close is not None:
            close()

    def _cut_episode(self) -> None:
        """Mark the end of an episode that a reset leaves unfinished."""
        if self._rows and not self._rows[-1]["terminated"]:
            self._rows[-1]["truncated"] = True
        elif not self._rows and self._stored is not None and not self._stored["terminated"][-1]:
            self._stored["truncated"] = self._stored["truncated"].copy()
            self._stored["truncated"][-1] = True


def recorded(env: MeteredEnv) -> Recorder:
    """Return the recorder between a metered environment and its simulator; there is one from the first call on."""
    if isinstance(env.env, Recorder):
        return env.env
    recorder = Recorder(env.env)  # type: ignore[arg-type]
    env.env = recorder
    return recorder


def labelled(columns: Mapping[str, NDArray[Any]], task: Task) -> TransferDataset:
    """Return rows as a dataset: reward by the task, episodes numbered from 0, uncertainty zero unless given."""
    reward, _ = task.relabel(columns["obs"], columns["action"], columns["next_obs"])
    over = columns["terminated"] | columns["truncated"]
    given: dict[str, Any] = {
        "uncertainty": np.zeros(len(reward), np.float32),
        "episode_id": (np.cumsum(over) - over).astype(np.int32),
        **columns,
    }
    return TransferDataset(**given, reward_source=reward)


def joined(parts: Sequence[TransferDataset]) -> TransferDataset:
    """Return datasets one after the other, with episodes numbered on; simulator states only if all have them."""
    columns: dict[str, Any] = {}
    common = set.intersection(*(set(part.columns()) for part in parts)) - {"episode_id"}
    for name in common:
        columns[name] = np.concatenate([getattr(part, name) for part in parts])
    counts = [int(part.episode_id[-1]) + 1 for part in parts]
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
    numbered = [part.episode_id + np.int32(offset) for part, offset in zip(parts, offsets, strict=True)]
    return TransferDataset(**columns, episode_id=np.concatenate(numbered).astype(np.int32))


def with_uncertainty(data: TransferDataset, uncertainty: NDArray[Any]) -> TransferDataset:
    """Return the rows with another uncertainty column."""
    return replace(data, uncertainty=np.asarray(uncertainty, np.float32))


def next_actions(planner: Pilot, obs: Array) -> Array:
    """Return the planner's next actions (n, replan_interval, action_dim) for observations in numpy."""
    return planner.plan(torch.from_numpy(obs).to(planner.model.device)).cpu().numpy()


def random_episodes(
    env: MeteredEnv, task: Task, steps: int, generator: np.random.Generator, progress: Progress
) -> TransferDataset:
    """Act at random for `steps` steps: every other episode by uniform actions, the others by coloured noise."""
    recorder = recorded(env)
    first = env.meter.count
    while env.meter.count - first < steps:
        actions = _random_actions(env.episodes, task, generator)
        _ = env.observation
        for action in actions[: steps - (env.meter.count - first)]:
            _, _, terminated, truncated, _ = env.step(action)
            progress()
            if terminated or truncated:
                break
    return recorder.take(task)


def planned_episodes(
    envs: Sequence[MeteredEnv],
    task: Task,
    planner: Pilot,
    starts: NDArray[np.float64] | None,
    max_steps: int,
    noise: NDArray[np.float32],
    generator: np.random.Generator,
    progress: Progress,
) -> list[TransferDataset]:
    """Run one episode of a planner in each environment, all in lock-step; returns one dataset per environment.

    `starts` (n, simulator state) begins them there instead of in states the environments draw. `noise` (n,) is the
    standard deviation of normal noise on each episode's actions, drawn from `generator` as one block per step.
    Episodes are truncated after `max_steps`.
    """
    recorders = [recorded(env) for env in envs]
    for i, env in enumerate(envs):
        env.reset(options=None if starts is None else {"sim_state": starts[i]})
    live = np.arange(len(envs))
    planner.reset(len(envs))
    plans = np.zeros((len(envs), 0, task.action_dim), np.float32)
    for _ in range(max_steps):
        if plans.shape[1] == 0:
            obs = np.stack([envs[i].observation for i in live.tolist()])
            plans = next_actions(planner, obs)
        disturbance = generator.standard_normal((len(envs), task.action_dim))[live] * noise[live, None]
        actions = np.clip(plans[:, 0] + disturbance, -1, 1).astype(np.float32)
        plans = plans[:, 1:]
        over = np.zeros(len(live), np.bool_)
        for place, i in enumerate(live.tolist()):
            _, _, terminated, truncated, _ = envs[i].step(actions[place])
            over[place] = terminated or truncated
        progress()
        if over.any():
            planner.drop(torch.from_numpy(~over))
            live, plans = live[~over], plans[~over]
        if len(live) == 0:
            break
    return [recorder.take(task) for recorder in recorders]


def _random_actions(episode: int, task: Task, generator: np.random.Generator) -> Array:
    shape = (task.horizon, task.action_dim)
    if episode % 2 == 0:
        return generator.uniform(-1, 1, shape).astype(np.float32)
    turn = episode // 2
    white = torch.from_numpy(generator.standard_normal(shape[::-1]).astype(np.float32))
    noise = coloured_noise(white, COLOURS[turn % len(COLOURS)]).numpy().T
    return np.clip(COLOUR_SCALES[turn % len(COLOUR_SCALES)] * noise, -1, 1).astype(np.float32)
