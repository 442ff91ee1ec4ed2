"""From a store to tidy frames and a list of what is missing, broken or mixed; nothing is dropped unnamed."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.anchors import PairAnchors, pair_anchors, with_normalised
from analysis.audit import store_findings
from analysis.cells import CellRecords, read_cell
from analysis.findings import Finding, findings_of
from analysis.statistics import TaskScores
from suites.store import Store, last_line
from wombet.errors import InputError
from wombet.files import canonical_json, sha256

RUN_COLUMNS = [
    "pair",
    "family",
    "level",
    "shift",
    "horizon",
    "method",
    "kind",
    "seed",
    "run_id",
    "folder",
    "dataset",
    "state",
    "usable",
    "planned_evaluations",
    "planned_target_steps",
    "n_evaluations",
    "source_steps",
    "target_steps",
    "updates",
    "mean_return",
    "return_std",
    "score",
    "normalised",
    "normalised_std",
    "cpu_s",
    "wall_s",
    "commit",
    "versions",
    "problems",
    "notes",
    "error",
]
EVALUATION_COLUMNS = [
    "pair",
    "family",
    "level",
    "shift",
    "method",
    "kind",
    "seed",
    "run_id",
    "dataset",
    "usable",
    "evaluation",
    "phase",
    "source_steps",
    "target_steps",
    "updates",
    "episodes",
    "mean_return",
    "return_std",
    "score",
    "normalised",
    "normalised_std",
    "cpu_s",
    "wall_s",
]
_WHOLE = ("planned_evaluations", "planned_target_steps", "source_steps", "target_steps", "updates")
_DERIVED = ("normalised", "normalised_std")
_DEFAULTS: dict[str, Any] = {
    "schema": 0,
    "description": "",
    "overrides": {},
    "budgets": {},
    "evaluation": {},
    "method_kinds": {},
    "method_sources": {},
    "method_deviations": {},
}


@dataclass(frozen=True)
class SuiteResults:
    """What a store holds of a suite.

    `runs` has one row per cell of the manifest, `evaluations` one row per stored evaluation of any of them, and
    `returns` the return of every episode of these, end to end. A run is `usable` if it is finished and its records are
    whole and finite: statistics use those runs and no others. A `score` is the mean return of an evaluation's episodes
    divided by the horizon; `normalised` puts the same return between the pair's two anchors.
    """

    manifest: dict[str, Any]
    manifest_sha256: str
    runs: pd.DataFrame
    evaluations: pd.DataFrame
    findings: tuple[Finding, ...]
    returns: np.ndarray = field(default_factory=lambda: np.empty(0))
    anchors: dict[str, PairAnchors] = field(default_factory=dict)

    @property
    def pairs(self) -> list[str]:
        """Ids of the task pairs, in the suite's order."""
        return [pair["id"] for pair in self.manifest["pairs"]]

    @property
    def methods(self) -> list[str]:
        """Methods in the suite's order."""
        return list(self.manifest["methods"])

    @cached_property
    def _usable(self) -> dict[Any, pd.DataFrame]:
        rows = self.runs[self.runs["usable"].astype(bool)].sort_values("seed")
        return dict(iter(rows.groupby(["pair", "method"])))

    @cached_property
    def _histories(self) -> dict[Any, pd.DataFrame]:
        rows = self.evaluations[self.evaluations["usable"].astype(bool)].sort_values(["seed", "evaluation"])
        return dict(iter(rows.groupby(["pair", "method"])))

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.evaluations["episodes"].to_numpy(dtype=np.int64))])

    @cached_property
    def _finals(self) -> dict[str, dict[Any, dict[int, tuple[float, str | None]]]]:
        return {
            column: {
                cell: {
                    int(seed): (float(score), None if pd.isna(dataset) else str(dataset))
                    for seed, score, dataset in zip(rows["seed"], rows[column], rows["dataset"], strict=True)
                }
                for cell, rows in self._usable.items()
            }
            for column in ("score", "normalised")
        }

    def finals(self, pair: str, method: str, column: str = "score") -> dict[int, tuple[float, str | None]]:
        """Return by seed the final score (or `normalised`) of every usable run of a cell, and the run's dataset."""
        return self._finals[column].get((pair, method), {})

    def usable(self, pair: str, method: str) -> pd.DataFrame:
        """Rows of `runs` that statistics may use, by seed."""
        return self._usable.get((pair, method), self.runs.iloc[:0])

    def history(self, pair: str, method: str) -> pd.DataFrame:
        """Rows of `evaluations` of the usable runs of a cell, by seed and evaluation."""
        return self._histories.get((pair, method), self.evaluations.iloc[:0])

    def episode_returns(self, row: int) -> np.ndarray:
        """Returns of the episodes of an evaluation, given by its index in `evaluations`."""
        return self.returns[self._offsets[row] : self._offsets[row + 1]]

    def final_scores(self, pair: str, method: str, column: str = "score") -> TaskScores | None:
        """Scores (or `mean_return`, `normalised`) of the last evaluation of every usable run, or None without one."""
        return task_scores(pair, self.usable(pair, method), column)


