"""Where a suite stands."""

import dataclasses
import json
import time
from pathlib import Path

import pytest

from benchmarks.status_speed import SUITE, fill
from suites.claim import claim
from suites.dispatch import dispatch
from suites.runner import run_cell
from suites.spec import RunSpec
from suites.status import suite_status
from suites.store import Store, write_status
from tests.suites import cells
from tests.suites.conftest import Program
from wombet.errors import InputError

pytestmark = pytest.mark.usefixtures("probes")


def write_manifest(store: Store, runs: list[RunSpec]) -> None:
    listed = [
        {
            "pair": run.pair.id,
            "method": run.method,
            "seed": run.seed,
            "run_id": run.run_id,
            "folder": run.folder,
            "dataset": run.data_id,
        }
        for run in runs
    ]
    store.write_manifest({"name": "test", "cells": listed})


def test_every_state_is_told_from_the_folders(store: Store) -> None:
    runs = [cells.cell("probe", seed=seed) for seed in range(4)] + [cells.cell("probe", fault="raise")]
    write_manifest(store, runs)
    done, running, stopped, _, failed = runs
    run_cell(done, store)
    run_cell(failed, store)
    run_cell(stopped, store, stop=iter([False, True]).__next__)
    with claim(store.run_folder(running.folder)):
        counts = {"units": 30, "total_units": 60, "first_units": 10, "seconds": 4.0}
        write_status(store.run_folder(running.folder), "running", **counts)
        status = suite_status(store, "test")
    assert [cell.state for cell in status.cells] == ["done", "running", "interrupted", "todo", "failed"]
    assert {state: count for state, count in status.totals.items() if count} == {
        "done": 1,
        "running": 1,
        "interrupted": 1,
        "failed": 1,
        "todo": 1,
    }
    assert not status.is_over
    progress = status.cells[1].progress
    assert progress is not None
    assert (progress.units, progress.total, progress.rate, progress.seconds_left) == (30, 60, 5.0, 6.0)
    assert status.cells[2].progress is not None
    assert status.cells[2].progress.units == 2
    assert status.cells[4].message == "ArithmeticError: the probe fails as told"
    assert json.loads(json.dumps(status.to_json()))["totals"]["done"] == 1


def test_runs_of_a_failed_dataset_are_blocked(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    bad = cells.recipe(cells.generation(gate_tolerance=0.0))
    runs = [dataclasses.replace(cells.cell("rlpd"), dataset=bad), cells.cell("zero")]
    write_manifest(store, runs)
    dispatch(runs, store, executor="inline")
    status = suite_status(store, "test")
    assert [cell.state for cell in status.cells] == ["blocked", "done"]
    assert status.cells[0].message is not None
    assert "GateError" in status.cells[0].message
    (dataset,) = status.datasets
    assert (dataset.id, dataset.state) == (bad.id, "failed")


def test_a_suite_that_was_never_run_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        suite_status(Store(tmp_path / "nowhere"), "test")


def test_a_run_whose_process_died_is_lost_and_one_whose_dataset_is_being_built_waits(tmp_path: Path) -> None:
    store, (dead, waiting) = Store(tmp_path / "new"), (cells.cell("probe"), cells.cell("rlpd"))
    write_manifest(store, [dead, waiting])
    for folder in (store.run_folder(dead.folder), store.building_folder(cells.recipe().id)):
        folder.mkdir(parents=True)
        write_status(folder, "running", units=3, total_units=6, first_units=0, seconds=1.0)
    with claim(store.building_folder(cells.recipe().id)):
        states = [cell.state for cell in suite_status(store, "test").cells]
    assert states == ["lost", "waiting"]
    status = suite_status(store, "test")
    assert [cell.state for cell in status.cells] == ["lost", "todo"]
    assert [dataset.state for dataset in status.datasets] == ["lost"]


def test_the_program_shows_what_there_is_to_say_of_each_run(wombet: Program, store: Store) -> None:
    failed, stopped = cells.cell("probe", fault="raise"), cells.cell("probe", seed=1)
    write_manifest(store, [failed, stopped])
    run_cell(failed, store)
    run_cell(stopped, store, stop=iter([False, True]).__next__)
    code, out, _ = wombet("status", "test", "--store", store.root)
    assert code == 0
    assert "failed: reacher-close probe seed 0: ArithmeticError: the probe fails as told" in out
    assert "interrupted: reacher-close probe seed 1: 2 of 60" in out
    with claim(store.run_folder(stopped.folder)):
        counts = {"units": 30, "total_units": 60, "first_units": 10, "seconds": 4.0}
        write_status(store.run_folder(stopped.folder), "running", **counts)
        out = wombet("status", "test", "--store", store.root)[1]
    assert "running: reacher-close probe seed 1: 30 of 60, 5 per second, 6 s left" in out


def test_watching_ends_with_the_suite_and_shows_every_change(
    wombet: Program, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cells.cell("probe")
    write_manifest(store, [spec])
    monkeypatch.setattr("suites.commands.status.time.sleep", lambda seconds: run_cell(spec, store))
    out = wombet("status", "test", "--store", store.root, "--watch")[1]
    assert out.count("suite test") == 2
    assert "done" in out
    assert wombet("status", "test", "--store", store.root, "--watch")[1].count("suite test") == 1
    assert "leave out --json" in wombet("status", "test", "--store", store.root, "--watch", "--json")[2]


def test_status_of_ten_thousand_cells_takes_seconds_at_most(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store)
    began = time.perf_counter()
    totals = suite_status(store, SUITE).totals
    assert (totals["done"], totals["failed"], totals["lost"], totals["todo"]) == (6000, 1000, 1000, 2000)
    assert time.perf_counter() - began < 10
