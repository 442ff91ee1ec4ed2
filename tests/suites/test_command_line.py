"""The program as a person meets it: bad input costs one sentence, and the verbs do what they say."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suites.matrix import build_matrix
from suites.spec import CATALOG, load_suite
from tests.suites.conftest import Program

SMOKE = (CATALOG / "smoke.toml").read_text()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(result: tuple[int, str, str], sentence: str) -> None:
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("wombet: ")
    assert err.count("\n") == 1, err
    assert sentence in err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("methods = [", 'methods = ["sacc", '), "no method 'sacc'; did you mean 'sac'"),
        (('family = "reacher"', 'family = "racher"'), "did you mean 'reacher'"),
        (('level = "close"', 'level = "closest"'), "did you mean 'close'"),
        (("utd = 1", "udt = 1"), "did you mean 'utd'"),
        (("utd = 1", 'utd = "one"'), "utd is 'one'"),
        (("seeds = 2", "seeds = 2.5"), "seeds is 2.5"),
        (("target_steps = 200", "target_steps = -200"), "target_steps is -200"),
        (('profile = "smoke"', 'profile = "smok"'), "did you mean 'smoke'"),
        (("[evaluation]", "[evaluation"), "not valid TOML"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_mistake_in_a_suite_file_is_said_in_one_sentence_and_nothing_is_written(
    wombet: Program, tmp_path: Path, change: tuple[str, str], sentence: str, verb: str
) -> None:
    assert change[0] in SMOKE
    suite = tmp_path / "mine.toml"
    suite.write_text(SMOKE.replace(*change))
    refused(wombet(verb, suite, "--store", tmp_path / "store"), sentence)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "smok"), "did you mean 'smoke'"),
        (("run", "smoke", "--methods", "scc"), "no method 'scc'"),
        (("run", "smoke", "--tasks", "reacher-clse"), "did you mean 'reacher-close'"),
        (("run", "smoke", "--seeds", "9"), "1 to 2 seeds"),
        (("run", "smoke", "--set", "sac.utdd=2"), "did you mean 'utd'"),
        (("run", "smoke", "--set", "sac.utd=fast"), "utd is 'fast'"),
        (("run", "smoke", "--set", "utd"), "METHOD.FIELD=VALUE"),
        (("run", "smoke", "--executor", "slrm"), "slrm"),
        (("run", "smoke", "--workers", "0"), "--workers is 0"),
        (("run", "smoke", "--workers", "999"), "cores"),
        (("run", "smoke", "--device", "gpu"), "no device 'gpu'"),
        (("run", "smoke", "--device", "cuda:99"), "GPUs; use cpu"),
        (("status", "smoke"), "does not exist"),
        (("report", "smoke"), "does not exist"),
        (("compare", "sac", "bc", "--suite", "smoke", "--set", "sac.utdd=2"), "did you mean 'utd'"),
        (("report", "smoke", "--set", "sac.utd=fast"), "utd is 'fast'"),
        (("data", "show", "smoke"), "wombet data build"),
        (("data", "show", "smoke", "--dataset", "walker"), "no dataset 'walker'"),
    ],
)
def test_a_mistake_on_the_command_line_is_said_in_one_sentence_and_nothing_is_written(
    wombet: Program, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    refused(wombet(*arguments, "--store", tmp_path / "store"), sentence)
    assert not (tmp_path / "store").exists()


def test_the_device_reaches_the_runs_and_is_not_part_of_what_they_are(
    wombet: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that torch does not have makes the run fail, in the folder that the CPU would have used."""
    monkeypatch.setattr("wombet.process.check_device", lambda device: None)
    chosen = ("run", "smoke", "--methods", "sac", "--seeds", "1", "--executor", "inline", "--no-report")
    code, _, _ = wombet(*chosen, "--device", "cuda:99", "--store", tmp_path / "store")
    assert code == 1
    (record,) = (tmp_path / "store").rglob("provenance.json")
    assert [attempt["device"] for attempt in json.loads(record.read_text())] == ["cuda:99"]
    code, _, _ = wombet(*chosen, "--store", tmp_path / "store")
    assert code == 0
    assert [attempt["device"] for attempt in json.loads(record.read_text())] == ["cuda:99", "cpu"]


