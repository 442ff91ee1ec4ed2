"""Each clause of the contract notices a method that breaks it, and says what is wrong."""

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
import torch

from baselines import registry
from baselines.api import Capabilities, Phase
from suites.contract import CLAUSES, BrokenClause, NotApplicable, Subject


@dataclasses.dataclass(frozen=True)
class _Config:
    """No settings."""


@dataclasses.dataclass
class _MutableConfig:
    """A config that can change under a run."""


class Good:
    """Learns nothing in both phases, from its stream, and keeps every clause."""

    Config: Any = _Config
    capabilities = Capabilities(phases=(Phase.OFFLINE, Phase.ONLINE), needs_dataset=True, kind="test", source="test")

    def __init__(self, problem: Any, config: Any, streams: Any, device: str) -> None:
        self.problem, self.stream, self.value, self.done = problem, streams.numpy("value"), 0.0, 0

    def train(self, phase: Phase, tick: Any) -> None:
        budget = 5 if phase is Phase.OFFLINE else 5 + self.problem.budgets.target_steps
        while self.done < budget:
            self.unit(phase)
            self.done += 1
            tick(updates=self.done, metrics=self.metrics)

    def unit(self, phase: Phase) -> None:
        self.value = float(self.stream.random())
        if phase is Phase.ONLINE:
            self.problem.target_env.step(np.zeros(2, np.float32))

    def metrics(self) -> dict[str, float]:
        return {"value": self.value}

    def act(self, obs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return np.full((len(obs), 2), self.value, np.float32)

    def state(self) -> Any:
        return {"value": self.value, "done": self.done, "stream": self.stream.bit_generator.state}

    def restore(self, state: Any) -> None:
        self.value, self.done = state["value"], state["done"]
        self.stream.bit_generator.state = state["stream"]


class WithMutableConfig(Good):
    Config = _MutableConfig


class WithoutASource(Good):
    capabilities = dataclasses.replace(Good.capabilities, source="")


class ActsOutOfBounds(Good):
    def act(self, obs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return np.full((len(obs), 2), 1.5, np.float32)


class ActsInDoublePrecision(Good):
    def act(self, obs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return np.zeros((len(obs), 2))


class ActsOnOneObservation(Good):
    def act(self, obs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(2, np.float32)


class ActsByItsOwnStream(Good):
    def act(self, obs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return self.stream.random((len(obs), 2)).astype(np.float32)


class EndsEarly(Good):
    def train(self, phase: Phase, tick: Any) -> None:
        if phase is Phase.ONLINE:
            self.done = max(self.done, 8)
        super().train(phase, tick)


class LooksAtTheTargetEarly(Good):
    def unit(self, phase: Phase) -> None:
        self.problem.target_env.meter.budget = 100
        self.problem.target_env.step(np.zeros(2, np.float32))


class TriesTheTargetWhenMade(Good):
    def __init__(self, problem: Any, config: Any, streams: Any, device: str) -> None:
        super().__init__(problem, config, streams, device)
        self.try_out()

    def try_out(self) -> None:
        env = self.problem.target.make_env()
        env.reset(seed=0)
        env.step(np.zeros(2, np.float32))
        env.close()


class TriesTheTargetOffline(TriesTheTargetWhenMade):
    __init__ = Good.__init__

    def unit(self, phase: Phase) -> None:
        super().unit(phase)
        if phase is Phase.OFFLINE:
            self.try_out()


class ReadsTheGlobalGenerator(Good):
    def unit(self, phase: Phase) -> None:
        super().unit(phase)
        self.value = float(np.random.random())  # noqa: NPY002


class MovesTorchsGenerator(Good):
    def unit(self, phase: Phase) -> None:
        super().unit(phase)
        torch.rand(1)


class ReadsAClock(Good):
    def unit(self, phase: Phase) -> None:
        super().unit(phase)
        self.value = time.perf_counter() % 1


class IgnoresItsSeed(Good):
    def __init__(self, problem: Any, config: Any, streams: Any, device: str) -> None:
        super().__init__(problem, config, streams, device)
        self.stream = np.random.default_rng(0)

    def unit(self, phase: Phase) -> None:
        self.value = float(self.stream.random())
        if phase is Phase.ONLINE:
            self.problem.target_env.meter.count += 1


class CountsItsEvaluations(Good):
    def act(self, obs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        self.value = min(1.0, self.value + 1e-3)
        return super().act(obs, generator)


class ForgetsItsStream(Good):
    def state(self) -> Any:
        return {"value": self.value, "done": self.done}

    def restore(self, state: Any) -> None:
        self.value, self.done = state["value"], state["done"]


class CountsBackwards(Good):
    def train(self, phase: Phase, tick: Any) -> None:
        super().train(phase, lambda *, updates, metrics: tick(updates=-updates, metrics=metrics))


class ReportsNaN(Good):
    def metrics(self) -> dict[str, float]:
        return {"value": float("nan")}


class CannotBeResumed(ForgetsItsStream):
    capabilities = dataclasses.replace(Good.capabilities, resumable=False)


WITHOUT_POLICY = {"keeps_its_policy": "not applicable"}


def _broken(monkeypatch: pytest.MonkeyPatch, kind: type) -> dict[str, str]:
    """The clauses that a method breaks, with what is said of each."""
    monkeypatch.setitem(registry._OWN, "subject", f"{__name__}:{kind.__name__}")
    registry.method.cache_clear()
    subject, found = Subject("subject"), {}
    for clause in CLAUSES:
        try:
            clause(subject)
        except NotApplicable:
            found[clause.__name__] = "not applicable"
        except BrokenClause as sentence:
            found[clause.__name__] = str(sentence)
    registry.method.cache_clear()
    return found


def test_a_method_that_keeps_the_contract_breaks_no_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _broken(monkeypatch, Good) == WITHOUT_POLICY


@pytest.mark.parametrize(
    ("kind", "clause", "words"),
    [
        (WithMutableConfig, "describes_itself", "frozen"),
        (WithoutASource, "describes_itself", "source"),
        (ActsOutOfBounds, "acts_within_bounds", "clip"),
        (ActsInDoublePrecision, "acts_within_bounds", "float64"),
        (ActsOnOneObservation, "acts_within_bounds", "shape"),
        (ActsByItsOwnStream, "acts_within_bounds", "same observations"),
        (EndsEarly, "spends_its_budgets", "57 target steps"),
        (LooksAtTheTargetEarly, "waits_for_the_online_phase", "offline phase"),
        (TriesTheTargetWhenMade, "waits_for_the_online_phase", "stepped when the method was made"),
        (TriesTheTargetOffline, "waits_for_the_online_phase", "stepped in the offline phase"),
        (ReadsTheGlobalGenerator, "keeps_its_randomness_to_itself", "streams"),
        (MovesTorchsGenerator, "keeps_its_randomness_to_itself", "moved"),
        (ReadsAClock, "is_deterministic", "different states"),
        (IgnoresItsSeed, "is_deterministic", "another seed"),
        (CountsItsEvaluations, "does_not_notice_evaluation", "evaluated"),
        (ForgetsItsStream, "resumes", "state() is incomplete"),
        (CountsBackwards, "reports_numbers", "updates fell"),
        (ReportsNaN, "reports_numbers", "'value' is nan"),
    ],
)
def test_a_method_that_breaks_a_clause_is_told_which_and_what(
    monkeypatch: pytest.MonkeyPatch, kind: type, clause: str, words: str
) -> None:
    found = _broken(monkeypatch, kind)
    assert words in found[clause]


def test_a_method_that_declares_it_cannot_be_resumed_is_not_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _broken(monkeypatch, CannotBeResumed) == {"resumes": "not applicable", **WITHOUT_POLICY}


class SavesHalfAPolicy(Good):
    def policy_state(self) -> Any:
        return {}

    def restore_policy(self, state: Any) -> None:
        self.value = 0.0


def test_a_method_whose_saved_policy_acts_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "acts otherwise" in _broken(monkeypatch, SavesHalfAPolicy)["keeps_its_policy"]
