"""The clauses of the adapter contract. Each is a check of one method; what breaks is said in one sentence."""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from baselines.api import Phase, SavesPolicy
from baselines.registry import method
from suites.contract.problem import BUDGETS, dataset, target_task
from suites.contract.run import BrokenClause, SmallRun, Stopped, require
from suites.tasks.env import TaskEnv
from suites.tasks.task import Task
from wombet.serialization import dumps, loads

STOPS = (0.0, 0.3, 0.6, 0.95)
"""Where in its ticks a run is stopped and resumed, as shares."""
CLOCKS = ("time", "perf_counter", "monotonic", "process_time", "time_ns")


class NotApplicable(Exception):
    """The clause asks nothing of this method; the message says why."""


class Subject:
    """A method under the contract, with settings of its author; its undisturbed run is made once."""

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None) -> None:
        self.name, self.settings = name, settings or {}
        self.capabilities = method(name).capabilities

    def run(self, seed: int = 0) -> SmallRun:
        """A new run."""
        return SmallRun(self.name, self.settings, seed)

    @cached_property
    def undisturbed(self) -> tuple[bytes, int]:
        """State at the end and number of ticks of the run that nothing disturbs."""
        run = self.run().train()
        return run.state(), run.ticks


def describes_itself(subject: Subject) -> None:
    """It names its kind and source, and its Config is a frozen dataclass whose defaults are valid."""
    kind, found = method(subject.name), subject.capabilities
    require(bool(found.kind and found.source), "capabilities must name a kind and a source")
    require(dataclasses.is_dataclass(kind.Config), "Config must be a dataclass")
    require(kind.Config.__dataclass_params__.frozen, "Config must be frozen: @dataclass(frozen=True)")  # type: ignore[attr-defined]
    require(kind.Config() == kind.Config(), "two Configs of defaults differ")
    require(len(set(found.phases)) == len(found.phases), "capabilities name a phase twice")


def acts_within_bounds(subject: Subject) -> None:
    """Actions are float32 of shape (n, action_dim) within [-1, 1], the same for the same generator."""
    run = subject.run().train()
    obs, before = _some_observations(), run.state()
    actions = np.asarray(run.adapter.act(obs, np.random.default_rng(0)))
    wanted = (len(obs), run.problem.target.action_dim)
    require(actions.shape == wanted, f"act returned shape {actions.shape} for {len(obs)} observations, not {wanted}")
    require(actions.dtype == np.float32, f"act returned {actions.dtype}; it must return float32")
    require(bool(np.isfinite(actions).all()), "act returned numbers that are not finite")
    require(float(np.abs(actions).max()) <= 1, "act returned actions outside of [-1, 1]; clip them")
    again = run.adapter.act(obs, np.random.default_rng(0))
    require(np.array_equal(actions, again), "act gave other actions for the same observations and generator")
    require(run.state() == before, "act changed the training state")


def spends_its_budgets(subject: Subject) -> None:
    """Every phase ends when its budget of steps or updates is spent, neither before nor after."""
    run, phases = subject.run().train(), subject.capabilities.phases
    visits = Phase.SOURCE in phases or subject.capabilities.source_steps_online
    for opened, which, budget in (
        (Phase.ONLINE in phases, "target", BUDGETS.target_steps),
        (visits, "source", BUDGETS.source_steps),
    ):
        wanted, spent = budget if opened else 0, run.meters[which].count
        require(spent == wanted, f"{spent} {which} steps were taken of a budget of {wanted}")
    if phases == (Phase.OFFLINE,):
        require(
            run.updates in (0, BUDGETS.offline_updates),
            f"{run.updates} updates were reported of a budget of {BUDGETS.offline_updates} offline updates",
        )


def waits_for_the_online_phase(subject: Subject) -> None:
    """No step is taken in the target task before the online phase, nor in the source task outside its own."""
    runs: list[SmallRun] = []

    def watch(run: SmallRun) -> None:
        astray = run.phase is Phase.OFFLINE and Phase.SOURCE not in subject.capabilities.phases
        require(not (astray and run.meters["source"].count > 0), "the source task was stepped in the offline phase")

    with _WatchedSteps(target_task(), lambda: runs[0].phase.value if runs else "") as phases:
        runs.append(subject.run())
        runs[0].train(in_tick=watch)
    early = next((phase for phase in phases if phase != Phase.ONLINE.value), None)
    when = f"in the {early} phase" if early else "when the method was made"
    require(early is None, f"the target task was stepped {when}; only the online phase may step it")


def is_deterministic(subject: Subject) -> None:
    """The same seed gives the same bytes, and another seed others."""
    state, _ = subject.undisturbed
    require(subject.run().train().state() == state, "two runs of one seed ended in different states")
    if subject.capabilities.phases:
        require(subject.run(seed=1).train().state() != state, "another seed changed nothing; draw from the streams")


