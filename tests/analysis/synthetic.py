"""A store with made-up scores, written file by file in the format of the runner."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wombet.files import canonical_json, pretty_json, sha256

VERSIONS = {"python": "3.11.9", "torch": "2.13.0", "mujoco": "3.3.0", "gymnasium": "1.4.0"}
CEILING = {"wombet": 0.72, "rlpd": 0.66, "sac": 0.52, "bc": 0.41, "random": 0.10, "zero": 0.14}
KINDS = {
    "wombet": "transfer",
    "rlpd": "offline-to-online",
    "sac": "online",
    "bc": "offline",
    "random": "reference",
    "zero": "reference",
}
OFFLINE = frozenset({"bc", "random", "zero"})
WITH_DATASET = frozenset({"wombet", "rlpd", "bc"})


@dataclass
class SyntheticSuite:
    """What to write: every method runs on every pair with every seed, unless listed under a trouble.

    A method that is `short` takes the steps of the first half of the evaluations only; one in `evaluated_at` is
    evaluated at those target steps. `level_score`, if given, is the
    score of all evaluations of a run by its method, level and seed.
    """

    name: str = "reacher-smoke"
    title: str = "Reacher, smoke"
    description: str = "Made-up scores."
    methods: tuple[str, ...] = ("wombet", "rlpd", "sac", "bc", "random", "zero")
    levels: tuple[str, ...] = ("close",)
    family: str = "reacher"
    horizon: int = 50
    seeds: int = 5
    n_datasets: int = 2
    target_steps: int = 3000
    count: int = 6
    todo: set[tuple[str, int]] = field(default_factory=set)
    short: tuple[str, ...] = ()
    evaluated_at: dict[str, list[int]] = field(default_factory=dict)
    failed: set[tuple[str, int]] = field(default_factory=set)
    running: set[tuple[str, int]] = field(default_factory=set)
    score: Callable[[str, float, np.random.Generator], float] | None = None
    level_score: Callable[[str, str, int], float] | None = None
    versions: Callable[[str, int], dict[str, str]] = lambda method, seed: VERSIONS
    dataset: Callable[[str, int], str | None] | None = None


def learning_score(method: str, progress: float, rng: np.random.Generator) -> float:
    """A saturating learning curve with noise; methods that never train online have one level."""
    ceiling = CEILING.get(method, 0.5)
    start = 0.6 * ceiling if method in WITH_DATASET else 0.1
    level = ceiling if method in OFFLINE else start + (ceiling - start) * (1 - np.exp(-3 * progress))
    return float(level + rng.normal(0, 0.03))


def write_store(root: Path, suite: SyntheticSuite | None = None) -> Path:
    """Write a manifest and all run folders of a suite; returns the store's folder."""
    suite = suite or SyntheticSuite()
    cells = []
    pairs = [_pair(suite, level) for level in suite.levels]
    for pair in pairs:
        for method in suite.methods:
            cells.extend(_write_run(root, suite, pair, method, seed) for seed in range(suite.seeds))
    manifest = {
        "schema": 1,
        "name": suite.name,
        "title": suite.title,
        "description": suite.description,
        "suite_sha256": sha256(suite.name),
        "overrides": {},
        "pairs": pairs,
        "methods": list(suite.methods),
        "method_kinds": {method: KINDS.get(method, "online") for method in suite.methods},
        "method_sources": dict.fromkeys(suite.methods, "made up"),
        "method_deviations": {suite.methods[0]: ["is not real"]},
        "seeds": suite.seeds,
        "budgets": {method: _budgets(suite, method) for method in suite.methods},
        "evaluation": {"count": suite.count, "episodes": 5},
        "cells": cells,
    }
    _write(root / "suites" / f"{suite.name}.json", pretty_json(manifest))
    return root


def run_folders(root: Path, pair: str, method: str) -> list[Path]:
    """Folders of the runs of a cell, by seed."""
    return sorted((root / "runs" / pair / method).iterdir())


def _pair(suite: SyntheticSuite, level: str) -> dict[str, Any]:
    return {
        "id": f"{suite.family}-{level}",
        "family": suite.family,
        "level": level,
        "shift": "both",
        "horizon": suite.horizon,
        "source_fingerprint": sha256(suite.family)[:16],
        "target_fingerprint": sha256(suite.family + level)[:16],
    }


