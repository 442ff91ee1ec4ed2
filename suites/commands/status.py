"""`wombet status`: where a suite stands."""

import time
from collections import Counter
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from suites.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    console,
    print_json,
    stored_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Group

    from suites.status import CellStatus, DatasetStatus, SuiteStatus

WATCH_SECONDS = 2.0


def status_command(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until all runs have ended; Ctrl-C stops.")] = False,
    json: JsonOption = False,
) -> None:
    """Show which runs of a suite are done, running, waiting, interrupted, lost, blocked, failed or still to do.

    Reads the store alone: no process needs to be alive, and it works while the suite runs, from another machine too.
    """
    from suites.status import suite_status
    from suites.store import Store
    from wombet.errors import InputError

    if watch and json:
        raise InputError("--watch shows a table that changes; leave out --json, or ask again for it yourself")
    place = Store(store)
    name = stored_name(suite, set_, place)
    status = suite_status(place, name)
    if json:
        print_json(status.to_json())
    elif watch:
        _watch(status, lambda: suite_status(place, name))
    else:
        console().print(_shown(status))


def _watch(status: "SuiteStatus", again: "Callable[[], SuiteStatus]") -> None:
    """Show the status anew every other second: in place on a terminal, in a pipe whenever it has changed."""
    from rich.live import Live

    out = console()
    if not out.is_terminal:
        out.print(_shown(status))
    display = Live(_shown(status), console=out, auto_refresh=False) if out.is_terminal else nullcontext()
    with suppress(KeyboardInterrupt), display as live:
        while not status.is_over:
            time.sleep(WATCH_SECONDS)
            before, status = status, again()
            if live is not None:
                live.update(_shown(status), refresh=True)
            elif status != before:
                out.print(_shown(status))


def _shown(status: "SuiteStatus") -> "Group":
    """Return the table of counts, and a line for each dataset and for each run that there is something to say of."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    states = [state for state, count in status.totals.items() if count]
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in status.cells:
        counts.setdefault((cell.pair, cell.method), Counter())[cell.state] += 1
    table = Table("task pair", "method", *states, title=f"suite {status.name}")
    for (pair, method), found in counts.items():
        table.add_row(pair, method, *(str(found[state] or "") for state in states))
    lines = [_line(f"dataset {dataset.id}", dataset) for dataset in status.datasets]
    told = ("running", "interrupted", "lost", "blocked", "failed")
    cells = [cell for cell in status.cells if cell.state in told]
    lines += [_line(f"{cell.pair} {cell.method} seed {cell.seed}", cell) for cell in cells]
    return Group(table, *(Text(line, overflow="fold") for line in lines))


def _line(name: str, item: "CellStatus | DatasetStatus") -> str:
    """One line of a run or dataset: state, name, why, and how far it is."""
    parts = [f"{item.state}: {name}", *([item.message] if item.message else [])]
    if item.progress is not None and item.state != "done":
        done = item.progress
        told = [f"{done.units} of {done.total}"]
        if item.state == "running" and done.rate is not None and done.seconds_left is not None:
            told += [f"{done.rate:.3g} per second", f"{done.seconds_left:.0f} s left"]
        parts.append(", ".join(told))
    return ": ".join(parts)
