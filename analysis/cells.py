"""One run folder as columns: what it recorded, whether statistics may use it, and what is wrong with it."""

import json
import math
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from suites.store import StoredRun
from wombet.files import sha256_of_file

_WHOLE = ("source_steps", "updates")
_RECORDED = ("evaluation", "phase", "target_steps", *_WHOLE)


@dataclass(frozen=True)
class CellRecords:
    """A cell's row of the frame of runs, and its evaluations: what all of them have in common, the columns in which
    they differ, and all their returns end to end."""

    run: dict[str, Any]
    common: dict[str, Any]
    columns: dict[str, list[Any]]
    returns: np.ndarray

    @property
    def n_evaluations(self) -> int:
        """Number of evaluations that could be read."""
        return len(self.columns["evaluation"])


def read_cell(
    pair: dict[str, Any], kind: str, schema: Any, cell: dict[str, Any], folder: Path, stored: StoredRun
) -> CellRecords:
    """Read what a run of a pair and a kind of method recorded, in a suite of a schema.

    Rows of an older form are read as far as they go; `problems` and `notes` name the rest.
    """
    identity = {key: pair.get(key) for key in ("family", "level", "shift", "horizon")} | {
        "pair": cell["pair"],
        "method": cell["method"],
        "kind": kind,
        "seed": cell["seed"],
        "run_id": cell["run_id"],
        "dataset": cell.get("dataset"),
    }
    doubts = _integrity(cell, folder, stored)
    columns, returns, row_problems, notes = _evaluations(stored, pair["horizon"])
    n_rows = len(columns["evaluation"])
    whole = n_rows > 0 and n_rows == len(stored.evaluations)
    usable = stored.state == "done" and whole and not doubts
    provenance = _provenance(folder)
    run = identity | {
        "folder": cell["folder"],
        "state": stored.state,
        "usable": usable,
        "planned_evaluations": _planned_evaluations(stored),
        "planned_target_steps": _planned(stored, "budgets", "target_steps"),
        "n_evaluations": len(stored.evaluations),
        **{name: columns[name][-1] if n_rows else None for name in ("source_steps", "target_steps", "updates")},
        **{
            name: columns[name][-1] if n_rows else math.nan
            for name in ("mean_return", "return_std", "score", "cpu_s", "wall_s")
        },
        "problems": (*stored.problems, *doubts, *_missing(folder, stored), *row_problems),
        "error": stored.error,
        "commit": provenance["commit"],
        "versions": provenance["versions"],
        "notes": (*provenance["notes"], *notes, *_schema(stored, schema)),
    }
    common = {name: value for name, value in identity.items() if name != "horizon"} | {"usable": usable}
    return CellRecords(run, common, columns, returns)


def _evaluations(stored: StoredRun, horizon: int) -> tuple[dict[str, list[Any]], np.ndarray, list[str], list[str]]:
    problems: list[str] = []
    lacking: set[str] = set()
    rows = stored.evaluations
    columns, returns = _whole_rows(rows) or _rows_one_by_one(rows, problems, lacking)
    flat = np.array(list(chain.from_iterable(returns)), dtype=np.float64)
    columns["episodes"] = list(map(len, returns))
    columns["mean_return"] = [math.fsum(own) / len(own) for own in returns]
    columns["score"] = [mean / horizon for mean in columns["mean_return"]]
    columns["return_std"] = _spreads(returns, flat)
    costs = {cost.get("evaluation"): cost for cost in stored.costs}
    for name in ("cpu_s", "wall_s"):
        columns[name] = [costs.get(index, {}).get(name, math.nan) for index in columns["evaluation"]]
    notes = [f"evals.jsonl has no {' and no '.join(sorted(lacking))} (an older form of the rows)"] if lacking else []
    return columns, flat, problems, notes


