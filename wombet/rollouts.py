"""Trajectories of a planner from given starts: imagined in the world model, or executed in the simulator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wombet.collection import Pilot, Progress, joined, labelled, next_actions, planned_episodes, with_uncertainty
from wombet.dataset import TransferDataset
from wombet.filtering import Candidates
from wombet.interaction import Array, MeteredEnv
from wombet.task import Task
from wombet.world_model import WorldModel

LARGEST_ENTRY = 100.0
"""An imagined observation with a larger entry, or one that is not finite, ends its trajectory (MBPO)."""
UNCERTAINTY_ROWS = 16384
"""Rows per forward pass when many real rows are scored."""


@dataclass(frozen=True, eq=False)
class Starts:
    """Where n trajectories begin: obs (n, obs_dim) as after a reset, so with rates of zero, and simulator states.

    `type` (n,) indexes `wombet.filtering.START_TYPES`; `noise` (n,) is the standard deviation of each trajectory's
    action noise.
    """

    obs: Array
    sim_state: NDArray[np.float64]
    type: NDArray[np.int64]
    noise: Array

    def __len__(self) -> int:
        return len(self.obs)

    def __getitem__(self, part: slice | NDArray[Any]) -> "Starts":
        return Starts(self.obs[part], self.sim_state[part], self.type[part], self.noise[part])


@dataclass(frozen=True, eq=False)
class Rollouts:
    """n trajectories: their rows, whose `episode_id` is the index of the start, and per trajectory its length (n,).

    A trajectory without rows (an imagined one that was stopped at once) has length 0 and no episode in `data`.
    """

    data: TransferDataset
    steps: NDArray[np.int64]
    start_type: NDArray[np.int64]

    def sums(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sum row values over each trajectory; zero for one without rows."""
        sums = np.bincount(self.data.episode_id, weights=values.astype(np.float64), minlength=len(self.steps))
        return sums.astype(np.float64)

    def candidates(self) -> Candidates:
        """What the filter judges: mean reward and mean uncertainty per step."""
        length = np.maximum(self.steps, 1)
        returns, uncertainty = self.sums(self.data.reward_source), self.sums(self.data.uncertainty)
        return Candidates(returns / length, uncertainty / length, self.steps, self.start_type)

    def select(self, accepted: NDArray[np.bool_]) -> TransferDataset:
        """Return the rows of the accepted trajectories, renumbered from 0 in the order of their starts."""
        rows = accepted[self.data.episode_id]
        columns: dict[str, Any] = {name: column[rows] for name, column in self.data.columns().items()}
        renumbered = np.cumsum(accepted & (self.steps > 0)) - 1
        columns["episode_id"] = renumbered[columns["episode_id"]].astype(np.int32)
        return TransferDataset(**columns)


def merged(first: Rollouts, second: Rollouts, of_second: NDArray[np.bool_]) -> Rollouts:
    """Return two sets of rollouts in one order: `of_second` (n,) says which places the second's take, in turn."""
    steps, kinds = np.zeros(len(of_second), np.int64), np.zeros(len(of_second), np.int64)
    placed = []
    for rollouts, places in ((first, np.flatnonzero(~of_second)), (second, np.flatnonzero(of_second))):
        steps[places], kinds[places] = rollouts.steps, rollouts.start_type
        placed.append(places[rollouts.data.episode_id])
    trajectory = np.concatenate(placed).astype(np.int32)
    order = np.argsort(trajectory, kind="stable")
    both = first.data.columns(), second.data.columns()
    columns: dict[str, Any] = {
        name: np.concatenate([columns[name] for columns in both])[order] for name in both[0] if name in both[1]
    }
    return Rollouts(TransferDataset(**{**columns, "episode_id": trajectory[order]}), steps, kinds)


def model_uncertainty(model: WorldModel, obs: Array, action: Array) -> NDArray[np.float32]:
    """Return the model's uncertainty (N,) of rows in numpy."""
    blocks = zip(*(torch.from_numpy(rows).split(UNCERTAINTY_ROWS) for rows in (obs, action)), strict=True)
    found = [model.uncertainty(o.to(model.device), a.to(model.device)).cpu() for o, a in blocks]
    return torch.cat(found).numpy().astype(np.float32)


def rescored(rollouts: Rollouts, model: WorldModel) -> Rollouts:
    """Return rollouts with the uncertainty that another model has of their rows."""
    data = rollouts.data
    uncertainty = model_uncertainty(model, data.obs, data.action)
    return Rollouts(with_uncertainty(data, uncertainty), rollouts.steps, rollouts.start_type)


