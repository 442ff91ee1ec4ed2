"""`wombet data`: build, show, diagnose, verify and exchange the generated datasets."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suites.commands.exchange import export, import_
from suites.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    WorkersOption,
    console,
    open_matrix,
    print_json,
)
from wombet.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suites.spec import DatasetRecipe
    from suites.store import Store

data_commands = typer.Typer(
    help="Build, show, diagnose and verify the generated datasets of a suite.", no_args_is_help=True
)
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Only this dataset (an id of `wombet plan`, or its beginning).")
]


@data_commands.command()
def build(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    workers: WorkersOption = None,
    set_: SetOption = None,
) -> None:
    """Build the datasets that a suite needs and that are not there yet.

    A build that was stopped or killed goes on where it was and gives the same bytes.
    """
    from suites.commands.running import carry_out, exit_code
    from suites.store import Store

    matrix = open_matrix(suite, set_)
    place = Store(store)
    raise typer.Exit(exit_code(carry_out(matrix.recipes, [], place, "local", workers)))


@data_commands.command()
def show(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    dataset: DatasetOption = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help="Draw the dataset into a .png, .svg or .pdf.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="FOLDER", help="Draw every dataset into a folder, in all formats."),
    ] = None,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Show the cards of a suite's datasets: what they cost, how they were filtered, and how true they are.

    What was measured in the real simulator is shown once `wombet data diagnose` has done so.
    """
    from suites.commands.data_card import print_card
    from suites.diagnosis import load_diagnosis
    from suites.store import Store
    from wombet.dataset import load_card

    place = Store(store)
    folders = {r.id: place.dataset_folder(r.id) for r in _chosen(open_matrix(suite, set_).recipes, dataset)}
    found = {name: (load_card(folder), load_diagnosis(folder)) for name, folder in folders.items()}
    drawn = _draw(found, figure, figures)
    if json:
        print_json({name: {**card, "diagnosis": diagnosis} for name, (card, diagnosis) in found.items()})
        return
    out = console()
    for name, (card, diagnosis) in found.items():
        print_card(out, name, card, diagnosis)
    for path in drawn:
        out.print(str(path), markup=False, soft_wrap=True)


@data_commands.command()
def diagnose(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    dataset: DatasetOption = None,
    starts: Annotated[int, typer.Option("--starts", help="States to try the planner from, half of them initial.")] = 24,
    again: Annotated[bool, typer.Option("--again", help="Measure again what has been diagnosed.")] = False,
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Measure a suite's finished datasets in the real simulator, on a budget that is not charged to them.

    What the planner really earns against the random policy, the source agent and the source data; how true imagined
    rows are; where the penalised model return is a lower bound. Data and card stay as they are. Ends with one table
    over all datasets; datasets that are not built are named, and make the exit code 1.
    """
    from suites.commands.data_card import print_diagnosis
    from suites.commands.data_summary import summary_table
    from suites.datasets import is_built
    from suites.diagnosis import diagnose_dataset
    from suites.store import Store
    from wombet.process import prepare_process

    prepare_process()
    place, out, found = Store(store), console(), {}
    chosen = _chosen(open_matrix(suite, set_).recipes, dataset)
    missing = [recipe.id for recipe in chosen if not is_built(place, recipe)]
    if len(missing) == len(chosen):
        raise InputError(
            f"no dataset of suite {suite} is built in {store}; build them with `wombet data build {suite}`"
        )
    for recipe in (recipe for recipe in chosen if recipe.id not in missing):
        found[recipe.id], new = diagnose_dataset(recipe, place, starts, again)
        if not json:
            told = "" if new else " (diagnosed before; --again measures again)"
            out.print(f"dataset {recipe.id}{told}", style="bold", markup=False, soft_wrap=True)
            print_diagnosis(out, found[recipe.id])
    if json:
        print_json(found)
    else:
        out.print(summary_table(found))
    if missing:
        print(f"not built, so not measured: {', '.join(missing)}", file=sys.stderr)
        raise typer.Exit(1)


@data_commands.command()
def verify(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    dataset: DatasetOption = None,
    set_: SetOption = None,
) -> None:
    """Check every byte and row of a suite's datasets against their cards and the source task."""
    from suites.datasets import source_task, verify_dataset
    from suites.store import Store

    place = Store(store)
    for recipe in _chosen(open_matrix(suite, set_).recipes, dataset):
        card = verify_dataset(place.dataset_folder(recipe.id), source_task(recipe))
        print(f"{recipe.id}: {card['rows']} rows, sha256 {card['sha256'][:12]}, whole")


def verify_built(recipes: "list[DatasetRecipe]", store: "Store") -> None:
    """Raise InputError if a dataset that is there is damaged, before anything is started on it."""
    from suites.datasets import is_built, source_task, verify_dataset

    for recipe in recipes:
        if is_built(store, recipe):
            verify_dataset(store.dataset_folder(recipe.id), source_task(recipe))


def _chosen(recipes: "list[DatasetRecipe]", wanted: str | None) -> "list[DatasetRecipe]":
    from baselines.config import nearest

    chosen = [recipe for recipe in recipes if wanted is None or recipe.id.startswith(wanted)]
    if not recipes:
        raise InputError("no method of this suite needs a dataset")
    if not chosen:
        raise InputError(f"the suite has no dataset {wanted!r}{nearest(str(wanted), [r.id for r in recipes])}")
    return chosen


def _draw(found: "Mapping[str, tuple[Any, Any]]", figure: Path | None, figures: Path | None) -> list[Path]:
    """Draw datasets, all of them or the only one; returns the files."""
    from suites.commands.data_figure import FORMATS, check_format, write_figure
    from wombet.errors import InputError

    wanted: list[tuple[Path, str]] = []
    if figure is not None:
        check_format(figure)
        if len(found) > 1:
            raise InputError(
                f"--figure draws one dataset and the suite has {len(found)} ({', '.join(found)}); choose one with "
                "--dataset, or draw all with --figures FOLDER"
            )
        wanted += [(figure, name) for name in found]
    if figures is not None:
        wanted += [(figures / f"{name}.{ending}", name) for name in found for ending in FORMATS]
    for path, name in wanted:
        write_figure(path, name, *found[name])
    return [path for path, _ in wanted]


data_commands.command()(export)
data_commands.command(name="import")(import_)