def _budgets(suite: SyntheticSuite, method: str) -> dict[str, int]:
    return {"target_steps": _grid(suite, method)[-1], "offline_updates": 500, "source_steps": 0}


def _grid(suite: SyntheticSuite, method: str) -> list[int]:
    if method in suite.evaluated_at:
        return suite.evaluated_at[method]
    grid: list[int] = np.linspace(0, suite.target_steps, suite.count, dtype=int).tolist()
    return [0] if method in OFFLINE else grid[: suite.count // 2] if method in suite.short else grid


def _write_run(root: Path, suite: SyntheticSuite, pair: dict[str, Any], method: str, seed: int) -> dict[str, Any]:
    if suite.dataset is not None:
        dataset = suite.dataset(method, seed)
    else:
        dataset = f"{suite.family}-{sha256(str(seed % suite.n_datasets))[:12]}" if method in WITH_DATASET else None
    spec = {
        "schema": 1,
        "pair": pair,
        "method": method,
        "method_version": 1,
        "config": {},
        "seed": seed,
        "budgets": _budgets(suite, method),
        "evaluation": {"count": suite.count, "episodes": 5},
        "dataset": {"dataset_seed": seed % suite.n_datasets} if dataset else None,
    }
    run_id = sha256(canonical_json(spec))[:12]
    relative = f"runs/{pair['id']}/{method}/s{seed}-{run_id}"
    cell = {"pair": pair["id"], "method": method, "seed": seed, "run_id": run_id, "folder": relative}
    cell["dataset"] = dataset
    if (method, seed) in suite.todo:
        return cell
    folder = root / relative
    rows = list(_evaluations(suite, pair, method, seed, source_steps=10_000 if dataset else 0))
    _write(folder / "spec.json", pretty_json(spec))
    attempt = {"host": "node1", "versions": suite.versions(method, seed), "commit": "c0ffee0", "threads": 1}
    _write(folder / "provenance.json", pretty_json([attempt]))
    _write_state(folder, suite, method, seed, rows, run_id)
    return cell


def _write_state(
    folder: Path, suite: SyntheticSuite, method: str, seed: int, rows: list[dict[str, Any]], run_id: str
) -> None:
    state = "done"
    if (method, seed) in suite.failed | suite.running:
        state = "failed" if (method, seed) in suite.failed else "running"
        rows = rows[: len(rows) // 2]
    evals = _jsonl(rows)
    _write(folder / "evals.jsonl", evals)
    costs = [
        {"evaluation": row["evaluation"], "cpu_s": 2.5 * k + 1, "wall_s": 3.0 * k + 1} for k, row in enumerate(rows)
    ]
    _write(folder / "costs.jsonl", _jsonl(costs))
    steps = rows[-1]["target_steps"] if rows else 0
    _write(
        folder / "status.json",
        pretty_json({"state": state, "heartbeat": 0.0, "pid": 1, "host": "node1", "target_steps": steps}),
    )
    if state == "failed":
        _write(
            folder / "error.txt",
            "Traceback (most recent call last):\nFloatingPointError: the critic loss is not finite\n",
        )
    if state == "done":
        done = {"run_id": run_id, "evals_sha256": sha256(evals), "state_sha256": sha256("state"), "summary": {}}
        _write(folder / "done.json", pretty_json(done))


def _evaluations(
    suite: SyntheticSuite, pair: dict[str, Any], method: str, seed: int, source_steps: int
) -> Iterable[dict[str, Any]]:
    entropy = int(sha256(f"{pair['id']}/{method}/{seed}")[:8], 16)
    rng = np.random.default_rng(entropy)
    score = suite.score or learning_score
    luck = rng.normal(0, 0.04)
    for number, steps in enumerate(_grid(suite, method)):
        value = score(method, steps / suite.target_steps, rng) + (luck if suite.score is None else 0.0)
        if suite.level_score is not None:
            value = suite.level_score(method, pair["level"], seed)
        returns = [round(value * suite.horizon + offset, 6) for offset in (-1.0, -0.5, 0.0, 0.5, 1.0)]
        yield {
            "evaluation": number,
            "phase": "online" if steps else "offline" if method in WITH_DATASET else "none",
            "source_steps": source_steps,
            "target_steps": steps,
            "updates": 500 + steps,
            "returns": returns,
            "lengths": [suite.horizon] * 5,
        }


def _jsonl(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_training(root: Path, suite: SyntheticSuite, methods: tuple[str, ...] = ("wombet",)) -> None:
    """Add the training rows of runs that mix offline and online rows, and of two iterations of data."""
    for level in suite.levels:
        for method in methods:
            for number, folder in enumerate(run_folders(root, f"{suite.family}-{level}", method)):
                rows = []
                for step in range(0, suite.target_steps + 1, suite.target_steps // 10):
                    progress = step / suite.target_steps
                    second = progress > 0.5
                    rows.append(
                        {
                            "phase": "online",
                            "target_steps": step,
                            "updates": 500 + step,
                            "offline_fraction": 0.75 - 0.5 * progress + 0.01 * number,
                            "q_mean": 20 * progress + number,
                            "q_bound_rate": 0.1 + 0.2 * progress,
                            "iteration": 2.0 if second else 1.0,
                            "acceptance": 0.4 if second else 0.2,
                            "kept": 0.9 if second else 1.0,
                            "offline_rows": 4000.0,
                            "offline_uncertainty": 0.05 if second else 0.08,
                            "model_error": 0.01,
                            **({"mixing_signal": 2.0 - progress} if step else {}),
                        }
                    )
                _write(folder / "train.jsonl", _jsonl([{"phase": "offline", "q_mean": 1.0}, *rows]))


def write_datasets(root: Path, suite: SyntheticSuite, diagnosed: bool = True) -> list[str]:
    """Add the card, the costs and (to the first) the diagnosis of every dataset that the suite's runs were fed."""
    manifest = json.loads((root / "suites" / f"{suite.name}.json").read_text())
    names = sorted({cell["dataset"] for cell in manifest["cells"] if cell["dataset"]})
    for number, name in enumerate(names):
        folder, card = root / "datasets" / name, _card(name)
        _write(folder / "card.json", pretty_json(card))
        attempts = [{"state": "lost"}, {"state": "done", "cost": {"cpu_s": 1800.0, "wall_s": 2000.0}}]
        _write(folder / "provenance.json", pretty_json(attempts))
        if diagnosed and number == 0:
            _write(folder / "diagnosis.json", pretty_json(_diagnosis(name, card)))
    return names


def _card(name: str) -> dict[str, Any]:
    return {
        "sha256": sha256(name),
        "collection_mode": "guided",
        "rollouts": "imagined",
        "rows": 4321,
        "source_steps": {"total": 10_000},
        "config": {"planner": {"penalty_scale": 1.0}},
        "counts": {
            "candidates": {"initial": 100, "visited": 100},
            "accepted": {"initial": 40, "visited": 10},
            "acceptance": 0.25,
        },
        "accepted": {"uncertainty": 0.083, "return_per_step": 0.47},
        "thresholds": {"uncertainty": 0.1},
        "gate": {"gap": 0.05},
    }


def _diagnosis(name: str, card: dict[str, Any]) -> dict[str, Any]:
    true_return = {"mean": 24.5, "interval": [22.0, 27.0]}
    rows = [
        {
            "factor": factor,
            "n": 24,
            "share": share,
            "interval": [share - 0.1, share + 0.1],
            "mean_slack": 8 * factor - 3,
            "smallest_slack": -9.5,
            "true_return": true_return,
        }
        for factor, share in ((0.0, 0.125), (1.0, 0.625), (5.0, 0.875))
    ]
    bound = {"lower_bound": -16_710_018.2, "lowest_return": -52.5, "largest_return": 46.0, "vacuous": True}
    return {
        "format": 2,
        "dataset": name,
        "sha256": card["sha256"],
        "lower_bound": {"closed_loop": rows},
        "theory": {
            "sentences": ["The final bound promises a return of at least -1.671e+07: it is vacuous."],
            "final_bound": bound,
            "wasserstein": {"means": {"holds": {"share": 0.31}, "factors": {"0.95": 14.0}}},
        },
        "summary": {"one_step_error": 0.41, "reward_bias": 0.058},
    }
