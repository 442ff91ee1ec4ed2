"""Killed or stopped anywhere and continued: the same bytes as if nothing had happened."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suites.checkpoint import Checkpoints
from suites.datasets import build_dataset
from suites.outcome import Outcome
from suites.pacing import Pace
from suites.runner import run_cell
from suites.spec import RunSpec
from suites.store import Store, read_rows
from tests.suites import cells
from wombet.dataset import load_card
from wombet.errors import InputError

pytestmark = pytest.mark.usefixtures("probes")

RUNS: dict[str, dict[str, Any]] = {
    "probe": {},
    "phased-probe": {},
    "sac": {},
    "rlpd": {},
    "wombet": {"pretraining_updates": 20, "mixing_interval": 5, "calibration_updates": 10},
    "bc": {},
}


class Killed(BaseException):
    """What a killed process does from a program's view: nothing more."""


def kill_after(ticks: int) -> Callable[[], bool]:
    """Die in the tick after `ticks`, before anything can be saved."""
    count = itertools.count(1)

    def stop() -> bool:
        if next(count) > ticks:
            raise Killed
        return False

    return stop


def stop_after(ticks: int) -> Callable[[], bool]:
    """Ask for a stop in the tick after `ticks`."""
    count = itertools.count(1)
    return lambda: next(count) > ticks


class Ticks:
    """Never asks for a stop, and counts how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bool:
        self.count += 1
        return False


@pytest.fixture
def checkpoint_every(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Checkpoint by ticks instead of by the clock."""

    def use(ticks: int) -> None:
        count = itertools.count(1)
        monkeypatch.setattr(Pace, "checkpoint_due", property(lambda pace: next(count) % ticks == 0))

    return use


