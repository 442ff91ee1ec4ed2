"""A run that was computed again beside the stored one: identical, where it differs, or why they cannot be compared."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suites.against import Compared, compare_stores
from suites.runner import run_cell
from suites.store import Store
from tests.suites import cells
from tests.suites.conftest import Program
from wombet.errors import InputError
from wombet.files import pretty_json, sha256_of_file

SPEC = cells.cell("rlpd", target_steps=30)


@pytest.fixture(scope="module")
def stored(built_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("stored") / "store"
    shutil.copytree(built_store.root, root)
    assert run_cell(SPEC, Store(root)).ending == "done"
    return Store(root)


@pytest.fixture
def again(stored: Store, tmp_path: Path) -> Store:
    """A copy, which stands for a run that came out the same."""
    shutil.copytree(stored.root, tmp_path / "again")
    return Store(tmp_path / "again")


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(pretty_json(content))


def edit_row(path: Path, number: int, **values: Any) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | values)
    path.write_text("\n".join(lines) + "\n")


def vouch(folder: Path) -> None:
    digest = sha256_of_file(folder / "evals.jsonl")
    edit(folder / "done.json", lambda done: done.update(evals_sha256=digest))


def compared(ours: Store, theirs: Store) -> Compared:
    (found,) = compare_stores(ours, theirs)
    assert found.folder == SPEC.folder
    return found


def test_a_run_in_a_fresh_store_is_identical_although_clocks_and_attempts_are_not(stored: Store, store: Store) -> None:
    assert run_cell(SPEC, store).ending == "done"
    ours, theirs = (each.run_folder(SPEC.folder) for each in (store, stored))
    assert (ours / "provenance.json").read_bytes() != (theirs / "provenance.json").read_bytes()
    found = compared(store, stored)
    assert found.verdict == "identical"
    rows = len((ours / "train.jsonl").read_text().splitlines())
    assert found.reason == f"4 evaluations, {rows} training rows, datasets and final state"


def evaluation(folder: Path) -> None:
    row = json.loads((folder / "evals.jsonl").read_text().splitlines()[2])
    edit_row(folder / "evals.jsonl", 3, returns=[row["returns"][0], -1.5])
    vouch(folder)


def fewer_evaluations(folder: Path) -> None:
    lines = (folder / "evals.jsonl").read_text().splitlines(keepends=True)
    (folder / "evals.jsonl").write_text("".join(lines[:-1]))
    vouch(folder)


DIFFERENCES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a return": (evaluation, "differs at row 3 of evals.jsonl: returns [1] is -1.5 here and"),
    "an evaluation less": (fewer_evaluations, "evals.jsonl has 3 rows here and 4 there; those before are the same"),
    "a metric": (
        lambda folder: edit_row(folder / "train.jsonl", 2, critic_loss=-7.0),
        "differs at row 2 of train.jsonl: critic_loss is -7.0 here and",
    ),
    "a metric less": (
        lambda folder: (folder / "train.jsonl").write_text(""),
        "train.jsonl has 0 rows here and",
    ),
    "the final state": (
        lambda folder: edit(folder / "done.json", lambda done: done.update(state_sha256="0")),
        "all rows are the same, and the final state (weights and buffers) differs",
    ),
    "the dataset": (
        lambda folder: edit(
            folder.parents[3] / "datasets" / cells.recipe().id / "card.json", lambda card: card.update(sha256="0")
        ),
        f"dataset {cells.recipe().id} is another one: not the same rows",
    ),
    "the model": (
        lambda folder: edit(
            folder.parents[3] / "datasets" / cells.recipe().id / "card.json",
            lambda card: card["files"].update({"model/ensemble.safetensors": "0"}),
        ),
        "not the same model/ensemble.safetensors",
    ),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_the_first_difference_is_named(stored: Store, again: Store, what: str) -> None:
    change, sentence = DIFFERENCES[what]
    change(again.run_folder(SPEC.folder))
    found = compared(again, stored)
    assert found.verdict == "differs"
    assert sentence in found.reason


def test_rows_that_differ_under_other_versions_are_not_comparable_and_equal_rows_are_identical(
    stored: Store, again: Store
) -> None:
    folder = again.run_folder(SPEC.folder)
    edit(folder / "provenance.json", lambda attempts: attempts[-1]["versions"].update(torch="1.0"))
    assert compared(again, stored).verdict == "identical"
    evaluation(folder)
    found = compared(again, stored)
    assert found.verdict == "not comparable"
    assert "row 3 of evals.jsonl" in found.reason
    assert "computed with other versions (torch 1.0 here, " in found.reason


def test_another_processor_is_named_beside_a_difference(stored: Store, again: Store) -> None:
    folder = again.run_folder(SPEC.folder)
    edit(folder / "provenance.json", lambda attempts: attempts[-1].update(cpu="an abacus", pid=1))
    evaluation(folder)
    found = compared(again, stored)
    assert found.verdict == "differs"
    assert "(processor an abacus here, " in found.reason
    assert "pid" not in found.reason


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"config": {**SPEC.config, "utd": 2}}, "its settings differ: config.utd is 1 here and 2 there"),
        ({"method_version": 99}, "method_version is"),
        ({"evaluation": {"count": 3, "episodes": 2}}, "evaluation.count is 4 here and 3 there"),
        ({"seed": 7}, "there is no run of rlpd on reacher-close with seed 0 there"),
    ],
)
def test_other_settings_are_not_comparable_and_are_named(
    stored: Store, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    other = dataclasses.replace(SPEC, **changes)
    folder = tmp_path / "other" / other.folder
    shutil.copytree(stored.run_folder(SPEC.folder), folder)
    (folder / "spec.json").write_text(pretty_json(other.to_json()))
    found = compared(stored, Store(tmp_path / "other"))
    assert found.verdict == "not comparable"
    assert sentence in found.reason


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "done.json").unlink(), "there the run is not finished (interrupted)"),
        (lambda folder: edit_row(folder / "evals.jsonl", 1, returns=[0.0]), "evals.jsonl there is not what it was"),
        (
            lambda folder: (folder.parents[3] / "datasets" / cells.recipe().id / "card.json").unlink(),
            "there is no card of its dataset reacher-",
        ),
    ],
)
def test_a_stored_run_that_is_not_whole_is_not_comparable(
    stored: Store, again: Store, change: Callable[[Path], object], sentence: str
) -> None:
    change(again.run_folder(SPEC.folder))
    if not (again.run_folder(SPEC.folder) / "done.json").exists():
        edit(again.run_folder(SPEC.folder) / "status.json", lambda status: status.update(state="interrupted"))
    found = compared(stored, again)
    assert found.verdict == "not comparable"
    assert sentence in found.reason


def test_a_damaged_spec_is_not_comparable(stored: Store, again: Store) -> None:
    (again.run_folder(SPEC.folder) / "spec.json").write_text("{}")
    assert compared(again, stored).reason == "spec.json here cannot be read as a run"


def test_without_a_finished_run_there_is_nothing_to_compare(stored: Store, built_store: Store) -> None:
    with pytest.raises(InputError, match="no finished run to compare"):
        compare_stores(built_store, stored)


def test_the_verb_says_it_line_by_line_and_fails_for_a_difference(wombet: Program, stored: Store, again: Store) -> None:
    code, out, _ = wombet("check", again.root, "--against", stored.root)
    assert code == 0
    assert f"identical: {SPEC.folder}: 4 evaluations" in out
    evaluation(again.run_folder(SPEC.folder))
    code, out, _ = wombet("check", again.root, "--against", stored.root)
    assert code == 1
    assert f"differs: {SPEC.folder}: differs at row 3" in out
    assert out.strip().endswith("1 differs")
    code, out, _ = wombet("check", again.root, "--against", stored.root, "--json")
    assert [each["verdict"] for each in json.loads(out)["against"]] == ["differs"]
    (again.run_folder(SPEC.folder) / "spec.json").write_text("{}")
    assert wombet("check", again.root, "--against", stored.root)[0] == 1
    code, _, err = wombet("check", again.root, "--against", again.root / "nowhere")
    assert (code, "does not exist" in err) == (2, True)
