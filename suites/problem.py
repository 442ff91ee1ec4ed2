"""From a run's spec to the problem that a method is given: tasks, data, and metered environments that start closed."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from baselines.api import Budgets, Phase, Problem
from suites.spec import PairSpec, RunSpec
from suites.tasks.native import AnyTask, any_task
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.interaction import Meter, MeteredEnv, ResumableEnv
from wombet.streams import Streams

ACTION_TOLERANCE = 1e-6
"""What rounding may add to an action of 1."""


class MethodError(RuntimeError):
    """A method broke the contract; the message names the method and what it did."""


def tasks_of(pair: PairSpec) -> tuple[AnyTask, AnyTask]:
    """Return (source, target); raises InputError if the tasks are no longer those the spec was made for."""
    source = any_task(pair.family, "source", "both", pair.horizon)
    target = any_task(pair.family, pair.level, pair.shift, pair.horizon)
    for task, wanted in ((source, pair.source_fingerprint), (target, pair.target_fingerprint)):
        check_fingerprint(task, wanted)
    return source, target


def check_fingerprint(task: AnyTask, wanted: str) -> None:
    """Raise InputError unless the task's numbers are those with the wanted fingerprint."""
    if task.fingerprint() != wanted:
        raise InputError(
            f"the numbers of task {task.id} are not those this was planned with (fingerprint {task.fingerprint()}, "
            f"planned {wanted}); plan it again with this version"
        )


def open_problem(spec: RunSpec, dataset: TransferDataset | None) -> Problem:
    """Open the environments of a run, both with a budget of 0 until the runner opens the phase they belong to.

    The reset seed of an episode depends on the run's seed, the environment and the episode's index alone, so that all
    methods with one seed meet the same initial states.
    """
    source, target = tasks_of(spec.pair)
    source_env = _metered(source, "source", spec, Meter(0, "source"))
    return Problem(
        source=source,
        target=target,
        dataset=dataset,
        budgets=spec.budgets,
        source_env=source_env,
        target_env=_metered(target, "target", spec, Meter(0, "target")),
        open_source=lambda name: _metered(source, f"source {name}", spec, source_env.meter),
    )


def open_phase(problem: Problem, phase: Phase | None, source_online: bool = False) -> None:
    """Give the environment of a phase the phase's budget, and every other one none beyond what it has spent.

    `source_online` opens the source environment in the online phase too.
    """
    source_phases = (Phase.SOURCE, Phase.ONLINE) if source_online else (Phase.SOURCE,)
    for env, own, budget in (
        (problem.source_env, source_phases, problem.budgets.source_steps),
        (problem.target_env, (Phase.ONLINE,), problem.budgets.target_steps),
    ):
        env.meter.budget = budget if phase in own else env.meter.count


def total_units(budgets: Budgets) -> int:
    """Steps and offline updates of a whole run: the unit in which its progress is told."""
    return budgets.source_steps + budgets.offline_updates + budgets.target_steps


def check_actions(method: str, actions: Any, shape: tuple[int, ...]) -> None:
    """Raise MethodError unless actions are finite numbers of a shape, within [-1, 1]."""
    values = np.asarray(actions)
    if values.shape != shape or values.dtype.kind != "f":
        raise MethodError(
            f"method {method} gave actions of shape {values.shape} and type {values.dtype}; "
            f"they must be floating-point numbers of shape {shape}"
        )
    if not np.isfinite(values).all():
        raise MethodError(f"method {method} gave an action that is not finite")
    if values.size and np.abs(values).max() > 1 + ACTION_TOLERANCE:
        raise MethodError(f"method {method} gave an action of {np.abs(values).max():g}; actions lie within [-1, 1]")


class CheckedEnv:
    """An environment that refuses actions outside the contract, so that what a method stores is what was executed."""

    def __init__(self, env: ResumableEnv, method: str) -> None:
        self.env = env
        self.method = method
        self.observation_space = env.observation_space
        self.action_space = env.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step; raises MethodError for an action outside the contract and a reward that is not finite."""
        check_actions(self.method, action, self.action_space.shape or ())
        result = self.env.step(action)
        if not math.isfinite(result[1]):
            raise MethodError(f"method {self.method} met a reward of {result[1]}; the simulation has diverged")
        return result

    def state(self) -> dict[str, Any]:
        """Return the environment's own state."""
        return self.env.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.env.restore(state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)


def _metered(task: AnyTask, which: str, spec: RunSpec, meter: Meter) -> MeteredEnv:
    seeds: Callable[[int], int] = Streams(spec.seed).child("resets", which).integer
    return MeteredEnv(CheckedEnv(task.make_env(), spec.method), meter, seeds)
