"""Work in named stages that can be stopped in any tick and goes on to the same bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wombet.agent import Tick
from wombet.collection import Progress
from wombet.interaction import Meter

Products = dict[str, Any]
"""What stages have made, by name: a tree for `wombet.serialization`."""
StageRun = Callable[[str, Tick], Products]
"""Does a stage's work, given its name and the tick, and returns what it made."""


@dataclass(frozen=True)
class Stage:
    """A part of the work, which changes nothing before it is complete.

    It is expected to tick `ticks` times, each of them `work` units (of `wombet.generation_work`).
    """

    name: str
    run: StageRun
    ticks: int
    work: float


class Stages:
    """Goes through stages in order and keeps what they make; each draws only from streams of its own name.

    A stage that was stopped is begun again, unless it sets `live`, a function that returns its state in mid-course:
    that state comes back from `resumed()`, once. Real steps are charged to `meter` by the stages; `products["spent"]`
    has them by stage, and a stage that is begun again takes back what it had spent.
    """

    def __init__(self, stages: Sequence[Stage], meter: Meter, products: Products) -> None:
        self.stages, self.meter = list(stages), meter
        self.products: Products = {"spent": {}, "updates": 0, **products}
        self.live: Callable[[], Mapping[str, Any]] | None = None
        self._done = self._ticks = 0
        self._meter_before = meter.count
        self._resume: Mapping[str, Any] | None = None

    @property
    def names(self) -> list[str]:
        """The stages' names in order."""
        return [stage.name for stage in self.stages]

    def run(self, tick: Tick) -> None:
        """Go through the stages that are left; `tick` is called after every unit of progress and at the end of each."""
        for stage in self.stages[self._done :]:
            self._meter_before = self.meter.count
            made = stage.run(stage.name, self._counted(tick))
            spent = {**self.products["spent"], stage.name: self.meter.count - self._meter_before}
            self.products = {**self.products, **made, "spent": spent}
            self._done, self._ticks, self.live, self._meter_before = self._done + 1, 0, None, self.meter.count
            self.teller(tick)()

    def teller(self, tick: Tick) -> Progress:
        """Return a function that ticks with the updates so far, the stage's number and the real steps."""
        return lambda: tick(updates=self.products["updates"], metrics=self._metrics)

    def resumed(self) -> Mapping[str, Any] | None:
        """Return the state in mid-course with which the present stage goes on, if there is one, and set the meter."""
        resume, self._resume = self._resume, None
        if resume is None:
            return None
        self.meter.count, self._ticks = resume["meter"], resume["ticks"]
        live: Mapping[str, Any] = resume["live"]
        return live

    def progress(self) -> tuple[int, int]:
        """Return (units done, units in all); the first never decreases and ends as the second."""
        done = [stage.ticks * stage.work for stage in self.stages]
        part = 0.0
        if self._done < len(self.stages):
            stage, ticks = self.stages[self._done], self._ticks if self._resume is None else self._resume["ticks"]
            part = min(ticks, stage.ticks) * stage.work
        return round(sum(done[: self._done]) + part), round(sum(done))

    def state(self) -> dict[str, Any]:
        """Return a tree from which new stages of the same recipe go on, the meter's count included."""
        state = {"done": self._done, "products": self.products, "meter": self._meter_before, "live": None}
        if self.live is not None:
            state["live"] = {"live": dict(self.live()), "meter": self.meter.count, "ticks": self._ticks}
        elif self._resume is not None:
            state["live"] = dict(self._resume)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state in stages that were just made, and set the meter to the state's count."""
        self._done, self._ticks, self.products = state["done"], 0, dict(state["products"])
        self.meter.count = self._meter_before = state["meter"]
        self.live, self._resume = None, state["live"]

    def _counted(self, tick: Tick) -> Tick:
        def counted(*, updates: int, metrics: Callable[[], Mapping[str, float]] | None = None) -> None:
            self._ticks += 1
            tick(updates=updates, metrics=metrics)

        return counted

    def _metrics(self) -> dict[str, float]:
        return {"stage": float(self._done), "source_steps": float(self.meter.count)}
