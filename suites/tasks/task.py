"""A task of a family: which reward and which initial states, and everything that an algorithm may know of it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suites.tasks.families import Family
from suites.tasks.initial_states import InitialStates
from suites.tasks.registry import family as family_named
from suites.tasks.registry import unknown_name
from wombet.errors import InputError
from wombet.files import canonical_json, sha256
from wombet.task import Batch

if TYPE_CHECKING:
    from suites.tasks.env import TaskEnv

SHIFTS = ("both", "reward", "init")


@dataclass(frozen=True)
class Task:
    """One task; the level "aligned" is the source task under another name.

    `shift` says which half of the level differs from the source: its reward, its initial states, or both.
    Raises InputError if a field names nothing.
    """

    family: str
    level: str
    shift: str
    horizon: int

    def __post_init__(self) -> None:
        levels = (*self.definition.levels, "aligned")
        if self.level not in levels:
            raise unknown_name(f"level of family {self.family}", self.level, levels)
        if self.shift not in SHIFTS:
            raise unknown_name("shift", self.shift, SHIFTS)
        if type(self.horizon) is not int or self.horizon < 1:
            raise InputError(
                f"the horizon of task {self.id} is {self.horizon!r}; it must be a whole number of at least 1"
            )

    @property
    def definition(self) -> Family:
        """The family itself."""
        return family_named(self.family)

    @property
    def id(self) -> str:
        """Name such as `reacher/close`, or `reacher/close:reward` where only that half is shifted."""
        return f"{self.family}/{self.level}" + ("" if self.shift == "both" else f":{self.shift}")

    @property
    def obs_dim(self) -> int:
        """Entries of an observation."""
        return self.definition.observation.obs_dim

    @property
    def action_dim(self) -> int:
        """Entries of an action, each within [-1, 1]."""
        return self.definition.action_dim

    @property
    def n_rates(self) -> int:
        """How many leading observation entries are mean velocities over the last step."""
        return self.definition.observation.n_rates

    @property
    def angle_indices(self) -> tuple[int, ...]:
        """Observation entries that are angles without limits, in radians."""
        return self.definition.observation.angle_indices

    @property
    def initial_states(self) -> InitialStates:
        """The distribution that a reset draws from."""
        return self.definition.levels[self._level_of("init")].initial

    @property
    def reward_parameters(self) -> dict[str, Any]:
        """The keyword arguments of the family's reward function."""
        return {**self.definition.reward_parameters, **self.definition.levels[self._level_of("reward")].reward}

    def _level_of(self, half: str) -> str:
        shifted = self.level != "aligned" and self.shift in ("both", half)
        return self.level if shifted else "source"

    def reward(self, obs: Batch, action: Batch, next_obs: Batch) -> Batch:
        """Return rewards, shape (...,), for arrays or torch tensors of shape (..., dim), in their own precision."""
        return self.definition.reward(obs, action, next_obs, **self.reward_parameters)

    def terminated(self, next_obs: Batch) -> Any:
        """Return booleans, shape (...,): whether the episode ends in `next_obs`."""
        return self.definition.terminated(next_obs, **self.definition.terminated_parameters)

    def relabel(
        self, obs: NDArray[np.float32], action: NDArray[np.float32], next_obs: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (reward, terminated), shape (...,), bit for bit as the environment emits them for these rows."""
        wide = [_double(rows) for rows in (obs, action, next_obs)]
        return np.asarray(self.reward(*wide), np.float32), np.asarray(self.terminated(wide[2]), np.bool_)

    def sim_state_from_obs(self, obs: ArrayLike) -> NDArray[np.float64]:
        """Return simulator states (qpos, qvel), shape (..., nq + nv), that show as `obs`, shape (..., obs_dim).

        What the observation omits is at its resting place: the horizontal position of a moving body, a goal's marker.
        Raises InputError for observations of another length.
        """
        rows = np.asarray(obs)
        if rows.ndim < 1 or rows.shape[-1] != self.obs_dim:
            raise InputError(
                f"observations of {self.id} have {self.obs_dim} entries, and these have shape {rows.shape}"
            )
        return self.definition.observation.sim_state(rows)

    def make_env(self, render_mode: str | None = None) -> "TaskEnv":
        """Return a new environment of this task."""
        from suites.tasks.env import TaskEnv

        return TaskEnv(self, render_mode=render_mode)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values; `Task.from_json` gives the task back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Task":
        """Return the task that `to_json` described; raises InputError if the fields are others or name nothing."""
        wanted = [field.name for field in dataclasses.fields(cls)]
        if sorted(value) != sorted(wanted):
            raise InputError(f"a task has the fields {', '.join(wanted)}, and this one has {', '.join(sorted(value))}")
        return cls(**value)

    def fingerprint(self) -> str:
        """Return 12 hexadecimal digits that change with the task's numbers and version, and not with its name."""
        family = self.definition
        numbers: dict[str, Any] = {
            "env": [family.env_id, family.kwargs],
            "observation": [type(family.observation).__name__, dataclasses.asdict(family.observation)],  # type: ignore[call-overload]
            "reward": [family.reward.__qualname__, self.reward_parameters],
            "terminated": [family.terminated.__qualname__, family.terminated_parameters],
            "initial": dataclasses.asdict(self.initial_states),
            "horizon": self.horizon,
        }
        if family.version != 1:
            # Left out of the first version, so that results from before there were versions keep their names.
            numbers["version"] = family.version
        return sha256(canonical_json(numbers))[:12]


def make_task(family: str, level: str = "source", shift: str = "both", horizon: int | None = None) -> Task:
    """Return a task, with the family's own horizon by default; raises InputError with the nearest valid name."""
    return Task(family, level, shift, family_named(family).horizon if horizon is None else horizon)


def _double(rows: Any) -> NDArray[np.float64]:
    # Row-major, so that a mean over a row adds in one order however the rows were stored.
    return np.asarray(rows, np.float32).astype(np.float64, order="C")
