"""From a suite to its cells: every pair, method and seed with its configuration resolved, and what that needs."""

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from baselines.api import AsksOfSource, Budgets, Phase
from baselines.config import config_dict, make_config, nearest, validation_sentence
from baselines.registry import check_method_name, method
from suites.spec import (
    SCHEMA,
    DataChoice,
    DatasetRecipe,
    NamedRecipe,
    PairEntry,
    PairSpec,
    RunSpec,
    Suite,
    imported_recipe,
    variant_name,
)
from suites.tasks.native import any_task, is_native
from wombet.controls import CONTROLS, MATCHED
from wombet.errors import InputError

Overrides = dict[str, dict[str, Any]]
DATA_FIELDS = ("collection", "rollouts", "max_episode_steps")
"""Fields of GenerationConfig that follow from the rest of a suite."""
NO_LIMIT = 2**62
"""Source steps that no recipe needs."""


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
        return list({recipe.id: recipe for run in self.runs for recipe in run.recipes}.values())

    def select(self, pairs: list[str], methods: list[str], seeds: int | None) -> "Matrix":
        """Return the part with the named pairs and methods (all, if none are named) and the first `seeds` seeds."""
        for what, wanted, known in (
            ("task pair", pairs, {run.pair.id for run in self.runs}),
            ("method", methods, {run.row for run in self.runs}),
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
            and (not methods or run.row in methods)
            and (seeds is None or run.seed < seeds)
        ]
        return dataclasses.replace(self, runs=chosen)

    def manifest(self) -> dict[str, Any]:
        """Return what the store keeps of the suite: all of its cells and where their results are."""
        names = {row: self.suite.variant(row).method for row in self.suite.methods}
        capabilities = {row: method(name).capabilities for row, name in names.items()}
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
            "method_names": names,
            "method_configs": {run.row: run.config for run in self.runs},
            "method_defaults": {row: config_dict(method(name).Config()) for row, name in names.items()},
            "method_tuned": {name: found.tuned for name, found in capabilities.items()},
            "method_kinds": {name: found.kind for name, found in capabilities.items()},
            "method_sources": {name: found.source for name, found in capabilities.items()},
            "method_deviations": {name: list(found.deviations) for name, found in capabilities.items()},
            "seeds": self.suite.seeds,
            "budgets": {run.row: dataclasses.asdict(run.budgets) for run in self.runs},
            "evaluation": self.suite.evaluation.model_dump(mode="json"),
            "cells": [
                {
                    "pair": run.pair.id,
                    "method": run.row,
                    "seed": run.seed,
                    "run_id": run.run_id,
                    "folder": run.folder,
                    "dataset": run.data_id,
                }
                for run in self.runs
            ],
        }


def build_matrix(suite: Suite, overrides: Overrides | None = None) -> Matrix:
    """Resolve every cell of a suite; raises InputError for a name or value that does not exist or fit."""
    overrides = overrides or {}
    for row in suite.methods:
        check_method_name(suite.variant(row).method)
    for name in overrides:
        if name not in suite.methods:
            raise InputError(
                f"--set names method {name!r}, which suite {suite.name} does not run{nearest(name, suite.methods)}"
            )
    configs = {name: _config(suite, name, overrides.get(name, {})) for name in suite.methods}
    _check_shared(suite)
    runs = []
    for pair in suite.pairs:
        first = [_first_run(suite, pair, name, configs[name]) for name in suite.methods]
        runs += [_of_seed(run, seed, suite.n_datasets) for seed in range(suite.seeds) for run in first]
    _check_pairs(suite)
    return Matrix(suite, overrides, runs)


def _of_seed(run: RunSpec, seed: int, n_datasets: int) -> RunSpec:
    def of_seed(recipe: DatasetRecipe) -> DatasetRecipe:
        return recipe if recipe.imported else dataclasses.replace(recipe, dataset_seed=seed % n_datasets)

    dataset = None if run.dataset is None else of_seed(run.dataset)
    sources = tuple(NamedRecipe(source.name, of_seed(source.recipe)) for source in run.sources)
    return dataclasses.replace(run, seed=seed, dataset=dataset, sources=sources)


def _config(suite: Suite, row: str, override: dict[str, Any]) -> dict[str, Any]:
    """Defaults of the method, then what all methods share, what the method is set to, and what makes the variant."""
    variant = suite.variant(row)
    kind = method(variant.method).Config
    fields = {field.name for field in dataclasses.fields(kind)}
    shared = {key: value for key, value in suite.shared.items() if key in fields}
    own = {} if row == variant.method else suite.config.get(row, {})
    values = {**shared, **suite.config.get(variant.method, {}), **variant.config, **own, **override}
    return config_dict(make_config(kind, values, f"suite {suite.name}, method {row}"))


def _check_shared(suite: Suite) -> None:
    kinds = [method(suite.variant(row).method).Config for row in suite.methods]
    known = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    for key in suite.shared:
        if key not in known:
            raise InputError(f"suite {suite.name}: no method has the shared field {key!r}{nearest(key, known)}")