def _whole_rows(records: list[dict[str, Any]]) -> tuple[dict[str, list[Any]], list[list[float]]] | None:
    """Return all columns and returns at once if every record is whole and of the present form, else None."""
    try:
        *found, returns = map(list, zip(*map(itemgetter(*_RECORDED, "returns"), records), strict=True))
        kinds = [{type(value) for value in own} for own in (*found, returns, chain.from_iterable(returns))]
    except (KeyError, TypeError, ValueError):
        return None
    expected = [{str} if name == "phase" else {int} for name in _RECORDED]
    usable = kinds == [*expected, {list}, {float}] and all(returns)
    if not usable or not all(map(math.isfinite, chain.from_iterable(returns))):
        return None
    return dict(zip(_RECORDED, found, strict=True)), returns


def _rows_one_by_one(
    records: list[dict[str, Any]], problems: list[str], lacking: set[str]
) -> tuple[dict[str, list[Any]], list[list[float]]]:
    """Return columns and returns of all records that can be used; name the others and what records lack."""
    columns: dict[str, list[Any]] = {name: [] for name in _RECORDED}
    kept: list[list[float]] = []
    for number, record in enumerate(records):
        try:
            returns = _returns(record)
            values = [int(record["evaluation"]), int(record["target_steps"])]
            optional = [_whole_or_none(record.get(name)) for name in _WHOLE]
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"row {number + 1} of evals.jsonl is unusable: {_said(error)}")
            continue
        lacking.update(name for name in (*_WHOLE, "phase") if name not in record)
        kept.append(returns)
        row = dict(zip(("evaluation", "target_steps", *_WHOLE), (*values, *optional), strict=True))
        for name, value in (row | {"phase": str(record.get("phase", ""))}).items():
            columns[name].append(value)
    return columns, kept


def _said(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _returns(record: dict[str, Any]) -> list[float]:
    returns = [float(value) for value in record["returns"]]
    if not returns:
        raise ValueError("it has no episodes")
    if not math.isfinite(math.fsum(returns)):
        raise ValueError(f"a return is not finite in {returns}")
    return returns


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else int(value)


def _spreads(kept: list[list[float]], flat: np.ndarray) -> list[float]:
    """Standard deviations over episodes, in units of the return; of one episode there is none."""
    if len({len(returns) for returns in kept}) == 1 and len(kept[0]) > 1:
        return list(flat.reshape(len(kept), -1).std(axis=1, ddof=1).tolist())
    return [float(np.std(returns, ddof=1)) if len(returns) > 1 else math.nan for returns in kept]


def _planned(stored: StoredRun, part: str, name: str) -> int | None:
    found = (stored.spec or {}).get(part)
    return found.get(name) if isinstance(found, dict) else None


def _planned_evaluations(stored: StoredRun) -> int | None:
    """The suite's count, and one more where the run was pretrained."""
    count = _planned(stored, "evaluation", "count")
    return count if count is None else count + bool(_planned(stored, "evaluation", "after_switch"))


def _integrity(cell: dict[str, Any], folder: Path, stored: StoredRun) -> list[str]:
    if stored.done is None:
        return []
    problems = []
    if stored.done.get("run_id") != cell["run_id"]:
        problems.append(f"done.json belongs to run {stored.done.get('run_id')}, not to {cell['run_id']}")
    path = folder / "evals.jsonl"
    if not path.is_file():
        problems.append("evals.jsonl is missing although the run is marked as finished")
    elif sha256_of_file(path) != stored.done.get("evals_sha256"):
        problems.append("evals.jsonl is not what it was when the run finished (its hash differs from done.json)")
    return problems


def _missing(folder: Path, stored: StoredRun) -> list[str]:
    """Files that a finished run always has and this one lacks; its scores are whole without them."""
    if stored.done is None:
        return []
    return [
        f"{name} is missing"
        for name in ("spec.json", "provenance.json", "costs.jsonl")
        if not (folder / name).is_file()
    ]


def _schema(stored: StoredRun, schema: Any) -> list[str]:
    own = (stored.spec or {}).get("schema", 0)
    return [f"spec.json has schema {own}, the suite has {schema}"] if stored.spec and own != schema else []


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
