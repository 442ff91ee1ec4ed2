"""CPU seconds that a method with its settings takes per unit of progress, and what it needs of memory and disk."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from baselines.api import EstimatesReturn, NamedSource, Problem, SavesPolicy, SourceKnowledge
from baselines.config import make_config
from baselines.model_based import ModelBasedMethod
from baselines.registry import method
from benchmarks.full_size_cost.generation import fit_step, fitted, tools
from benchmarks.phase_rates import FAMILY, LEVEL, Watch, measured_problem
from suites.datasets import config_of
from suites.evaluate import Evaluator
from suites.spec import RunSpec
from suites.spending import Spending
from suites.tasks import make_task
from wombet.dataset import TransferDataset
from wombet.files import canonical_json
from wombet.generation_config import GenerationConfig
from wombet.serialization import dumps
from wombet.streams import Streams

DATASET_ROWS = 50_000
"""Rows of the measured dataset; what the memory of longer ones adds is counted by rows."""
EVALUATED_STEPS = 10
"""Steps of the measured evaluation's episodes."""
ROLLED_OUT = 2048
"""Starts of the measured round of imagined rollouts, for methods that make them."""
QUICK = {
    "random_steps": 50,
    "warmup_steps": 8,
    "collection_steps": 8,
    "first_burst": 1,
    "model_steps": 10,
    "rollout_starts": ROLLED_OUT,
    "rollout_steps": 256,
    "iterations": 1,
}
"""What comes before the first updates is shortened, and what is counted apart is left out or made small."""


@dataclass(frozen=True)
class Kind:
    """Runs that take the same time per unit: a method with its settings, and the sizes around it."""

    method: str
    config: Mapping[str, Any]
    horizon: int
    episodes: int
    n_sources: int
    generation: GenerationConfig | None

    @property
    def label(self) -> str:
        """The method, and settings that are not its defaults."""
        defaults = vars(method(self.method).Config())
        own = [f"{name}={value}" for name, value in self.config.items() if defaults[name] != value]
        return f"{self.method} {' '.join(own)}".strip()


@dataclass(frozen=True)
class MethodCost:
    """CPU seconds per unit of each phase, and once; of a step of an evaluation episode; peak memory, sizes in bytes."""

    seconds: dict[str, float]
    once: float
    evaluation: float
    peak_mb: float
    policy_bytes: int
    state_bytes: int
    train_row_bytes: int


def key_of(run: RunSpec) -> str:
    """Return what runs that take the same time per unit have in common."""
    return f"{run.method} {canonical_json(run.config)}"


def kind_of(run: RunSpec) -> Kind:
    """Return the kind of a run."""
    generated = [recipe for recipe in run.recipes if not recipe.imported]
    generation = config_of(generated[0]) if generated else None
    return Kind(run.method, run.config, run.pair.horizon, run.evaluation["episodes"], len(run.sources), generation)


def measure(kind: Kind, dataset: TransferDataset, seconds: float) -> MethodCost:
    """Train every phase for `seconds` of CPU time after its first update, evaluate, and look at what there is then."""
    spending = Spending("cpu")
    found = method(kind.method)
    quick = {name: value for name, value in QUICK.items() if name in kind.config}
    config: Any = make_config(found.Config, {**kind.config, **quick}, kind.method)
    problem = measured_problem(dataset, kind.horizon)
    _complete(problem, kind, dataset)
    adapter = found(problem, config, Streams(0).child("method"), "cpu")
    watch, rates, row = Watch(problem, seconds), {}, 0
    for phase in found.capabilities.phases:
        did = watch.measure(adapter, phase)
        if did is not None:
            rates[phase.value] = did.seconds / did.units
            row = max(row, len(json.dumps(dict(did.metrics()))) if did.metrics else 0)
    once = 0.0
    if isinstance(adapter, ModelBasedMethod):
        rates["offline"] += _imagining(adapter, kind.config)
        if kind.config["dynamics"] == "dataset":
            full: Any = make_config(found.Config, kind.config, kind.method)
            once = full.model_steps * fit_step(full.world_model(), dataset)
    evaluation = _evaluation(adapter, kind)
    state = len(dumps(adapter.state()))
    policy = len(dumps(adapter.policy_state())) if isinstance(adapter, SavesPolicy) else state
    return MethodCost(rates, once, evaluation, spending.to_json()["peak_memory_mb"], policy, state, row)


def _complete(problem: Problem, kind: Kind, dataset: TransferDataset) -> None:
    """Give the problem what else the kind is given: several sources, what a dataset's making left behind."""
    assert dataset.reward_target is not None
    labelled = replace(dataset, reward_source=dataset.reward_target)
    problem.sources = tuple(NamedSource(f"source {i}", problem.source, labelled) for i in range(kind.n_sources))
    if kind.generation is not None and not kind.n_sources:
        generation = kind.generation
        problem.knowledge = lambda: _knowledge(generation, dataset)


def _knowledge(generation: GenerationConfig, dataset: TransferDataset) -> SourceKnowledge:
    """A model after a gradient step and an agent before any: what they cost does not depend on what they learnt."""
    model = fitted(generation.world_model, dataset)
    agent = tools(generation).agent().state() if generation.guided else None
    return SourceKnowledge(generation, model.state(), agent, 0.1, dataset)


def _imagining(adapter: ModelBasedMethod, config: Mapping[str, Any]) -> float:
    """CPU seconds per update of the rounds of rollouts, of which the measured phase met none."""
    starts = adapter.real_rows(ROLLED_OUT).obs
    begun = time.thread_time()
    adapter.rollouts().run(starts, adapter.learner.sample, np.random.default_rng(0))
    taken = time.thread_time() - begun
    return float(taken / ROLLED_OUT * config["rollout_starts"] / config["rollout_interval"])


def _evaluation(adapter: Any, kind: Kind) -> float:
    evaluator = Evaluator(make_task(FAMILY, LEVEL, horizon=EVALUATED_STEPS), kind.episodes, 0, kind.method)
    critic = adapter if isinstance(adapter, EstimatesReturn) else None
    evaluator.evaluate(adapter.act, 0, critic)
    begun = time.thread_time()
    evaluator.evaluate(adapter.act, 1, critic)
    taken = time.thread_time() - begun
    evaluator.close()
    return taken / (kind.episodes * EVALUATED_STEPS)
