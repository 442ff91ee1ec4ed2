"""The verb `figure`. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import Annotated

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, SetOption, StoreOption


def figure_command(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite that was run, or the path of its TOML file.")],
    store: StoreOption = DEFAULT_STORE,
    band: Annotated[
        str, typer.Option("--band", help="std: mean and standard deviation over seeds; ci: IQM and 95 % interval.")
    ] = "std",
    form: Annotated[
        str,
        typer.Option("--form", help="curves, ablation (final scores), zero-shot, or auto: what the suite is about."),
    ] = "auto",
    axis: Annotated[str, typer.Option("--axis", help="Of curves: target, total, updates or cpu.")] = "target",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files.", show_default="STORE/reports/SUITE/figures")
    ] = None,
    formats: Annotated[str, typer.Option("--formats", help="Some of svg,pdf,png.")] = "svg,pdf,png",
    json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Draw a suite as the figure of a paper: one panel per task pair, with every method in its own colour.

    Curves over target steps where methods train online, bars with a dot per seed for ablations and for scores before
    any target step. Prints the paths of the files; unfinished and failed runs are not in them (`wombet report` names
    these).
    """
    from typing import get_args

    from analysis.charts import file_name
    from analysis.curves import Axis, check_band
    from analysis.drawing import parse_formats
    from analysis.load import load_suite
    from analysis.panels import check_form, suite_figure
    from suites.commands.options import print_json, stored_name
    from suites.store import Store
    from wombet.errors import InputError, nearest
    from wombet.files import write_atomically

    chosen, kinds = check_band(band), parse_formats(formats)
    if axis not in get_args(Axis):
        raise InputError(f"--axis is {axis!r}{nearest(axis, get_args(Axis))}")
    place = Store(store)
    name = stored_name(suite, set_, place)
    results = load_suite(place, name)
    drawn_form = check_form(form, results)
    files = suite_figure(results, drawn_form, chosen, axis, kinds)  # type: ignore[arg-type]
    folder = out or place.root / "reports" / name / "figures"
    suffix = "" if drawn_form != "curves" or axis == "target" else f"-{axis}"
    paths = [folder / f"{file_name(name)}-{drawn_form}{suffix}-{chosen}.{kind}" for kind in files]
    for path, data in zip(paths, files.values(), strict=True):
        write_atomically(path, data)
    if json:
        print_json({"suite": name, "form": drawn_form, "band": chosen, "files": [str(path) for path in paths]})
    else:
        print(*paths, sep="\n")
