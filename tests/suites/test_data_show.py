"""`wombet data show` and `diagnose` as a person meets them, and the figure."""

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from rich.console import Console

from suites.commands.data_figure import FORMATS, STYLE, _draw, write_figure
from suites.commands.data_summary import OPPONENTS, summary_table
from suites.diagnosis import diagnose_dataset
from suites.spec import CATALOG
from suites.store import Store
from tests.suites import cells
from tests.suites.conftest import Program
from wombet.dataset import load_card
from wombet.errors import InputError

STARTS = 6
BEGINNINGS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A suite of two datasets, the first of them diagnosed, and its store."""
    from suites.datasets import build_dataset
    from suites.matrix import build_matrix
    from suites.spec import load_suite

    folder = tmp_path_factory.mktemp("show")
    text = (CATALOG / "smoke.toml").read_text()
    assert "n_datasets = 1" in text
    path = folder / "two.toml"
    path.write_text(text.replace("n_datasets = 1", "n_datasets = 2"))
    store = Store(folder / "store")
    recipes = build_matrix(load_suite(str(path)), {}).recipes
    for recipe in recipes:
        assert build_dataset(recipe, store).ending == "done"
    diagnose_dataset(recipes[0], store, STARTS)
    return path, store.root


@pytest.fixture(scope="module")
def names(suite: tuple[Path, Path]) -> tuple[str, str]:
    """Ids of the two datasets: the diagnosed one, and the other."""
    store = Store(suite[1])
    diagnosed = [(store.dataset_folder(name) / "diagnosis.json").exists() for name in store.datasets()]
    first, second = sorted(zip(diagnosed, store.datasets(), strict=True), reverse=True)
    return first[1], second[1]


@pytest.fixture(scope="module")
def shown(suite: tuple[Path, Path], names: tuple[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Id, card and diagnosis of the diagnosed dataset."""
    folder = Store(suite[1]).dataset_folder(names[0])
    return names[0], load_card(folder), json.loads((folder / "diagnosis.json").read_text())


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_card_is_told_with_its_numbers(
    wombet: Program, suite: tuple[Path, Path], shown: tuple[str, dict[str, Any], dict[str, Any]]
) -> None:
    name, card, diagnosis = shown
    code, out, _ = wombet("data", "show", suite[0], "--store", suite[1], "--dataset", name)
    text, counts = words(out), card["counts"]
    assert code == 0
    assert f"dataset {name}" in text
    assert f"task reacher/source, horizon {card['horizon']}, seed {card['seed']}, profile smoke" in text
    assert f"total {card['source_steps']['total']}" in text
    assert f"accepted {sum(counts['accepted'].values())} {counts['accepted_rows']}" in text
    assert f"High return and low uncertainty {counts['venn']['both']}" in text
    assert f"uncertainty at most {card['thresholds']['uncertainty']:.3g}" in text
    assert f"{diagnosis['simulator_steps']} steps of a budget of its own, not charged to the dataset" in text
    planner = diagnosis["returns"]["policies"]["planner"]
    assert f"planner {planner['mean']:.1f} [{planner['interval'][0]:.1f}, {planner['interval'][1]:.1f}]" in text
    assert words(diagnosis["theory"]["sentences"][2]) in text
    assert "Not diagnosed" not in text


def test_a_dataset_without_diagnosis_says_so(wombet: Program, suite: tuple[Path, Path], names: tuple[str, str]) -> None:
    _, out, _ = wombet("data", "show", suite[0], "--store", suite[1], "--dataset", names[1])
    assert "Not diagnosed yet" in out
    assert "true return" not in out


