"""`wombet list`: what there is."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from suites.commands.method_card import show_method
from suites.commands.options import JsonOption, console, print_json
from wombet.errors import InputError


class Listable(StrEnum):
    """What can be listed."""

    suites = "suites"
    tasks = "tasks"
    methods = "methods"


def list_command(
    what: Annotated[Listable, typer.Argument(help="suites, tasks or methods")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show all of one method.")] = None,
    json: JsonOption = False,
) -> None:
    """Show the suites of the catalogue, the task families with their levels, or the methods with their sources."""
    if name is not None:
        if what is not Listable.methods:
            raise InputError(f"one name can be shown of methods only; try `wombet list {what.value}`")
        show_method(name, json)
        return
    rows = {Listable.suites: _suites, Listable.tasks: _tasks, Listable.methods: _methods}[what]()
    if json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(", ".join(map(str, cell)) if isinstance(cell, list) else str(cell) for cell in row.values()))
    console().print(table)
    if what is Listable.tasks:
        print(
            "Tasks, rewards and levels are this project's own design; they are not the tasks of any paper. "
            "native/... are Gymnasium's own, without transfer."
        )
    if what is Listable.methods:
        print("`wombet list methods NAME` shows one method's settings with their defaults and reasons.")


def _left_out(complaints: list[str]) -> None:
    """Name what another package declares and is broken, beside the list of the rest."""
    for complaint in complaints:
        print(f"wombet: left out: {complaint}", file=sys.stderr)


def _suites() -> list[dict[str, Any]]:
    """The smallest first: what a newcomer can run comes before what needs a cluster; a dataset counts as a long run."""
    from suites.spec import Suite, load_suite, suite_names

    def size(suite: Suite) -> int:
        steps = [suite.budgets_of(row).target_steps for row in suite.methods]
        return len(suite.pairs) * (suite.seeds * sum(steps) + suite.n_datasets * max(50_000, *steps))

    return [
        {
            "suite": suite.name,
            "about": suite.title,
            "pairs": [f"{pair.family.replace('/', '-')}-{pair.level}" for pair in suite.pairs],
            "methods": suite.methods,
            "seeds": suite.seeds,
        }
        for suite in sorted(map(load_suite, suite_names()), key=size)
    ]


def _tasks() -> list[dict[str, Any]]:
    from suites.tasks import make_task
    from suites.tasks.native import native_ids
    from suites.tasks.registry import whole_families

    rows = []
    families, complaints = whole_families()
    _left_out(complaints)
    for name, family in families.items():
        task = make_task(name)
        rows.append(
            {
                "family": name,
                "environment": family.env_id,
                "observation": task.obs_dim,
                "action": task.action_dim,
                "horizon": task.horizon,
                "levels": ["aligned", *(level for level in family.levels if level != "source")],
            }
        )
    return rows + [_native_row(env_id) for env_id in native_ids()]


def _native_row(env_id: str) -> dict[str, Any]:
    from suites.tasks.native import LEVEL, PREFIX, any_task

    task = any_task(PREFIX + env_id, LEVEL)
    return {
        "family": task.id,
        "environment": env_id,
        "observation": task.obs_dim,
        "action": task.action_dim,
        "horizon": task.horizon,
        "levels": [LEVEL],
    }


def _methods() -> list[dict[str, Any]]:
    from baselines.registry import method, method_names

    rows = []
    for name in method_names():
        try:
            found = method(name).capabilities
        except InputError as error:
            _left_out([str(error)])
            continue
        rows.append(
            {
                "method": name,
                "kind": found.kind,
                "phases": [phase.value for phase in found.phases],
                "dataset": "several" if found.needs_sources else "yes" if found.needs_dataset else "no",
                "source": found.source,
                "deviations": list(found.deviations),
                "tuned": found.tuned,
            }
        )
    return rows
