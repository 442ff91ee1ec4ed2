"""`wombet report` of a synthetic store of 10,000 runs x 50 evaluations x 10 episodes, in a process of one thread."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Result
from wombet.files import canonical_json, pretty_json, sha256

FAMILIES, LEVELS = ("ant", "halfcheetah", "hopper", "reacher", "walker2d"), ("aligned", "close", "far", "moderate")
METHODS = ("wombet", "rlpd", "sac", "bc", "iql", "cql", "awac", "cal-ql", "hy-q", "random")
SEEDS, EVALUATIONS, EPISODES, HORIZON, STEPS = 50, 50, 10, 200, 20_000
SECONDS, GIB = 60.0, 2.0
SUITE = "synthetic-scale"


def run() -> list[Result]:
    """Write the store, build its report in a fresh process, and take that process's time and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder))
        command = [sys.executable, "-c", "from suites.cli import main; main()", "report", SUITE, "--store", folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = after.ru_maxrss / 2**20
    what = f"report of {len(FAMILIES) * len(LEVELS) * len(METHODS) * SEEDS:,} runs x {EVALUATIONS} x {EPISODES}"
    return [
        Result(
            f"{what}, CPU time ({wall:.0f} s wall)", cpu, "s", "the bar", SECONDS, SECONDS / cpu, "60 s", cpu < SECONDS
        ),
        Result(f"{what}, peak memory", memory, "GiB", "the bar", GIB, GIB / memory, "2 GiB", memory < GIB),
    ]


def write_store(root: Path) -> None:
    """Write the manifest and every run folder, as the runner writes them but without making each file durable."""
    pairs = [
        {"id": f"{family}-{level}", "family": family, "level": level, "shift": "both", "horizon": HORIZON}
        for family in FAMILIES
        for level in LEVELS
    ]
    generator = np.random.default_rng(0)
    cells = []
    for pair in pairs:
        for strength, method in enumerate(METHODS):
            cells += [_write_run(root, pair, method, seed, 0.8 - 0.05 * strength, generator) for seed in range(SEEDS)]
    manifest = {
        "schema": 1,
        "name": SUITE,
        "title": "Synthetic",
        "description": "Made-up scores.",
        "overrides": {},
        "pairs": pairs,
        "methods": list(METHODS),
        "seeds": SEEDS,
        "budgets": {method: {"target_steps": STEPS} for method in METHODS},
        "evaluation": {"count": EVALUATIONS, "episodes": EPISODES},
        "cells": cells,
    }
    _write(root / "suites" / f"{SUITE}.json", pretty_json(manifest))


def _write_run(
    root: Path, pair: dict[str, Any], method: str, seed: int, level: float, generator: np.random.Generator
) -> dict[str, Any]:
    spec = {
        "schema": 1,
        "pair": pair,
        "method": method,
        "seed": seed,
        "budgets": {"target_steps": STEPS},
        "evaluation": {"count": EVALUATIONS, "episodes": EPISODES},
    }
    run_id = sha256(canonical_json(spec))[:12]
    relative = f"runs/{pair['id']}/{method}/s{seed}-{run_id}"
    steps = np.linspace(0, STEPS, EVALUATIONS, dtype=int)
    scores = level * (1 - np.exp(-3 * steps / STEPS)) + generator.normal(0, 0.05)
    returns = HORIZON * (scores[:, None] + generator.normal(0, 0.02, (EVALUATIONS, EPISODES)))
    rows = [
        {
            "evaluation": index,
            "phase": "online" if step else "none",
            "source_steps": 10_000,
            "target_steps": int(step),
            "updates": int(step),
            "returns": own.tolist(),
            "lengths": [HORIZON] * EPISODES,
        }
        for index, (step, own) in enumerate(zip(steps, returns, strict=True))
    ]
    evals = "".join(json.dumps(row) + "\n" for row in rows)
    costs = "".join(json.dumps({"evaluation": k, "cpu_s": 2.0 * k, "wall_s": 3.0 * k}) + "\n" for k in range(len(rows)))
    attempt = {"host": "node1", "versions": {"mujoco": "3.3.0", "torch": "2.13.0"}, "commit": "c0ffee0"}
    folder = root / relative
    _write(folder / "spec.json", pretty_json(spec))
    _write(folder / "provenance.json", pretty_json([attempt]))
    _write(folder / "evals.jsonl", evals)
    _write(folder / "costs.jsonl", costs)
    _write(folder / "status.json", pretty_json({"state": "done"}))
    _write(folder / "done.json", pretty_json({"run_id": run_id, "evals_sha256": sha256(evals)}))
    return {"pair": pair["id"], "method": method, "seed": seed, "run_id": run_id, "folder": relative, "dataset": None}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
