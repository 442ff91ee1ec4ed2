"""Returns of SAC trained for long, kept in `suites/references.toml`: the upper end of the score scale.

python -m suites.tasks.references --store STORE [--suite NAME] [--allow-fewer] [--output FILE]
"""

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from suites.store import Store, StoredRun, read_list
from suites.tasks.anchors import Anchor, read_anchors
from suites.tasks.measured import matching, read_rows, rounded, write_rows
from wombet.errors import InputError
from wombet.files import sha256_of_file

REFERENCES = Path(__file__).parents[1] / "references.toml"
SUITE, METHOD = "references-pocket", "sac"
LEAST_SEEDS = 3
_COMMAND = "python -m suites.tasks.references"
_HEADER = f"""\
# Mean returns of a policy that was trained for long, at the evaluation at which the average over seeds is highest, and
# at the last one. Standard deviations are over seeds (n − 1). Written by `{_COMMAND}`; not edited by hand.
"""
_STATES = {"todo": "not run", "running": "unfinished", "interrupted": "unfinished"}


@dataclass(frozen=True)
class Reference:
    """What a method reached in one task: the best of its averages over seeds, an optimistic choice, and the last one.

    Each of `seeds` runs was evaluated `evaluations` times over `episodes` episodes; `mean_return` came after `at_steps`
    target steps, the first of equals. `random_mean` is what the random policy returns there. One seed has no deviation.
    """

    fingerprint: str
    horizon: int
    method: str
    target_steps: int
    seeds: int
    evaluations: int
    episodes: int
    mean_return: float
    at_steps: int
    final_mean: float
    random_mean: float
    suite: str
    runs: tuple[str, ...]
    commit: str
    gymnasium: str
    mujoco: str
    torch: str
    provisional: bool
    std: float | None = None
    final_std: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What the runs of a task gave: the row's name and the reference, or None, and a sentence."""

    name: str
    reference: Reference | None
    sentence: str


def read_references(path: Path = REFERENCES) -> dict[str, Reference]:
    """Return the references of a file by the name of their row, that of the task's anchor; none without a file.

    Raises InputError if the file is not one of references.
    """
    return read_rows(path, Reference, "references", _COMMAND) if path.exists() else {}


def write_references(references: Mapping[str, Reference], path: Path = REFERENCES) -> None:
    """Write references, sorted by name, as TOML; equal references give equal bytes."""
    write_rows(path, _HEADER, references)


def references_of(store: Store, suite: str = SUITE, allow_fewer: bool = False) -> list[Outcome]:
    """Return for every task pair of a suite the reference that its finished runs of `sac` give.

    None from fewer than three seeds, unless `allow_fewer`, nor where the random policy was not measured. Raises
    InputError if the store does not know the suite.
    """
    manifest = store.manifest(suite)
    cells = [cell for cell in manifest["cells"] if cell["method"] == METHOD]
    least, anchors, outcomes = 1 if allow_fewer else LEAST_SEEDS, read_anchors(), []
    for pair in manifest["pairs"]:
        runs, told = _usable_runs(store, [cell for cell in cells if cell["pair"] == pair["id"]])
        found = matching(anchors, pair["target_fingerprint"], pair["horizon"])
        outcomes.append(_outcome(suite, pair, found, runs, told, least))
    return outcomes


def _usable_runs(store: Store, cells: list[dict[str, Any]]) -> tuple[dict[str, StoredRun], str]:
    """The runs of a task by id, in the order of their seeds, and in words how many of them can be used."""
    runs, missing = {}, []
    for cell in sorted(cells, key=lambda cell: cell["seed"]):
        run = store.read_run(store.run_folder(cell["folder"]))
        problem = _problem(run, cell["run_id"])
        if problem is None:
            runs[str(cell["run_id"])] = run
        else:
            missing.append(f"seed {cell['seed']} {problem}")
    return runs, f"{len(runs)} of {len(cells)} seeds" + (f" ({', '.join(missing)})" if missing else "")


