"""`wombet retry` without a cluster: lost runs again, failed ones when asked; limits on failures and on time."""

import dataclasses
import json
from pathlib import Path

import pytest

from suites.dispatch import dispatch
from suites.retrying import select
from suites.store import Store
from tests.suites import cells
from tests.suites.conftest import Program

pytestmark = pytest.mark.usefixtures("probes")


def written(store: Store, *runs: object) -> None:
    """A manifest of a suite of these runs."""
    rows = [
        {"pair": run.pair.id, "method": run.method, "seed": run.seed, "folder": run.folder, "dataset": None}
        for run in runs
    ]
    store.write_manifest({"name": "some", "cells": rows})


def test_lost_runs_are_tried_again_and_failed_ones_when_asked(store: Store, wombet: Program) -> None:
    raising, dying, good = (cells.cell("probe", fault=fault) for fault in ("raise", "exit", "none"))
    dispatch([raising, dying], store, workers=1)
    written(store, raising, dying, good)
    selection = select(store, "some")
    assert (selection.runs, selection.left_alone) == ([dying], 1)
    assert select(store, "some", failed=True).runs == [raising, dying]
    code, out, _ = wombet("retry", "some", "--store", store.root, "--workers", 1)
    assert code == 1
    assert "failed: reacher-close probe seed 0: the worker process died (exit code 3)" in out
    assert "1 that failed with an exception were left alone; --failed tries them again" in out
    attempts = {run.folder: len(json.loads((store.run_folder(run.folder) / "provenance.json").read_text()))
                for run in (raising, dying)}  # fmt: skip
    assert attempts == {raising.folder: 1, dying.folder: 2}


def test_runs_that_a_dataset_blocked_are_tried_again_with_it(tmp_path: Path) -> None:
    store, bad = Store(tmp_path / "store"), cells.recipe(cells.generation(gate_tolerance=0.0))
    run = dataclasses.replace(cells.cell("rlpd"), dataset=bad)
    assert dispatch([run], store, executor="inline").counts == {"failed": 1, "blocked": 1}
    row = {"pair": run.pair.id, "method": run.method, "seed": 0, "folder": run.folder, "dataset": run.data_id}
    store.write_manifest({"name": "some", "cells": [row]})
    assert select(store, "some").runs == []
    selection = select(store, "some", failed=True)
    assert (selection.recipes, selection.runs) == ([bad], [run])


def test_nothing_lost_is_nothing_to_do(store: Store, wombet: Program) -> None:
    done = cells.cell("probe")
    dispatch([done], store, executor="inline")
    written(store, done)
    assert wombet("retry", "some", "--store", store.root)[:2] == (0, "nothing to do\n")
    code, _, error = wombet("retry", "smoe", "--store", store.root)
    assert code == 2
    assert "has no suite 'smoe'" in error


def test_nothing_more_is_begun_after_so_many_failures(store: Store) -> None:
    runs = [cells.cell("probe", seed=seed, fault="raise") for seed in range(3)] + [cells.cell("probe")]
    summary = dispatch(runs, store, executor="inline", max_failures=2)
    assert (len(summary.failures), summary.left) == (2, 2)
    assert summary.message == "2 failed; 2 not begun, because so many failed"


def test_a_run_that_takes_too_long_is_ended_and_spares_the_others(store: Store) -> None:
    endless, quick = cells.cell("probe", pause=2.0), cells.cell("zero")
    summary = dispatch([endless, quick], store, workers=1, cell_seconds=6.0)
    assert summary.counts == {"failed": 1, "done": 1}
    assert summary.failures[0][1] == "it took longer than its limit of 0.1 minutes"
    assert store.read_run(store.run_folder(endless.folder)).error == "it took longer than its limit of 0.1 minutes"
    written(store, endless, quick)
    assert select(store, "some").runs == [endless]


def test_a_dataset_takes_the_time_it_needs(tmp_path: Path) -> None:
    summary = dispatch([], Store(tmp_path / "store"), workers=1, recipes=[cells.recipe()], cell_seconds=0.5)
    assert summary.counts == {"done": 1}


def test_slurm_without_slurm_is_one_sentence(tmp_path: Path, wombet: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, error = wombet("run", "smoke", "--executor", "slurm", "--methods", "zero", "--store", tmp_path / "s")
    assert code == 2
    assert error.startswith("wombet: the slurm executor needs Slurm's commands, and srun is not on PATH")
    code, _, error = wombet("run", "smoke", "--executor", "slurm", "--workers", 2, "--store", tmp_path / "s")
    assert (code, "max_parallel" in error) == (2, True)
