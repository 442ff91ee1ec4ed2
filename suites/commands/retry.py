"""`wombet retry`: lost and failed runs again."""

from typing import Annotated

import typer

from suites.commands.options import (
    DEFAULT_STORE,
    CellMinutesOption,
    DeviceOption,
    MaxFailuresOption,
    SetOption,
    SiteOption,
    StoreOption,
    SuiteArgument,
    WorkersOption,
    stored_name,
)


def retry_command(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    failed: Annotated[bool, typer.Option("--failed", help="Those that raised an exception too.")] = False,
    executor: Annotated[
        str | None, typer.Option("--executor", help="local, inline or slurm (default: slurm if it was queued there).")
    ] = None,
    site: SiteOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
    cell_minutes: CellMinutesOption = None,
    max_failures: MaxFailuresOption = None,
    set_: SetOption = None,
) -> None:
    """Try the lost runs and datasets of a suite again: those whose process, job or machine came to an end.

    Runs that failed with an exception would fail again with the same seed, and are left alone unless --failed is given.
    Everything continues from its newest checkpoint. On Slurm, what ran out of memory is given twice as much, and this
    returns once all is queued.
    """
    from suites.adapter_source import changed_since
    from suites.commands.running import carry_out, exit_code, tell_changed, tell_left_alone, tell_queued
    from suites.dispatch import check_workers
    from suites.queue import records
    from suites.retrying import retry_on_slurm, select
    from suites.store import Store
    from wombet.process import check_device

    place = Store(store)
    name = stored_name(suite, set_, place)
    chosen = executor or ("slurm" if records(place, name) else "local")
    check_workers(chosen, workers)
    check_device(device)
    selection = select(place, name, failed=failed)
    tell_changed(changed_since(selection.known, place))
    if chosen == "slurm":
        tell_queued(retry_on_slurm(place, name, selection, site, max_failures), name, place)
        tell_left_alone(selection.left_alone)
        return
    summary = carry_out(
        selection.recipes,
        selection.runs,
        place,
        chosen,
        workers,
        device,
        cell_minutes=cell_minutes,
        max_failures=max_failures,
    )
    tell_left_alone(selection.left_alone)
    raise typer.Exit(exit_code(summary))
