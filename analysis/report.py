"""A report of a suite: Markdown, tables, figures and one self-contained page, the same bytes whenever it is built."""

import re
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import figures, render, summary
from analysis.aggregates import Backend
from analysis.bootstrap import MIN_SEEDS_FOR_INTERVAL, check_resamples, profile_band
from analysis.curves import learning_curves, on_axis
from analysis.frames import csv_of
from analysis.load import SuiteResults, load_suite
from analysis.numbers import number_tables
from analysis.palette import method_styles
from analysis.source_weights import weight_frame, weights_figure
from analysis.tables import Table, suite_tables
from wombet.errors import InputError
from wombet.files import pretty_json, write_atomically
from wombet.streams import Streams

if TYPE_CHECKING:
    from suites.store import Store

FIGURE_RESAMPLES = 2000
_WEIGHTS = "{}: weight of each source task while the target is learned; thin lines are seeds, thick ones their mean."


@dataclass(frozen=True)
class Figure:
    """A figure of the report: the stem of its files, what it shows, and its bytes by kind (svg, pdf, png)."""

    name: str
    caption: str
    files: dict[str, bytes]


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
) -> Report:
    """Build the report of a suite in the folder `out` and return what was built.

    `resamples` is the number of bootstrap resamples of every interval in a table. Raises InputError if the store has no
    manifest of the suite, `out` is a file, or `resamples` is out of range.
    """
    check_resamples(resamples)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; --out must name a folder for the report")
    results = load_suite(store, suite_name)
    tables = suite_tables(results, seed, resamples, backend)
    drawn = {pair: _pair_figures(results, tables, pair, seed) for pair in results.pairs}
    weights = weight_frame(store, results)
    for pair, own in weights.groupby("pair"):
        drawn[str(pair)].append(Figure(f"{file_name(str(pair))}-weights", _WEIGHTS.format(pair), weights_figure(own)))
    overall = _overall_figures(results, seed)
    for figure in [*overall, *(figure for group in drawn.values() for figure in group)]:
        for kind, data in figure.files.items():
            write_atomically(out / "figures" / f"{figure.name}.{kind}", data)
    _write_tables(out, results, tables)
    for name, frame in number_tables(results, seed, FIGURE_RESAMPLES, backend).items():
        write_atomically(out / "tables" / f"{name}.csv", csv_of(frame))
    if len(weights):
        write_atomically(out / "tables" / "source-weights.csv", csv_of(weights))
    context = _context(results, tables, drawn, overall, resamples, seed, backend)
    write_atomically(out / "report.md", _markdown(context))
    write_atomically(out / "report.html", _html(context))
    return Report(out, out / "report.html", results, tables)


def _write_tables(out: Path, results: SuiteResults, tables: list[Table]) -> None:
    rows = [render.flat(table, row) for table in tables for row in table.rows]
    write_atomically(out / "tables" / "results.csv", render.csv_text(rows))
    for table in tables:
        stem = file_name(table.pair or "all-pairs")
        write_atomically(out / "tables" / f"{stem}.tex", render.latex(table, "results"))
        write_atomically(out / "tables" / f"{stem}-costs.tex", render.latex(table, "costs"))
    runs = results.runs.drop(columns=["versions", "problems", "notes"])
    write_atomically(out / "tables" / "runs.csv", runs.to_csv(index=False, lineterminator="\n"))
    write_atomically(out / "tables" / "evaluations.csv", results.evaluations.to_csv(index=False, lineterminator="\n"))
    write_atomically(out / "tables" / "results.json", pretty_json(rows))


def _pair_figures(results: SuiteResults, tables: list[Table], pair: str, seed: int) -> list[Figure]:
    table = next(table for table in tables if table.pair == pair)
    styles = method_styles(results.methods)
    scores = {method: results.final_scores(pair, method) for method in results.methods}
    present = {method: found for method, found in scores.items() if found is not None}
    if not present:
        return []
    stem = file_name(pair)
    target = learning_curves(results, pair, "target", seed, FIGURE_RESAMPLES)
    total = on_axis(target, results, pair, "total")
    strips = [
        figures.Strip(row.method, present[row.method].values, row.final, row.failed)
        for row in table.rows
        if row.method in present and row.final is not None
    ]
    return [
        Figure(
            f"{stem}-target-steps",
            f"{pair}: score against steps in the target task. Lines are the IQM over seeds (below 4, the mean); "
            "bands are 95 % intervals (from 5 seeds on).",
            figures.curve_figure(target, styles, "target steps"),
        ),
        Figure(
            f"{stem}-total-steps",
            f"{pair}: the same against all interaction, with the source steps that the shared dataset cost.",
            figures.curve_figure(total, styles, "source + target steps"),
        ),
        Figure(
            f"{stem}-seeds",
            f"{pair}: the final score of every seed; the tick is the IQM (below 4 seeds, the mean), "
            "the bar its 95 % interval.",
            figures.strip_figure(strips, styles),
        ),
        _profile(results, [pair], f"{stem}-profile", f"{pair}: share of seeds that end above a score.", seed),
    ]


