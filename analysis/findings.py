"""What a reader must know before trusting a table: holes, failures, damage, and runs that are not alike."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.bootstrap import MIN_SEEDS_FOR_INTERVAL


@dataclass(frozen=True)
class Finding:
    """One thing that is missing, broken or mixed: its kind, where it is, and a sentence about it."""

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def findings_of(manifest: dict[str, Any], runs: pd.DataFrame, evaluations: pd.DataFrame) -> list[Finding]:
    """Return all findings about a suite's runs, grouped by kind, in the suite's order of pairs and methods."""
    found: list[Finding] = []
    by_cell = dict(iter(runs.sort_values("seed").groupby(["pair", "method"])))
    usable = evaluations[evaluations["usable"].astype(bool)]
    histories = dict(iter(usable.groupby(["pair", "method"])))
    for pair in [entry["id"] for entry in manifest["pairs"]]:
        for method in manifest["methods"]:
            cells = by_cell.get((pair, method), runs.iloc[:0])
            where = f"{pair}, {method}"
            found.extend(_states(where, cells))
            found.extend(_damage(where, cells))
            found.extend(_evaluation_points(where, cells, histories.get((pair, method), usable.iloc[:0])))
            found.extend(_few_seeds(where, cells))
    found.extend(_only_random_steps(manifest))
    found.extend(_unequal_seeds(manifest, runs))
    found.extend(_mixed_datasets(runs))
    found.extend(_mixed_versions(runs))
    return found


def seed_list(seeds: Iterable[int]) -> str:
    """Name seeds in words: `seed 3`, `seeds 0 to 4`, `seeds 0, 2 and 3`."""
    numbers = sorted(seeds)
    if len(numbers) == 1:
        return f"seed {numbers[0]}"
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"seeds {numbers[0]} to {numbers[-1]}"
    return f"seeds {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    if frame.empty:
        return []
    return [{str(key): value for key, value in record.items()} for record in frame.to_dict("records")]


def _states(where: str, cells: pd.DataFrame) -> Iterator[Finding]:
    todo: dict[str, list[int]] = defaultdict(list)
    for cell in _records(cells[cells["state"] == "todo"]):
        todo[f"; the dataset failed: {cell['error']}" if cell["error"] else "."].append(cell["seed"])
    for reason, seeds in todo.items():
        yield Finding("not run", where, f"{seed_list(seeds)} not run{reason}")
    for cell in _records(cells[cells["state"] == "failed"]):
        yield Finding("failed", where, f"seed {cell['seed']} failed: {cell['error'] or 'no reason was recorded'}")
    for cell in _records(cells[cells["state"].isin(["running", "interrupted"])]):
        stored = f"{cell['n_evaluations']} of {cell['planned_evaluations']} evaluations stored"
        yield Finding("unfinished", where, f"seed {cell['seed']} is {cell['state']} ({stored}) and is in no statistic.")
    for cell in _records(cells[(cells["state"] == "done") & ~cells["usable"].astype(bool)]):
        unusable = f"seed {cell['seed']} is finished but unusable and is in no statistic"
        message = f"{unusable}; move {cell['folder']} away or delete it, and `wombet run` does the run again."
        yield Finding("damaged", where, message)


def _damage(where: str, cells: pd.DataFrame) -> Iterator[Finding]:
    for cell in _records(cells[cells["problems"].map(len) + cells["notes"].map(len) > 0]):
        for problem in cell["problems"]:
            yield Finding("damaged", where, f"seed {cell['seed']}: {problem}")
        for note in cell["notes"]:
            yield Finding("noted", where, f"seed {cell['seed']}: {note}")


def _evaluation_points(where: str, cells: pd.DataFrame, history: pd.DataFrame) -> Iterator[Finding]:
    grids: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for seed, steps in history.groupby("seed")["target_steps"]:
        grids[tuple(sorted({int(number) for number in steps}))].append(int(str(seed)))
    if len(grids) > 1:
        parts = [f"{seed_list(seeds)} at {len(grid)} points up to {max(grid):,}" for grid, seeds in grids.items()]
        yield Finding("evaluations", where, f"seeds were evaluated at different target steps ({'; '.join(parts)}).")
    short = cells["usable"].astype(bool) & (cells["target_steps"] != cells["planned_target_steps"]).fillna(False)
    for cell in _records(cells[short.astype(bool)]):
        reached, planned = cell["target_steps"], cell["planned_target_steps"]
        if pd.notna(planned) and 0 < reached != planned:
            message = f"seed {cell['seed']} ends at {reached:,} target steps instead of {planned:,}."
            yield Finding("evaluations", where, message)
    episodes = sorted(set(history["episodes"]))
    if len(episodes) > 1:
        yield Finding("evaluations", where, f"evaluations have different numbers of episodes ({episodes}).")


def _few_seeds(where: str, cells: pd.DataFrame) -> Iterator[Finding]:
    number = int(cells["usable"].astype(bool).sum())
    if 0 < number < MIN_SEEDS_FOR_INTERVAL:
        only = "1 finished seed" if number == 1 else f"{number} finished seeds"
        yield Finding("few seeds", where, f"{only}: points without intervals ({MIN_SEEDS_FOR_INTERVAL} are needed).")


def _only_random_steps(manifest: dict[str, Any]) -> Iterator[Finding]:
    for method, config in manifest.get("method_configs", {}).items():
        steps, random = manifest["budgets"][method]["target_steps"], config.get("random_steps", 0)
        if 0 < steps <= random:
            message = (
                f"random_steps is {random:,}, so that all {steps:,} target steps are random and nothing is learned."
            )
            yield Finding("settings", method, message)


def _unequal_seeds(manifest: dict[str, Any], runs: pd.DataFrame) -> Iterator[Finding]:
    usable = runs[runs["usable"].astype(bool)]
    for pair in [entry["id"] for entry in manifest["pairs"]]:
        counts = usable[usable["pair"] == pair]["method"].value_counts()
        numbers = {method: int(counts.get(method, 0)) for method in manifest["methods"]}
        if len(set(numbers.values())) > 1:
            listed = ", ".join(f"{method} {number}" for method, number in numbers.items())
            yield Finding("seeds", pair, f"the methods have different numbers of finished seeds ({listed}).")


def _mixed_datasets(runs: pd.DataFrame) -> Iterator[Finding]:
    fed = runs[runs["dataset"].notna()]
    names: dict[tuple[str, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for cell in _records(fed):
        names[cell["pair"], cell["seed"]][cell["dataset"]].append(cell["method"])
    for (pair, seed), methods_of in sorted(names.items()):
        if len(methods_of) > 1:
            listed = "; ".join(f"{name}: {', '.join(methods)}" for name, methods in sorted(methods_of.items()))
            yield Finding("datasets", f"{pair}, seed {seed}", f"methods were fed different datasets ({listed}).")


def _mixed_versions(runs: pd.DataFrame) -> Iterator[Finding]:
    seen: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for versions in runs[runs["usable"].astype(bool)]["versions"]:
        for name, version in versions.items():
            seen[name][version] += 1
    for name, counts in sorted(seen.items()):
        if len(counts) > 1:
            listed = ", ".join(f"{version} in {count} runs" for version, count in sorted(counts.items()))
            yield Finding("versions", "all runs", f"more than one version of {name} ({listed}).")
    unknown = int((runs["usable"].astype(bool) & (runs["versions"].map(len) == 0)).sum())
    if unknown:
        yield Finding("versions", "all runs", f"{unknown} finished runs do not say with which versions they were made.")
