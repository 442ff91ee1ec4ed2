"""`status` of a suite with ten thousand cells, against reading the same files and doing nothing with them."""

import tempfile
import time
from pathlib import Path

from benchmarks.result import Result
from suites.status import suite_status
from suites.store import Store
from wombet.files import pretty_json

CELLS, LIMIT_S = 10_000, 2.0
SUITE = "large"


def run() -> list[Result]:
    """Measure wall seconds, the files being in the page cache; done, running, failed, lost and missing runs mixed."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        files = fill(store)
        suite_status(store, SUITE)
        began = time.perf_counter()
        totals = suite_status(store, SUITE).totals
        taken = time.perf_counter() - began
        assert (totals["done"], totals["failed"], totals["lost"], totals["todo"]) == (6000, 1000, 1000, 2000), totals
        began = time.perf_counter()
        for path in files:
            path.read_bytes()
        bare = time.perf_counter() - began
    return [
        Result(
            what=f"status of {CELLS} cells",
            figure=taken,
            unit="s",
            peer="reading the bytes of the files that exist",
            peer_figure=bare,
            ratio=bare / taken,
            bar=f"at most {LIMIT_S:g} s",
            passed=taken <= LIMIT_S,
        )
    ]


def fill(store: Store) -> list[Path]:
    """Write a suite with finished, failed, lost and missing runs; returns the files that a status has to read."""
    folders = [f"runs/pair{i % 10}/method{i % 7}/s{i}-{i:012x}" for i in range(CELLS)]
    cells = [
        {"pair": f"pair{i % 10}", "method": f"method{i % 7}", "seed": i, "run_id": "x", "folder": name, "dataset": None}
        for i, name in enumerate(folders)
    ]
    store.write_manifest({"name": SUITE, "cells": cells})
    counts = {"units": 10, "total_units": 20, "first_units": 0, "seconds": 3.0}
    files = []
    for i, name in enumerate(folders[: 8 * CELLS // 10]):
        folder = store.run_folder(name)
        folder.mkdir(parents=True)
        state = "done" if i < 6 * CELLS // 10 else "failed" if i < 7 * CELLS // 10 else "running"
        path = folder / ("done.json" if state == "done" else "status.json")
        shown = {"state": state, "message": "it failed", **counts}
        path.write_text(pretty_json({"run_id": "x", "summary": {}} if state == "done" else shown))
        files.append(path)
    return files
