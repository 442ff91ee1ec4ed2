"""What a task family is: one simulator model, and levels that differ in reward and initial states only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from suites.tasks.initial_states import InitialStates
from suites.tasks.observations import Observation


@dataclass(frozen=True)
class Level:
    """What one level of a family has of its own: reward parameters and a distribution of initial states."""

    initial: InitialStates
    reward: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """Tasks that share dynamics, observation, termination and the form of the reward.

    `reward(obs, action, next_obs, **parameters)` and `terminated(next_obs, **parameters)` take numpy arrays and torch
    tensors of shape (..., dim) and return shape (...,). `levels` names at least "source"; "aligned" is the source.
    `kwargs` go to `gymnasium.make(env_id)`, whose environment must be a MuJoCo one that ends no episode by itself.
    Raise `version` when the code of the reward, the termination, the observation or the dynamics changes: names and
    numbers are compared by themselves, code is not, and results of the old code would pass for those of the new.
    """

    name: str
    env_id: str
    kwargs: Mapping[str, Any]
    observation: Observation
    action_dim: int
    reward: Callable[..., Any]
    reward_parameters: Mapping[str, Any]
    terminated: Callable[..., Any]
    terminated_parameters: Mapping[str, Any]
    horizon: int
    levels: Mapping[str, Level]
    group: Literal["core", "smoke", "extended"] = "extended"
    version: int = 1
