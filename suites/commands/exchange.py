"""`wombet data export` and `wombet data import`: datasets in the format of Minari."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suites.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    console,
    open_matrix,
    print_json,
)

if TYPE_CHECKING:
    from suites.imported import Imported
    from suites.matrix import Matrix
    from suites.spec import DatasetRecipe, PairSpec

SUSPICIOUS_ERROR = 0.5
"""One-step error above which the rows are hardly this family's; imagined rows of a usable model stay below."""

DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Only this dataset (an id of `wombet plan`, or its beginning).")
]
PairOption = Annotated[
    str | None, typer.Option("--pair", help="Write the rewards of this task pair's target, not the source's.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for MINARI_DATASETS_PATH; by default where Minari keeps datasets.")
]
NameOption = Annotated[
    str | None, typer.Option("--minari-name", help="Name of the one dataset, ending in -vN; by default made of its id.")
]


def export(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    dataset: DatasetOption = None,
    pair: PairOption = None,
    out: OutOption = None,
    minari_name: NameOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write a suite's datasets as Minari datasets, which `minari.load_dataset` reads.

    Every row is kept, with its uncertainty in the infos and the card in the metadata. Nothing is overwritten.
    """
    from suites.datasets import missing_datasets, source_task, verify_dataset
    from suites.exchange import check_free, export_dataset, minari_root
    from suites.store import Store
    from suites.tasks import make_task
    from wombet.dataset import load_dataset

    matrix, place, root = open_matrix(suite, set_), Store(store), out or minari_root()
    target = _pair(matrix, pair)
    names = _names(_recipes(matrix, target, dataset), target, minari_name)
    missing_datasets([recipe for recipe, _ in names], place)
    for recipe, name in names:
        verify_dataset(place.dataset_folder(recipe.id), source_task(recipe))
        check_free(root, name)
    written = []
    for recipe, name in names:
        task = (
            source_task(recipe)
            if target is None
            else make_task(target.family, target.level, target.shift, target.horizon)
        )
        rows = load_dataset(place.dataset_folder(recipe.id))
        folder = export_dataset(rows, task, recipe.id, root, name)
        written.append(
            {"dataset": recipe.id, "name": name, "folder": str(folder), "rewards": task.id, "rows": len(rows)}
        )
    if json:
        print_json(written)
        return
    for item in written:
        print(f"{item['dataset']}: {item['rows']} rows with the rewards of {item['rewards']} in {item['folder']}")
        setting = "" if out is None else f"MINARI_DATASETS_PATH={shlex.quote(str(out))} and "
        print(f"  read it with {setting}minari.load_dataset({item['name']!r})")


def import_(
    where: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A Minari dataset: its local name, or its folder.")],
    family: Annotated[str, typer.Option("--family", help="Task family in whose environment it was recorded.")],
    level: Annotated[str, typer.Option("--level", help="Level in which it was recorded.")] = "source",
    horizon: Annotated[
        int | None, typer.Option("--horizon", help="Horizon of the suite's pair; by default the family's.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Take somebody's Minari dataset as the offline data of a suite.

    Its rewards are replaced by the exact ones of the family's source task; the card tells how many differed.
    """
    from suites.imported import import_dataset
    from suites.store import Store

    imported = import_dataset(where, family, Store(store), level=level, horizon=horizon)
    if json:
        print_json({"dataset": imported.recipe.id, "new": imported.new, "card": imported.card})
    else:
        _tell(imported)


def _pair(matrix: "Matrix", wanted: str | None) -> "PairSpec | None":
    from baselines.config import nearest
    from wombet.errors import InputError

    pairs = {run.pair.id: run.pair for run in matrix.runs}
    if wanted is not None and wanted not in pairs:
        raise InputError(f"suite {matrix.suite.name} has no task pair {wanted!r}{nearest(wanted, pairs)}")
    return None if wanted is None else pairs[wanted]


def _recipes(matrix: "Matrix", pair: "PairSpec | None", wanted: str | None) -> "list[DatasetRecipe]":
    from baselines.config import nearest
    from wombet.errors import InputError

    used = [recipe for run in matrix.runs if pair is None or run.pair == pair for recipe in run.recipes]
    known = {recipe.id: recipe for recipe in used}
    if not known:
        raise InputError("no method of this suite needs a dataset")
    chosen = [recipe for name, recipe in known.items() if wanted is None or name.startswith(wanted)]
    if not chosen:
        of = "the suite" if pair is None else f"task pair {pair.id}"
        raise InputError(f"{of} has no dataset {wanted!r}{nearest(str(wanted), known)}")
    return chosen


def _names(
    recipes: "list[DatasetRecipe]", pair: "PairSpec | None", given: str | None
) -> "list[tuple[DatasetRecipe, str]]":
    from wombet.errors import InputError

    if given is not None and len(recipes) > 1:
        raise InputError(
            f"--minari-name is one name, and these are {len(recipes)} datasets; choose one with --dataset, as in "
            f"--dataset {recipes[0].id}"
        )
    labels = "source" if pair is None else pair.id.removeprefix(f"{pair.family}-")
    return [(recipe, given or f"wombet/{recipe.id}-{labels}-v0") for recipe in recipes]


def _tell(imported: "Imported") -> None:
    card, origin, out = imported.card, imported.card["imported"], console()
    lines = [f"dataset {imported.recipe.id}: {card['rows']} rows, {origin['episodes']} episodes"]
    lines += _told_of(origin) if imported.new else [f"the store had these rows already, imported from {origin['name']}"]
    lines += ["a suite whose task pair has this horizon names it:", "[data]", f'imported = "{imported.recipe.id}"']
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def _told_of(origin: dict[str, Any]) -> list[str]:
    source, ends, error = origin["rewards"]["replaced_by"], origin["ends"], origin["one_step_error"]
    differ = ", ".join(f"{count} differed from those of {task}" for task, count in origin["rewards"]["differ"].items())
    lines = [f"rewards replaced by those of {source}; of the original ones {differ}"]
    if ends["without_flag"]:
        cut = ends["without_flag"] - ends["without_flag_terminated"]
        lines.append(f"{ends['without_flag']} episodes ended without a flag; {cut} of them are now truncated")
    lines.append(f"one step of the simulator against the rows: median error {error:.3g} of a step's change")
    if error > SUSPICIOUS_ERROR:
        lines.append(
            f"warning: the simulator of {source} does not repeat these rows; were they imagined, or do their "
            "observations mean something else?"
        )
    return lines
