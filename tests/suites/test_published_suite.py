"""A suite that was published with holes: unpacked, checked, continued with nothing but what is missing, compared."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.page import END
from benchmarks.published_cost import COMMAND, main, read_all
from suites.archive import unpack
from suites.datasets import build_dataset
from suites.integrity import check_store
from suites.policy import load_policy
from suites.spec import CATALOG, recipe_from_json
from suites.store import Store
from tests.suites.conftest import Program
from wombet.errors import InputError

SMOKE = (CATALOG / "smoke.toml").read_text()
SUITE = SMOKE.replace('"zero", "random", "bc", "sac", "rlpd", "wombet"', '"zero", "bc"').partition("[shared]")[0]
QUIET = ("--executor", "inline", "--no-report")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "smoke.toml").write_text(SUITE + "[config.bc]\nhidden_width = 16\n")
    return folder


@pytest.fixture
def partly(wombet: Program, place: Path) -> Path:
    """The folder with a store of the first seed alone, and its published results."""
    if not (place / "results").exists():
        asked = ("run", place / "smoke.toml", "--seeds", 1, "--store", place / "store", *QUIET)
        assert wombet(*asked)[0] == 0
        code, out, err = wombet("publish", "smoke", "--store", place / "store", "--to", place / "results")
        assert code == 0, err
        assert "missing: reacher-close, bc: seed 1 not run" in out
    return place


def unpacked(partly: Path, root: Path) -> Store:
    unpack(partly / "results" / "smoke", root)
    return Store(root)


def test_what_is_unpacked_is_whole_without_weights_and_rows(partly: Path, tmp_path: Path) -> None:
    store = unpacked(partly, tmp_path / "store")
    assert check_store(store.root) == []
    names = contents(store.root).keys()
    assert not [name for name in names if name.endswith((".npy", ".safetensors"))]
    assert {Path(name).name for name in store.left_out} >= {"policy.safetensors", "obs.npy", "ensemble.safetensors"}
    before = contents(partly / "store")
    assert all(before[name] == data for name, data in contents(store.root).items() if name != "published.json")
    (run,) = (store.root / "runs").glob("*/bc/*")
    with pytest.raises(InputError, match="published without its policy"):
        load_policy(run, store)


def test_a_file_that_was_not_left_out_is_still_missed(partly: Path, tmp_path: Path) -> None:
    store = unpacked(partly, tmp_path / "store")
    notice = json.loads((store.root / "published.json").read_text())
    notice["left_out"] = []
    (store.root / "published.json").write_text(json.dumps(notice))
    sentences = " ".join(finding.sentence for finding in check_store(store.root))
    assert "policy.safetensors of a finished run is missing" in sentences
    assert "ensemble.safetensors is missing" in sentences


def test_finished_runs_are_skipped_and_no_dataset_is_built_for_them(
    wombet: Program, partly: Path, tmp_path: Path
) -> None:
    store = unpacked(partly, tmp_path / "store")
    before = contents(store.root)
    code, out, err = wombet("run", partly / "smoke.toml", "--seeds", 1, "--store", store.root, *QUIET)
    assert (code, out.strip()) == (0, "2 skipped"), err
    assert contents(store.root) == before


def test_what_is_missing_is_carried_out_on_the_rebuilt_dataset_and_nothing_else_changes(
    wombet: Program, partly: Path, tmp_path: Path
) -> None:
    store = unpacked(partly, tmp_path / "store")
    before = contents(store.root)
    plan = json.loads(wombet("plan", partly / "smoke.toml", "--store", store.root, "--json")[1])
    assert (plan["done"], plan["missing"]) == (2, 2)
    # Two runs, and the dataset of one of them.
    assert sum(plan["cost"]["known_from"].values()) + sum(plan["cost"]["unknown"].values()) == 3
    assert [(dataset["built"], dataset["has_rows"]) for dataset in plan["datasets"]] == [(True, False)]
    assert "published without its rows" in wombet("plan", partly / "smoke.toml", "--store", store.root)[1]
    code, out, err = wombet("run", partly / "smoke.toml", "--store", store.root, *QUIET)
    assert (code, out.strip()) == (0, "3 done (1 dataset among them), 2 skipped"), err
    assert "published without its rows" not in wombet("plan", partly / "smoke.toml", "--store", store.root)[1]
    after = contents(store.root)
    assert {name: after[name] for name in before} == before
    rows = {name: data for name, data in contents(partly / "store").items() if name.endswith(".npy")}
    assert rows
    assert all(after[name] == data for name, data in rows.items())
    assert not list((store.root / "datasets").glob("*.building"))
    assert check_store(store.root) == []


def test_a_dataset_that_comes_out_otherwise_stops_the_runs_with_one_sentence(
    wombet: Program, partly: Path, tmp_path: Path
) -> None:
    store = unpacked(partly, tmp_path / "store")
    (path,) = (store.root / "datasets").glob("*/card.json")
    card = json.loads(path.read_text())
    card["sha256"], card["versions"]["torch"] = "0" * 64, "2.0.0"
    path.write_text(json.dumps(card))
    before = contents(store.root / "datasets")
    code, out, _ = wombet("run", partly / "smoke.toml", "--store", store.root, *QUIET)
    assert code == 1
    assert "was built again and is not the published one (not the same rows; torch" in out
    assert "1 blocked, 1 done, 1 failed (1 dataset among them), 2 skipped" in out
    kept = {name: data for name, data in contents(store.root / "datasets").items() if ".building" not in name}
    assert kept == before


def test_what_was_computed_otherwise_is_not_continued(partly: Path, tmp_path: Path) -> None:
    store, asked = unpacked(partly, tmp_path / "store"), []
    (path,) = (store.root / "datasets").glob("*/card.json")
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "sha256": "0" * 64}))
    recipe = recipe_from_json(card["recipe"])
    stopped = build_dataset(recipe, store, stop=lambda: asked.append(1) or len(asked) > 9)  # type: ignore[func-returns-value]
    assert stopped.ending == "preempted"
    kept = store.building_folder(recipe.id) / "checkpoint"
    assert list(kept.iterdir())
    assert build_dataset(recipe, store).ending == "failed"
    assert not kept.exists()


def test_publishing_again_from_what_was_unpacked_gives_the_same_bytes(
    wombet: Program, partly: Path, tmp_path: Path
) -> None:
    unpacked(partly, tmp_path / "store")
    code, _, err = wombet("publish", "smoke", "--store", tmp_path / "store", "--to", tmp_path / "results")
    assert code == 0, err
    assert contents(tmp_path / "results" / "smoke") == contents(partly / "results" / "smoke")


def test_the_printed_commands_run_a_cell_again_and_find_it_identical(
    wombet: Program, partly: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder that holds results/, word for word but for the suite's file, which here is not the catalogue's."""
    text = (partly / "results" / "smoke" / "README.md").read_text()
    (again,) = [line.split("`")[1] for line in text.splitlines() if line.startswith("| reacher-close | bc | `wombet")]
    (compare,) = [line.split("`")[1] for line in text.splitlines() if "`wombet check" in line]
    assert again == ("wombet run smoke --tasks reacher-close --methods bc --seeds 1 --store check --no-report")
    assert compare == "wombet check check --against results/smoke"
    shutil.copytree(partly / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    words = [str(partly / "smoke.toml") if word == "smoke" else word for word in again.split()[1:]]
    assert wombet(*words, "--executor", "inline")[0] == 0
    code, out, err = wombet(*compare.split()[1:])
    assert code == 0, out + err
    assert "identical: runs/reacher-close/bc/" in out
    assert out.strip().endswith("1 identical")


def test_the_table_of_costs_counts_what_suites_share_once(
    partly: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(partly / "results" / "smoke", tmp_path / "results" / "smoke")
    shutil.copytree(partly / "results" / "smoke", tmp_path / "results" / "twin")
    page = tmp_path / "README.md"
    page.write_text(f"before\n<!-- {COMMAND} -->\n{END}\nafter\n")
    assert main([str(tmp_path / "results"), "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert page.read_text() == f"before\n{printed}after\n"
    attempts = [path for kind in ("runs", "datasets") for path in (partly / "store" / kind).rglob("provenance.json")]
    cpu_s = sum(attempt["cost"]["cpu_s"] for path in attempts for attempt in json.loads(path.read_text()))
    (suite, _) = read_all(tmp_path / "results").values()
    assert sum((*suite.runs.values(), *suite.datasets.values())) == pytest.approx(cpu_s)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    assert [row[1:5] for row in rows[2:]] == [["1", "2", "4", "1"], ["1", "2", "4", "1"], ["", "2", "", "1"]]
    assert {row[5] for row in rows[2:]} == {f"{cpu_s / 3600:.1f}"}


def test_costs_of_a_folder_without_results_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "holds no published results" in capsys.readouterr().err
