"""A run of any method on the small problem, without the runner: it can be stopped in any tick and taken up again."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from baselines.api import Phase
from baselines.config import make_config
from baselines.registry import method
from suites.contract.problem import small_problem
from wombet.serialization import dumps, loads
from wombet.streams import Streams

SMALL: dict[str, Any] = {
    "hidden_width": 16,
    "batch_size": 8,
    "n_critics": 2,
    "target_subset": 2,
    "utd": 2,
    "random_steps": 10,
    "collection_steps": 10,
    "warmup_steps": 10,
    "n_members": 2,
    "first_burst": 2,
    "mixing_interval": 5,
    "calibration_updates": 20,
    "iterations": 2,
    "rollout_steps": 24,
    "minibatch_size": 8,
    "replay_capacity": 1000,
    "model_members": 3,
    "model_elites": 2,
    "model_width": 16,
    "model_layers": 2,
    "model_steps": 40,
    "rollout_starts": 20,
    "rollout_length": 2,
    "rollout_interval": 8,
    "retained_rounds": 2,
    "n_action_samples": 2,
    "feature_dim": 8,
    "replay_dim": 4,
    "similarity_interval": 5,
}
"""What makes a run quick, for every method that has a field of that name."""


class Stopped(Exception):
    """The run was stopped in a tick, as asked."""


class BrokenClause(Exception):
    """The method breaks a clause of the contract; the message is one sentence for its author."""


def require(condition: bool, sentence: str) -> None:
    """Raise BrokenClause with the sentence unless the condition holds."""
    if not condition:
        raise BrokenClause(sentence)


class SmallRun:
    """One method on the small problem; everything that a checkpoint needs is in `state`.

    `settings` go over SMALL. Raises InputError for settings that the method's Config refuses.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], seed: int = 0, device: str = "cpu") -> None:
        self.kind = method(name)
        fields = {field.name for field in dataclasses.fields(self.kind.Config)}
        values = {key: value for key, value in SMALL.items() if key in fields} | dict(settings)
        config: Any = make_config(self.kind.Config, values, name)
        self.problem, self.meters = small_problem(self.kind.capabilities, seed)
        self.adapter = self.kind(self.problem, config, Streams(seed).child("method"), device)
        self.ticks = 0
        self.updates = 0
        self.phase_index = 0
        self.metrics: list[dict[str, float]] = []

    @property
    def phase(self) -> Phase:
        """The phase that the run is in."""
        return self.kind.capabilities.phases[self.phase_index]

    def train(self, stop_at: int | None = None, in_tick: Callable[["SmallRun"], Any] | None = None) -> "SmallRun":
        """Run all remaining phases; with `stop_at`, raise Stopped in that tick."""

        def tick(*, updates: int, metrics: Any = None) -> None:
            require(updates >= self.updates, f"the count of updates fell from {self.updates} to {updates} in a tick")
            self.updates = updates
            self.ticks += 1
            if metrics is not None:
                self.metrics.append(dict(metrics()))
            if in_tick is not None:
                in_tick(self)
            if self.ticks == stop_at:
                raise Stopped

        while self.phase_index < len(self.kind.capabilities.phases):
            budgets, online = self.problem.budgets, self.phase is Phase.ONLINE
            if self.phase is Phase.SOURCE or (online and self.kind.capabilities.source_steps_online):
                self.meters["source"].budget = budgets.source_steps
            if online:
                self.meters["target"].budget = budgets.target_steps
            self.adapter.train(self.phase, tick)
            self.phase_index += 1
        return self

    def state(self) -> bytes:
        """Everything that decides the future of the run; ticks do not, since work that was stopped may begin again."""
        return dumps(
            {
                "adapter": self.adapter.state(),
                "meters": {name: meter.count for name, meter in self.meters.items()},
                "envs": [self.problem.source_env.state(), self.problem.target_env.state()],
                "phase_index": self.phase_index,
                "updates": self.updates,
            }
        )

    def restore(self, data: bytes) -> "SmallRun":
        """Take up a state."""
        state = loads(data)
        self.adapter.restore(state["adapter"])
        for name, count in state["meters"].items():
            self.meters[name].count = count
        self.problem.source_env.restore(state["envs"][0])
        self.problem.target_env.restore(state["envs"][1])
        self.phase_index, self.updates = state["phase_index"], state["updates"]
        return self