def task_scores(pair: str, rows: pd.DataFrame, column: str = "score") -> TaskScores | None:
    """Return a column of rows, one per seed, as the scores of a task; None if there are no rows."""
    if rows.empty:
        return None
    datasets = tuple(None if pd.isna(name) else str(name) for name in rows["dataset"])
    return TaskScores(pair, rows[column].to_numpy(dtype=float), datasets)


def load_suite(store: Store, suite: str) -> SuiteResults:
    """Read all cells of a suite's manifest; raises InputError if the store has no manifest of that name."""
    stored_manifest = store.manifest(suite)
    manifest = _complete(stored_manifest, suite)
    pairs = {entry["id"]: entry for entry in manifest["pairs"]}
    cells = []
    for cell in sorted(manifest["cells"], key=lambda cell: (cell["pair"], cell["method"], cell["seed"])):
        folder = store.run_folder(cell["folder"])
        kind = manifest["method_kinds"].get(cell["method"], "")
        records = read_cell(pairs[cell["pair"]], kind, manifest["schema"], cell, folder, store.read_run(folder))
        if records.run["state"] == "todo" and cell.get("dataset"):
            errors = (last_line(store.building_folder(each) / "error.txt") for each in cell["dataset"].split("+"))
            records.run["error"] = next(filter(None, errors), None)
        cells.append(records)
    runs = pd.DataFrame([cell.run for cell in cells], columns=[name for name in RUN_COLUMNS if name not in _DERIVED])
    runs = runs.astype(dict.fromkeys(_WHOLE, "Int64"))
    evaluations = _evaluation_frame(cells)
    anchors = pair_anchors(manifest, runs)
    runs, evaluations = with_normalised(runs, anchors)[RUN_COLUMNS], with_normalised(evaluations, anchors)
    found = [*findings_of(manifest, runs, evaluations), *store_findings(store, manifest)]
    returns = np.concatenate([cell.returns for cell in cells]) if cells else np.empty(0)
    return SuiteResults(
        manifest,
        sha256(canonical_json(stored_manifest)),
        runs,
        evaluations[EVALUATION_COLUMNS],
        tuple(found),
        returns,
        anchors,
    )


def _complete(manifest: dict[str, Any], suite: str) -> dict[str, Any]:
    """A manifest with what an older one does not say filled in; raises InputError for what cannot be."""
    for name in ("pairs", "methods", "cells"):
        if not isinstance(manifest.get(name), list):
            raise InputError(f"the manifest of suite {suite!r} has no list of {name}; `wombet run` writes it again")
    known = {pair.get("id") for pair in manifest["pairs"] if isinstance(pair.get("horizon"), int)}
    for cell in manifest["cells"]:
        if cell.get("pair") not in known:
            raise InputError(
                f"the manifest of suite {suite!r} names a run of the pair {cell.get('pair')!r} but not that pair's "
                "horizon; `wombet run` writes it again"
            )
    seeds = 1 + max((cell["seed"] for cell in manifest["cells"]), default=-1)
    return {**_DEFAULTS, "name": suite, "title": suite, "seeds": seeds, **manifest}


def _evaluation_frame(cells: list[CellRecords]) -> pd.DataFrame:
    counts = [cell.n_evaluations for cell in cells]
    columns: dict[str, Any] = {}
    for name in (name for name in EVALUATION_COLUMNS if name not in _DERIVED):
        if cells and name in cells[0].common:
            of_cells = np.empty(len(cells), dtype=object)
            of_cells[:] = [cell.common[name] for cell in cells]
            columns[name] = np.repeat(of_cells, counts)
        else:
            columns[name] = [value for cell in cells for value in cell.columns[name]]
    frame = pd.DataFrame(columns)
    whole = {"source_steps": "Int64", "updates": "Int64"}
    plain = {"seed": int, "evaluation": int, "target_steps": int, "episodes": int}
    return frame.astype({**whole, **plain, "usable": bool, "mean_return": float, "return_std": float, "score": float})
