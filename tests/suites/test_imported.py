"""Imported datasets in a store, in suites and in runs, and the verbs that move them."""

import copy
import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import minari
import pytest

from suites.commands import data, exchange
from suites.datasets import load_for_run, verify_dataset
from suites.dispatch import dispatch
from suites.imported import Imported, import_dataset
from suites.matrix import Matrix, build_matrix
from suites.spec import CATALOG, load_suite, parse_suite, run_spec_from_json
from suites.store import Store, read_rows
from suites.tasks import make_task
from suites.tasks.task import Task
from tests.suites.recordings import HORIZON, contents, publish, recorded
from wombet.dataset import load_dataset
from wombet.errors import InputError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps datasets during a test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.fixture(scope="module")
def close() -> Task:
    return make_task("reacher", "close", "both", HORIZON)


@pytest.fixture(scope="module")
def source() -> Task:
    return make_task("reacher", "source", "both", HORIZON)


# Identity


@pytest.fixture
def imported(close: Task, tmp_path: Path) -> Imported:
    name = publish("theirs-v0", recorded(close, 3), close)
    return import_dataset(name, "reacher", Store(tmp_path / "store"), level="close", horizon=HORIZON)


def test_the_same_rows_are_imported_once_and_other_rows_get_another_id(
    close: Task, imported: Imported, tmp_path: Path
) -> None:
    before = contents(tmp_path / "store")
    again = import_dataset(
        publish("again-v0", recorded(close, 3), close), "reacher", Store(tmp_path / "store"), horizon=HORIZON
    )
    assert imported.new
    assert not again.new
    assert again.recipe == imported.recipe
    assert contents(tmp_path / "store") == before
    episodes = recorded(close, 3)
    episodes[1]["actions"][4, 1] += 1e-3
    others = [
        import_dataset(publish("other-v0", episodes, close), "reacher", Store(tmp_path / "store"), horizon=HORIZON),
        import_dataset("theirs-v0", "reacher", Store(tmp_path / "store"), horizon=HORIZON + 1),
    ]
    assert len({imported.recipe.id, *(other.recipe.id for other in others)}) == 3


