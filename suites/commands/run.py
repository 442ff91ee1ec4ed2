"""`wombet run`: a whole comparison with one command."""

from typing import TYPE_CHECKING, Annotated

import typer

from suites.commands.options import (
    DEFAULT_STORE,
    CellMinutesOption,
    DeviceOption,
    MaxFailuresOption,
    MethodsOption,
    SeedsOption,
    SetOption,
    SiteOption,
    StoreOption,
    SuiteArgument,
    TasksOption,
    WorkersOption,
    open_matrix,
)

if TYPE_CHECKING:
    from suites.matrix import Matrix
    from suites.site import Site
    from suites.spec import DatasetRecipe
    from suites.store import Store


def run_command(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    executor: Annotated[str, typer.Option("--executor", help="local (worker processes), inline or slurm.")] = "local",
    site: SiteOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
    cell_minutes: CellMinutesOption = None,
    max_failures: MaxFailuresOption = None,
    tasks: TasksOption = None,
    methods: MethodsOption = None,
    seeds: SeedsOption = None,
    set_: SetOption = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="End with the table and the report.")] = True,
) -> None:
    """Run a suite: build its datasets, train and evaluate every method with every seed, and end with the table.

    Finished runs are skipped, and runs that were stopped continue where they were, so that the same command may be
    given again at any time. Failed runs are named, leave the others alone (exit code 1), and are tried again.
    With --executor slurm it returns once everything is queued; `wombet status` and `wombet retry` do the rest.
    """
    from suites.adapter_source import changed_since
    from suites.commands.data import verify_built
    from suites.commands.running import carry_out, exit_code, tell_changed
    from suites.datasets import missing_datasets
    from suites.dispatch import check_workers
    from suites.site import load_site
    from suites.store import Store
    from wombet.process import check_device

    matrix = open_matrix(suite, set_)
    chosen = matrix.select(tasks or [], methods or [], seeds)
    check_workers(executor, workers)
    check_device(device)
    profile = load_site(site)
    if cell_minutes is not None:
        profile = profile.model_copy(update={"cell_minutes": cell_minutes})
    place = Store(store)
    # Rows that published results came without are built again only for runs that are missing.
    recipes = [recipe for recipe in chosen.recipes if not place.lacks_rows(recipe.id)]
    verify_built(recipes, place)
    missing_datasets(recipes, place)
    place.prepare()
    _keep_manifest(matrix, place)
    tell_changed(changed_since(chosen.runs, place))
    if executor == "slurm":
        _queue(chosen, recipes, matrix.name, place, profile, max_failures)
        return
    summary = carry_out(
        recipes,
        chosen.runs,
        place,
        executor,
        workers,
        device,
        cell_minutes=cell_minutes,
        max_failures=max_failures,
    )
    if report and not summary.interrupted:
        _report(matrix.name, place.root)
    raise typer.Exit(exit_code(summary))


def _keep_manifest(matrix: "Matrix", store: "Store") -> None:
    """Write the suite's manifest, and name the rows and task pairs that one of that name had and this one lacks."""
    dropped = _dropped(matrix, store)
    store.write_manifest(matrix.manifest())
    if dropped:
        from suites.commands.options import console

        console().print(
            f"the manifest of another version of suite {matrix.name} is replaced; no longer in it, though their runs "
            f"stay in the store: {', '.join(dropped)}",
            markup=False,
            soft_wrap=True,
        )


def _dropped(matrix: "Matrix", store: "Store") -> list[str]:
    """Return the rows and task pairs of the store's manifest of that name, if it can be read, that are not in this."""
    from wombet.errors import InputError

    try:
        old = store.manifest(matrix.name)
    except InputError:
        return []
    pairs = {run.pair.id for run in matrix.runs}
    rows = [str(row) for row in old.get("methods", ()) if row not in matrix.suite.methods]
    return rows + [str(pair["id"]) for pair in old.get("pairs", ()) if pair["id"] not in pairs]


def _queue(
    chosen: "Matrix",
    recipes: "list[DatasetRecipe]",
    name: str,
    store: "Store",
    site: "Site",
    max_failures: int | None,
) -> None:
    from suites.commands.running import tell_queued
    from suites.submission import submit

    tell_queued(submit(chosen.runs, store, name, site, recipes=recipes, max_failures=max_failures), name, store)


def _report(name: str, store: object) -> None:
    """The report is another package's verb, found as the program finds it, so that no import points at it."""
    from importlib.metadata import entry_points

    from suites.cli import COMMANDS

    for point in entry_points(group=COMMANDS, name="report"):
        point.load()(name, store=store, out=None)
