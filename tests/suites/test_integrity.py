"""What the check of a store finds, each in one sentence, and that it finds nothing where nothing is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from suites.claim import claim
from suites.integrity import Finding, check_store
from suites.runner import run_cell
from suites.store import Store
from tests.suites import cells
from wombet.errors import InputError

SPECS = [cells.cell("sac"), cells.cell("zero"), cells.cell("rlpd", target_steps=30)]
STOPPED = cells.cell("sac", seed=3)


@pytest.fixture(scope="module")
def filled(built_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a dataset, three finished runs, one that was stopped, and a manifest."""
    root, asked = tmp_path_factory.mktemp("filled") / "store", []
    shutil.copytree(built_store.root, root)
    store = Store(root)
    for spec in SPECS:
        assert run_cell(spec, store).ending == "done"
    run_cell(STOPPED, store, stop=lambda: asked.append(1) or len(asked) > 20)  # type: ignore[func-returns-value]
    store.write_manifest({"schema": 1, "name": "test", "cells": []})
    return store


@pytest.fixture
def whole(filled: Store, tmp_path: Path) -> Store:
    """A fresh copy of it."""
    shutil.copytree(filled.root, tmp_path / "whole")
    return Store(tmp_path / "whole")


def test_a_store_that_was_left_alone_is_whole(whole: Store) -> None:
    assert check_store(whole.root) == []


def test_a_place_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        check_store(tmp_path / "nowhere")


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


RUN_DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "evals changed": (lambda f: rewrite_row(f), "damaged", "evals.jsonl is not what it was when the run finished"),
    "evals torn": (lambda f: tear(f / "evals.jsonl"), "damaged", "the last line of evals.jsonl is torn"),
    "train torn": (lambda f: tear(f / "train.jsonl"), "damaged", "the last line of train.jsonl is torn"),
    "evals gone": (lambda f: (f / "evals.jsonl").unlink(), "missing", "evals.jsonl of a finished run is missing"),
    "costs gone": (lambda f: (f / "costs.jsonl").unlink(), "missing", "costs.jsonl of a finished run is missing"),
    "policy gone": (lambda f: (f / "policy.safetensors").unlink(), "missing", "policy.safetensors of a finished run"),
    "policy changed": (lambda f: flip(f / "policy.safetensors"), "damaged", "policy.safetensors is not what it was"),
    "spec gone": (lambda f: (f / "spec.json").unlink(), "missing", "spec.json is missing"),
    "spec changed": (lambda f: rewrite(f / "spec.json", seed=7), "inconsistent", "its hash is not the folder's id"),
    "spec of other schema": (lambda f: rewrite(f / "spec.json", schema=0), "inconsistent", "is of schema 0"),
    "done of another": (lambda f: rewrite(f / "done.json", run_id="x"), "inconsistent", "done.json belongs to run x"),
    "other summary": (
        lambda f: rewrite(f / "done.json", summary={"evaluations": 4, "final_mean_return": 1.0}),
        "inconsistent",
        "the final return of done.json is not that of evals.jsonl",
    ),
    "fewer rows": (
        lambda f: rewrite(f / "done.json", summary={"evaluations": 3}),
        "inconsistent",
        "evals.jsonl has 4 evaluations, done.json tells of 3, and 4 were planned",
    ),
    "done unreadable": (lambda f: (f / "done.json").write_text("{"), "damaged", "done.json is unreadable"),
    "foreign": (lambda f: (f / "notes.txt").write_text(""), "foreign", "notes.txt does not belong there"),
    "leftover": (lambda f: (f / ".x.tmp").write_text(""), "leftover", ".x.tmp was left by a process that was killed"),
    "no attempt": (lambda f: (f / "provenance.json").write_text("[{}]"), "inconsistent", "no attempt that finished it"),
    "no attempts": (
        lambda f: (f / "provenance.json").write_text("[]"),
        "damaged",
        "provenance.json tells of no attempt",
    ),
    "checkpoint kept": (lambda f: (f / "checkpoint").mkdir(), "leftover", "still there"),
}


def rewrite_row(folder: Path) -> None:
    path = folder / "evals.jsonl"
    first, _, rest = path.read_bytes().partition(b"\n")
    row = json.loads(first)
    row["returns"][0] += 1
    path.write_bytes(json.dumps(row).encode() + b"\n" + rest)


@pytest.mark.parametrize("name", RUN_DAMAGE)
def test_what_is_wrong_with_a_run_is_said(whole: Store, name: str) -> None:
    damage, kind, sentence = RUN_DAMAGE[name]
    damage(whole.run_folder(SPECS[0].folder))
    found = check_store(whole.root)
    assert any((item.where, item.kind) == (SPECS[0].folder, kind) and sentence in item.sentence for item in found)
    assert {item.where for item in found} == {SPECS[0].folder}