def _check_pairs(suite: Suite) -> None:
    ids = Counter(_pair(entry).id for entry in suite.pairs)
    for pair, count in ids.items():
        if count > 1:
            raise InputError(
                f"suite {suite.name} has the task pair {pair} {count} times, and results are kept by that name; leave "
                "the others out, give other data to a variant, and another horizon to a suite of its own"
            )


def _first_run(suite: Suite, entry: PairEntry, row: str, config: dict[str, Any]) -> RunSpec:
    """The run of a row with seed 0; those of the other seeds differ in seed and dataset alone."""
    variant = suite.variant(row)
    capabilities = method(variant.method).capabilities
    from_source = capabilities.needs_dataset or capabilities.needs_sources or Phase.SOURCE in capabilities.phases
    if is_native(entry.family) and (from_source or capabilities.source_steps_online):
        raise InputError(
            f"suite {suite.name}, pair {entry.family}: method {row} learns from a source task, and a native task has "
            "none; leave the method out, or take another task pair"
        )
    pair = _pair(entry)
    recipe = _recipe(suite, entry, row, pair) if capabilities.needs_dataset else None
    sources = _sources(suite, entry, row, pair)
    part = _data_part(suite, row)
    for fed in [*([] if recipe is None else [recipe]), *(source.recipe for source in sources)]:
        _check_data(fed, variant.method, config, part, f"suite {suite.name}, pair {pair.id}, row {row}")
    budgets = _relevant_budgets(suite, row, config, recipe)
    return RunSpec(
        pair=pair,
        method=variant.method,
        method_version=capabilities.version,
        config=config,
        seed=0,
        budgets=budgets,
        evaluation=_evaluation(suite, budgets),
        dataset=recipe,
        data_part=part,
        sources=sources,
        row=row,
    )


def _check_data(recipe: DatasetRecipe, name: str, config: dict[str, Any], part: str | None, where: str) -> None:
    """Raise InputError if a dataset has not the part that a row is fed, or leaves nothing of what the method asks."""
    kind = method(name)
    asked = kind.asks_of_source(config) if isinstance(kind, AsksOfSource) else None
    if recipe.imported and part is not None:
        raise InputError(f"{where}: the imported dataset {recipe.id} has no part {part!r}; leave data_part out")
    by_agent = asked in ("agent", "networks")
    if recipe.imported and asked is not None:
        left = "agent" if by_agent else asked
        raise InputError(
            f"{where}: method {name} with these settings needs the {left} of the dataset's making, and {recipe.id} is "
            "imported, without any; have the data generated, or leave the row out"
        )
    if recipe.collection == "pure" and (by_agent or part == "policy"):
        needs = f"method {name} with these settings" if by_agent else f"data_part {part!r}"
        raise InputError(
            f"{where}: {needs} needs a source agent, and the dataset's collection is 'pure'; take 'guided', or leave "
            "the row out"
        )
    if asked == "networks":
        from baselines.knowledge import check_sizes

        check_sizes(config, recipe.config["agent"], where)


def _evaluation(suite: Suite, budgets: Budgets) -> dict[str, int]:
    """The suite's protocol; a run that pretrains and goes on online is also evaluated one step after the switch."""
    switches = budgets.offline_updates > 0 and budgets.target_steps > 0
    return {**suite.evaluation.model_dump(mode="json"), **({"after_switch": 1} if switches else {})}


def _data_part(suite: Suite, row: str) -> str | None:
    variant = suite.variant(row)
    where = f"suite {suite.name}, variant {row}"
    capabilities = method(variant.method).capabilities
    if variant.sources and not capabilities.needs_sources:
        raise InputError(
            f"{where}: method {variant.method} does not learn from several source tasks; leave sources out"
        )
    fed = capabilities.needs_dataset or capabilities.needs_sources
    if variant.data and not fed:
        raise InputError(f"{where}: method {variant.method} is given no data; leave data out")
    if variant.data_part is None:
        return None
    known = (*CONTROLS, *MATCHED)
    if variant.data_part not in known:
        raise InputError(f"{where}: there is no data_part {variant.data_part!r}{nearest(variant.data_part, known)}")
    if not fed:
        raise InputError(f"{where}: method {variant.method} is given no data; leave data_part out")
    return variant.data_part


def _relevant_budgets(suite: Suite, row: str, config: dict[str, Any], recipe: DatasetRecipe | None) -> Budgets:
    """A budget that a method does not use is zero, so that it does not change the run's identity.

    A method whose settings say how long it pretrains, or how often it generates again, has that as its budget.
    """
    capabilities = method(suite.variant(row).method).capabilities
    phases = {phase.value for phase in capabilities.phases}
    budgets = suite.budgets_of(row)
    source_steps = budgets.source_steps if "source" in phases or capabilities.source_steps_online else 0
    if capabilities.source_steps_online and recipe is not None and "iterations" in config:
        source_steps = _iteration_steps(config["iterations"], recipe)
    return Budgets(
        target_steps=budgets.target_steps if "online" in phases else 0,
        offline_updates=config.get("pretraining_updates", budgets.offline_updates) if "offline" in phases else 0,
        source_steps=source_steps,
    )


