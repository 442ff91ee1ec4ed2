"""WOMBET in full: between online phases the model is refined on what was met, data are generated and filtered anew."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from baselines.actor_critic import TUNED, WOMBET, WOMBETConfig
from baselines.api import Capabilities, Left, Metrics, Phase, Problem, Tick
from baselines.knowledge import knowledge_of
from wombet.agent import penalises_online_rows
from wombet.collection import recorded
from wombet.errors import InputError
from wombet.filtering import AcceptanceError
from wombet.gate import GateError
from wombet.iteration import DataIteration, Keep, Round, round_of
from wombet.streams import Streams

NAME = "wombet-iterated"


@dataclass(frozen=True)
class IteratedConfig(WOMBETConfig):
    """WOMBET's settings, and how often the first half is gone through again."""

    iterations: int = 4  # K online phases of equal length, with new data between them; ours, 1 is `wombet`
    keep: Keep = "regenerate"  # trajectories accepted before stay if they pass again; "append" keeps all

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1:
            raise InputError(f"iterations is {self.iterations}; it must be at least 1")


class IteratedWOMBET(WOMBET):
    """WOMBET with K iterations: the shared dataset feeds the first, and each makes the data of the next.

    Real source steps of an iteration (calibration, gate, executed trajectories) are charged to the run's source steps.
    """

    Config = IteratedConfig
    capabilities = Capabilities(
        phases=WOMBET.capabilities.phases,
        needs_dataset=True,
        kind="wombet",
        source="WOMBET (arXiv 2604.08958); how an iteration proceeds is a reconstruction of ours",
        deviations=(
            "pretraining on the dataset alone, if asked for, comes before the first online phase only",
            "an iteration whose model fails the gate, or whose filter accepts too little, is refused: model and data "
            "stay as they were and its source steps stay charged; the metric refused_iterations counts them",
            "with penalised_rows all, a target row keeps the penalty of the model that there was when it was met",
            "updates are the agent's; the metric model_updates counts those of the refits",
        ),
        tuned=TUNED,
        source_steps_online=True,
    )

    def __init__(self, problem: Problem, config: IteratedConfig, streams: Streams, device: str) -> None:
        plain = {field.name: getattr(config, field.name) for field in dataclasses.fields(WOMBETConfig)}
        super().__init__(problem, WOMBETConfig(**plain), streams, device)
        self.iterations, self.keep, self.device = config.iterations, config.keep, device
        self.phase, self.refused, self.model_updates = 1, 0, 0
        if self.iterations == 1:
            return
        self._streams = streams.child("iterations")
        self._knowledge = knowledge_of(problem, NAME)
        self._check_budgets()
        assert problem.dataset is not None
        self.round = self._taken_up(problem.dataset)
        self._recorder = recorded(problem.target_env)
        self._live: DataIteration | None = None
        self._resume: dict[str, Any] | None = None
        self._meter_before = 0

    @classmethod
    def asks_of_source(cls, settings: Mapping[str, Any]) -> Left | None:
        """Return what WOMBET asks for, and the model, if there is more than one iteration to refine it."""
        return super().asks_of_source(settings) or ("model" if settings["iterations"] > 1 else None)

    def train(self, phase: Phase, tick: Tick) -> None:
        """Pretrain, or go through the online phases and what lies between them, to the end of the budget."""
        if phase is Phase.OFFLINE or self.iterations == 1:
            super().train(phase, tick)
            return
        total = self.problem.budgets.target_steps
        while True:
            until = round(total * self.phase / self.iterations)
            self.agent.finetune(self.problem.target_env, until, self._told(tick), total)
            if self.phase == self.iterations:
                return
            self._iterate(tick)

    def metrics(self) -> Metrics:
        """Return the agent's metrics and how the data came about that it is fed."""
        return {
            **self.agent.metrics(),
            "iteration": float(self.phase),
            "refused_iterations": float(self.refused),
            "model_updates": float(self.model_updates),
            **self.round.figures(),
        }

    def state(self) -> Any:
        """Return the agent's state and, with more than one iteration, where they stand and what the last one made."""
        state = self.agent.state()
        if self.iterations == 1:
            return state
        return {
            **state,
            "iterations": {
                "phase": self.phase,
                "refused": self.refused,
                "model_updates": self.model_updates,
                "round": self.round.state() if self.round.index else None,
                "meter": self._meter_before,
                "live": self._resume if self._live is None else self._live.state(),
            },
        }

    def restore(self, state: Any) -> None:
        """Take up a state."""
        if self.iterations > 1:
            place = state["iterations"]
            self.phase, self.refused, self.model_updates = place["phase"], place["refused"], place["model_updates"]
            self._meter_before, self._resume = place["meter"], place["live"]
            if place["round"] is not None:
                self.round = Round.restored(place["round"], self._knowledge.agent_state)
                self._feed()
        self.agent.restore(state)

    def _iterate(self, tick: Tick) -> None:
        """Make the next round, or go on making it; one that is refused leaves model and data as they are."""
        live = self._live = self._opened()
        tell = self._told(tick)
        try:
            self.round = live.run(lambda **_: tell(updates=self.agent.updates))
        except (GateError, AcceptanceError):
            self.refused += 1
        else:
            self._feed()
        self.model_updates += live.model_updates
        self._live = None
        self.phase += 1

    def _opened(self) -> DataIteration:
        """Return the iteration that follows the present phase, in mid-course if a state said so.

        The meter is first set to where the iteration began, since whoever restored it set it to where it was stopped.
        """
        problem, meter = self.problem, self.problem.source_env.meter
        if self._resume is None:
            self._meter_before = meter.count
        meter.count = self._meter_before
        assert problem.open_source is not None
        live = DataIteration(
            problem.source,
            problem.open_source,
            meter,
            self._knowledge.config,
            self._streams,
            self.round,
            self._recorder.rows(problem.source),
            self.keep,
            self.device,
            self.phase,
        )
        if self._resume is not None:
            live.restore(self._resume)
            self._resume = None
        return live

    def _feed(self) -> None:
        self.agent.transfer(self.round.dataset.relabel(self.problem.target))
        if penalises_online_rows(self.agent.config):
            self.agent.world_model = self._world_model(self.device, self.round.model_state)

    def _told(self, tick: Tick) -> Tick:
        """Return a tick that offers this method's metrics in place of the agent's."""

        def told(*, updates: int, metrics: Callable[[], Metrics] | None = None) -> None:
            tick(updates=updates, metrics=self.metrics)

        return told

    def _taken_up(self, dataset: Any) -> Round:
        knowledge = self._knowledge
        if "trajectories" not in dataset.card:
            raise InputError(f"method {NAME} needs a dataset with the card of its making; use one generated here")
        return round_of(dataset, knowledge.source, knowledge.model_state, knowledge.agent_state)

    def _check_budgets(self) -> None:
        budgets, needed = self.problem.budgets, (self.iterations - 1) * self._knowledge.config.iteration_steps
        if budgets.source_steps < needed:
            raise InputError(
                f"{self.iterations} iterations can take {needed} source steps and the budget holds "
                f"{budgets.source_steps}; give source_steps of {needed}, or fewer iterations"
            )
        if budgets.target_steps < self.iterations:
            raise InputError(
                f"{self.iterations} iterations cannot share {budgets.target_steps} target steps; give at least one each"
            )
        if self.problem.open_source is None:
            raise InputError(f"method {NAME} collects in the source task, and the problem does not open it")
