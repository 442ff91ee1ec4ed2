"""`wombet data`: build, show and verify the generated datasets."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

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

if TYPE_CHECKING:
    from suites.spec import DatasetRecipe
    from suites.store import Store

data_commands = typer.Typer(help="Build, show and verify the generated datasets of a suite.", no_args_is_help=True)
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
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Show the cards of a suite's datasets: what they cost, how they were filtered, what they hold."""
    from suites.store import Store
    from wombet.dataset import load_card

    place = Store(store)
    recipes = _chosen(open_matrix(suite, set_).recipes, dataset)
    cards = {recipe.id: load_card(place.dataset_folder(recipe.id)) for recipe in recipes}
    if json:
        print_json(cards)
        return
    out = console()
    for name, card in cards.items():
        out.print(f"dataset {name}", style="bold")
        for key, value in card.items():
            out.print(f"  {key}: {_brief(value)}", soft_wrap=True)


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
    from wombet.errors import InputError

    chosen = [recipe for recipe in recipes if wanted is None or recipe.id.startswith(wanted)]
    if not recipes:
        raise InputError("no method of this suite needs a dataset")
    if not chosen:
        raise InputError(f"the suite has no dataset {wanted!r}{nearest(str(wanted), [r.id for r in recipes])}")
    return chosen


def _brief(value: Any) -> str:
    """A value on one line; long lists and nested records by their size, since `--json` shows all."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_brief(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list) and len(value) > 8:
        return f"[{len(value)} values]"
    if isinstance(value, list):
        return "[" + ", ".join(map(_brief, value)) + "]"
    return str(value)
