"""A report of a suite: Markdown, tables, figures and one self-contained page, the same bytes whenever it is built."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import render, sections, summary
from analysis.aggregates import Backend
from analysis.artefacts import read_artefacts
from analysis.bootstrap import check_resamples
from analysis.charts import FIGURE_RESAMPLES, Figure, file_name, overall_figures, pair_figures, trace_figures
from analysis.drawing import FORMATS
from analysis.frames import csv_of, exact_csv_of
from analysis.load import SuiteResults, load_suite
from analysis.numbers import number_tables
from analysis.page import How, html, markdown_page, page_context, section_of_table
from analysis.published import band_comparisons, band_table
from analysis.rerun import rerun_section
from analysis.sections import Section
from analysis.source_weights import weight_frame, weights_section
from analysis.tables import Table, suite_tables
from analysis.traces import read_traces, value_table
from analysis.views import Anchors, View, latex, table_view
from wombet.errors import InputError
from wombet.files import pretty_json, write_atomically

if TYPE_CHECKING:
    from suites.store import Store


@dataclass(frozen=True)
class Report:
    """What was built: the folder, its page, and the numbers behind both."""

    folder: Path
    page: Path
    results: SuiteResults
    tables: list[Table]

    def as_json(self) -> dict[str, Any]:
        """Return everything a program could want of the report as plain JSON values."""
        return {
            "suite": self.results.manifest["name"],
            "manifest_sha256": self.results.manifest_sha256,
            "report": str(self.page),
            "summary": summary.summary_sentences(self.tables, self.results.findings),
            "rows": [render.flat(table, row) for table in self.tables for row in table.rows],
            "findings": [asdict(finding) for finding in self.results.findings],
        }


def build_report(
    store: "Store",
    suite_name: str,
    out: Path,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    backend: Backend = "wombet",
    formats: Sequence[str] = ("svg",),
) -> Report:
    """Build the report of a suite in the folder `out` and return what was built.

    `resamples` is the number of bootstrap resamples of every interval in a result table. Figures are SVG, which the
    page holds, and what else `formats` lists. Raises InputError if the store has no manifest of the suite, `out` is a
    file, or `resamples` is out of range.
    """
    check_resamples(resamples)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; --out must name a folder for the report")
    drawn = ("svg", *(kind for kind in formats if kind != "svg"))
    results = load_suite(store, suite_name)
    tables = suite_tables(results, seed, resamples, backend)
    numbers = number_tables(results, seed, FIGURE_RESAMPLES, backend)
    weights = weight_frame(store, results)
    anchors = Anchors(results)
    first = _result_sections(results, tables, anchors, seed, drawn)
    further = _further_sections(store, results, numbers, weights, anchors, seed, drawn)
    _write_figures(out, [figure for section in [*first, *further] for figure in section.figures])
    _write_tables(out, results, tables, numbers, [view for section in [*first, *further] for view in section.views])
    if len(weights):
        write_atomically(out / "tables" / "source-weights.csv", csv_of(weights))
    sentences = summary.page_sentences(tables, numbers, results.findings)
    context = page_context(results, tables, first, further, sentences, anchors, How(resamples, seed, backend))
    write_atomically(out / "report.md", markdown_page(context))
    write_atomically(out / "report.html", html(context))
    return Report(out, out / "report.html", results, tables)


def _result_sections(
    results: SuiteResults, tables: list[Table], anchors: Anchors, seed: int, formats: Sequence[str]
) -> list[Section]:
    found = []
    for number, table in enumerate(tables):
        stem = file_name(table.pair or "all-pairs")
        views = (table_view(table, "results", stem, anchors), table_view(table, "costs", stem, anchors))
        figures = tuple(pair_figures(results, table, seed, formats)) if table.pair else ()
        found.append(section_of_table(table, views, figures, number))
    return found


def _further_sections(
    store: "Store",
    results: SuiteResults,
    numbers: dict[str, pd.DataFrame],
    weights: pd.DataFrame,
    anchors: Anchors,
    seed: int,
    formats: Sequence[str],
) -> list[Section]:
    traces, artefacts = read_traces(store, results), read_artefacts(store, results)
    published = band_table(band_comparisons(store, results.manifest))
    return [
        sections.comparison_section(numbers, overall_figures(results, numbers, seed, formats), anchors),
        sections.transfer_section(numbers, anchors),
        sections.diagnostics_section(
            traces, value_table(traces, store, results), trace_figures(results, traces, formats), anchors
        ),
        weights_section(weights, formats),
        sections.data_section(artefacts, anchors),
        sections.cost_section(results, artefacts, anchors),
        sections.robustness_section(numbers, anchors),
        sections.published_section(published, results, anchors),
        rerun_section(results, anchors, store.published.get("place")),
    ]


def _write_figures(out: Path, figures: Iterable[Figure]) -> None:
    """Write figures, and remove those of the same names in formats that were not drawn: they would be of other runs."""
    for figure in figures:
        for kind in FORMATS:
            path = out / "figures" / f"{figure.name}.{kind}"
            if kind in figure.files:
                write_atomically(path, figure.files[kind])
            else:
                path.unlink(missing_ok=True)


def _write_tables(
    out: Path, results: SuiteResults, tables: list[Table], numbers: dict[str, pd.DataFrame], views: list[View]
) -> None:
    rows = [render.flat(table, row) for table in tables for row in table.rows]
    write_atomically(out / "tables" / "results.csv", render.csv_text(rows))
    write_atomically(out / "tables" / "results.json", pretty_json(rows))
    for name, frame in numbers.items():
        write_atomically(out / "tables" / f"{name}.csv", csv_of(frame))
    for view in views:
        write_atomically(out / "tables" / f"{view.name}.tex", latex(view))
        if view.frame is not None and view.name not in numbers:
            write_atomically(out / "tables" / f"{view.name}.csv", csv_of(view.frame))
    runs = results.runs.drop(columns=["versions", "problems", "notes"])
    write_atomically(out / "tables" / "runs.csv", exact_csv_of(runs))
    write_atomically(out / "tables" / "evaluations.csv", exact_csv_of(results.evaluations))
