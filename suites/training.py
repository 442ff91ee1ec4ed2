"""A run in progress: its phases, and what happens in a tick."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from baselines.api import Adapter, EstimatesReturn, Metrics, Phase, Problem
from suites.checkpoint import Checkpoints
from suites.evaluate import Evaluator
from suites.outcome import Preempted
from suites.pacing import Pace, Stopwatch
from suites.problem import MethodError, open_phase
from suites.spec import RunSpec
from suites.store import Rows

TRAIN_ROWS = 200
"""Rows that train.jsonl holds of a phase."""
UNPLANNED_INTERVAL = 100
"""Updates between rows of a phase that has no budget to divide."""

_FILES = ("evals", "costs", "train")


class Training:
    """Takes an adapter through its phases, and evaluates, records, saves and stops in its ticks.

    Everything that decides the results is in `state`, so that a run which is continued from one writes the same bytes
    as one that never stopped. Clock times go into costs.jsonl and status.json only; they leave evaluations and
    checkpoints out.
    """

    def __init__(
        self,
        spec: RunSpec,
        folder: Path,
        problem: Problem,
        adapter: Adapter,
        evaluator: Evaluator,
        pace: Pace,
        dataset_steps: int,
    ) -> None:
        self.spec, self.problem, self.adapter = spec, problem, adapter
        self.evaluator, self.pace, self.dataset_steps = evaluator, pace, dataset_steps
        self.phases = adapter.capabilities.phases
        self.checkpoints = Checkpoints(folder / "checkpoint")
        self.rows = {name: Rows(folder / f"{name}.jsonl") for name in _FILES}
        self.watch = Stopwatch()
        self.phase_index = 0
        self.next_evaluation = 0
        self.updates = 0
        self._phase_first_updates = 0
        self._recorded = 0
        self._steps = spec.evaluation_steps() if Phase.ONLINE in self.phases else [0]

    @property
    def units(self) -> int:
        """How much of `total_units` is done."""
        return self.problem.source_env.meter.count + self._offline_units + self.problem.target_env.meter.count

    @property
    def _offline_units(self) -> int:
        """Updates of the offline phase alone, because another phase may make some too."""
        if Phase.OFFLINE not in self.phases[: self.phase_index + 1]:
            return 0
        budget = self.problem.budgets.offline_updates
        in_it = self.phase_index < len(self.phases) and self.phases[self.phase_index] is Phase.OFFLINE
        return min(self.updates - self._phase_first_updates, budget) if in_it else budget

    @property
    def counts(self) -> dict[str, int]:
        """The three costs that every row carries; a method that uses the shared dataset is charged its source steps."""
        return {
            "source_steps": self.dataset_steps + self.problem.source_env.meter.count,
            "target_steps": self.problem.target_env.meter.count,
            "updates": self.updates,
        }

    def run(self) -> None:
        """Go through the phases that are left; raises Preempted in a tick once a stop was requested."""
        self.pace.begin(self.units, **self.counts)
        while self.phase_index < len(self.phases):
            phase = self.phases[self.phase_index]
            open_phase(self.problem, phase, self.adapter.capabilities.source_steps_online)
            self.pace.enter(phase.value, self.units)
            if phase is Phase.ONLINE and self.next_evaluation == 0:
                self._evaluate(self._phase_before())
            self.adapter.train(phase, self.tick)
            self._check_phase(phase)
            self.phase_index += 1
            self._phase_first_updates, self._recorded = self.updates, 0
        open_phase(self.problem, None)
        if self.next_evaluation == 0:
            self._evaluate(self._phase_before())
        self.pace.beat(self.units, now=True, **self.counts)

    def tick(self, *, updates: int, metrics: Callable[[], Metrics] | None = None) -> None:
        """Take note of progress: evaluate and record if due, beat the heart, save, and stop if asked to."""
        self.pace.confirm()
        phase = self.phases[self.phase_index]
        if phase is Phase.OFFLINE:
            self._check_offline_budget(updates)
        self.updates = updates
        if phase is Phase.ONLINE:
            self._evaluate_if_due()
        if metrics is not None:
            self._record_if_due(phase, metrics)
        stop = self.pace.stop_requested()
        self.pace.beat(self.units, now=stop, **self.counts)
        if stop or self.pace.checkpoint_due:
            self.save()
        if stop:
            raise Preempted

    def save(self) -> None:
        """Write a checkpoint, if the method can be continued from one."""
        if not self.adapter.capabilities.resumable:
            return
        with self.watch.paused(), self.pace.checkpointing():
            for rows in self.rows.values():
                rows.sync()
            self.checkpoints.save(self.state())

    def state(self) -> dict[str, Any]:
        """Return everything that decides the rest of the run, and how long its files are."""
        cpu_s, wall_s = self.watch.read()
        return {
            "adapter": self.adapter.state(),
            "source": {"env": self.problem.source_env.state(), "steps": self.problem.source_env.meter.count},
            "target": {"env": self.problem.target_env.state(), "steps": self.problem.target_env.meter.count},
            "phase_index": self.phase_index,
            "next_evaluation": self.next_evaluation,
            "updates": self.updates,
            "phase_first_updates": self._phase_first_updates,
            "recorded": self._recorded,
            "lengths": {name: rows.length for name, rows in self.rows.items()},
            "cpu_s": cpu_s,
            "wall_s": wall_s,
        }

    def restore(self) -> None:
        """Go on from the newest checkpoint that is whole and fits the files (which are cut to match), or begin."""
        for state in self.checkpoints.load():
            if all(state["lengths"][name] <= rows.length for name, rows in self.rows.items()):
                self._take_up(state)
                return
            self.checkpoints.problems.append("a checkpoint was left unused: the run's files are shorter than it says")
        for rows in self.rows.values():
            rows.cut(0)
        self.watch.restart(0.0, 0.0)

    def close(self) -> None:
        """Free the simulators."""
        for closable in (self.evaluator, self.problem.source_env, self.problem.target_env):
            closable.close()

    def _take_up(self, state: dict[str, Any]) -> None:
        for name, rows in self.rows.items():
            rows.cut(state["lengths"][name])
        self.adapter.restore(state["adapter"])
        for env, part in ((self.problem.source_env, state["source"]), (self.problem.target_env, state["target"])):
            env.meter.count = part["steps"]
            env.restore(part["env"])
        self.phase_index, self.next_evaluation = state["phase_index"], state["next_evaluation"]
        self.updates, self._phase_first_updates = state["updates"], state["phase_first_updates"]
        self._recorded = state["recorded"]
        self.watch.restart(state["cpu_s"], state["wall_s"])

    def _phase_before(self) -> str:
        return self.phases[self.phase_index - 1].value if self.phase_index else "none"

    def _evaluate(self, phase: str) -> None:
        with self.watch.paused():
            critic = self.adapter if isinstance(self.adapter, EstimatesReturn) else None
            result = self.evaluator.evaluate(self.adapter.act, self.next_evaluation, critic)
            self.pace.confirm()
            cpu_s, wall_s = self.watch.read()
            index = {"evaluation": self.next_evaluation}
            self.rows["evals"].append([{**index, "phase": phase, **self.counts, **result.to_json()}])
            self.rows["costs"].append([{**index, "cpu_s": round(cpu_s, 3), "wall_s": round(wall_s, 3)}])
        self.next_evaluation += 1

    def _evaluate_if_due(self) -> None:
        taken = self.problem.target_env.meter.count
        if self.next_evaluation == len(self._steps) or taken < self._steps[self.next_evaluation]:
            return
        due = self._steps[self.next_evaluation]
        if taken > due:
            raise MethodError(
                f"method {self.spec.method} was to be evaluated at target step {due} and did not tick before step "
                f"{taken}; it must tick after every environment step"
            )
        self._evaluate(Phase.ONLINE.value)

    def _record_if_due(self, phase: Phase, metrics: Callable[[], Metrics]) -> None:
        budgets, counts = self.problem.budgets, self.counts
        count, total = {
            Phase.SOURCE: (self.problem.source_env.meter.count, budgets.source_steps),
            Phase.OFFLINE: (self.updates - self._phase_first_updates, budgets.offline_updates),
            Phase.ONLINE: (counts["target_steps"], budgets.target_steps),
        }[phase]
        interval = math.ceil(total / TRAIN_ROWS) if total else UNPLANNED_INTERVAL
        if count // interval > self._recorded:
            self._recorded = count // interval
            values = {name: _number(value) for name, value in metrics().items()}
            self.rows["train"].append([{**values, "phase": phase.value, **counts}])

    def _check_offline_budget(self, updates: int) -> None:
        """A unit of progress may round up beyond the budget, but none may begin once the budget is spent."""
        budget = self.problem.budgets.offline_updates
        if updates > self.updates and self.updates - self._phase_first_updates >= budget:
            raise MethodError(f"method {self.spec.method} made more than its budget of {budget} offline updates")

    def _check_phase(self, phase: Phase) -> None:
        if phase is not Phase.ONLINE:
            return
        taken, budget = self.problem.target_env.meter.count, self.problem.budgets.target_steps
        if taken < budget or self.next_evaluation < len(self._steps):
            raise MethodError(
                f"method {self.spec.method} ended its online phase after {taken} of {budget} target steps and "
                f"{self.next_evaluation} of {len(self._steps)} evaluations; it must spend all steps and tick at each"
            )


def _number(value: float) -> float | None:
    """A metric that is not finite is kept as null."""
    return float(value) if math.isfinite(value) else None
