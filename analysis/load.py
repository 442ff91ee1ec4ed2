"""From a store to tidy frames and a list of what is missing, broken or mixed; nothing is dropped unnamed."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.findings import Finding, findings_of
from analysis.statistics import TaskScores
from suites.store import Store, StoredRun, last_line
from wombet.files import canonical_json, sha256, sha256_of_file

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
    "score",
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
    "returns",
    "mean_return",
    "score",
    "cpu_s",
    "wall_s",
]
_WHOLE = ("planned_evaluations", "planned_target_steps", "source_steps", "target_steps", "updates")
_NUMBERS = ("evaluation", "source_steps", "target_steps", "updates")


@dataclass(frozen=True)
class SuiteResults:
    """What a store holds of a suite.

    `runs` has one row per cell of the manifest, `evaluations` one row per stored evaluation of any of them. A run is
    `usable` if it is finished and its records are whole and finite: statistics use those runs and no others. Scores
    are the mean return of an evaluation's episodes divided by the horizon.
    """

    manifest: dict[str, Any]
    manifest_sha256: str
    runs: pd.DataFrame
    evaluations: pd.DataFrame
    findings: tuple[Finding, ...]

    @property
    def pairs(self) -> list[str]:
        """Ids of the task pairs, in the suite's order."""
        return [pair["id"] for pair in self.manifest["pairs"]]

    @property
    def methods(self) -> list[str]:
        """Methods in the suite's order."""
        return list(self.manifest["methods"])

    def usable(self, pair: str, method: str) -> pd.DataFrame:
        """Rows of `runs` that statistics may use, by seed."""
        runs = self.runs
        return runs[(runs["pair"] == pair) & (runs["method"] == method) & runs["usable"]].sort_values("seed")

    def history(self, pair: str, method: str) -> pd.DataFrame:
        """Rows of `evaluations` of the usable runs of a cell, by seed and evaluation."""
        rows = self.evaluations
        chosen = rows[(rows["pair"] == pair) & (rows["method"] == method) & rows["usable"]]
        return chosen.sort_values(["seed", "evaluation"])

    def final_scores(self, pair: str, method: str) -> TaskScores | None:
        """Scores of the last evaluation of every usable run, or None if there is no such run."""
        return task_scores(pair, self.usable(pair, method))


def task_scores(pair: str, rows: pd.DataFrame) -> TaskScores | None:
    """Return the `score` column of rows, one per seed, as the scores of a task; None if there are no rows."""
    if rows.empty:
        return None
    datasets = tuple(None if pd.isna(name) else str(name) for name in rows["dataset"])
    return TaskScores(pair, rows["score"].to_numpy(dtype=float), datasets)


def load_suite(store: Store, suite: str) -> SuiteResults:
    """Read all cells of a suite's manifest; raises InputError if the store has no manifest of that name."""
    manifest = store.manifest(suite)
    runs, evaluations = [], []
    for cell in sorted(manifest["cells"], key=lambda cell: (cell["pair"], cell["method"], cell["seed"])):
        folder = store.run_folder(cell["folder"])
        run, rows = _read_cell(manifest, cell, folder, store.read_run(folder))
        if run["state"] == "todo" and cell.get("dataset"):
            run["error"] = last_line(store.building_folder(cell["dataset"]) / "error.txt")
        runs.append(run)
        evaluations.extend(rows)
    run_frame = pd.DataFrame(runs, columns=RUN_COLUMNS).astype(dict.fromkeys(_WHOLE, "Int64"))
    evaluation_frame = pd.DataFrame(evaluations, columns=EVALUATION_COLUMNS)
    found = findings_of(manifest, run_frame, evaluation_frame)
    return SuiteResults(manifest, sha256(canonical_json(manifest)), run_frame, evaluation_frame, tuple(found))