def _iteration_steps(iterations: int, recipe: DatasetRecipe) -> int:
    """Source steps that generating again between `iterations` online phases can take."""
    from suites.datasets import config_of

    return (iterations - 1) * config_of(recipe).iteration_steps if iterations > 1 else 0


def _pair(entry: PairEntry) -> PairSpec:
    source = any_task(entry.family, "source", "both", entry.horizon)
    target = any_task(entry.family, entry.level, entry.shift, entry.horizon)
    suffix = "" if entry.shift == "both" else f"-{entry.shift}"
    return PairSpec(
        id=f"{entry.family.replace('/', '-')}-{entry.level}{suffix}",
        family=entry.family,
        level=entry.level,
        shift=entry.shift,
        horizon=target.horizon,
        source_fingerprint=source.fingerprint(),
        target_fingerprint=target.fingerprint(),
    )


def _recipe(suite: Suite, entry: PairEntry, row: str, pair: PairSpec) -> DatasetRecipe:
    """The recipe of a row's dataset with seed 0."""
    return _recipe_from(_data_choice(suite, entry, row), suite, row, pair)


def _sources(suite: Suite, entry: PairEntry, row: str, pair: PairSpec) -> tuple[NamedRecipe, ...]:
    """The recipes of a row's source datasets with seed 0; each source's fields of data go in front of the row's."""
    from suites.sources import entries_of, recipe_of

    if not method(suite.variant(row).method).capabilities.needs_sources:
        return ()
    data, found = _data_choice(suite, entry, row), []
    for source in entries_of(suite, entry, row):
        chosen = _with_fields(data, source.data, f"suite {suite.name}, source {source.name}")
        if chosen.imported is not None:
            raise InputError(
                f"suite {suite.name}, source {source.name}: sources are generated; leave data.imported out"
            )
        found.append(NamedRecipe(source.name, recipe_of(_recipe_from(chosen, suite, row, pair), source)))
    return tuple(found)


def _recipe_from(data: DataChoice, suite: Suite, row: str, pair: PairSpec) -> DatasetRecipe:
    if data.imported is not None:
        return imported_recipe(data.imported, pair.family, pair.horizon, pair.source_fingerprint)
    return DatasetRecipe(
        family=pair.family,
        horizon=pair.horizon,
        source_fingerprint=pair.source_fingerprint,
        collection=data.collection,
        rollouts=data.rollouts,
        profile=data.profile,
        config=_generation(data, pair, f"suite {suite.name}, row {row}, data.generation"),
        dataset_seed=0,
    )


def _generation(data: DataChoice, pair: PairSpec, where: str) -> dict[str, Any]:
    """The profile's settings with the chosen ones in front; the source budget is what the parts need, unless chosen."""
    from wombet.generation_config import GenerationConfig
    from wombet.profiles import profile

    config = profile(pair.family, data.profile, data.collection, data.rollouts, pair.horizon)
    if not data.generation:
        return config_dict(config)
    for name in DATA_FIELDS:
        if name in data.generation:
            raise InputError(f"{where}: set data.{name} instead of {name} here")
    values = _merged(config_dict(config), {"source_steps": NO_LIMIT, **data.generation})
    chosen = make_config(GenerationConfig, values, where)
    if chosen.source_steps == NO_LIMIT:
        chosen = dataclasses.replace(chosen, source_steps=chosen.required_steps)
    return config_dict(chosen)


def _data_choice(suite: Suite, entry: PairEntry, row: str) -> DataChoice:
    """The suite's choice, the pair's in front of it, and the row's in front of both."""
    data = _with_fields(suite.data, entry.data, f"suite {suite.name}, pair {entry.family}")
    return _with_fields(data, suite.variant(row).data, f"suite {suite.name}, variant {row}")


def _with_fields(data: DataChoice, fields: dict[str, Any], where: str) -> DataChoice:
    """Single fields replace those there were; generation and an import replace each other whole."""
    for name in fields:
        if name not in DataChoice.model_fields:
            raise InputError(f"{where}: data has no entry {name!r}{nearest(name, DataChoice.model_fields)}")
    if not fields:
        return data
    kept = {} if "imported" in fields else data.model_dump(exclude_unset=True, exclude={"imported"})
    if isinstance(fields.get("generation"), dict):
        fields = {**fields, "generation": _merged(kept.get("generation", {}), fields["generation"])}
    try:
        return DataChoice.model_validate({**kept, **fields})
    except ValidationError as error:
        raise InputError(f"{where}: {validation_sentence(error)}") from error


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings with others in front."""
    both = dict(values)
    for name, value in changes.items():
        nested = isinstance(value, dict) and isinstance(both.get(name), dict)
        both[name] = _merged(both[name], value) if nested else value
    return both


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
