"""`wombet plan`: what a suite would do, and what of it is done."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    console,
    open_matrix,
    print_json,
)

if TYPE_CHECKING:
    from suites.matrix import Matrix
    from suites.store import Store


def plan_command(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show a suite's matrix: which cells are done and which are missing, its datasets, and the core-hours to expect.

    Validates the whole suite and writes nothing. Core-hours come from the costs of finished runs of the same method and
    task pair in the store; where there are none, they are not guessed.
    """
    plan = _plan(open_matrix(suite, set_), store)
    if json:
        print_json(plan)
    else:
        _print(plan)


def _plan(matrix: "Matrix", path: Path) -> dict[str, Any]:
    from suites.store import Store

    store = Store(path)
    states = {run.folder: store.read_run(store.run_folder(run.folder)).state for run in matrix.runs}
    rates = _seconds_per_unit(store)
    cells, missing_seconds, unknown = [], 0.0, 0
    for run in matrix.runs:
        cells.append({"pair": run.pair.id, "method": run.row, "seed": run.seed, "state": states[run.folder]})
        if states[run.folder] != "done":
            rate = rates.get((run.pair.id, run.method))
            missing_seconds += 0.0 if rate is None else rate * _units(run.to_json())
            unknown += rate is None
    users = _rows_by_dataset(matrix)
    return {
        "suite": matrix.name,
        "title": matrix.suite.title,
        "suite_sha256": matrix.suite.sha256,
        "seeds": matrix.suite.seeds,
        "methods": matrix.suite.methods,
        "pairs": list(dict.fromkeys(run.pair.id for run in matrix.runs)),
        "datasets": [
            {
                "id": recipe.id,
                "collection": recipe.collection,
                "rollouts": recipe.rollouts,
                "profile": recipe.profile,
                "seed": recipe.dataset_seed,
                "rows": users[recipe.id],
                "built": (store.dataset_folder(recipe.id) / "card.json").is_file(),
            }
            for recipe in matrix.recipes
        ],
        "cells": cells,
        "done": sum(state == "done" for state in states.values()),
        "missing": sum(state != "done" for state in states.values()),
        "core_hours_of_missing_cells_with_known_cost": round(missing_seconds / 3600, 3),
        "missing_cells_of_unknown_cost": unknown,
    }


def _rows_by_dataset(matrix: "Matrix") -> dict[str, list[str]]:
    """Rows that are fed a dataset or a part of it, by the dataset's id."""
    found: dict[str, list[str]] = {}
    for run in matrix.runs:
        if run.dataset is not None:
            rows = found.setdefault(run.dataset.id, [])
            if run.row not in rows:
                rows.append(run.row)
    return found


def _units(spec: dict[str, Any]) -> int:
    return max(1, sum(spec["budgets"].values()))


def _seconds_per_unit(store: "Store") -> dict[tuple[str, str], float]:
    """Mean CPU seconds per step or offline update of finished runs, by pair and method."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in store.scan():
        if run.done is not None and run.spec is not None and run.costs:
            key = (run.spec["pair"]["id"], run.spec["method"])
            found.setdefault(key, []).append(run.costs[-1]["cpu_s"] / _units(run.spec))
    return {key: sum(values) / len(values) for key, values in found.items()}


def _print(plan: dict[str, Any]) -> None:
    from rich.table import Table

    from suites.spec import IMPORTED

    out = console()
    out.print(f"{plan['title']} (suite {plan['suite']}, {plan['suite_sha256'][:12]})")
    table = Table("method", *plan["pairs"], caption="cells done / all")
    for method in plan["methods"]:
        row = [[cell for cell in plan["cells"] if (cell["method"], cell["pair"]) == (method, p)] for p in plan["pairs"]]
        table.add_row(method, *(f"{sum(cell['state'] == 'done' for cell in cells)}/{len(cells)}" for cells in row))
    out.print(table)
    fed = {row for dataset in plan["datasets"] for row in dataset["rows"]}
    for dataset in plan["datasets"]:
        imported = dataset["collection"] == IMPORTED
        kind = IMPORTED if imported else "{collection}, {rollouts}, profile {profile}, seed {seed}".format(**dataset)
        users = "" if fed == set(dataset["rows"]) else f" for {', '.join(dataset['rows'])}"
        there, missing = ("there", "to import") if imported else ("built", "to build")
        out.print(f"dataset {dataset['id']} ({kind}){users}: {there if dataset['built'] else missing}")
    if plan["missing"]:
        known = plan["core_hours_of_missing_cells_with_known_cost"]
        out.print(f"{plan['missing']} cells to run: {known:.2f} core-hours by recorded costs", end="")
        unknown = plan["missing_cells_of_unknown_cost"]
        out.print(f", and {unknown} cells whose cost is not known yet" if unknown else "")
    else:
        out.print("All cells are done.")