def keeps_its_randomness_to_itself(subject: Subject) -> None:
    """No global random generator and no clock is read or moved."""
    state, _ = subject.undisturbed
    saved = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        random.seed(99)
        np.random.seed(99)  # noqa: NPY002
        torch.manual_seed(99)
        before = _global_random_states()
        with _StoppedClocks():
            ended = subject.run().train().state()
        moved = _global_random_states() != before
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002
        torch.set_rng_state(saved[2])
    require(ended == state, "the run reads a global random generator or a clock; draw from the streams it is given")
    require(not moved, "the run moved a global random generator of numpy, torch or python; draw from the streams")


def does_not_notice_evaluation(subject: Subject) -> None:
    """Acting in every tick, as evaluation does, changes nothing in training."""
    generator, obs = np.random.default_rng(3), _some_observations()
    watched = subject.run().train(in_tick=lambda run: run.adapter.act(obs, generator))
    require(watched.state() == subject.undisturbed[0], "training ended differently when it was evaluated in every tick")


def resumes(subject: Subject) -> None:
    """Stopped in any tick and continued in a new process's place, it equals the run that was never stopped."""
    if not subject.capabilities.resumable:
        raise NotApplicable("it declares that it cannot be resumed")
    state, ticks = subject.undisturbed
    if ticks == 0:
        begun = subject.run().restore(subject.run().state()).train().state()
        require(begun == state, "restored from its own beginning it ended differently")
        return
    for at in sorted({1 + int(share * (ticks - 1)) for share in STOPS}):
        stopped = subject.run()
        try:
            stopped.train(stop_at=at)
        except Stopped:
            saved = stopped.state()
        else:
            raise BrokenClause(f"the undisturbed run had {ticks} ticks and this one ended before its tick {at}")
        ended = subject.run().restore(saved).train().state()
        require(
            ended == state, f"stopped in tick {at} of {ticks} and restored, it ended differently; state() is incomplete"
        )


def reports_numbers(subject: Subject) -> None:
    """Metrics are finite numbers."""
    for metrics in subject.run().train().metrics:
        for name, value in metrics.items():
            require(bool(np.isfinite(value)), f"the metric {name!r} is {value}")


def keeps_its_policy(subject: Subject) -> None:
    """What it saves as its policy acts as it did at the end of training."""
    trained = subject.run().train().adapter
    if not isinstance(trained, SavesPolicy):
        raise NotApplicable("it offers no policy_state, so its whole state is kept")
    fresh, obs = subject.run().adapter, _some_observations()
    assert isinstance(fresh, SavesPolicy)
    fresh.restore_policy(loads(dumps(trained.policy_state())))
    first, again = (each.act(obs, np.random.default_rng(1)) for each in (trained, fresh))
    require(np.array_equal(first, again), "restored from policy_state() it acts otherwise than at the end of training")


Clause = Callable[[Subject], None]
CLAUSES: tuple[Clause, ...] = (
    describes_itself,
    acts_within_bounds,
    spends_its_budgets,
    waits_for_the_online_phase,
    is_deterministic,
    keeps_its_randomness_to_itself,
    does_not_notice_evaluation,
    resumes,
    reports_numbers,
    keeps_its_policy,
)


def _some_observations() -> np.ndarray:
    return np.stack([dataset().obs[row] for row in (0, 7, 20)])


def _global_random_states() -> bytes:
    numpy_state = np.random.get_state()  # noqa: NPY002
    python_and_numpy = repr((random.getstate(), numpy_state[1].tobytes(), numpy_state[2:])).encode()  # type: ignore[index]
    return python_and_numpy + bytes(torch.get_rng_state().numpy())


class _StoppedClocks:
    """Within it every clock of the module `time` stands still."""

    def __enter__(self) -> None:
        self._patches = [patch.object(time, clock, lambda: 0) for clock in CLOCKS]
        for each in self._patches:
            each.start()

    def __exit__(self, *_: object) -> None:
        for each in self._patches:
            each.stop()


class _WatchedSteps:
    """Within it every step in a task is noted with its moment, in environments that a method made for itself too."""

    def __init__(self, task: Task, moment: Callable[[], str]) -> None:
        self._task, self._moment = task, moment

    def __enter__(self) -> list[str]:
        moments: list[str] = []
        step = TaskEnv.step

        def noted(env: TaskEnv, action: Any) -> Any:
            if env.task == self._task:
                moments.append(self._moment())
            return step(env, action)

        self._patch = patch.object(TaskEnv, "step", noted)
        self._patch.start()
        return moments

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
