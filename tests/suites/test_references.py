"""References of the score scale: made of a store's finished runs of SAC, and kept with what they rest on."""

import json
import shutil
from pathlib import Path

import pytest

from suites.matrix import build_matrix
from suites.spec import load_suite
from suites.store import Store, read_list
from suites.tasks import make_task
from suites.tasks.anchors import read_anchors
from suites.tasks.measured import row_name
from suites.tasks.references import Reference, main, read_references, references_of, write_references
from tests.suites.conftest import Program
from wombet.errors import InputError
from wombet.files import sha256

SUITE = """
name = "long"
title = "Long"
description = "SAC alone."
seeds = 3
n_datasets = 1
methods = ["zero", "sac"]
pairs = [{ family = "reacher", level = "close" }, { family = "reacher", level = "far" }]
budgets = { target_steps = 60 }
evaluation = { count = 4, episodes = 2 }
shared = { hidden_width = 16, batch_size = 8, n_critics = 2, target_subset = 2, random_steps = 20 }
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("long")


@pytest.fixture
def store(wombet: Program, place: Path, tmp_path: Path) -> Store:
    """A store with three seeds of SAC on two tasks, really run once for all tests."""
    if not (place / "store").exists():
        (place / "long.toml").write_text(SUITE)
        asked = ("run", place / "long.toml", "--store", place / "store", "--executor", "inline", "--no-report")
        assert wombet(*asked)[0] == 0
    shutil.copytree(place / "store", tmp_path / "store")
    return Store(tmp_path / "store")


def folders(store: Store, pair: str = "reacher-close") -> list[Path]:
    return sorted((store.root / "runs" / pair / "sac").iterdir())


def set_returns(folder: Path, means: list[float]) -> None:
    """Give a finished run other evaluations, two episodes each, as if it had come to them."""
    rows = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    for row, mean in zip(rows, means, strict=True):
        row["returns"] = [mean - 1.0, mean + 1.0]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "evals.jsonl").write_text(text)
    done = json.loads((folder / "done.json").read_text())
    (folder / "done.json").write_text(json.dumps({**done, "evals_sha256": sha256(text)}))


def references(store: Store, **options: bool) -> dict[str, Reference]:
    return {own.name: own.reference for own in references_of(store, "long", **options) if own.reference}


def test_a_reference_is_the_best_average_over_seeds_and_not_the_average_of_the_seeds_bests(store: Store) -> None:
    for folder, means in zip(
        folders(store), ([0.0, 30.0, 21.0, 12.0], [0.0, 6.0, 24.0, 12.0], [0.0, 9.0, 18.0, 15.0]), strict=True
    ):
        set_returns(folder, means)
    own = references(store)["reacher/close"]
    assert (own.mean_return, own.at_steps, own.std) == (21.0, 40, 3.0)
    assert (own.final_mean, own.final_std) == (13.0, pytest.approx(3**0.5, abs=1e-4))
    assert (own.seeds, own.evaluations, own.episodes, own.target_steps) == (3, 4, 2, 60)


def test_of_equal_averages_the_first_is_taken(store: Store) -> None:
    for folder in folders(store):
        set_returns(folder, [1.0, 5.0, 5.0, 2.0])
    assert references(store)["reacher/close"].at_steps == 20


def test_a_row_says_of_which_task_and_runs_it_is_what_is_below_it_and_what_made_it(store: Store) -> None:
    own, task = references(store)["reacher/far"], make_task("reacher", "far")
    assert (own.fingerprint, own.horizon) == (task.fingerprint(), 50)
    assert own.random_mean == read_anchors()["reacher/far"].random_mean
    assert [folder.name for folder in folders(store, "reacher-far")] == [
        f"s{seed}-{run}" for seed, run in enumerate(own.runs)
    ]
    versions = read_list(folders(store)[0] / "provenance.json")[0]["versions"]
    assert (own.gymnasium, own.mujoco, own.torch) == tuple(versions[name] for name in ("gymnasium", "mujoco", "torch"))
    assert (own.method, own.suite, own.provisional) == ("sac", "long", True)
    provenance = folders(store, "reacher-far")[1] / "provenance.json"
    provenance.write_text(provenance.read_text().replace(f'"torch": "{own.torch}"', '"torch": "9.9"'))
    assert references(store)["reacher/far"].torch == f"{own.torch} and 9.9"


def test_the_command_writes_the_same_bytes_again_and_keeps_rows_of_other_tasks(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, asked = tmp_path / "references.toml", ["--store", str(store.root), "--suite", "long", "--output"]
    assert main([*asked, str(output)]) == 0
    assert "reacher/close: 3 of 3 seeds; " in capsys.readouterr().out
    written = output.read_bytes()
    assert main([*asked, str(output)]) == 0
    assert output.read_bytes() == written
    assert b"not edited by hand" in written
    assert read_references(output) == references(store)
    other = {"ant/far/200": references(store)["reacher/far"]}
    write_references(other, output)
    assert main([*asked, str(output)]) == 0
    assert read_references(output) == other | references(store)


def test_a_task_with_fewer_than_three_finished_seeds_gets_a_row_only_where_that_is_allowed(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = folders(store)
    (first / "done.json").unlink()
    (second / "evals.jsonl").write_text((second / "evals.jsonl").read_text().replace("60", "61"))
    assert set(references(store)) == {"reacher/far"}
    output = tmp_path / "references.toml"
    assert main(["--store", str(store.root), "--suite", "long", "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert "reacher/close: 1 of 3 seeds (seed 0 unfinished, seed 1 damaged); no reference from fewer than 3" in told
    assert set(read_references(output)) == {"reacher/far"}
    fewer = references(store, allow_fewer=True)["reacher/close"]
    assert (fewer.seeds, fewer.std, fewer.final_std) == (1, None, None)
    assert third.name == f"s2-{fewer.runs[0]}"
    write_references({"reacher/close": fewer}, output)
    assert read_references(output) == {"reacher/close": fewer}


def test_runs_without_finite_returns_are_not_used(store: Store) -> None:
    set_returns(folders(store)[0], [1.0, float("nan"), 2.0, 3.0])
    (own, _) = references_of(store, "long")
    assert (own.reference, "seed 0 without finite returns" in own.sentence) == (None, True)


def test_a_reference_below_the_random_policy_is_kept_and_said_to_be_no_anchor(store: Store) -> None:
    for folder in folders(store):
        set_returns(folder, [-9.0, -8.0, -7.0, -7.5])
    (own, _) = references_of(store, "long")
    assert own.reference is not None
    assert "random 17.3, which is not below it, so that it is no anchor" in own.sentence


def test_a_task_whose_random_policy_was_not_measured_has_no_reference(store: Store) -> None:
    manifest = store.manifest("long")
    manifest["pairs"][0]["target_fingerprint"] = "0123456789ab"
    store.write_manifest(manifest)
    (own, other) = references_of(store, "long")
    assert own.reference is None
    assert "reacher-close: 3 of 3 seeds; no reference without a random policy" in own.sentence
    assert other.reference is not None


def test_where_nothing_can_be_used_one_sentence_says_so_and_nothing_is_written(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "references.toml"
    for folder in (*folders(store), *folders(store, "reacher-far")):
        (folder / "done.json").unlink()
    for suite, sentence in (
        ("long", "no task of suite long has the finished runs of sac"),
        ("references-pocket", "has no suite 'references-pocket'"),
    ):
        arguments = ["--store", str(store.root), "--suite", suite, "--allow-fewer", "--output", str(output)]
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1
    assert not output.exists()


def test_a_missing_file_holds_nothing_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert read_references(tmp_path / "none.toml") == {}
    (tmp_path / "empty.toml").write_text("")
    assert read_references(tmp_path / "empty.toml") == {}
    for text in ("not = [toml", '["reacher/far"]\nmean = 3.0\n', "reacher = 3\n"):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(InputError, match=r"bad\.toml is not a file of references"):
            read_references(tmp_path / "bad.toml")


def test_the_references_of_the_package_are_of_the_present_tasks_and_anchors() -> None:
    for name, own in read_references().items():
        family, level, *rest = name.split("/")
        task = make_task(family, level, horizon=int(rest[0]) if rest else None)
        assert (row_name(task), task.fingerprint(), task.horizon) == (name, own.fingerprint, own.horizon)
        assert own.random_mean == read_anchors()[name].random_mean
        assert own.seeds >= 3


def test_the_references_suite_is_the_row_sac_of_the_pocket_suites_for_longer() -> None:
    long = build_matrix(load_suite("references-pocket"))
    (short,) = [
        run
        for run in build_matrix(load_suite("data-controls-pocket")).runs
        if (run.row, run.pair.level, run.seed) == ("sac", "close", 0)
    ]
    assert long.recipes == []
    assert len(long.runs) == 45
    assert {run.budgets.target_steps for run in long.runs} == {100_000}
    for run in long.runs:
        assert (run.config, run.evaluation, run.method) == (short.config, short.evaluation, "sac")


def test_the_levels_suite_clones_the_pocket_datasets_and_shares_its_runs_with_the_zero_shot_suite() -> None:
    levels, zero_shot = (build_matrix(load_suite(name)) for name in ("levels-pocket", "paper-fig3-pocket"))
    assert {recipe.id for recipe in levels.recipes} == {
        recipe.id for recipe in build_matrix(load_suite("paper-fig2-pocket")).recipes
    }
    families = {run.pair.family for run in zero_shot.runs}
    shared = {run.run_id for run in levels.runs if run.pair.family in families}
    assert shared == {run.run_id for run in zero_shot.runs if run.row in ("random", "bc")}
