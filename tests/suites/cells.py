"""Small runs and recipes for the tests of this folder."""

import dataclasses
from pathlib import Path
from typing import Any

from baselines.api import Budgets
from baselines.config import config_dict, make_config
from baselines.registry import method
from suites.datasets import build_dataset
from suites.sources import recipe_of
from suites.spec import DatasetRecipe, NamedRecipe, PairSpec, RunSpec, SourceEntry
from suites.store import Store
from suites.tasks import make_task
from wombet.agent import AgentConfig
from wombet.generation_config import GenerationConfig
from wombet.planner import PlannerConfig
from wombet.world_model import WorldModelConfig

HORIZON = 20
LEARNER = {
    "hidden_width": 16,
    "batch_size": 8,
    "n_critics": 2,
    "target_subset": 2,
    "utd": 1,
    "random_steps": 12,
    "model_width": 16,
    "feature_dim": 8,
}


def pair(level: str = "close", horizon: int = HORIZON) -> PairSpec:
    """A reacher pair with short episodes."""
    source = make_task("reacher", "source", "both", horizon)
    target = make_task("reacher", level, "both", horizon)
    return PairSpec(f"reacher-{level}", "reacher", level, "both", horizon, source.fingerprint(), target.fingerprint())


def generation(**changes: Any) -> GenerationConfig:
    """Settings of a dataset that takes a second; its gate and filter let everything pass."""
    settings: dict[str, Any] = {
        "max_episode_steps": HORIZON,
        "source_steps": 200,
        "collection": "pure",
        "random_steps": 60,
        "refits": 1,
        "planned_episodes": 2,
        "n_trajectories": 12,
        "trajectory_steps": 10,
        "calibration_trajectories": 4,
        "calibration_steps": 10,
        "gate_tolerance": 100.0,
        "filter_rule": "none",
        "n_parallel": 2,
        "world_model": WorldModelConfig(
            n_members=2, n_elites=2, hidden_width=16, hidden_layers=1, max_steps=20, min_steps=20, batch_size=32
        ),
        "planner": PlannerConfig(horizon=3, population=8, iterations=1, n_elites=4),
        **changes,
    }
    return GenerationConfig(**settings)


def guided_generation() -> GenerationConfig:
    """The same with a source agent that learns for 60 steps."""
    agent = AgentConfig(
        hidden_width=16, batch_size=8, mixing="online_only", random_steps=20, target_penalty=0.0, replay_capacity=100
    )
    planner = PlannerConfig(
        horizon=2, population=8, iterations=1, n_elites=4, n_policy_proposals=2, terminal_value=True
    )
    return generation(collection="guided", agent_steps=60, source_steps=300, agent=agent, planner=planner)


def recipe(config: GenerationConfig | None = None, dataset_seed: int = 0) -> DatasetRecipe:
    """The recipe of a small dataset."""
    config = config or generation()
    return DatasetRecipe(
        family="reacher",
        horizon=HORIZON,
        source_fingerprint=pair().source_fingerprint,
        collection=config.collection,
        rollouts=config.rollouts,
        profile="test",
        config=config_dict(config),
        dataset_seed=dataset_seed,
    )


def sources() -> tuple[NamedRecipe, ...]:
    """The small dataset and one of a source task with another goal, by name."""
    elsewhere = SourceEntry(name="elsewhere", reward={"goal": [-0.1, -0.1]})
    return NamedRecipe("source", recipe()), NamedRecipe("elsewhere", recipe_of(recipe(), elsewhere))


def cell(name: str, seed: int = 0, target_steps: int = 60, evaluations: int = 4, **config: Any) -> RunSpec:
    """A run of a registered method whose online phase takes `target_steps`."""
    kind = method(name)
    known = {field.name for field in dataclasses.fields(kind.Config)}
    values = {**{key: value for key, value in LEARNER.items() if key in known}, **config}
    phases = {phase.value for phase in kind.capabilities.phases}
    return RunSpec(
        pair=pair(),
        method=name,
        method_version=kind.capabilities.version,
        config=config_dict(make_config(kind.Config, values, name)),
        seed=seed,
        budgets=Budgets(
            target_steps=target_steps if "online" in phases else 0,
            offline_updates=20 if "offline" in phases else 0,
            source_steps=30 if "source" in phases else 0,
        ),
        evaluation={"count": evaluations, "episodes": 2},
        dataset=recipe() if kind.capabilities.needs_dataset else None,
        sources=sources() if kind.capabilities.needs_sources else (),
    )


def store_with_dataset(root: Path) -> Store:
    """A store that holds the small dataset."""
    store = Store(root)
    outcome = build_dataset(recipe(), store)
    assert outcome.ending in ("done", "skipped"), outcome
    return store


def results(folder: Path) -> dict[str, bytes]:
    """The bytes of everything that must not depend on when and where a run took place."""
    return {name: (folder / name).read_bytes() for name in ("spec.json", "evals.jsonl", "train.jsonl", "done.json")}