@pytest.fixture(scope="module")
def undisturbed(built_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Callable[[RunSpec], dict[str, bytes]]:
    """Results of runs that nothing interrupted."""
    root = tmp_path_factory.mktemp("undisturbed") / "store"
    shutil.copytree(built_store.root, root)

    def get(spec: RunSpec) -> dict[str, bytes]:
        assert run_cell(spec, Store(root)).ending in ("done", "skipped")
        return cells.results(Store(root).run_folder(spec.folder))

    return get


def run_killed(spec: RunSpec, store: Store, ticks: int) -> None:
    with pytest.raises(Killed):
        run_cell(spec, store, stop=kill_after(ticks))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_killed_again_and_again_equals_one_that_was_not(
    name: str, store: Store, undisturbed: Any, checkpoint_every: Callable[[int], None]
) -> None:
    spec = cells.cell(name, **RUNS[name])
    expected = undisturbed(spec)
    checkpoint_every(7)
    for ticks in (3, 9) if name == "bc" else (3, 16, 11, 18):
        run_killed(spec, store, ticks)
    assert run_cell(spec, store).ending == "done"
    assert cells.results(store.run_folder(spec.folder)) == expected


def iterated(**config: Any) -> RunSpec:
    """A run that generates again after half of its target steps."""
    spec = cells.cell("wombet-iterated", iterations=2, mixing_interval=5, calibration_updates=10, **config)
    return dataclasses.replace(spec, budgets=dataclasses.replace(spec.budgets, source_steps=40))


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_run_that_ends_in_the_middle_of_a_regeneration_equals_one_that_did_not(
    end: str, store: Store, undisturbed: Any, checkpoint_every: Callable[[int], None]
) -> None:
    spec, folder = iterated(), store.run_folder(iterated().folder)
    expected = undisturbed(spec)
    checkpoint_every(4)
    seen = set()
    for ticks in (33, 14, 30):
        if end == "killed":
            run_killed(spec, store, ticks)
        else:
            assert run_cell(spec, store, stop=stop_after(ticks)).ending == "preempted"
        state = next(Checkpoints(folder / "checkpoint").load())
        seen.add((state["target"]["steps"], state["source"]["steps"] > 0))
    assert (30, True) in seen, "no end fell into the regeneration"
    assert run_cell(spec, store).ending == "done"
    assert cells.results(folder) == expected
    last = read_rows(folder / "evals.jsonl")[-1]
    assert last["source_steps"] == load_card(store.dataset_folder(spec.dataset.id))["source_steps"]["total"] + 40


def test_one_iteration_gives_the_files_of_plain_wombet(store: Store, undisturbed: Any) -> None:
    alone, plain = cells.cell("wombet-iterated", iterations=1), cells.cell("wombet")
    ours, theirs = undisturbed(alone), undisturbed(plain)
    assert ours["evals.jsonl"] == theirs["evals.jsonl"]
    assert ours["train.jsonl"] == theirs["train.jsonl"]
    done = [json.loads(each["done.json"]) for each in (ours, theirs)]
    assert done[0]["state_sha256"] == done[1]["state_sha256"]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_stopped_in_many_ticks_equals_one_that_was_not(name: str, store: Store, undisturbed: Any) -> None:
    spec = cells.cell(name, **RUNS[name])
    expected = undisturbed(spec)
    outcomes = []
    while not outcomes or outcomes[-1].ending == "preempted":
        outcomes.append(run_cell(spec, store, stop=stop_after(6)))
    assert outcomes[-1] == Outcome("done")
    assert len(outcomes) > 2
    assert cells.results(store.run_folder(spec.folder)) == expected


def test_thinned_metrics_go_on_where_they_were(
    store: Store, undisturbed: Any, checkpoint_every: Callable[[int], None]
) -> None:
    spec = cells.cell("probe", target_steps=700, evaluations=2)
    expected = undisturbed(spec)
    checkpoint_every(9)
    run_killed(spec, store, 95)
    ticks = Ticks()
    assert run_cell(spec, store, stop=ticks).ending == "done"
    assert ticks.count == 700 - 90
    assert cells.results(store.run_folder(spec.folder)) == expected


def test_rows_written_after_the_checkpoint_are_cut_back(
    store: Store, undisturbed: Any, checkpoint_every: Callable[[int], None]
) -> None:
    spec = cells.cell("probe")
    expected = undisturbed(spec)
    checkpoint_every(15)
    run_killed(spec, store, 25)
    folder = store.run_folder(spec.folder)
    assert len(store.read_run(folder).evaluations) == 2
    with open(folder / "evals.jsonl", "ab") as file:
        file.write(b'{"evaluation": 2, "torn')
    assert store.read_run(folder).state == "interrupted"
    assert run_cell(spec, store).ending == "done"
    assert cells.results(folder) == expected
    assert [row["evaluation"] for row in store.read_run(folder).costs] == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:-1] + b"\x00"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    store: Store, undisturbed: Any, checkpoint_every: Callable[[int], None], damage: Callable[[bytes], bytes]
) -> None:
    spec = cells.cell("probe")
    expected = undisturbed(spec)
    checkpoint_every(10)
    run_killed(spec, store, 35)
    folder = store.run_folder(spec.folder)
    older, newest = sorted((folder / "checkpoint").glob("*.safetensors"))
    newest.write_bytes(damage(newest.read_bytes()))
    ticks = Ticks()
    assert run_cell(spec, store, stop=ticks).ending == "done"
    assert ticks.count == 60 - 20
    assert cells.results(folder) == expected
    provenance = (folder / "provenance.json").read_text()
    assert f"checkpoint {newest.name} is damaged" in provenance
    assert older.name not in provenance


def test_without_a_whole_checkpoint_the_run_begins_again(
    store: Store, undisturbed: Any, checkpoint_every: Callable[[int], None]
) -> None:
    spec = cells.cell("probe")
    expected = undisturbed(spec)
    checkpoint_every(10)
    run_killed(spec, store, 35)
    folder = store.run_folder(spec.folder)
    for path in (folder / "checkpoint").glob("*.safetensors"):
        path.write_bytes(b"")
    assert run_cell(spec, store).ending == "done"
    assert cells.results(folder) == expected


def test_a_checkpoint_that_knows_more_rows_than_there_are_is_not_used(
    store: Store, undisturbed: Any, checkpoint_every: Callable[[int], None]
) -> None:
    spec = cells.cell("probe")
    expected = undisturbed(spec)
    checkpoint_every(10)
    run_killed(spec, store, 35)
    folder = store.run_folder(spec.folder)
    (folder / "evals.jsonl").write_bytes(b"")
    assert run_cell(spec, store).ending == "done"
    assert cells.results(folder) == expected
    assert "a checkpoint was left unused" in (folder / "provenance.json").read_text()


