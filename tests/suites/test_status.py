"""Where a suite stands."""

import dataclasses
import json
import time
from pathlib import Path

import pytest

from suites.claim import claim
from suites.dispatch import dispatch
from suites.runner import run_cell
from suites.spec import RunSpec
from suites.status import suite_status
from suites.store import Store, write_status
from tests.suites import cells
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
            "dataset": None if run.dataset is None else run.dataset.id,
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
    assert status.totals == {"done": 1, "running": 1, "interrupted": 1, "failed": 1, "blocked": 0, "todo": 1}
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


def test_status_of_ten_thousand_cells_takes_seconds_at_most(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folders = [f"runs/pair/method/s{seed}-{seed:012x}" for seed in range(10_000)]
    for folder in folders[:5000]:
        store.run_folder(folder).mkdir(parents=True)
        (store.run_folder(folder) / "done.json").write_text("{}")
    made = [
        {"pair": "pair", "method": "method", "seed": seed, "run_id": "x", "folder": folder, "dataset": None}
        for seed, folder in enumerate(folders)
    ]
    store.write_manifest({"name": "large", "cells": made})
    began = time.perf_counter()
    totals = suite_status(store, "large").totals
    assert (totals["done"], totals["todo"]) == (5000, 5000)
    assert time.perf_counter() - began < 10
