"""The source tasks of methods that learn from several: their names, tasks, recipes and datasets."""

from dataclasses import asdict
from typing import Any

from baselines.api import NamedSource
from baselines.config import nearest
from suites.problem import check_fingerprint
from suites.spec import DatasetRecipe, PairEntry, RunSpec, SourceEntry, SourceRecipe, Suite
from suites.store import Store
from suites.tasks.custom import custom_task
from suites.tasks.task import Task
from wombet.dataset import ACCEPTED, load_card, load_dataset
from wombet.errors import InputError

OWN: dict[str, Any] = {"level": "source", "reward": {}}
"""The family's own source task, whose datasets have recipes of the plain kind."""


def source_task(recipe: DatasetRecipe) -> Task:
    """Return the recipe's source task; raises InputError if its numbers are no longer those of the recipe."""
    source = recipe.source if isinstance(recipe, SourceRecipe) else OWN
    task = custom_task(recipe.family, source["level"], source["reward"], recipe.horizon)
    check_fingerprint(task, recipe.source_fingerprint)
    return task


def entries_of(suite: Suite, pair: PairEntry, row: str) -> list[SourceEntry]:
    """Return the pair's sources that a row is given, in the pair's order.

    Raises InputError if there are none, if two have one name, or if the row names one that there is not.
    """
    where = f"suite {suite.name}, pair {pair.family}-{pair.level}"
    entries = [SourceEntry(name=each, level=each) if isinstance(each, str) else each for each in pair.sources]
    if not entries:
        raise InputError(
            f"{where}: method {row} learns from several source tasks; name them in the pair's sources, "
            'as in sources = ["source", "moderate"]'
        )
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: two sources have the same name; give one of them another")
    wanted = suite.variant(row).sources or names
    for name in wanted:
        if name not in names:
            raise InputError(f"{where}: variant {row} is given source {name!r}{nearest(name, names)}")
    return [entry for entry in entries if entry.name in wanted]


def recipe_of(plain: DatasetRecipe, entry: SourceEntry) -> DatasetRecipe:
    """Return a recipe of the family's own source task turned to another one; the same recipe if that is its own."""
    task = custom_task(plain.family, entry.level, entry.reward, plain.horizon)
    source = {"level": entry.level, "reward": dict(entry.reward)}
    if source == OWN:
        return plain
    return SourceRecipe(**{**asdict(plain), "source_fingerprint": task.fingerprint(), "source": source})


def load_sources(spec: RunSpec, store: Store, part: str = ACCEPTED) -> tuple[NamedSource, ...]:
    """Return a part of each of the run's source datasets, with its task's own rewards, checked against its recipe."""
    found = []
    for source in spec.sources:
        folder = store.dataset_folder(source.recipe.id)
        if load_card(folder).get("recipe") != asdict(source.recipe):
            raise InputError(f"{folder} was not built by the recipe of {spec.label}; build the dataset again")
        task, dataset = source_task(source.recipe), load_dataset(folder, part)
        dataset.validate(task)
        found.append(NamedSource(source.name, task, dataset))
    return tuple(found)
