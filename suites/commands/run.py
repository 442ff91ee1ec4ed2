"""`wombet run`: a whole comparison with one command."""

from typing import Annotated

import typer

from suites.commands.options import (
    DEFAULT_STORE,
    DeviceOption,
    MethodsOption,
    SeedsOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    TasksOption,
    WorkersOption,
    open_matrix,
)


def run_command(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    executor: Annotated[str, typer.Option("--executor", help="local (worker processes) or inline.")] = "local",
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
    tasks: TasksOption = None,
    methods: MethodsOption = None,
    seeds: SeedsOption = None,
    set_: SetOption = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="End with the table and the report.")] = True,
) -> None:
    """Run a suite: build its datasets, train and evaluate every method with every seed, and end with the table.

    Finished runs are skipped, and runs that were stopped continue where they were, so that the same command may be
    given again at any time. Failed runs are named, leave the others alone (exit code 1), and are tried again.
    """
    from suites.commands.data import verify_built
    from suites.commands.running import carry_out, exit_code
    from suites.datasets import missing_datasets
    from suites.dispatch import check_workers
    from suites.store import Store
    from wombet.process import check_device

    matrix = open_matrix(suite, set_)
    chosen = matrix.select(tasks or [], methods or [], seeds)
    check_workers(executor, workers)
    check_device(device)
    place = Store(store)
    verify_built(chosen.recipes, place)
    missing_datasets(chosen.recipes, place)
    place.prepare()
    place.write_manifest(matrix.manifest())
    summary = carry_out(chosen.recipes, chosen.runs, place, executor, workers, device)
    if report and not summary.interrupted:
        _report(suite, place.root, set_)
    raise typer.Exit(exit_code(summary))


def _report(suite: str, store: object, set_: list[str] | None) -> None:
    """The report is another package's verb, found as the program finds it, so that no import points at it."""
    from importlib.metadata import entry_points

    from suites.cli import COMMANDS

    for point in entry_points(group=COMMANDS, name="report"):
        point.load()(suite, store=store, out=None, set_=set_)