def test_json_has_card_and_diagnosis(wombet: Program, suite: tuple[Path, Path], names: tuple[str, str]) -> None:
    code, out, _ = wombet("data", "show", suite[0], "--store", suite[1], "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == set(names)
    told = {name: found[name].pop("diagnosis") for name in names}
    assert found == {name: load_card(Store(suite[1]).dataset_folder(name)) for name in names}
    assert told[names[0]]["dataset"] == names[0]
    assert told[names[1]] is None


def test_diagnose_measures_what_is_built_and_names_what_is_not(
    wombet: Program, suite: tuple[Path, Path], names: tuple[str, str], tmp_path: Path
) -> None:
    partial = tmp_path / "store"
    shutil.copytree(suite[1], partial)
    shutil.rmtree(partial / "datasets" / names[1])
    code, out, err = wombet("data", "diagnose", suite[0], "--store", partial, "--starts", STARTS)
    assert code == 1
    assert names[0] in out
    assert err == f"not built, so not measured: {names[1]}\n"
    shutil.rmtree(partial / "datasets" / names[0])
    code, _, err = wombet("data", "diagnose", suite[0], "--store", partial)
    assert code == 2
    assert "wombet data build" in err


def test_diagnose_tells_what_it_measured_or_had_measured(
    wombet: Program, suite: tuple[Path, Path], shown: tuple[str, dict[str, Any], dict[str, Any]]
) -> None:
    arguments = ("data", "diagnose", suite[0], "--store", suite[1], "--dataset", shown[0], "--starts", STARTS)
    code, out, _ = wombet(*arguments)
    assert code == 0
    assert "(diagnosed before; --again measures again)" in out
    assert "lower bound" in out
    summary, text = shown[2]["summary"], words(out)
    assert "against the newest source rows" in text
    assert f"reacher, {summary['collection']}, {summary['rollouts']} {summary['source_steps']}" in text
    assert f"{summary['random']:.3f} {summary['data']:.3f} {summary['planner']:.3f}" in text
    minus = summary["planner_minus"]["rows"]
    assert f"{minus['mean']:+.3f} [{minus['interval'][0]:+.3f}, {minus['interval'][1]:+.3f}] – –" in text
    assert f"{summary['one_step_error']:.2f} {summary['reward_bias']:+.3f}" in text
    assert json.loads(wombet(*arguments, "--json", "--again")[1]) == {shown[0]: shown[2]}


@pytest.mark.parametrize("diagnosed", [True, False])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_figure_is_the_same_bytes_each_time_and_changes_no_setting(
    tmp_path: Path, shown: tuple[str, dict[str, Any], dict[str, Any]], ending: str, diagnosed: bool
) -> None:
    name, card, diagnosis = shown
    before, path = dict(matplotlib.rcParams), tmp_path / f"figure.{ending}"
    write_figure(path, name, card, diagnosis if diagnosed else None)
    first = path.read_bytes()
    write_figure(path, name, card, diagnosis if diagnosed else None)
    assert first.startswith(BEGINNINGS[ending])
    assert path.read_bytes() == first
    assert dict(matplotlib.rcParams) == before


def test_the_figure_shows_every_candidate_start_and_penalty(shown: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    name, card, diagnosis = shown
    with matplotlib.rc_context(STYLE):
        figure = _draw(name, card, diagnosis)
    by_title = {axes.get_title(loc="left").split(":")[0]: axes for axes in figure.axes}
    for kind in ("initial", "visited"):
        axes = by_title[f"Candidates from {kind} states"]
        rejected, accepted = (len(points.get_offsets()) for points in axes.collections[:2])
        assert accepted == card["counts"]["accepted"][kind]
        assert accepted + rejected == card["counts"]["candidates"][kind]
        vertical, horizontal = axes.lines
        assert vertical.get_xdata()[0] == card["thresholds"]["uncertainty"]
        assert horizontal.get_ydata()[0] == card["thresholds"]["return_per_step"][kind]
    joined = by_title["Closed loop"].collections
    assert max(len(points.get_offsets()) for points in joined) == STARTS
    (shares,) = [axes for title, axes in by_title.items() if title.startswith("Lower bound")]
    drawn = np.asarray(shares.lines[0].get_ydata())
    assert drawn.tolist() == [row["share"] for row in diagnosis["lower_bound"]["closed_loop"]]
    ticks = [tick.get_text() for tick in by_title["True return from the same starts"].get_yticklabels()]
    assert [tick.replace("\n", " ") for tick in ticks] == ["planner", "uniform random policy"]


def test_figures_draws_every_dataset_and_figure_one(
    wombet: Program, suite: tuple[Path, Path], names: tuple[str, str], tmp_path: Path
) -> None:
    code, out, _ = wombet("data", "show", suite[0], "--store", suite[1], "--figures", tmp_path / "all")
    assert code == 0
    drawn = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert drawn == sorted(f"{name}.{ending}" for name in names for ending in FORMATS)
    assert all(name in out for name in drawn)

    one = tmp_path / "one.svg"
    assert wombet("data", "show", suite[0], "--store", suite[1], "--dataset", names[1], "--figure", one)[0] == 0
    assert one.read_bytes().startswith(BEGINNINGS["svg"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--figure", "figure.png"), "--figure draws one dataset and the suite has 2"),
        (("--figure", "figure.jpg"), "it can be .png, .svg or .pdf"),
        (("--dataset", "reacher-none"), "the suite has no dataset 'reacher-none'"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused_in_one_sentence(
    wombet: Program, suite: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, str], sentence: str
) -> None:
    name, value = arguments
    wanted = tmp_path / value if name == "--figure" else value
    code, out, err = wombet("data", "show", suite[0], "--store", suite[1], name, wanted)
    assert (code, out) == (2, "")
    assert sentence in err
    assert not list(tmp_path.iterdir())


def test_a_card_without_trajectories_is_shown_and_not_drawn(tmp_path: Path, built_store: Store) -> None:
    card = load_card(built_store.dataset_folder(cells.recipe().id))
    imported = {key: card[key] for key in ("task", "rows", "sha256")} | {"note": "from elsewhere"}
    with pytest.raises(InputError, match="has no trajectories to draw"):
        write_figure(tmp_path / "figure.png", "reacher-imported", imported, None)
    assert not list(tmp_path.iterdir())


def test_an_imported_card_is_told_line_by_line(capsys: pytest.CaptureFixture[str], built_store: Store) -> None:
    from suites.commands.data_card import print_card
    from suites.commands.options import console

    card = load_card(built_store.dataset_folder(cells.recipe().id))
    print_card(console(), "reacher-imported", {"task": "t", "rows": 3, "sha256": card["sha256"], "note": "hello"}, None)
    out = capsys.readouterr().out
    assert f"task t, 3 rows, sha256 {card['sha256'][:12]}" in out
    assert "note: hello" in out
    assert "Not diagnosed" not in out


def test_the_summary_of_a_suite_has_a_line_for_every_dataset(wombet: Program, suite: tuple[Path, Path]) -> None:
    code, out, _ = wombet("data", "diagnose", suite[0], "--store", suite[1], "--starts", STARTS)
    assert code == 0
    table = out[out.rindex("minus newest rows") :]
    assert table.count("reacher, pure, imagined") == 2
    assert "…" not in table


def test_the_widest_line_of_the_summary_fits_into_a_pipe() -> None:
    minus = {"mean": -0.7, "interval": [-0.8, -0.6]}
    row = {
        **dict.fromkeys(("random", "data", "planner", "one_step_error", "reward_bias"), -0.5),
        "collection": "guided",
        "rollouts": "imagined",
        "source_steps": 300_000,
        "planner_minus": dict.fromkeys(OPPONENTS, minus),
    }
    out = Console(width=160, file=StringIO(), no_color=True)
    out.print(summary_table({"halfcheetah-0123456789ab": {"summary": row}}))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert text.count("-0.700 [-0.800, -0.600]") == 3
    assert "halfcheetah, guided, 300000 -0.500 -0.500 -0.500" in words(text)