def _outcome(
    suite: str,
    pair: dict[str, Any],
    anchor: tuple[str, Anchor] | None,
    runs: dict[str, StoredRun],
    told: str,
    least: int,
) -> Outcome:
    name = pair["id"] if anchor is None else anchor[0]
    told = f"{name}: {told}"
    if anchor is None:
        return Outcome(name, None, f"{told}; no reference without a random policy (python -m suites.tasks.anchors)")
    if len(runs) < least:
        return Outcome(name, None, f"{told}; no reference from fewer than {least}")
    own = _reference(runs, pair, suite, anchor[1].random_mean)
    told += f"; {own.mean_return:.1f} at {own.at_steps:,} steps, {own.final_mean:.1f} at the end, random "
    beside = "" if own.mean_return > own.random_mean else ", which is not below it, so that it is no anchor"
    return Outcome(name, own, f"{told}{own.random_mean:.1f}{beside}")


def _problem(run: StoredRun, run_id: str) -> str | None:
    """Why a run cannot be used, in words; None for one that is finished and as it was then."""
    if run.done is None:
        return _STATES.get(run.state, run.state)
    evaluations = run.folder / "evals.jsonl"
    whole = evaluations.is_file() and sha256_of_file(evaluations) == run.done.get("evals_sha256")
    if run.problems or run.done.get("run_id") != run_id or not whole:
        return "damaged"
    finite = all(row.get("returns") and math.isfinite(sum(row["returns"])) for row in run.evaluations)
    return None if finite and run.evaluations else "without finite returns"


def _reference(runs: Mapping[str, StoredRun], pair: dict[str, Any], suite: str, random_mean: float) -> Reference:
    curves = [{row["target_steps"]: fmean(row["returns"]) for row in run.evaluations} for run in runs.values()]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    averages = {step: fmean(curve[step] for curve in curves) for step in steps}
    best, last = max(steps, key=lambda step: averages[step]), steps[-1]
    std, final_std = (
        rounded(stdev(curve[step] for curve in curves)) if len(curves) > 1 else None for step in (best, last)
    )
    return Reference(
        fingerprint=pair["target_fingerprint"],
        horizon=pair["horizon"],
        method=METHOD,
        target_steps=last,
        seeds=len(curves),
        evaluations=len(steps),
        episodes=min(len(row["returns"]) for run in runs.values() for row in run.evaluations),
        mean_return=rounded(averages[best]),
        at_steps=best,
        final_mean=rounded(averages[last]),
        random_mean=random_mean,
        suite=suite,
        runs=tuple(runs),
        **_versions(runs.values()),
        provisional=True,
        std=std,
        final_std=final_std,
    )


def _versions(runs: Iterable[StoredRun]) -> dict[str, str]:
    """What the runs were made with, several versions joined by `and`."""
    found: dict[str, set[str]] = {name: set() for name in ("commit", "gymnasium", "mujoco", "torch")}
    for run in runs:
        for attempt in read_list(run.folder / "provenance.json"):
            changed = f" with changes {attempt['dirty']}" if attempt.get("dirty") else ""
            commit = f"{attempt['commit'][:12]}{changed}" if attempt.get("commit") else None
            for name in found:
                version = commit if name == "commit" else attempt.get("versions", {}).get(name)
                found[name] |= {version} if version else set()
    return {name: " and ".join(sorted(versions)) or "unknown" for name, versions in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the references that a store's finished runs of SAC give; rows of other tasks stay."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=main.__doc__)
    parser.add_argument("--store", type=Path, required=True, help="store that holds the runs")
    parser.add_argument("--suite", default=SUITE, help=f"suite whose runs of {METHOD} are taken ({SUITE})")
    parser.add_argument("--allow-fewer", action="store_true", help=f"take what there is of {LEAST_SEEDS} seeds")
    parser.add_argument("--output", type=Path, default=REFERENCES, help="file to write (the one in the package)")
    options = parser.parse_args(arguments)
    try:
        references = read_references(options.output)
        outcomes = references_of(Store(options.store), options.suite, options.allow_fewer)
        for outcome in outcomes:
            print(outcome.sentence)
        new = {outcome.name: outcome.reference for outcome in outcomes if outcome.reference is not None}
        if not new:
            raise InputError(
                f"no task of suite {options.suite} has the finished runs of {METHOD} that a reference takes; "
                f"`wombet run {options.suite} --store {options.store}` carries them out"
            )
        write_references({**references, **new}, options.output)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
