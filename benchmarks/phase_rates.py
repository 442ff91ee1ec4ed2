"""How fast a method makes progress in each of its phases, measured by the contract on rows of random numbers."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from baselines.api import Budgets, Phase, Problem
from suites.tasks import make_task
from wombet.dataset import TransferDataset
from wombet.interaction import Meter, MeteredEnv

FAMILY, LEVEL = "halfcheetah", "close"
"""Whose sizes are measured: 18 observations and 6 actions."""
LONGEST = 20.0
"""CPU seconds that a phase may take to its first update."""


@dataclass(frozen=True)
class Measured:
    """What a phase did after its first update: updates, units (updates offline, else real steps), CPU seconds.

    `metrics` are those that the method offered with the last update, computed only if they are asked for.
    """

    updates: int
    units: int
    seconds: float
    metrics: Callable[[], Mapping[str, float]] | None = None


class _Enough(Exception):
    """The phase was measured for long enough."""


class Watch:
    """Counts a method's updates and steps against the CPU time they took, phase after phase.

    `seconds` is how long a phase is measured for once it updates. Ticks in which updates are made up for without a
    step, as after a warm-up, are not counted.
    """

    def __init__(self, problem: Problem, seconds: float = 1.0) -> None:
        self.seconds, self.updates = seconds, 0
        self._problem = problem
        self._phase = Phase.OFFLINE
        self._begun, self._units_before = 0.0, 0
        self._first: tuple[int, int, float] | None = None
        self._last: tuple[int, int, float] | None = None
        self._metrics: Any = None

    def measure(self, adapter: Any, phase: Phase) -> Measured | None:
        """Train a phase for a while and return what it did, or None if it makes no more than one update."""
        self._phase, self._begun, self._first, self._last = phase, time.thread_time(), None, None
        self._units_before = self._units(self.updates)
        with contextlib.suppress(_Enough):
            adapter.train(phase, self._tick)
        if self._first is None or self._last is None or self._last == self._first:
            return None
        updates, units, seconds = (end - start for start, end in zip(self._first, self._last, strict=True))
        return Measured(int(updates), int(units), seconds, self._metrics)

    def _units(self, updates: int) -> int:
        if self._phase is Phase.OFFLINE:
            return updates
        env = self._problem.source_env if self._phase is Phase.SOURCE else self._problem.target_env
        return env.meter.count

    def _tick(self, *, updates: int, metrics: Any = None) -> None:
        now, units = time.thread_time(), self._units(updates)
        if updates > self.updates and units > self._units_before:
            self._last = updates, units, now
            self._first, self._metrics = self._first or self._last, metrics
        self.updates, self._units_before = updates, units
        if now > (self._begun + LONGEST if self._first is None else self._first[2] + self.seconds):
            raise _Enough


def measured_problem(dataset: TransferDataset, horizon: int, **parts: Any) -> Problem:
    """Return the problem of two levels of FAMILY with a dataset and budgets that no measurement spends."""
    target, source = make_task(FAMILY, LEVEL, horizon=horizon), make_task(FAMILY, horizon=horizon)
    plenty = Budgets(target_steps=10**7, offline_updates=10**7, source_steps=10**7)
    source_env, target_env = (MeteredEnv(task.make_env(), Meter(None), lambda i: i) for task in (source, target))
    return Problem(source, target, dataset, plenty, source_env, target_env, **parts)
