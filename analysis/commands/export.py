"""The verb `export`."""

from pathlib import Path
from typing import Annotated

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, StoreOption


def export_command(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite that was run, or the path of its TOML file.")],
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files.", show_default="STORE/exports/SUITE")
    ] = None,
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="A setting that the suite was run with. Repeatable."),
    ] = None,
) -> None:
    """Write a suite's results for other programs.

    Runs, evaluations and single episodes as Parquet and CSV; marl-eval.json for marl-eval (its absolute metrics are the
    last evaluation's); rliable.npz, which `dict(numpy.load(...))` turns into rliable's dictionary of scores.
    """
    from analysis.export import export
    from analysis.load import load_suite
    from suites.commands.options import console, print_json, stored_name
    from suites.store import Store
    from wombet.errors import InputError

    place = Store(store)
    name = stored_name(suite, set_, place)
    folder = out or place.root / "exports" / name
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --out must name a folder for the export")
    written, left_out = export(load_suite(place, name), folder)
    if json:
        print_json({"files": [str(path) for path in written], "left_out_of_rliable": left_out})
        return
    for path in written:
        console().print(str(path), markup=False, highlight=False, soft_wrap=True)
    for method, reason in left_out.items():
        console().print(f"{method} is not in rliable.npz: {reason}", markup=False, highlight=False, soft_wrap=True)
