"""Dataset artefacts: what is in them, when they are built, how damage shows."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suites.claim import claim
from suites.datasets import MODEL, build_dataset, load_for_run, verify_dataset
from suites.pacing import Progress
from suites.spec import DatasetRecipe
from suites.store import Store
from suites.tasks import make_task
from tests.suites import cells
from wombet.dataset import load_dataset, load_source
from wombet.errors import InputError
from wombet.serialization import load_tree

SOURCE = make_task("reacher", "source", "both", cells.HORIZON)


@pytest.fixture
def recipe() -> DatasetRecipe:
    return cells.recipe()


def test_the_artefact_tells_where_it_comes_from(store: Store, recipe: DatasetRecipe) -> None:
    folder = store.dataset_folder(recipe.id)
    card = verify_dataset(folder, SOURCE)
    assert card["recipe"] == dataclasses.asdict(recipe)
    assert card["dataset_seed"] == 0
    assert set(card["versions"]) == {"mujoco", "numpy", "torch"}
    assert 0 < card["source_steps"]["total"] <= recipe.config["source_steps"]
    assert load_tree(folder / MODEL)
    assert card["rows"] == len(load_dataset(folder))
    assert json.loads((folder / "provenance.json").read_text())[-1]["state"] == "done"
    assert not store.building_folder(recipe.id).exists()
    assert store.datasets() == [recipe.id]


def test_a_finished_dataset_is_skipped(store: Store, recipe: DatasetRecipe) -> None:
    before = (store.dataset_folder(recipe.id) / "card.json").stat().st_mtime_ns
    assert build_dataset(recipe, store).ending == "skipped"
    assert (store.dataset_folder(recipe.id) / "card.json").stat().st_mtime_ns == before


def test_one_process_builds_a_dataset(tmp_path: Path, recipe: DatasetRecipe) -> None:
    store = Store(tmp_path)
    with claim(store.building_folder(recipe.id)):
        assert build_dataset(recipe, store).ending == "busy"


def test_recipes_with_other_seeds_have_other_rows(store: Store) -> None:
    other = cells.recipe(dataset_seed=1)
    assert build_dataset(other, store).ending == "done"
    first, second = (load_dataset(store.dataset_folder(name)) for name in (cells.recipe().id, other.id))
    assert not np.array_equal(first.obs[:5], second.obs[:5])


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("data/obs.npy", lambda data: data[:-4], "obs.npy is truncated or was changed"),
        ("parts/unfiltered/obs.npy", lambda data: data[:-4], "unfiltered/obs.npy is truncated or was changed"),
        ("parts/source/action.npy", lambda data: b"", "source/action.npy is truncated or was changed"),
        ("source/sim_state.npy", lambda data: data[:-4], "source/sim_state.npy is truncated or was changed"),
        (MODEL, lambda data: data + b" ", "ensemble.safetensors is missing or was changed"),
        ("card.json", lambda data: b"{", "is not a dataset card"),
    ],
)
def test_damage_is_named(store: Store, recipe: DatasetRecipe, name: str, change: Any, sentence: str) -> None:
    path = store.dataset_folder(recipe.id) / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=sentence):
        verify_dataset(store.dataset_folder(recipe.id), SOURCE)


def test_a_dataset_of_another_task_is_refused(store: Store, recipe: DatasetRecipe) -> None:
    with pytest.raises(InputError, match="belongs to another task"):
        verify_dataset(store.dataset_folder(recipe.id), make_task("reacher", "far", "both", cells.HORIZON))


def test_a_run_gets_the_rows_with_the_targets_labels(store: Store) -> None:
    spec = cells.cell("rlpd")
    dataset = load_for_run(spec, store)
    assert dataset is not None
    assert dataset.reward_target is not None
    target = make_task("reacher", "close", "both", cells.HORIZON)
    expected, _ = target.relabel(dataset.obs, dataset.action, dataset.next_obs)
    assert np.array_equal(dataset.reward_target, expected)
    assert not np.array_equal(dataset.reward_target, dataset.reward_source)


def test_a_run_can_be_given_a_part_for_controls_of_the_same_count(store: Store) -> None:
    spec = cells.cell("rlpd")
    accepted, found = load_for_run(spec, store), load_for_run(spec, store, "source")
    assert accepted is not None
    assert found is not None
    assert found.reward_target is not None
    assert len(found) == len(accepted)
    assert not np.array_equal(found.obs, accepted.obs)


def test_all_real_source_rows_are_kept(store: Store, recipe: DatasetRecipe) -> None:
    folder = store.dataset_folder(recipe.id)
    rows = load_source(folder)
    rows.validate(SOURCE)
    assert len(rows) == load_dataset(folder).card["source_steps"]["total"]
    assert rows.sim_state is not None


def test_a_guided_dataset_has_a_part_by_its_agents_policy(tmp_path: Path) -> None:
    recipe, store = cells.recipe(cells.guided_generation()), Store(tmp_path)
    assert build_dataset(recipe, store).ending == "done"
    card = verify_dataset(store.dataset_folder(recipe.id), SOURCE)
    assert card["parts"]["policy"]["rows"] + card["parts"]["policy"]["missing_rows"] == card["rows"]


def test_rows_of_another_task_in_a_part_are_refused(store: Store, recipe: DatasetRecipe) -> None:
    folder = store.dataset_folder(recipe.id)
    accepted, part = load_dataset(folder), load_dataset(folder, "unfiltered")
    accepted.save(folder, {"unfiltered": dataclasses.replace(part, reward_source=part.reward_source + np.float32(1))})
    with pytest.raises(InputError, match="rewards are not those of task"):
        verify_dataset(folder, SOURCE)


def test_progress_does_not_stop_while_the_model_is_fitted_and_data_are_generated(
    tmp_path: Path, recipe: DatasetRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suites.pacing.HEARTBEAT_SECONDS", 0.0)
    seen: list[tuple[int, int, int]] = []
    folder = Store(tmp_path).building_folder(recipe.id)

    def watch(progress: Progress) -> None:
        steps = json.loads((folder / "status.json").read_text())["source_steps"]
        seen.append((progress.units, progress.total, steps))

    assert build_dataset(recipe, Store(tmp_path), on_progress=watch).ending == "done"
    units, totals, steps = (np.array(column) for column in zip(*seen, strict=True))
    assert (np.diff(units) >= 0).all()
    assert units[0] == 0
    assert units[-1] == totals[-1] == totals[0]
    generating = steps == steps[-1]
    assert len(set(units[generating])) > 5


def test_a_folder_of_another_recipe_is_refused(store: Store) -> None:
    spec = cells.cell("rlpd")
    other = dataclasses.replace(spec, dataset=cells.recipe(dataset_seed=5))
    assert spec.dataset is not None
    assert other.dataset is not None
    store.dataset_folder(spec.dataset.id).rename(store.dataset_folder(other.dataset.id))
    with pytest.raises(InputError, match="was not built by the recipe of reacher-close rlpd seed 0"):
        load_for_run(other, store)


def test_rows_of_another_task_are_refused_though_every_hash_fits(store: Store) -> None:
    spec = cells.cell("rlpd")
    assert spec.dataset is not None
    folder = store.dataset_folder(spec.dataset.id)
    dataset = load_dataset(folder)
    dataclasses.replace(dataset, reward_source=dataset.reward_source + np.float32(1)).save(folder)
    with pytest.raises(InputError, match="the dataset's rewards are not those of task reacher/source"):
        load_for_run(spec, store)


def test_a_build_that_fails_is_recorded_and_leaves_no_dataset(tmp_path: Path) -> None:
    recipe = cells.recipe(cells.generation(gate_tolerance=0.0))
    store = Store(tmp_path)
    outcome = build_dataset(recipe, store)
    assert outcome.ending == "failed"
    assert outcome.message.startswith("GateError")
    assert not store.dataset_folder(recipe.id).exists()
    folder = store.building_folder(recipe.id)
    assert (folder / "error.txt").read_text().rstrip().endswith(outcome.message)
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"source_fingerprint": "0" * 12}, "the numbers of task reacher/source are not those"),
        ({"config": {"random_stepz": 3}}, "there is no field 'random_stepz'; did you mean 'random_steps'"),
    ],
)
def test_a_recipe_that_fits_nothing_is_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build_dataset(dataclasses.replace(cells.recipe(), **change), Store(tmp_path))
