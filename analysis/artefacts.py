"""The generated datasets that a suite's runs were fed: what they cost and hold, and what was measured of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.load import SuiteResults
from suites.store import Store, read_json, read_list

DIAGNOSIS_FORMAT = 2
"""The form of diagnosis.json that this code reads."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Artefacts:
    """Frames with a line per dataset: `datasets` (from the cards), `bounds` (share of trajectories whose real return is
    at least the model's penalised one, per penalty) and `calibration` (errors of the model); `sentences` are the theory
    in words and `notes` what could not be read, both by dataset.
    """

    datasets: pd.DataFrame
    bounds: pd.DataFrame
    calibration: pd.DataFrame
    sentences: dict[str, list[str]]
    notes: tuple[str, ...]


def read_artefacts(store: Store, results: SuiteResults) -> Artefacts:
    """Read card, provenance and diagnosis of every dataset that the suite names."""
    datasets, bounds, calibration = [], [], []
    sentences: dict[str, list[str]] = {}
    notes: list[str] = []
    fed = results.runs[results.runs["dataset"].notna()]
    for name in sorted({name for joined in fed["dataset"] for name in joined.split("+")}):
        folder, problems = store.dataset_folder(name), list[str]()
        card = read_json(folder / "card.json", problems)
        if card is None:
            notes.append(f"{name}: {problems[0] if problems else 'the store does not hold it any more'}")
            continue
        datasets.append(_dataset(name, card, read_list(folder / "provenance.json", problems)))
        found = read_json(folder / "diagnosis.json", problems)
        if found is not None and not _fits(found, card):
            problems.append("diagnosis.json is of other data or of another form; `wombet data diagnose --again` helps")
        elif found is not None:
            bounds += _bounds(name, card, found)
            calibration.append(_calibration(name, found))
            sentences[name] = [str(sentence) for sentence in _at(found, "theory", "sentences") or []]
        notes += [f"{name}: {problem}" for problem in problems]
    return Artefacts(pd.DataFrame(datasets), pd.DataFrame(bounds), pd.DataFrame(calibration), sentences, tuple(notes))


def _dataset(name: str, card: Json, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    spent = [_at(attempt, "cost", "cpu_s") for attempt in attempts]
    known = [float(seconds) for seconds in spent if isinstance(seconds, int | float)]
    return {
        "dataset": name,
        "collection": _joined(card.get("collection_mode"), card.get("rollouts")),
        "source_steps": _at(card, "source_steps", "total"),
        "rows": card.get("rows"),
        "candidates": _total(_at(card, "counts", "candidates")),
        "accepted": _total(_at(card, "counts", "accepted")),
        "acceptance": _at(card, "counts", "acceptance"),
        "uncertainty": _at(card, "accepted", "uncertainty"),
        "threshold": _at(card, "thresholds", "uncertainty"),
        "reward_per_step": _at(card, "accepted", "return_per_step"),
        "gate_gap": _at(card, "gate", "gap"),
        "cpu_s": sum(known) if known else None,
    }


def _bounds(name: str, card: Json, found: Json) -> list[dict[str, Any]]:
    recipe = _at(card, "config", "planner", "penalty_scale")
    return [
        {
            "dataset": name,
            "penalty_factor": row.get("factor"),
            "recipe": row.get("factor") == recipe,
            "trajectories": row.get("n"),
            "share": row.get("share"),
            "low": _end(row.get("interval"), 0),
            "high": _end(row.get("interval"), 1),
            "mean_slack": row.get("mean_slack"),
            "smallest_slack": row.get("smallest_slack"),
            "true_return": _at(row, "true_return", "mean"),
        }
        for row in _at(found, "lower_bound", "closed_loop") or []
    ]


def _calibration(name: str, found: Json) -> dict[str, Any]:
    bound = _at(found, "theory", "final_bound") or {}
    calibration = _at(found, "theory", "wasserstein", "means") or {}
    return {
        "dataset": name,
        "one_step_error": _at(found, "summary", "one_step_error"),
        "reward_bias": _at(found, "summary", "reward_bias"),
        "w1_below_u": _at(calibration, "holds", "share"),
        "factor_needed": _at(calibration, "factors", "0.95"),
        "bound_13": bound.get("lower_bound"),
        "lowest_return": bound.get("lowest_return"),
        "largest_return": bound.get("largest_return"),
        "vacuous": bound.get("vacuous"),
    }


def _fits(found: Json, card: Json) -> bool:
    return found.get("format") == DIAGNOSIS_FORMAT and found.get("sha256") == card.get("sha256")


def _at(value: Any, *keys: str) -> Any:
    """What lies under keys, or None; an imported dataset's card has less than a generated one's."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _end(interval: Any, index: int) -> float | None:
    return interval[index] if isinstance(interval, list) and len(interval) == 2 else None


def _total(counts: Any) -> int | None:
    return sum(counts.values()) if isinstance(counts, dict) and counts else None


def _joined(*words: Any) -> str | None:
    return ", ".join(str(word) for word in words if word) or None
