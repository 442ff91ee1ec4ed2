"""`wombet plan`: what a suite would do, and what of it is done."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    MethodsOption,
    SeedsOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    TasksOption,
    WorkersOption,
    console,
    open_matrix,
    print_json,
)

if TYPE_CHECKING:
    from suites.matrix import Matrix
    from suites.spec import RunSpec
    from suites.store import Store


def plan_command(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    workers: WorkersOption = None,
    tasks: TasksOption = None,
    methods: MethodsOption = None,
    seeds: SeedsOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show a suite's matrix: which cells are done and which are missing, its datasets, and the core-hours to expect.

    Validates the whole suite and writes nothing; --tasks, --methods and --seeds choose a part, as in `run`. Core-hours
    and the end come from what finished runs and datasets of the same kind took in this store; where there is nothing
    like it, they are not guessed, and that is said. More workers than cores are refused, as `run` refuses them.
    """
    from suites.dispatch import check_workers

    chosen = open_matrix(suite, set_).select(tasks or [], methods or [], seeds)
    plan = _plan(chosen, store, check_workers("local", workers))
    if json:
        print_json(plan)
    else:
        _print(plan)


def _plan(matrix: "Matrix", path: Path, workers: int) -> dict[str, Any]:
    from suites.store import Store

    store = Store(path)
    states = {run.folder: store.read_run(store.run_folder(run.folder)).state for run in matrix.runs}
    users = _rows_by_dataset(matrix)
    datasets = [
        {
            "id": recipe.id,
            "source": recipe.source_name,
            "collection": recipe.collection,
            "rollouts": recipe.rollouts,
            "profile": recipe.profile,
            "seed": recipe.dataset_seed,
            "rows": users[recipe.id],
            "built": _has_card(store, recipe.id),
            "has_rows": _has_card(store, recipe.id) and not store.lacks_rows(recipe.id),
        }
        for recipe in matrix.recipes
    ]
    return {
        "suite": matrix.name,
        "title": matrix.suite.title,
        "suite_sha256": matrix.suite.sha256,
        "seeds": len({run.seed for run in matrix.runs}),
        "methods": list(dict.fromkeys(run.row for run in matrix.runs)),
        "pairs": list(dict.fromkeys(run.pair.id for run in matrix.runs)),
        "datasets": datasets,
        "cells": [
            {"pair": run.pair.id, "method": run.row, "seed": run.seed, "state": states[run.folder]}
            for run in matrix.runs
        ],
        "done": sum(state == "done" for state in states.values()),
        "missing": sum(state != "done" for state in states.values()),
        "cost": _cost(matrix, store, {name for name, state in states.items() if state == "done"}, workers),
    }


def _has_card(store: "Store", dataset_id: str) -> bool:
    """Whether a dataset is finished; `suites.datasets` knows it too, and takes seconds to import."""
    return (store.dataset_folder(dataset_id) / "card.json").is_file()


def _rows_by_dataset(matrix: "Matrix") -> dict[str, list[str]]:
    """Rows that are fed a dataset or a part of it, by the dataset's id."""
    found: dict[str, list[str]] = {}
    for run in matrix.runs:
        for recipe in run.recipes:
            rows = found.setdefault(recipe.id, [])
            if run.row not in rows:
                rows.append(run.row)
    return found


def _cost(matrix: "Matrix", store: "Store", done: set[str], workers: int) -> dict[str, Any]:
    """What the missing datasets and cells of known kinds take; those of unknown kinds are counted, and named."""
    from dataclasses import asdict

    from suites.rates import Rates, Work, makespan

    rates = Rates.of_store(store)
    fed = {recipe.id for run in matrix.runs if run.folder not in done for recipe in run.recipes}
    missing: list[tuple[str, str, dict[str, Any], str | None, str]] = [
        (recipe.id, "dataset", asdict(recipe), None, "datasets")
        for recipe in matrix.recipes
        if not _has_card(store, recipe.id) or (recipe.id in fed and store.lacks_rows(recipe.id))
    ]
    missing += [
        (run.folder, "run", run.to_json(), _last_missing(run, store), run.row)
        for run in matrix.runs
        if run.folder not in done
    ]
    cpu_s, works, unknown, basis = 0.0, [], Counter[str](), Counter[str]()
    for name, kind, content, after, row in missing:
        estimate = rates.estimate(kind, content)
        if estimate is None:
            unknown[row] += 1
            continue
        cpu_s += estimate.cpu_s
        basis[estimate.basis] += 1
        works.append(Work(name, estimate.wall_s, after))
    return {
        "core_hours": round(cpu_s / 3600, 4),
        "workers": workers,
        "hours_to_the_end": round(makespan(works, workers) / 3600, 4),
        "known_from": dict(basis),
        "unknown": dict(unknown),
        "datasets": sum(kind == "dataset" for _, kind, *_ in missing),
    }


def _last_missing(run: "RunSpec", store: "Store") -> str | None:
    """The dataset that the run waits for longest, since they are built in order."""
    ids = [recipe.id for recipe in run.recipes if not _has_card(store, recipe.id) or store.lacks_rows(recipe.id)]
    return ids[-1] if ids else None


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
        kind += "" if dataset["source"] == "source" else f", of {dataset['source']}"
        users = "" if fed == set(dataset["rows"]) else f" for {', '.join(dataset['rows'])}"
        there, missing = ("there", "to import") if imported else ("built", "to build")
        if dataset["built"] and not dataset["has_rows"]:
            there = "published without its rows, which are built again if a missing cell needs them"
        out.print(f"dataset {dataset['id']} ({kind}){users}: {there if dataset['built'] else missing}")
    if plan["missing"]:
        _print_cost(plan["missing"], plan["cost"])
    else:
        out.print("All cells are done.")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _print_cost(missing: int, cost: dict[str, Any]) -> None:
    out = console()
    known = f"{_counted(missing, 'cell')} to run"
    if cost["datasets"]:
        known += f" and {_counted(cost['datasets'], 'dataset')} to build"
    if cost["known_from"]:
        end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + 3600 * cost["hours_to_the_end"]))
        known += (
            f": {cost['core_hours']:.2f} core-hours by recorded costs; begun now with {cost['workers']} workers, "
            f"done in {cost['hours_to_the_end']:.2f} hours ({end})"
        )
    out.print(known, markup=False, soft_wrap=True)
    for basis, count in cost["known_from"].items():
        out.print(f"  {count} known from {basis}", markup=False)
    if cost["unknown"]:
        what = ", ".join(f"{count} of {row}" for row, count in cost["unknown"].items())
        out.print(f"  not in these figures, because nothing like it is finished here: {what}", markup=False)
