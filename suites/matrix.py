"""From a suite to its cells: every pair, method and seed with its configuration resolved, and what that needs."""

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from baselines.api import Budgets
from baselines.config import config_dict, make_config, nearest
from baselines.registry import check_method_name, method
from suites.spec import SCHEMA, DatasetRecipe, PairEntry, PairSpec, RunSpec, Suite, variant_name
from suites.tasks import make_task
from wombet.errors import InputError

Overrides = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Matrix:
    """A suite's cells in the order in which they run, and the datasets that they need."""

    suite: Suite
    overrides: Overrides
    runs: list[RunSpec]

    @property
    def name(self) -> str:
        """The name under which the results are kept."""
        return variant_name(self.suite, self.overrides)

    @property
    def recipes(self) -> list[DatasetRecipe]:
        """The datasets that the cells need, each once."""
        return list({run.dataset.id: run.dataset for run in self.runs if run.dataset is not None}.values())

    def select(self, pairs: list[str], methods: list[str], seeds: int | None) -> "Matrix":
        """Return the part with the named pairs and methods (all, if none are named) and the first `seeds` seeds."""
        for what, wanted, known in (
            ("task pair", pairs, {run.pair.id for run in self.runs}),
            ("method", methods, {run.method for run in self.runs}),
        ):
            for name in wanted:
                if name not in known:
                    raise InputError(f"suite {self.suite.name} has no {what} {name!r}{nearest(name, known)}")
        if seeds is not None and not 1 <= seeds <= self.suite.seeds:
            raise InputError(f"--seeds is {seeds}; suite {self.suite.name} has 1 to {self.suite.seeds} seeds")
        chosen = [
            run
            for run in self.runs
            if (not pairs or run.pair.id in pairs)
            and (not methods or run.method in methods)
            and (seeds is None or run.seed < seeds)
        ]
        return dataclasses.replace(self, runs=chosen)

    def manifest(self) -> dict[str, Any]:
        """Return what the store keeps of the suite: all of its cells and where their results are."""
        capabilities = {name: method(name).capabilities for name in self.suite.methods}
        pairs = {run.pair.id: dataclasses.asdict(run.pair) for run in self.runs}
        return {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.suite.title,
            "description": self.suite.description,
            "suite": self.suite.model_dump(mode="json"),
            "suite_sha256": self.suite.sha256,
            "overrides": self.overrides,
            "pairs": list(pairs.values()),
            "methods": self.suite.methods,
            "method_kinds": {name: found.kind for name, found in capabilities.items()},
            "method_sources": {name: found.source for name, found in capabilities.items()},
            "method_deviations": {name: list(found.deviations) for name, found in capabilities.items()},
            "seeds": self.suite.seeds,
            "budgets": {name: dataclasses.asdict(self.suite.budgets_of(name)) for name in self.suite.methods},
            "evaluation": self.suite.evaluation.model_dump(mode="json"),
            "cells": [
                {
                    "pair": run.pair.id,
                    "method": run.method,
                    "seed": run.seed,
                    "run_id": run.run_id,
                    "folder": run.folder,
                    "dataset": None if run.dataset is None else run.dataset.id,
                }
                for run in self.runs
            ],
        }


def build_matrix(suite: Suite, overrides: Overrides | None = None) -> Matrix:
    """Resolve every cell of a suite; raises InputError for a name or value that does not exist or fit."""
    overrides = overrides or {}
    for name in suite.methods:
        check_method_name(name)
    for name in overrides:
        if name not in suite.methods:
            raise InputError(f"--set names method {name!r}, which suite {suite.name} does not run")
    configs = {name: _config(suite, name, overrides.get(name, {})) for name in suite.methods}
    _check_shared(suite)
    runs = [
        _run(suite, pair, name, configs[name], seed)
        for pair in suite.pairs
        for seed in range(suite.seeds)
        for name in suite.methods
    ]
    return Matrix(suite, overrides, runs)


def _config(suite: Suite, name: str, override: dict[str, Any]) -> dict[str, Any]:
    kind = method(name).Config
    fields = {field.name for field in dataclasses.fields(kind)}
    shared = {key: value for key, value in suite.shared.items() if key in fields}
    values = {**shared, **suite.config.get(name, {}), **override}
    return config_dict(make_config(kind, values, f"suite {suite.name}, method {name}"))


def _check_shared(suite: Suite) -> None:
    known = {field.name for name in suite.methods for field in dataclasses.fields(method(name).Config)}
    for key in suite.shared:
        if key not in known:
            raise InputError(f"suite {suite.name}: no method has the shared field {key!r}{nearest(key, known)}")


def _run(suite: Suite, entry: PairEntry, name: str, config: dict[str, Any], seed: int) -> RunSpec:
    capabilities = method(name).capabilities
    return RunSpec(
        pair=_pair(entry),
        method=name,
        method_version=capabilities.version,
        config=config,
        seed=seed,
        budgets=_relevant_budgets(suite, name, config),
        evaluation=suite.evaluation.model_dump(mode="json"),
        dataset=_recipe(suite, entry, seed) if capabilities.needs_dataset else None,
    )


def _relevant_budgets(suite: Suite, name: str, config: dict[str, Any]) -> Budgets:
    """A budget that a method does not use is zero, so that it does not change the run's identity.

    A method whose settings say how long it pretrains has that as its offline budget.
    """
    phases = {phase.value for phase in method(name).capabilities.phases}
    budgets = suite.budgets_of(name)
    return Budgets(
        target_steps=budgets.target_steps if "online" in phases else 0,
        offline_updates=config.get("pretraining_updates", budgets.offline_updates) if "offline" in phases else 0,
        source_steps=budgets.source_steps if "source" in phases else 0,
    )


def _pair(entry: PairEntry) -> PairSpec:
    source = make_task(entry.family, "source", "both", entry.horizon)
    target = make_task(entry.family, entry.level, entry.shift, entry.horizon)
    suffix = "" if entry.shift == "both" else f"-{entry.shift}"
    return PairSpec(
        id=f"{entry.family}-{entry.level}{suffix}",
        family=entry.family,
        level=entry.level,
        shift=entry.shift,
        horizon=target.horizon,
        source_fingerprint=source.fingerprint(),
        target_fingerprint=target.fingerprint(),
    )


def _recipe(suite: Suite, entry: PairEntry, seed: int) -> DatasetRecipe:
    from wombet.profiles import profile

    data = _data_choice(suite, entry)
    pair = _pair(entry)
    config = profile(entry.family, data["profile"], data["collection"], data["rollouts"], pair.horizon)
    return DatasetRecipe(
        family=entry.family,
        horizon=pair.horizon,
        source_fingerprint=pair.source_fingerprint,
        collection=data["collection"],
        rollouts=data["rollouts"],
        profile=data["profile"],
        config=config_dict(config),
        dataset_seed=seed % suite.n_datasets,
    )


def _data_choice(suite: Suite, entry: PairEntry) -> dict[str, str]:
    known = suite.data.model_dump(mode="json")
    for name, value in entry.data.items():
        if name not in known:
            raise InputError(
                f"suite {suite.name}, pair {entry.family}: data has no entry {name!r}{nearest(name, known)}"
            )
        known[name] = value
    return known


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