def test_a_method_that_cannot_be_continued_begins_again(store: Store, undisturbed: Any) -> None:
    spec = cells.cell("forgetful-probe")
    expected = undisturbed(spec)
    assert run_cell(spec, store, stop=stop_after(30)).ending == "preempted"
    assert run_cell(spec, store).ending == "done"
    assert cells.results(store.run_folder(spec.folder)) == expected


def test_a_process_that_is_killed_by_the_system_is_continued(store: Store, undisturbed: Any) -> None:
    spec = cells.cell("probe", pause=0.01)
    expected = undisturbed(spec)
    folder = store.run_folder(spec.folder)
    program = (
        "from pathlib import Path; from suites.runner import run_cell; from suites.store import Store;"
        "from tests.suites import cells;"
        f"run_cell(cells.cell('probe', pause=0.01), Store(Path({str(store.root)!r})), checkpoint_seconds=0.05)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    deadline = time.monotonic() + 60
    while not list((folder / "checkpoint").glob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert store.read_run(folder).state == "running"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.read_run(folder).state == "interrupted"
    assert run_cell(spec, store).ending == "done"
    assert cells.results(folder) == expected


def artefact(folder: Path) -> dict[str, bytes]:
    names = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "provenance.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


@pytest.mark.parametrize("make", [cells.generation, cells.guided_generation])
def test_a_dataset_that_is_killed_and_stopped_equals_one_that_was_not(
    tmp_path: Path, make: Any, checkpoint_every: Callable[[int], None]
) -> None:
    recipe = cells.recipe(make())
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    all_ticks, last_ticks = Ticks(), Ticks()
    assert build_dataset(recipe, whole, stop=all_ticks).ending == "done"
    checkpoint_every(9)
    for ticks in (5, 30, 75, 40):
        with pytest.raises(Killed):
            build_dataset(recipe, broken, stop=kill_after(ticks))
    assert len(list((broken.building_folder(recipe.id) / "checkpoint").glob("*.safetensors"))) == 2
    assert not broken.dataset_folder(recipe.id).exists()
    assert build_dataset(recipe, broken, stop=stop_after(12)).ending == "preempted"
    assert build_dataset(recipe, broken, stop=last_ticks).ending == "done"
    assert last_ticks.count < all_ticks.count - 50
    assert artefact(broken.dataset_folder(recipe.id)) == artefact(whole.dataset_folder(recipe.id))
    assert "data/obs.npy" in artefact(whole.dataset_folder(recipe.id))
    assert ("agent/agent.safetensors" in artefact(whole.dataset_folder(recipe.id))) == (recipe.collection == "guided")
    assert not broken.building_folder(recipe.id).exists()


@pytest.mark.parametrize("step", [20, 60])
def test_a_dataset_that_is_stopped_where_an_episode_ends_keeps_the_rows_before(tmp_path: Path, step: int) -> None:
    """The random stage ticks 60 times and at its end; the agent's episodes take 20 steps each."""
    recipe = cells.recipe(cells.guided_generation())
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    assert build_dataset(recipe, whole).ending == "done"
    assert build_dataset(recipe, broken, stop=stop_after(60 + step)).ending == "preempted"
    (newest,) = Checkpoints(broken.building_folder(recipe.id) / "checkpoint").load()
    assert newest["live"]["live"]["env"]["episodes"] == step // 20
    assert newest["live"]["live"]["env"]["observation"] is None
    assert build_dataset(recipe, broken).ending == "done"
    assert artefact(broken.dataset_folder(recipe.id)) == artefact(whole.dataset_folder(recipe.id))


def test_only_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint")
    for number in range(5):
        checkpoints.save({"number": number})
    assert [state["number"] for state in checkpoints.load()] == [4, 3]
    assert len(list((tmp_path / "checkpoint").iterdir())) == 2


def test_a_state_that_cannot_be_stored_is_a_failure(store: Store) -> None:
    with pytest.raises((TypeError, InputError)):
        Checkpoints(store.root / "checkpoint").save({"thing": object()})
    assert not list((store.root / "checkpoint").glob("*.tmp"))
