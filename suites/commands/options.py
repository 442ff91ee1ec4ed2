"""Options and output that the verbs share."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wombet.errors import InputError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from suites.matrix import Matrix
    from suites.store import Store

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite of the catalogue, or the path of a TOML file.")
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder that holds datasets and runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="Change a method's setting. Repeatable.")
]
TasksOption = Annotated[list[str] | None, typer.Option("--tasks", help="Only this task pair. Repeatable.")]
MethodsOption = Annotated[list[str] | None, typer.Option("--methods", help="Only this method. Repeatable.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Only the first so many seeds.")]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", help="Worker processes, one thread each.", show_default="the cores there are"),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", help="Where networks are: cpu, cuda (every GPU in turn) or cuda:N. Slurm: gpus of the site."
    ),
]
SiteOption = Annotated[
    Path | None,
    typer.Option("--site", help="TOML file with the Slurm cluster's settings (default: $WOMBET_SITE, or none)."),
]
MaxFailuresOption = Annotated[
    int | None, typer.Option("--max-failures", min=1, help="Begin nothing more after so many failures.")
]
CellMinutesOption = Annotated[
    float | None,
    typer.Option("--cell-minutes", min=0.0, help="End a run that takes longer; datasets take theirs (not inline)."),
]
DEFAULT_STORE = Path("runs")


def open_matrix(suite: str, set_: list[str] | None) -> "Matrix":
    """Load a suite, try the task families that other packages bring to it, and resolve its cells."""
    from suites.matrix import build_matrix
    from suites.spec import load_suite, parse_overrides
    from suites.tasks.native import is_native
    from suites.tasks.probe import check_families

    loaded = load_suite(suite)
    check_families(pair.family for pair in loaded.pairs if not is_native(pair.family))
    return build_matrix(loaded, parse_overrides(set_ or []))


def manifest_name(suite: str, set_: list[str] | None, store: "Store") -> str:
    """Return the name under which a store keeps a suite that was run with some `--set` texts, or would keep it.

    Only a suite file or settings are looked up in the catalogue: a store is readable without the suite that filled it.
    Raises InputError if the settings are none, or if a file is not the suite that the store keeps under its name.
    """
    if not set_ and not suite.endswith(".toml"):
        return suite
    from suites.spec import load_suite, parse_overrides, variant_name

    loaded, overrides = load_suite(suite), parse_overrides(set_ or [])
    name = variant_name(loaded, overrides)
    if name not in store.manifests():
        if overrides:
            open_matrix(suite, set_)
    elif suite.endswith(".toml") and store.manifest(name).get("suite_sha256") not in (None, loaded.sha256):
        raise InputError(
            f"{suite} is not the suite {name!r} whose runs the store {store.root} holds: another file has that name, "
            f"or this one was changed since; run it, give it a name of its own, or ask for {name} by its name"
        )
    return name


def stored_name(suite: str, set_: list[str] | None, store: "Store") -> str:
    """Return the name under which a store keeps a suite; raises InputError, with the nearest, if it has no such suite.

    A suite of the catalogue is left to the reader of its manifest, who says how to run it.
    """
    name = manifest_name(suite, set_, store)
    if name in store.manifests():
        return name
    from suites.spec import suite_names

    store.require()
    if suite.endswith(".toml"):
        raise InputError(
            f"the store {store.root} has no suite {name!r}; start it with `wombet run {suite} --store {store.root}`"
        )
    known = {*store.manifests(), *suite_names()}
    if not set_ and name not in known:
        raise InputError(
            f"the store {store.root} has no suite {name!r}, and neither has the catalogue{nearest(name, known)}"
        )
    return name


def console() -> "Console":
    """A console that fits the terminal, and in a pipe is plain and wide enough not to cut a table."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160, no_color=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
