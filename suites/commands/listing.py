"""`wombet list`: what there is."""

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
        print("Tasks, rewards and levels are this project's own design; they are not the tasks of any paper.")
    if what is Listable.methods:
        print("`wombet list methods NAME` shows one method's settings with their defaults and reasons.")


def _suites() -> list[dict[str, Any]]:
    from suites.spec import load_suite, suite_names

    return [
        {
            "suite": suite.name,
            "about": suite.title,
            "pairs": [f"{pair.family}-{pair.level}" for pair in suite.pairs],
            "methods": suite.methods,
            "seeds": suite.seeds,
        }
        for suite in map(load_suite, suite_names())
    ]


def _tasks() -> list[dict[str, Any]]:
    from suites.tasks import families, make_task

    rows = []
    for name, family in families().items():
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
    return rows


def _methods() -> list[dict[str, Any]]:
    from baselines.registry import method, method_names

    rows = []
    for name in method_names():
        found = method(name).capabilities
        rows.append(
            {
                "method": name,
                "kind": found.kind,
                "phases": [phase.value for phase in found.phases],
                "dataset": "yes" if found.needs_dataset else "no",
                "source": found.source,
                "deviations": list(found.deviations),
                "tuned": found.tuned,
            }
        )
    return rows
