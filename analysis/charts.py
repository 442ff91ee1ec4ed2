"""Which figures a report has, and what each shows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import figures
from analysis.aggregates import scores_of
from analysis.bootstrap import profile_band
from analysis.curves import AXIS_LABELS, Axis, learning_curves, on_axis
from analysis.load import SuiteResults
from analysis.palette import method_styles
from analysis.tables import Table, scale_over
from analysis.traces import QUANTITIES, Traces
from wombet.streams import Streams

FIGURE_RESAMPLES = 2000
_AXES: tuple[tuple[Axis, str, str], ...] = (
    ("total", "total-steps", "against all interaction, with the source steps that the shared dataset cost"),
    ("updates", "updates", "against gradient updates, those before the online phase included"),
    ("cpu", "cpu-seconds", "against the runs' own CPU seconds, without the making of the shared dataset"),
)


@dataclass(frozen=True)
class Figure:
    """A figure of the report: the stem of its files, what it shows, and its bytes by format.

    `main` ones are seen at once; the others are there for who asks.
    """

    name: str
    caption: str
    files: dict[str, bytes]
    main: bool = True


def file_name(name: str) -> str:
    """Turn a name into one that is safe in a path: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip(".-") or "unnamed"


def pair_figures(results: SuiteResults, table: Table, seed: int, formats: Sequence[str]) -> list[Figure]:
    """Return the figures of one task pair: curves on every axis, the seeds, and the profile; none without a run."""
    pair, styles = str(table.pair), method_styles(results.methods)
    scores = {method: results.final_scores(pair, method) for method in results.methods}
    present = {method: found for method, found in scores.items() if found is not None}
    if not present:
        return []
    stem = file_name(pair)
    strips = [
        figures.Strip(row.method, present[row.method].values, row.final, row.failed)
        for row in table.rows
        if row.method in present and row.final is not None
    ]
    target = learning_curves(results, pair, "target", seed, FIGURE_RESAMPLES)
    caption = (
        f"{pair}: score against steps in the target task. Lines are the IQM over seeds (below 4, the mean); "
        "bands are 95 % intervals (from 5 seeds on)."
    )
    drawn = [
        Figure(f"{stem}-target-steps", caption, figures.curve_figure(target, styles, AXIS_LABELS["target"], formats)),
        Figure(
            f"{stem}-seeds",
            f"{pair}: the final score of every seed; the tick is the IQM (below 4 seeds, the mean), "
            "the bar its 95 % interval.",
            figures.strip_figure(strips, styles, formats),
        ),
    ]
    for axis, suffix, what in _AXES:
        curves = on_axis(target, results, pair, axis)
        if curves:
            missing = sorted({curve.method for curve in target} - {curve.method for curve in curves})
            without = f" Not recorded by {', '.join(missing)}." if missing else ""
            files = figures.curve_figure(curves, styles, AXIS_LABELS[axis], formats)
            drawn.append(Figure(f"{stem}-{suffix}", f"{pair}: the same {what}.{without}", files, axis == "total"))
    caption = f"{pair}: share of seeds that end above a score."
    return [*drawn, _profile(results, [pair], f"{stem}-profile", caption, seed, formats)]


def overall_figures(
    results: SuiteResults, numbers: dict[str, pd.DataFrame], seed: int, formats: Sequence[str]
) -> list[Figure]:
    """Return the figures over all pairs: the profile where there are several, and the matrix of improvements."""
    drawn = []
    pairs = results.pairs
    if len(pairs) > 1 and any(results.final_scores(pair, method) for pair in pairs for method in results.methods):
        of = "a normalised score" if scale_over(results, pairs) == "normalised" else "a score"
        caption = f"All task pairs ({len(pairs)}): share of runs that end above {of}, every pair with the same weight."
        drawn.append(_profile(results, pairs, "all-pairs-profile", caption, seed, formats))
    if "improvement" in numbers:
        drawn.append(_matrix(results, numbers["improvement"], formats))
    return drawn


def trace_figures(results: SuiteResults, traces: Traces, formats: Sequence[str]) -> list[Figure]:
    """Return, for every pair and recorded metric, the traces of the methods that mix offline and online rows."""
    styles = method_styles(results.methods)
    drawn = []
    for pair in results.pairs:
        for number, (quantity, label) in enumerate(QUANTITIES.items()):
            curves = traces.curves(pair, quantity, results.methods)
            if curves:
                files = figures.curve_figure(curves, styles, AXIS_LABELS["target"], formats, label)
                caption = f"{pair}: {label}. Mean over seeds, and one standard deviation to either side."
                name = f"{file_name(pair)}-trace-{file_name(quantity)}"
                drawn.append(Figure(name, caption, files, main=number < 2))
    return drawn


def _profile(
    results: SuiteResults,
    pairs: list[str],
    name: str,
    caption: str,
    seed: int,
    formats: Sequence[str],
) -> Figure:
    scale = scale_over(results, pairs)
    by_method = {method: scores_of(results, pairs, method, scale) for method in results.methods}
    grid = figures.thresholds([scores for group in by_method.values() for scores in group])
    profiles = []
    for method, scores in by_method.items():
        if scores:
            rng = Streams(seed, "profile").numpy(name, method)
            profiles.append(figures.Profile(method, grid, *profile_band(scores, grid, rng, FIGURE_RESAMPLES)))
    files = figures.profile_figure(profiles, method_styles(results.methods), formats, scale == "normalised")
    return Figure(name, caption, files)


def _matrix(results: SuiteResults, table: pd.DataFrame, formats: Sequence[str]) -> Figure:
    compared = {*table["a"], *table["b"]}
    methods = [method for method in results.methods if method in compared]
    rows = list(zip(table["a"], table["b"], table["probability"], table["low"], table["high"], strict=True))
    probability = {(a, b): float(value) for a, b, value, _, _ in rows}
    sure = {(a, b) for a, b, _, low, high in rows if pd.notna(low) and (low > 0.5 or high < 0.5)}
    caption = (
        "Probability that a run of the row ends above a run of the column, over all pairs; bold where the 95 % "
        "interval leaves out one half. Nothing is corrected for the number of comparisons here."
    )
    return Figure("improvement", caption, figures.matrix_figure(methods, probability, sure, formats))
