"""A level of a family with other reward parameters: a source task of one's own, without a new level."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suites.tasks.registry import unknown_name
from suites.tasks.task import Task, make_task
from wombet.errors import InputError


@dataclass(frozen=True)
class CustomTask(Task):
    """A task whose level's reward parameters are replaced by those of `changes`, (name, number or numbers) each.

    Raises InputError for a parameter that the family's reward does not have, or a value that is no number.
    """

    changes: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        known = super().reward_parameters
        for name, value in self.changes:
            if name not in known:
                raise unknown_name(f"reward parameter of family {self.family}", name, known)
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
                raise InputError(f"the reward parameter {name} of family {self.family} is {value!r}; give it numbers")

    @property
    def id(self) -> str:
        """The level's name, and digits that tell the reward apart from the level's own."""
        return f"{super().id}:reward-{self.fingerprint()[:6]}"

    @property
    def reward_parameters(self) -> dict[str, Any]:
        """The keyword arguments of the family's reward function."""
        return {**super().reward_parameters, **dict(self.changes)}


def custom_task(family: str, level: str, reward: Mapping[str, Any], horizon: int | None = None) -> Task:
    """Return a level of a family, with other reward parameters if `reward` names any; lists of numbers are tuples."""
    task = make_task(family, level, horizon=horizon)
    if not reward:
        return task
    changes = [(name, tuple(value) if isinstance(value, list) else value) for name, value in sorted(reward.items())]
    return CustomTask(family, level, "both", task.horizon, tuple(changes))