def _read_cell(
    manifest: dict[str, Any], cell: dict[str, Any], folder: Path, stored: StoredRun
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    pair = next(entry for entry in manifest["pairs"] if entry["id"] == cell["pair"])
    identity = {key: pair.get(key) for key in ("family", "level", "shift", "horizon")} | {
        "pair": cell["pair"],
        "method": cell["method"],
        "kind": manifest.get("method_kinds", {}).get(cell["method"], ""),
        "seed": cell["seed"],
        "run_id": cell["run_id"],
        "dataset": cell.get("dataset"),
    }
    doubts = _integrity(cell, folder, stored)
    provenance = _provenance(folder)
    problems = [*stored.problems, *doubts]
    rows = []
    for number, record in enumerate(stored.evaluations):
        try:
            rows.append(identity | _evaluation(record, pair["horizon"]))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"row {number + 1} of evals.jsonl is unusable: {error}")
    costs = {cost.get("evaluation"): cost for cost in stored.costs}
    for row in rows:
        cost = costs.get(row["evaluation"], {})
        row["cpu_s"], row["wall_s"] = cost.get("cpu_s", math.nan), cost.get("wall_s", math.nan)
    usable = stored.state == "done" and bool(rows) and len(rows) == len(stored.evaluations) and not doubts
    for row in rows:
        row["usable"] = usable
    last = rows[-1] if rows else {}
    run = identity | {
        "folder": cell["folder"],
        "state": stored.state,
        "usable": usable,
        "planned_evaluations": _planned(stored, "evaluation", "count"),
        "planned_target_steps": _planned(stored, "budgets", "target_steps"),
        "n_evaluations": len(stored.evaluations),
        **{key: last.get(key) for key in ("source_steps", "target_steps", "updates")},
        **{key: last.get(key, math.nan) for key in ("mean_return", "score", "cpu_s", "wall_s")},
        "problems": tuple(problems),
        "error": stored.error,
    }
    return run | provenance, rows


def _planned(stored: StoredRun, part: str, name: str) -> int | None:
    found = (stored.spec or {}).get(part)
    return found.get(name) if isinstance(found, dict) else None


def _evaluation(record: dict[str, Any], horizon: int) -> dict[str, Any]:
    returns = tuple(float(value) for value in record["returns"])
    if not returns:
        raise ValueError("it has no episodes")
    if not all(math.isfinite(value) for value in returns):
        raise ValueError(f"a return is not finite in {list(returns)}")
    mean_return = math.fsum(returns) / len(returns)
    return {
        **{key: int(record[key]) for key in _NUMBERS},
        "phase": str(record["phase"]),
        "episodes": len(returns),
        "returns": returns,
        "mean_return": mean_return,
        "score": mean_return / horizon,
    }


def _integrity(cell: dict[str, Any], folder: Path, stored: StoredRun) -> list[str]:
    problems = []
    if stored.done is not None:
        if stored.done.get("run_id") != cell["run_id"]:
            problems.append(f"done.json belongs to run {stored.done.get('run_id')}, not to {cell['run_id']}")
        path = folder / "evals.jsonl"
        if path.is_file() and sha256_of_file(path) != stored.done.get("evals_sha256"):
            problems.append("evals.jsonl is not what it was when the run finished (its hash differs from done.json)")
    return problems


def _provenance(folder: Path) -> dict[str, Any]:
    """Return the versions of code that a run's attempts name (several joined by `and`), and what they noted."""
    try:
        content = json.loads((folder / "provenance.json").read_bytes())
    except (OSError, ValueError):
        content = []
    attempts = [attempt for attempt in content if isinstance(attempt, dict)] if isinstance(content, list) else []
    versions: dict[str, set[str]] = {}
    notes: list[str] = []
    for attempt in attempts:
        for name, version in {**attempt.get("versions", {}), **_commit(attempt)}.items():
            versions.setdefault(name, set()).add(str(version))
        notes.extend(str(note) for note in attempt.get("problems", []))
    joined = {name: " and ".join(sorted(found)) for name, found in sorted(versions.items())}
    return {"commit": joined.get("commit"), "versions": joined, "notes": tuple(notes)}


def _commit(attempt: dict[str, Any]) -> dict[str, str]:
    if not attempt.get("commit"):
        return {}
    changed = f" with changes {attempt['dirty']}" if attempt.get("dirty") else ""
    return {"commit": f"{str(attempt['commit'])[:12]}{changed}"}
