"""`wombet status`: where a suite stands."""

from typing import TYPE_CHECKING

from suites.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    console,
    manifest_name,
    print_json,
)

if TYPE_CHECKING:
    from suites.status import SuiteStatus


def status_command(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show which runs of a suite are done, running, waiting, interrupted, lost, failed, blocked or to do.

    Reads the store alone: no process needs to be alive, and it works while the suite runs.
    """
    from suites.status import suite_status
    from suites.store import Store

    status = suite_status(Store(store), manifest_name(suite, set_))
    if json:
        print_json(status.to_json())
    else:
        _print(status)


def _print(status: "SuiteStatus") -> None:
    from rich.table import Table

    out = console()
    methods = list(dict.fromkeys(cell.method for cell in status.cells))
    pairs = list(dict.fromkeys(cell.pair for cell in status.cells))
    states = [state for state, count in status.totals.items() if count]
    table = Table("task pair", "method", *states, title=f"suite {status.name}")
    for pair in pairs:
        for method in methods:
            cells = [cell for cell in status.cells if (cell.pair, cell.method) == (pair, method)]
            counts = [sum(cell.state == state for cell in cells) for state in states]
            table.add_row(pair, method, *(str(count or "") for count in counts))
    out.print(table)
    for dataset in status.datasets:
        out.print(f"dataset {dataset.id}: {dataset.state}" + (f" ({dataset.message})" if dataset.message else ""))
    for cell in status.cells:
        name = f"{cell.pair} {cell.method} seed {cell.seed}"
        if cell.state in ("failed", "blocked", "lost"):
            out.print(f"{cell.state}: {name}: {cell.message}", markup=False, soft_wrap=True)
        elif cell.state == "running" and cell.progress is not None:
            left = cell.progress.seconds_left
            rate = "" if cell.progress.rate is None else f", {cell.progress.rate:.0f} per second"
            time_left = "" if left is None else f", {left:.0f} s left"
            out.print(f"running: {name}: {cell.progress.units} of {cell.progress.total}{rate}{time_left}", markup=False)
