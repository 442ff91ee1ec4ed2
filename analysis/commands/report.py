"""The verb `report`. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, StoreOption

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.report import Report
    from suites.store import Store

DEFAULT_RESAMPLES = 10_000


def report_command(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite that was run, or the path of its TOML file.")],
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report.", show_default="STORE/reports/SUITE")
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", help="Bootstrap resamples of every interval in a table.")
    ] = DEFAULT_RESAMPLES,
    statistics: Annotated[
        str, typer.Option("--statistics", help="Whose bootstrap: wombet (seeded, knows shared datasets) or rliable.")
    ] = "wombet",
    formats: Annotated[
        str, typer.Option("--formats", help="Formats of the figures beside the page: some of svg,pdf,png.")
    ] = "svg",
    json: JsonOption = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.FIELD=VALUE", help="A setting that the suite was run with. Repeatable."),
    ] = None,
) -> None:
    """Make tables, figures and one self-contained page from the stored runs of a suite.

    Writes report.html (open it in a browser; it needs no network), report.md, tables (CSV, LaTeX, JSON) and figures
    (SVG; PDF and PNG with --formats), prints the main table and, last, the path of report.html. Unfinished and failed
    runs are named in the report and never stop it; built again from the same runs, it is the same bytes.
    """
    from suites.commands.options import console, print_json, stored_name
    from suites.store import Store
    from wombet.resources import keep_freed_memory, set_threads

    # One thread, because the matrices are small and several threads may differ in the last digit.
    set_threads(1)
    keep_freed_memory()
    place = Store(store)
    name = stored_name(suite, set_, place)
    report = make_report(place, name, out, resamples=resamples, statistics=statistics, formats=formats)
    if json:
        print_json(report.as_json())
    else:
        print_report(report, console())


def make_report(
    store: "Store",
    name: str,
    out: Path | None = None,
    *,
    resamples: int = DEFAULT_RESAMPLES,
    statistics: str = "wombet",
    formats: str = "svg",
) -> "Report":
    """Build the report of a suite under its manifest's name; raises InputError if the store has no such manifest."""
    from analysis.aggregates import check_backend
    from analysis.drawing import parse_formats
    from analysis.report import build_report

    backend, kinds = check_backend(statistics), parse_formats(formats)
    folder = out or store.root / "reports" / name
    return build_report(store, name, folder, resamples=resamples, backend=backend, formats=kinds)


def print_report(report: "Report", console: "Console") -> None:
    """Print a report's main table, its summary and, last, the path of its page."""
    from analysis.render import terminal_table
    from analysis.summary import summary_sentences

    console.print(terminal_table(report.tables[0]))
    for sentence in summary_sentences(report.tables, report.results.findings):
        console.print(sentence, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    console.print(str(report.page), markup=False, highlight=False, soft_wrap=True)