def _overall_figures(results: SuiteResults, seed: int) -> list[Figure]:
    pairs = results.pairs
    any_run = any(results.final_scores(pair, method) for pair in pairs for method in results.methods)
    if len(pairs) < 2 or not any_run:
        return []
    caption = f"All task pairs ({len(pairs)}): share of runs that end above a score, every pair with the same weight."
    return [_profile(results, pairs, "all-pairs-profile", caption, seed)]


def _profile(results: SuiteResults, pairs: list[str], name: str, caption: str, seed: int) -> Figure:
    by_method = {}
    for method in results.methods:
        found = [results.final_scores(pair, method) for pair in pairs]
        by_method[method] = [scores for scores in found if scores is not None]
    grid = figures.thresholds([scores for group in by_method.values() for scores in group])
    profiles = []
    for method, scores in by_method.items():
        if scores:
            rng = Streams(seed, "profile").numpy(name, method)
            profiles.append(figures.Profile(method, grid, *profile_band(scores, grid, rng, FIGURE_RESAMPLES)))
    return Figure(name, caption, figures.profile_figure(profiles, method_styles(results.methods)))


def _context(
    results: SuiteResults,
    tables: list[Table],
    drawn: dict[str, list[Figure]],
    overall: list[Figure],
    resamples: int,
    seed: int,
    backend: Backend,
) -> dict[str, Any]:
    manifest = results.manifest
    sections = []
    for table in tables:
        own = drawn[table.pair] if table.pair else overall
        sections.append(
            {
                "title": table.title,
                "sentences": summary.headline(table),
                "parts": [_part_context(table, "results"), _part_context(table, "costs")],
                "figures": [_figure_context(figure) for figure in own],
            }
        )
    return {
        "title": manifest["title"],
        "name": manifest["name"],
        "description": manifest["description"],
        "summary": summary.summary_sentences(tables, results.findings),
        "sections": sections,
        "colours": {method: style.colour for method, style in method_styles(results.methods).items()},
        "reading": _how_to_read(resamples, seed, backend),
        "legend": _column_meanings(tables),
        "findings": [asdict(finding) for finding in results.findings],
        "methods": _methods(results),
        "settings": _settings(results),
        "provenance": _provenance(results),
        "versions": _versions(results),
        "manifest_sha256": results.manifest_sha256,
    }


def _part_context(table: Table, name: render.Part) -> dict[str, Any]:
    columns, lines = render.part(table, name)
    rows = [{"method": row.method, "cells": line} for row, line in zip(table.rows, lines, strict=True)]
    return {"columns": columns, "rows": rows, "markdown": render.markdown(table, name)}


def _figure_context(figure: Figure) -> dict[str, str]:
    svg = figures.inline_svg(figure.files["svg"], figure.name, figure.caption)
    return {"name": figure.name, "caption": figure.caption, "svg": svg}


def _column_meanings(tables: list[Table]) -> list[tuple[str, str]]:
    meanings = {column.heading: column.meaning for table in tables for column in render.columns(table)}
    return list(meanings.items())


def _how_to_read(resamples: int, seed: int, backend: Backend) -> list[str]:
    ours = "where runs share a generated dataset, datasets are drawn first and runs within them."
    theirs = "drawn by rliable in the tables, which takes runs that share a generated dataset as independent."
    return [
        "The primary metric is the score of the last evaluation of each run, fixed before the runs; no checkpoint is "
        "chosen by its score. A score is the mean return of an evaluation's episodes divided by the horizon, so 1 is "
        "the most there is. It is not normalised by any other policy; the rows random and zero, where the suite has "
        "them, show what uniform actions and no action score.",
        "The tasks and their levels of shift are this project's own design. They are not the tasks of the paper that "
        "introduced WOMBET, so no number here can be compared with a number there.",
        "IQM, the interquartile mean, is the mean of the scores that are left when the lowest and the highest quarter "
        "are cut off (rounded down: of 5 seeds, one at each end). With fewer than 4 scores nothing would be cut; then "
        "the mean is shown and called that. Over several pairs each pair weighs the same, however many seeds it has.",
        f"Intervals are 95 % percentile intervals of a bootstrap over seeds within each pair ({resamples:,} resamples, "
        f"{FIGURE_RESAMPLES:,} for figures and for the further tables in CSV, seed {seed}); "
        f"{ours if backend == 'wombet' else theirs} "
        f"Below {MIN_SEEDS_FOR_INTERVAL} seeds only points are shown. An interval without "
        "width, as of a probability of 1, says that all runs in hand agree, not that the next one must.",
        "Such intervals are too narrow with few seeds. The column coverage says how often a nominal 95 % interval held "
        "the true value for as many independent seeds in a measurement on real final scores; with shared datasets it "
        "is lower than that. Intervals that do not overlap are evidence of a difference, while overlap is no evidence "
        "of equality, and nothing is corrected for the number of comparisons.",
        "Source steps are counted for every method that uses the shared dataset, in full for each run. CPU seconds are "
        "those of the runs on the machines that ran them; the making of the dataset is not among them.",
    ]


