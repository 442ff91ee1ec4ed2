"""Somebody's Minari dataset as a dataset of a store: exact labels, a card that tells what was changed, its own id."""

import os
import shutil
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from suites.claim import claim
from suites.datasets import has_rows, verify_dataset
from suites.exchange import Ends, content_digits, open_minari, rows_of
from suites.plausible import one_step_error
from suites.provenance import Attempt
from suites.rebuilt import put_in_place
from suites.spec import IMPORTED, DatasetRecipe, imported_recipe
from suites.store import Store
from suites.tasks.task import Task, make_task
from wombet.controls import part_entries
from wombet.dataset import ACCEPTED, TransferDataset
from wombet.errors import InputError

if TYPE_CHECKING:
    from minari import MinariDataset

UNCERTAINTY_NOTE = "zero in every row: the data came without a model of ours to be uncertain"


@dataclass(frozen=True)
class Imported:
    """An imported dataset's recipe and card; `new` is False if the store had the same rows already."""

    recipe: DatasetRecipe
    card: dict[str, Any]
    new: bool


def import_dataset(
    where: str, family: str, store: Store, level: str = "source", horizon: int | None = None
) -> Imported:
    """Put a Minari dataset, named or in a folder, into a store as offline data of a family.

    The rewards become the family's source rewards, since every method needs exact labels of the task; `level` says in
    which level the data were recorded, for the card to tell how many of the original rewards were that level's. The
    id depends on the rows and on the source task that they are read as, so that the same rows are imported once.
    Raises InputError if the rows do not fit the family, with the first that does not.
    """
    source, recorded_in = make_task(family, "source", "both", horizon), make_task(family, level, "both", horizon)
    minari = open_minari(where)
    rows, rewards, ends = rows_of(minari, source)
    digits = content_digits(rows, source.horizon, source.fingerprint())
    recipe = imported_recipe(f"{family}-{digits}", family, source.horizon, source.fingerprint())
    folder = store.dataset_folder(recipe.id)
    if has_rows(store, recipe):
        return Imported(recipe, verify_dataset(folder, source), new=False)
    card = _card(recipe, source, rows) | {IMPORTED: _origin(minari, rows, rewards, ends, source, recorded_in)}
    store.prepare()
    with claim(store.building_folder(recipe.id)) as held:
        if held is None:
            raise InputError(f"another process is importing the dataset {recipe.id}; wait for it to end")
        if has_rows(store, recipe):
            shutil.rmtree(store.building_folder(recipe.id))
            return Imported(recipe, verify_dataset(folder, source), new=False)
        return _place(replace(rows, card=card), recipe, source, store)


def _card(recipe: DatasetRecipe, source: Task, rows: TransferDataset) -> dict[str, Any]:
    return {
        "task": source.id,
        "horizon": source.horizon,
        "collection_mode": IMPORTED,
        "rollouts": IMPORTED,
        "recipe": asdict(recipe),
        "dataset_seed": recipe.dataset_seed,
        "source_steps": {"total": len(rows), "by_stage": {IMPORTED: len(rows)}},
        "versions": {name: version(name) for name in ("minari", "mujoco", "numpy")},
        "files": {},
        "parts": part_entries([(ACCEPTED, rows)], len(rows)),
    }


def _origin(
    minari: "MinariDataset",
    rows: TransferDataset,
    rewards: NDArray[np.float64],
    ends: Ends,
    source: Task,
    recorded_in: Task,
) -> dict[str, Any]:
    metadata = minari.storage.metadata
    told = {name: metadata[name] for name in ("algorithm_name", "code_permalink", "description") if name in metadata}
    lengths = np.diff([*rows.episode_starts, len(rows)])
    return {
        "format": "minari",
        "name": minari.id,
        "minari_version": minari.minari_version,
        "author": sorted(metadata.get("author", ())),
        **told,
        "recorded_in": recorded_in.id,
        "episodes": len(lengths),
        "longest_episode": int(lengths.max()),
        "episodes_longer_than_horizon": int((lengths > source.horizon).sum()),
        "ends": asdict(ends),
        "rewards": {
            "replaced_by": source.id,
            "differ": {task.id: _differing(rewards, task, rows) for task in (source, recorded_in)},
        },
        "uncertainty": UNCERTAINTY_NOTE,
        "source_steps": "the rows; what else it took to make them is not known",
        "one_step_error": one_step_error(rows, source),
    }


def _differing(rewards: NDArray[np.float64], task: Task, rows: TransferDataset) -> int:
    exact, _ = task.relabel(rows.obs, rows.action, rows.next_obs)
    with np.errstate(over="ignore"):
        return int((rewards.astype(np.float32) != exact).sum())


def _place(dataset: TransferDataset, recipe: DatasetRecipe, source: Task, store: Store) -> Imported:
    building, folder = store.building_folder(recipe.id), store.dataset_folder(recipe.id)
    made = building / "artefact"
    shutil.rmtree(made, ignore_errors=True)
    attempt = Attempt(building, "cpu")
    dataset.save(made)
    card = verify_dataset(made, source)
    attempt.end("done")
    os.replace(building / "provenance.json", made / "provenance.json")
    put_in_place(made, folder)
    shutil.rmtree(building)
    return Imported(recipe, card, new=True)
