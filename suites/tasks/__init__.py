"""Task families: a source task and target tasks of the same dynamics, which differ in reward and initial states."""

from suites.tasks.families import Family, Level
from suites.tasks.initial_states import InitialStates
from suites.tasks.observations import JointObservation, Observation
from suites.tasks.registry import families, family, register_family
from suites.tasks.task import Task, make_task

__all__ = [
    "Family",
    "InitialStates",
    "JointObservation",
    "Level",
    "Observation",
    "Task",
    "families",
    "family",
    "make_task",
    "register_family",
]