@pytest.mark.parametrize(
    "arguments", [("run", "smoke"), ("data", "build", "smoke"), ("status", "smoke"), ("plan", "smoke")]
)
def test_a_store_that_is_a_file_is_refused_and_kept(
    wombet: Program, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "store").write_text("precious")
    refused(wombet(*arguments, "--store", tmp_path / "store"), "is a file")
    assert contents(tmp_path) == {"store": b"precious"}


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(wombet: Program, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    # Permissions do not bind root, but nobody makes folders in /sys.
    store = Path("/sys/wombet-store") if os.geteuid() == 0 else folder / "store"
    refused(wombet("run", "smoke", "--store", store), "cannot be written")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a small suite was run through the real program."""
    folder = tmp_path_factory.mktemp("finished")
    suite = folder / "mine.toml"
    smaller = SMOKE.replace('"zero", "random", "bc", "sac", "rlpd", "wombet"', '"zero", "bc"')
    suite.write_text(smaller.partition("[shared]")[0] + "[config.bc]\nhidden_width = 16\n")
    command = [sys.executable, "-c", "from suites.cli import main; main()", "run", suite, "--store", folder / "store"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("report.html")
    return folder


def test_finished_runs_are_skipped_and_not_a_byte_changes(wombet: Program, finished: Path) -> None:
    before = contents(finished / "store")
    code, out, _ = wombet("run", finished / "mine.toml", "--store", finished / "store", "--executor", "inline")
    assert code == 0
    assert "skipped" in out
    assert contents(finished / "store") == before


def test_every_verb_tells_the_same_story_also_as_json(wombet: Program, finished: Path) -> None:
    suite, store = finished / "mine.toml", finished / "store"
    plan = json.loads(wombet("plan", suite, "--store", store, "--json")[1])
    assert (plan["done"], plan["missing"]) == (4, 0)
    status = json.loads(wombet("status", suite, "--store", store, "--json")[1])
    assert status["totals"]["done"] == 4
    cards = json.loads(wombet("data", "show", suite, "--store", store, "--json")[1])
    (card,) = cards.values()
    assert card["rows"] > 0
    assert "whole" in wombet("data", "verify", suite, "--store", store)[1]
    assert "All cells are done" in wombet("plan", suite, "--store", store)[1]
    report = json.loads(wombet("report", suite, "--store", store, "--json")[1])
    assert report


READING = (
    *(("report",), ("status",), ("retry",), ("figure",), ("export",), ("publish",)),
    *(("compare", "zero", "bc", "--suite"), ("power", "--difference", "0.1")),
)


def test_a_decision_is_not_made_from_the_results_of_another_file_with_the_suites_name(
    wombet: Program, finished: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text((finished / "mine.toml").read_text().replace("seeds = 2", "seeds = 1"))
    result = wombet("decide", other, "zero", "bc", "--store", finished / "store")
    refused(result, f"{other} is not the suite 'smoke' whose runs")


@pytest.mark.parametrize("verb", READING, ids=lambda verb: verb[0])
def test_a_file_is_not_shown_the_results_of_another_one_with_its_name(
    wombet: Program, finished: Path, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    other = tmp_path / "other.toml"
    other.write_text((finished / "mine.toml").read_text().replace("seeds = 2", "seeds = 1"))
    before = contents(finished / "store")
    refused(wombet(*verb, other, "--store", finished / "store"), f"{other} is not the suite 'smoke' whose runs")
    assert contents(finished / "store") == before


@pytest.mark.parametrize("verb", READING, ids=lambda verb: verb[0])
def test_a_suite_that_there_is_nowhere_is_answered_with_the_nearest_name(
    wombet: Program, finished: Path, verb: tuple[str, ...]
) -> None:
    refused(wombet(*verb, "quickstrat", "--store", finished / "store"), "catalogue; did you mean 'quickstart'?")
    sentence = "has no suite 'quickstart' (it has: smoke); start it with `wombet run quickstart"
    refused(wombet(*verb, "quickstart", "--store", finished / "store"), sentence)


def test_a_file_that_was_not_run_yet_is_started_by_its_path(wombet: Program, finished: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.toml"
    new.write_text((finished / "mine.toml").read_text().replace('name = "smoke"', 'name = "new"'))
    refused(wombet("report", new, "--store", finished / "store"), f"start it with `wombet run {new} --store")


def test_a_run_says_which_rows_and_pairs_an_edited_suite_no_longer_has(
    wombet: Program, finished: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(finished / "store", tmp_path / "store")
    suite, options = tmp_path / "mine.toml", ("--store", tmp_path / "store", "--executor", "inline", "--no-report")
    text = (finished / "mine.toml").read_text()
    suite.write_text(text.replace('"zero", "bc"', '"zero", "bc", "random"'))
    assert "replaced" not in wombet("run", suite, *options, "--methods", "zero")[1]
    suite.write_text(text.replace('"zero", "bc"', '"zero", "bc"').replace('level = "close"', 'level = "far"'))
    told = [line for line in wombet("run", suite, *options, "--methods", "zero")[1].splitlines() if "replaced" in line]
    assert len(told) == 1
    assert told[0].endswith(": random, reacher-close")
    assert wombet("status", suite, "--store", tmp_path / "store")[0] == 0


@pytest.mark.parametrize("damage", ["truncated", "of another task"])
@pytest.mark.parametrize("verb", [("run",), ("data", "verify")])
def test_a_damaged_or_foreign_dataset_is_refused_and_kept(
    wombet: Program, finished: Path, tmp_path: Path, damage: str, verb: tuple[str, ...]
) -> None:
    import shutil

    store = tmp_path / "store"
    shutil.copytree(finished / "store", store)
    (folder,) = (path for path in (store / "datasets").iterdir())
    if damage == "truncated":
        column = folder / "data" / "obs.npy"
        column.write_bytes(column.read_bytes()[:-100])
        sentence = "obs.npy is truncated"
    else:
        relabel_as_far(folder)
        sentence = "another task"
    before = contents(store)
    refused(wombet(*verb, finished / "mine.toml", "--store", store), sentence)
    assert contents(store) == before


def relabel_as_far(folder: Path) -> None:
    """Replace a dataset's source rewards by those of another task, hashes and all."""
    import dataclasses

    from suites.tasks import make_task
    from wombet.dataset import load_dataset

    dataset = load_dataset(folder)
    reward, _ = make_task("reacher", "far").relabel(dataset.obs, dataset.action, dataset.next_obs)
    dataclasses.replace(dataset, reward_source=reward).save(folder)


def test_a_failing_method_is_named_spares_the_others_and_gives_exit_code_1(
    wombet: Program, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from baselines.bc import BehaviourCloning

    def fail(self: object, phase: object, tick: object) -> None:
        raise RuntimeError("the cause")

    store = tmp_path / "store"
    shutil.copytree(finished / "store", store)
    shutil.rmtree(store / "runs")
    monkeypatch.setattr(BehaviourCloning, "train", fail)
    code, out, _ = wombet("run", finished / "mine.toml", "--store", store, "--executor", "inline")
    assert code == 1
    assert "bc seed 0" in out
    assert "the cause" in out
    totals = json.loads(wombet("status", finished / "mine.toml", "--store", store, "--json")[1])["totals"]
    assert (totals["done"], totals["failed"]) == (2, 2)


def test_a_variant_with_another_part_of_the_data_learns_something_else(
    wombet: Program, finished: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(finished / "store", tmp_path / "store")
    text = (finished / "mine.toml").read_text().replace('"zero", "bc"', '"bc", "again", "other"')
    variants = '[variants]\nagain = { method = "bc" }\nother = { method = "bc", data_part = "unfiltered" }\n'
    (tmp_path / "mine.toml").write_text(text + variants)
    code, _, _ = wombet("run", tmp_path / "mine.toml", "--store", tmp_path / "store", "--executor", "inline")
    assert code == 0
    cells = json.loads((tmp_path / "store" / "suites" / "smoke.json").read_text())["cells"]
    folders = {cell["method"]: tmp_path / "store" / cell["folder"] for cell in cells if cell["seed"] == 0}
    learned = {row: json.loads((folder / "done.json").read_text())["state_sha256"] for row, folder in folders.items()}
    assert learned["again"] == learned["bc"] != learned["other"]


def test_a_plan_counts_every_variant_as_a_row_of_its_own(wombet: Program, tmp_path: Path) -> None:
    plan = json.loads(wombet("plan", "data-controls-pocket", "--store", tmp_path, "--json")[1])
    for row in plan["methods"]:
        assert sum(cell["method"] == row for cell in plan["cells"]) == 5 * len(plan["pairs"])


def test_a_plan_can_be_of_a_part_as_a_run_can(wombet: Program, tmp_path: Path) -> None:
    part = ("--tasks", "pusher-far", "--methods", "bc", "--methods", "mopo", "--seeds", 1)
    plan = json.loads(wombet("plan", "paper-fig3-pocket", "--store", tmp_path, *part, "--json")[1])
    assert [(cell["pair"], cell["method"], cell["seed"]) for cell in plan["cells"]] == [
        ("pusher-far", "bc", 0),
        ("pusher-far", "mopo", 0),
    ]
    assert (plan["missing"], len(plan["datasets"])) == (2, 1)
    code, _, err = wombet("plan", "paper-fig3-pocket", "--store", tmp_path, "--tasks", "pusher-fra")
    assert code == 2
    assert "pusher-far" in err


def test_a_plan_tells_the_cells_from_the_datasets_that_it_counts(wombet: Program, tmp_path: Path) -> None:
    part = ("--methods", "bc", "--seeds", 1)
    assert "1 cell to run and 1 dataset to build" in wombet("plan", "smoke", "--store", tmp_path, *part)[1]
    part = ("--methods", "sac", "--seeds", 2)
    assert "2 cells to run\n" in wombet("plan", "smoke", "--store", tmp_path, *part)[1]


@pytest.mark.parametrize("what", ["suites", "tasks", "methods"])
def test_everything_there_is_can_be_listed(wombet: Program, what: str) -> None:
    code, out, _ = wombet("list", what)
    assert code == 0
    rows = json.loads(wombet("list", what, "--json")[1])
    assert all(next(iter(row.values())) in out for row in rows)


def test_a_plan_says_which_rows_each_dataset_is_for(wombet: Program, tmp_path: Path) -> None:
    plan = json.loads(wombet("plan", "ablations-pocket", "--store", tmp_path, "--json")[1])
    users = {tuple(dataset["rows"]) for dataset in plan["datasets"]}
    alone = {"planning-0", "planning-5", "executed", "u-aleatoric", "u-pairwise"}
    alone |= {"threshold-return", "threshold-uncertainty", "threshold-none"}
    assert {(row,) for row in alone} < users
    assert users - {(row,) for row in alone} == {tuple(row for row in plan["methods"] if row not in alone)}
    assert len(plan["datasets"]) == 2 * (len(alone) + 1)
    out = wombet("plan", "ablations-pocket", "--store", tmp_path)[1]
    assert "(guided, executed, profile quick, seed 1) for executed: to build" in " ".join(out.split())


def test_suites_are_listed_from_the_smallest_to_those_for_a_cluster(wombet: Program) -> None:
    names = [row["suite"] for row in json.loads(wombet("list", "suites", "--json")[1])]
    assert names[:2] == ["smoke", "quickstart"]
    sizes = [suite.budgets.target_steps > 100_000 for suite in map(load_suite, names)]
    assert sizes == sorted(sizes)
    assert sum(sizes) >= 5


def test_a_selection_runs_only_its_cells_and_the_manifest_names_all(wombet: Program, tmp_path: Path) -> None:
    code, _, _ = wombet(
        "run", "smoke", "--store", tmp_path, "--methods", "zero", "--seeds", 1, "--executor", "inline", "--no-report"
    )
    assert code == 0
    assert len(list((tmp_path / "runs").glob("*/*/*"))) == 1
    manifest = json.loads((tmp_path / "suites" / "smoke.json").read_text())
    assert len(manifest["cells"]) == len(build_matrix(load_suite("smoke")).runs)


def test_help_is_fast_and_every_verb_explains_itself() -> None:
    began = time.perf_counter()
    command = [sys.executable, "-c", "from suites.cli import main; main()", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    elapsed = time.perf_counter() - began
    assert elapsed < 5
    for verb in ("list", "plan", "data", "run", "status", "report"):
        assert verb in done.stdout
        help_text = subprocess.run([*command[:3], verb, "--help"], capture_output=True, text=True, check=True).stdout
        assert len(help_text.split()) > 25