def _methods(results: SuiteResults) -> list[dict[str, Any]]:
    manifest = results.manifest
    kinds, sources, deviations = (manifest.get(f"method_{name}", {}) for name in ("kinds", "sources", "deviations"))
    return [
        {
            "name": name,
            "about": "; ".join(filter(None, [kinds.get(name), sources.get(name)])),
            "deviations": list(deviations.get(name, [])),
        }
        for name in results.methods
    ]


def _settings(results: SuiteResults) -> list[tuple[str, str]]:
    manifest = results.manifest
    evaluation = manifest["evaluation"]
    return [
        ("suite", manifest["name"]),
        ("task pairs", ", ".join(f"{pair['id']} (horizon {pair['horizon']})" for pair in manifest["pairs"])),
        ("seeds per cell", str(manifest["seeds"])),
        ("evaluations", f"{evaluation.get('count', '?')} of {evaluation.get('episodes', '?')} episodes each"),
        *_budgets(manifest["budgets"]),
        *[(f"set: {name}", value) for name, value in _flattened(manifest["overrides"])],
    ]


def _budgets(budgets: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Return the budgets by method, or one line if all methods have the same."""
    by_method = _flattened(budgets)
    if by_method and len({value for _, value in by_method}) == 1:
        return [("budget of every method", by_method[0][1])]
    return [(f"budget: {name}", value) for name, value in by_method]


def _flattened(values: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return `{a: {b: 1}}` as `a: b 1`, in the order given."""
    return [
        (name, ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in inner.items()))
        for name, inner in values.items()
    ]


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _provenance(results: SuiteResults) -> list[dict[str, Any]]:
    cells = []
    for pair in results.pairs:
        for method in results.methods:
            runs = results.runs
            own = runs[(runs["pair"] == pair) & (runs["method"] == method)].sort_values("seed")
            listed = [
                {
                    "seed": int(run["seed"]),
                    "folder": str(run["folder"]),
                    "state": str(run["state"]) if run["usable"] or run["state"] != "done" else "unusable",
                    "dataset": run["dataset"] or "",
                    "commit": run["commit"] or "",
                }
                for run in own.to_dict("records")
            ]
            cells.append({"pair": pair, "method": method, "runs": listed})
    return cells


def _versions(results: SuiteResults) -> list[tuple[str, str]]:
    found: dict[str, set[str]] = {}
    for versions in results.runs[results.runs["usable"].astype(bool)]["versions"]:
        for name, version in versions.items():
            found.setdefault(name, set()).add(version)
    return [(name, ", ".join(sorted(versions))) for name, versions in sorted(found.items())]


def _html(context: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("analysis").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(context)


def _markdown(context: dict[str, Any]) -> str:
    text = render.markdown_text
    lines = [f"# {text(context['title'])}", "", text(context["description"]), "", *map(text, context["summary"]), ""]
    for section in context["sections"]:
        lines += [f"## {text(section['title'])}", "", *map(text, section["sentences"]), ""]
        lines += [part["markdown"] for part in section["parts"]]
        for figure in section["figures"]:
            lines += [f"![{text(figure['caption'])}](figures/{figure['name']}.png)", ""]
    lines += ["## How to read this", "", *[f"{text(line)}\n" for line in context["reading"]]]
    lines += [f"- {text(heading)}: {text(meaning)}" for heading, meaning in context["legend"]]
    lines += ["", "## Findings", ""]
    lines += [f"- {text(item['where'])}: {text(item['message'])}" for item in context["findings"]] or ["None."]
    lines += ["", "## Settings and provenance", ""]
    lines += [f"- {text(name)}: {text(value)}" for name, value in [*context["settings"], *context["versions"]]]
    lines += [f"- manifest sha256: {context['manifest_sha256']}", ""]
    for run in [run for cell in context["provenance"] for run in cell["runs"]]:
        dataset = f", dataset {text(run['dataset'])}" if run["dataset"] else ""
        lines.append(f"- {text(run['folder'])}: {run['state']}{dataset}")
    return "\n".join(lines) + "\n"


def file_name(name: str) -> str:
    """Turn a name into one that is safe in a path: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip(".-") or "unnamed"