def test_an_import_that_was_published_without_its_rows_is_given_them_again(
    close: Task, imported: Imported, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    before = contents(root)
    rows = list((root / "datasets").rglob("*.npy"))
    notice = {"format": 1, "left_out": [str(path.relative_to(root)) for path in rows]}
    (root / "published.json").write_text(json.dumps(notice))
    for path in rows:
        path.unlink()
    again = import_dataset("theirs-v0", "reacher", Store(root), level="close", horizon=HORIZON)
    assert again.new
    (root / "published.json").unlink()
    assert contents(root) == before


SMOKE = tomllib.loads((CATALOG / "smoke.toml").read_text())


def suite_content(dataset_id: str, **entries: Any) -> dict[str, Any]:
    """The smoke suite with two methods, on an imported dataset."""
    pair = {"family": "reacher", "level": "close", "horizon": HORIZON}
    wanted = {"methods": ["zero", "bc"], "data": {"imported": dataset_id}, "pairs": [pair], "shared": {}}
    return {**copy.deepcopy(SMOKE), **wanted, "config": {"bc": {"hidden_width": 16}}, **entries}


def matrix_of(dataset_id: str, **entries: Any) -> Matrix:
    return build_matrix(parse_suite(suite_content(dataset_id, **entries), "suite.toml"))


def test_a_suite_names_an_import_by_its_id_and_runs_depend_on_it(imported: Imported) -> None:
    matrix = matrix_of(imported.recipe.id)
    assert matrix.recipes == [imported.recipe]
    run = next(run for run in matrix.runs if run.dataset is not None)
    assert run_spec_from_json(run.to_json()) == run
    other = matrix_of("reacher-0123456789ab")
    ids = {(run.method, run.seed): run.run_id for run in other.runs}
    assert {run.method for run in matrix.runs if ids[run.method, run.seed] == run.run_id} == {"zero"}
    pair = {"family": "reacher", "level": "close", "horizon": HORIZON, "data": {"imported": imported.recipe.id}}
    assert matrix_of("", data={"profile": "smoke"}, pairs=[pair]).recipes == [imported.recipe]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"data": {"imported": "reacher"}}, "data.imported is 'reacher', and must be an id that `wombet data import`"),
        ({"data": {"imported": "reacher-0123456789ab", "profile": "quick"}}, "leave out data.profile, or imported"),
        ({"data": {"imported": "hopper-0123456789ab"}}, "is of family hopper, and the task pair of reacher"),
        (
            {"pairs": [{"family": "reacher", "level": "close", "data": {"imported": "x"}}]},
            "pair reacher: data.imported is 'x'",
        ),
        (
            {"pairs": [{"family": "reacher", "level": "close", "data": {"collection": "pur"}}]},
            "pair reacher: collection is 'pur'",
        ),
    ],
)
def test_a_bad_choice_of_imported_data_is_said_in_one_sentence(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        matrix_of("reacher-0123456789ab", **entries)
    assert "\n" not in str(caught.value)


def test_generated_datasets_keep_their_ids() -> None:
    (recipe,) = build_matrix(load_suite("smoke")).recipes
    assert not recipe.imported
    changed = dataclasses.replace(recipe, config={**recipe.config, "random_steps": 1})
    assert changed.id != recipe.id


# Runs


def test_a_method_learns_from_imported_data_from_end_to_end(imported: Imported, tmp_path: Path) -> None:
    store, matrix = Store(tmp_path / "store"), matrix_of(imported.recipe.id)
    summary = dispatch(matrix.runs, store, executor="inline", recipes=matrix.recipes)
    assert summary.failures == []
    assert summary.counts == {"done": 4, "skipped": 1}
    (run, *_) = [run for run in matrix.runs if run.method == "bc"]
    evaluations = read_rows(store.run_folder(run.folder) / "evals.jsonl")
    assert evaluations[-1]["source_steps"] == 3 * HORIZON
    dataset = load_for_run(run, store)
    assert dataset is not None
    assert dataset.reward_target is not None
    assert dispatch(matrix.runs, store, executor="inline").counts == {"skipped": 4}


@pytest.mark.parametrize("horizon", [HORIZON, HORIZON + 5])
def test_data_that_are_not_there_for_the_suites_horizon_are_asked_for_before_any_work(
    imported: Imported, tmp_path: Path, horizon: int
) -> None:
    pairs = [{"family": "reacher", "level": "close", "horizon": horizon}]
    store = Store(tmp_path / ("other" if horizon == HORIZON else "store"))
    before = contents(store.root)
    matrix = matrix_of(imported.recipe.id, pairs=pairs)
    asked = rf"no dataset {imported.recipe.id} for .*; it is imported.* `wombet data import NAME .* --horizon {horizon}"
    with pytest.raises(InputError, match=asked):
        dispatch(matrix.runs, store, executor="inline", recipes=matrix.recipes)
    assert contents(store.root) == before
    assert store.root.exists() == (horizon != HORIZON)


def test_other_rows_under_an_imports_id_are_refused_though_every_hash_fits(
    imported: Imported, source: Task, tmp_path: Path
) -> None:
    folder = tmp_path / "store" / "datasets" / imported.recipe.id
    dataset = load_dataset(folder)
    half: dict[str, Any] = {name: column[:HORIZON] for name, column in dataset.columns().items()}
    dataclasses.replace(dataset, **half).save(folder)
    run = next(run for run in matrix_of(imported.recipe.id).runs if run.dataset is not None)
    for check in (lambda: verify_dataset(folder, source), lambda: load_for_run(run, Store(tmp_path / "store"))):
        with pytest.raises(InputError, match="does not hold the rows that were imported"):
            check()


# Verbs


def test_the_verbs_carry_a_dataset_from_one_store_to_another(
    imported: Imported, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "mine.toml"
    content = suite_content(imported.recipe.id)
    content["evaluation"] = {"count": 3, "episodes": 2}
    suite.write_text(as_toml(content))
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    exchange.export(str(suite), tmp_path / "store", pair="reacher-close", out=out, json=True)
    (written,) = json.loads(capsys.readouterr().out)
    assert written["rewards"] == "reacher/close"
    assert written["name"] == f"wombet/{imported.recipe.id}-close-v0"
    exchange.import_(written["folder"], "reacher", "close", HORIZON, tmp_path / "second")
    told = capsys.readouterr().out
    assert f'imported = "{imported.recipe.id}"' in told
    assert "0 differed from those of reacher/close" in told
    assert "warning" not in told
    data.show(str(suite), tmp_path / "second")
    assert imported.recipe.id in capsys.readouterr().out
    exchange.export(str(suite), tmp_path / "second", minari_name="mine-v3")
    assert "minari.load_dataset('mine-v3')" in capsys.readouterr().out
    assert minari.load_dataset("mine-v3").total_steps == 3 * HORIZON
    with pytest.raises(InputError, match="it is imported, so put it there with `wombet data import NAME"):
        exchange.export(str(suite), tmp_path / "third", out=out)
    for wrong, sentence in (({"pair": "reacher-clos"}, "did you mean 'reacher-close'"), ({"dataset": "x"}, "'x'")):
        with pytest.raises(InputError, match=sentence):
            exchange.export(str(suite), tmp_path / "store", out=out, **wrong)  # type: ignore[arg-type]


def as_toml(content: dict[str, Any]) -> str:
    """A suite's content as TOML, for the plain values that suites have: JSON's strings, numbers and lists are TOML."""
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    lines = [f"{name} = {inline(value)}" for name, value in content.items() if name not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {inline(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def test_one_name_for_several_datasets_is_refused(tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text((CATALOG / "smoke.toml").read_text().replace("n_datasets = 1", "n_datasets = 2"))
    with pytest.raises(InputError, match="--minari-name is one name, and these are 2 datasets; choose one with"):
        exchange.export(str(suite), tmp_path / "store", minari_name="mine-v0")