def test_what_makes_a_damaged_run_whole_again_is_said_and_does(whole: Store) -> None:
    folder = whole.run_folder(SPECS[0].folder)
    evaluations = (folder / "evals.jsonl").read_bytes()
    tear(folder / "evals.jsonl")
    assert run_cell(SPECS[0], whole).ending == "skipped"
    found = check_store(whole.root)
    assert {item.where for item in found} == {SPECS[0].folder}
    assert all("move this folder away or delete it, and `wombet run` does" in item.sentence for item in found)
    shutil.rmtree(folder)
    assert run_cell(SPECS[0], whole).ending == "done"
    assert (folder / "evals.jsonl").read_bytes() == evaluations
    assert check_store(whole.root) == []


def test_a_run_that_is_not_finished_need_not_be_moved_away(whole: Store) -> None:
    tear(whole.run_folder(STOPPED.folder) / "train.jsonl")
    (found,) = check_store(whole.root)
    assert "move" not in found.sentence


def test_damaged_checkpoints_are_named(whole: Store) -> None:
    folder = whole.run_folder(STOPPED.folder) / "checkpoint"
    (path,) = folder.iterdir()
    flip(path)
    (folder / "other").write_text("")
    found = check_store(whole.root)
    assert [(item.kind, item.sentence.split(" ")[0]) for item in found] == [
        ("damaged", f"checkpoint/{path.name}"),
        ("foreign", "checkpoint/other"),
    ]


@pytest.mark.parametrize(
    ("damage", "kind", "sentence"),
    [
        (lambda folder: tear(folder / "data" / "obs.npy"), "damaged", "obs.npy is truncated or was changed"),
        (lambda folder: tear(folder / "source" / "obs.npy"), "damaged", "obs.npy is truncated or was changed"),
        (lambda folder: flip(folder / "model" / "ensemble.safetensors"), "damaged", "its hash is not the card's"),
        (lambda folder: (folder / "model" / "ensemble.safetensors").unlink(), "missing", "safetensors is missing"),
        (lambda folder: (folder / "card.json").write_text("{"), "damaged", "is not a dataset card"),
        (lambda folder: (folder / "extra").write_text(""), "foreign", "extra does not belong there"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said(
    whole: Store, damage: Callable[[Path], object], kind: str, sentence: str
) -> None:
    damage(whole.dataset_folder(cells.recipe().id))
    (found,) = check_store(whole.root)
    assert (found.where, found.kind) == (f"datasets/{cells.recipe().id}", kind)
    assert sentence in found.sentence


def test_a_dataset_that_finished_runs_were_fed_is_missed_when_its_card_is_gone(whole: Store) -> None:
    folder = whole.dataset_folder(cells.recipe().id)
    rows = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".npy", ".safetensors")]
    left_out = [str(path.relative_to(whole.root)) for path in rows]
    (whole.root / "published.json").write_text(json.dumps({"format": 1, "left_out": left_out}))
    for path in rows:
        path.unlink()
    assert check_store(whole.root) == []
    shutil.rmtree(folder)
    (found,) = check_store(whole.root)
    assert (found.where, found.kind) == (f"datasets/{cells.recipe().id}", "missing")
    assert found.sentence == "the dataset that 1 finished run was fed is gone, and its card.json with it"
    with claim(whole.building_folder(cells.recipe().id)):
        assert check_store(whole.root) == []


def test_folders_and_manifests_that_are_not_ours_are_named(whole: Store) -> None:
    dataset = whole.dataset_folder(cells.recipe().id)
    dataset.rename(dataset.with_name("reacher-000000000000"))
    (whole.root / "runs" / "a" / "b" / "c").mkdir(parents=True)
    (whole.root / "suites" / "broken.json").write_text("{")
    (whole.root / "suites" / "old.json").write_text('{"schema": 0, "cells": []}')
    found = {item.where: item.sentence for item in check_store(whole.root)}
    named = {"runs/a/b/c", "suites/broken.json", "suites/old.json", "datasets/reacher-000000000000"}
    assert set(found) == {*named, f"datasets/{cells.recipe().id}"}
    assert "the card's recipe is that of dataset" in found["datasets/reacher-000000000000"]


def test_a_folder_at_which_somebody_works_is_left_out(whole: Store) -> None:
    folder = whole.run_folder(STOPPED.folder)
    tear(folder / "train.jsonl")
    with claim(folder):
        assert check_store(whole.root) == []
    (found,) = check_store(whole.root)
    assert isinstance(found, Finding)