def executed(
    model: WorldModel,
    task: Task,
    planner: Pilot,
    starts: Starts,
    max_steps: int,
    envs: Sequence[MeteredEnv],
    generator: np.random.Generator,
    progress: Progress,
) -> Rollouts:
    """Run the planner in the real environments from `starts`, len(envs) trajectories at a time, each step charged."""
    parts = []
    for first in range(0, len(starts), len(envs)):
        group = starts[first : first + len(envs)]
        parts += planned_episodes(
            envs[: len(group)], task, planner, group.sim_state, max_steps, group.noise, generator, progress
        )
    data = joined(parts)
    data = with_uncertainty(data, model_uncertainty(model, data.obs, data.action))
    return Rollouts(data, np.array([len(part) for part in parts]), starts.type)


def imagined(
    model: WorldModel,
    task: Task,
    planner: Pilot,
    starts: Starts,
    max_steps: int,
    hard_stop: float,
    generator: np.random.Generator,
    progress: Progress,
) -> Rollouts:
    """Run the planner inside the model from `starts`, all trajectories in one batch.

    Each trajectory follows the mean of one elite, drawn once, so that its errors are those of one consistent world
    (TS-infinity of PETS, 1805.12114) and carry no sampling noise. It ends by the task's rule, after `max_steps`, or
    before a row whose uncertainty exceeds `hard_stop` or whose next observation left all bounds, which truncates it.
    """
    n = len(starts)
    member = generator.integers(0, model.n_elites, n)
    live, obs = np.arange(n), starts.obs.copy()
    steps, rows = np.zeros(n, np.int64), _Rows()
    planner.reset(n)
    plans = np.zeros((n, 0, task.action_dim), np.float32)
    for _ in range(max_steps):
        if plans.shape[1] == 0:
            plans = next_actions(planner, obs)
        disturbance = generator.standard_normal((n, task.action_dim))[live] * starts.noise[live, None]
        action = np.clip(plans[:, 0] + disturbance, -1, 1).astype(np.float32)
        plans = plans[:, 1:]
        next_obs, uncertainty = _step(model, obs, action, member[live])
        sound = (uncertainty <= hard_stop) & (np.abs(next_obs) <= LARGEST_ENTRY).all(1)
        terminated = task.relabel(obs, action, next_obs)[1]
        rows.add(sound, trajectory=live, obs=obs, action=action, next_obs=next_obs, uncertainty=uncertainty,
                 terminated=terminated)  # fmt: skip
        steps[live[sound]] += 1
        progress()
        goes_on = sound & ~terminated
        if not goes_on.all():
            planner.drop(torch.from_numpy(goes_on))
        live, obs, plans = live[goes_on], next_obs[goes_on], plans[goes_on]
        if len(live) == 0:
            break
    return Rollouts(rows.dataset(task), steps, starts.type)


def _step(model: WorldModel, obs: Array, action: Array, member: NDArray[np.int64]) -> tuple[Array, Array]:
    mean, uncertainty = model.step(torch.from_numpy(obs).to(model.device), torch.from_numpy(action).to(model.device))
    next_obs = mean.cpu()[torch.from_numpy(member), torch.arange(len(member))]
    beyond = 10 * LARGEST_ENTRY
    finite = np.nan_to_num(next_obs.numpy().astype(np.float32), nan=beyond, posinf=beyond, neginf=-beyond)
    return finite, np.nan_to_num(uncertainty.cpu().numpy().astype(np.float32), nan=np.inf)


class _Rows:
    """Rows of many trajectories, step by step, brought into the order of the trajectories at the end."""

    def __init__(self) -> None:
        self._parts: list[dict[str, NDArray[np.generic]]] = []

    def add(self, keep: NDArray[np.bool_], **columns: NDArray[np.generic]) -> None:
        self._parts.append({name: column[keep] for name, column in columns.items()})

    def dataset(self, task: Task) -> TransferDataset:
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        order = np.argsort(columns["trajectory"], kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
        trajectory = columns.pop("trajectory").astype(np.int32)
        last = np.append(np.diff(trajectory) != 0, True) if len(trajectory) else np.zeros(0, np.bool_)
        columns["truncated"] = last & ~columns["terminated"].astype(np.bool_)
        return labelled({**columns, "episode_id": trajectory}, task)


OpenEnv = Callable[[str], MeteredEnv]
"""Opens a metered source environment by name; the name decides its stream of resets."""
