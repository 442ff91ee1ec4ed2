"""A suite drawn as the figure of a paper: a panel per task pair, as curves, as ablations or as zero-shot scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.bootstrap import estimate
from analysis.curves import AXIS_LABELS, Axis, Band, learning_curves
from analysis.drawing import INK, clipped, draw_legend, house_style, legend_height, plain, plot_curves, saved
from analysis.load import SuiteResults
from analysis.palette import Style, method_styles
from analysis.statistics import Array, TaskScores, iqm
from wombet.errors import InputError, nearest
from wombet.streams import Streams

Form = Literal["curves", "ablation", "zero-shot"]
ANCHORS = ("random", "zero")
RESAMPLES = 2000
_PANEL = 2.5


@dataclass(frozen=True)
class Bar:
    """A method's height, the ends of its band (None with too few seeds), and the score of every seed."""

    method: str
    value: float
    band: tuple[float, float] | None
    seeds: Array


def check_form(name: str, results: SuiteResults) -> Form:
    """Return the form of that name, or for `auto` the suite's own; raises InputError for another name."""
    if name == "auto":
        return suite_form(results)
    for form in get_args(Form):
        if name == form:
            return form
    raise InputError(f"--form is {name!r}{nearest(name, ['auto', *get_args(Form)])}")


def suite_form(results: SuiteResults) -> Form:
    """Return what a suite is about, by its rows without the anchors.

    Zero-shot if most never train online; an ablation if there are three or more and all but one at most are one
    registered method; else curves.
    """
    rows = [method for method in results.methods if method not in ANCHORS]
    budgets = results.manifest["budgets"]
    online = [method for method in rows if budgets.get(method, {}).get("target_steps", 0) > 0]
    if 2 * len(online) < len(rows):
        return "zero-shot"
    names = [results.manifest.get("method_names", {}).get(method, method) for method in rows]
    most = max((names.count(name) for name in names), default=0)
    return "ablation" if most >= 3 and len(names) - most <= 1 else "curves"


def suite_figure(
    results: SuiteResults, form: Form, band: Band, axis: Axis, formats: Sequence[str], seed: int = 0
) -> dict[str, bytes]:
    """Draw a panel per task pair and return the files by format.

    Curves are scores over the axis, bars the scores of the last evaluation (`ablation`) or of that at 0 target steps
    (`zero-shot`) with a dot per seed. With the band `std`, values are means and bands one standard deviation over seeds
    to either side; with `ci`, the IQM and its 95 % interval. Raises InputError if no run has finished.
    """
    pairs = [pair for pair in results.pairs if any(len(results.usable(pair, name)) for name in results.methods)]
    if not pairs:
        raise InputError(f"no run of suite {results.manifest['name']} has finished, so there is nothing to draw")
    styles = method_styles(results.methods)
    with house_style():
        if form == "curves":
            figure = _curve_panels(results, pairs, styles, band, axis, seed)
        else:
            figure = _bar_panels(results, pairs, styles, band, form, seed)
        return saved(figure, formats)


def bars(results: SuiteResults, pair: str, form: Form, band: Band, seed: int) -> list[Bar]:
    """Return the bars of a panel, in the suite's order; methods without a usable run have none."""
    found = []
    for method in results.methods:
        history = results.history(pair, method)
        if form == "zero-shot":
            rows = history[history["target_steps"] == 0].drop_duplicates("seed", keep="last")
        else:
            rows = results.usable(pair, method)
        if len(rows):
            names = tuple(None if name is None or name != name else str(name) for name in rows["dataset"])
            scores = TaskScores(pair, rows["score"].to_numpy(dtype=np.float64), names)
            found.append(_bar(method, scores, band, Streams(seed, "bar").numpy(pair, method)))
    return found


def _bar(method: str, scores: TaskScores, band: Band, rng: np.random.Generator) -> Bar:
    values = scores.values
    if band == "std":
        mean = float(values.mean())
        std = float(values.std(ddof=1)) if values.size > 1 else None
        return Bar(method, mean, None if std is None else (mean - std, mean + std), values)
    found = estimate([scores], iqm, rng, RESAMPLES)
    ends = None if found.low is None or found.high is None else (found.low, found.high)
    return Bar(method, found.value, ends, values)


def _grid(results: SuiteResults, pairs: list[str]) -> tuple[int, int]:
    """Rows and columns: families by levels where the suite has them all, else up to three panels a row."""
    entries = [entry for entry in results.manifest["pairs"] if entry["id"] in pairs]
    families, levels = ({entry.get(key) for entry in entries} for key in ("family", "level"))
    if 1 < len(levels) <= 4 and len(families) * len(levels) == len(pairs):
        return len(families), len(levels)
    columns = min(3, len(pairs))
    return -(-len(pairs) // columns), columns


def _panels(
    results: SuiteResults, pairs: list[str], height: float, left: float, below: float
) -> tuple[Figure, list[Axes]]:
    """Axes for every pair in inches' worth of room, each under its name; `below` is left free for a legend."""
    rows, columns = _grid(results, pairs)
    gap, top, foot = (0.55 if left < 1 else 0.2), 0.32, 0.48
    width, total = left + columns * _PANEL + (columns - 1) * gap + 0.3, rows * (height + top + foot) + below
    figure = Figure(figsize=(width, total))
    axes = []
    for index, pair in enumerate(pairs):
        row, column = divmod(index, columns)
        x = left + column * (_PANEL + gap)
        y = total - (row + 1) * (height + top + foot) + foot
        own = figure.add_axes((x / width, y / total, _PANEL / width, height / total))
        own.set_title(plain(pair), loc="left")
        axes.append(own)
    return figure, axes


def _curve_panels(
    results: SuiteResults, pairs: list[str], styles: Mapping[str, Style], band: Band, axis: Axis, seed: int
) -> Figure:
    drawn = {pair: learning_curves(results, pair, axis, seed, RESAMPLES, band) for pair in pairs}
    present = {curve.method for curves in drawn.values() for curve in curves}
    names = [method for method in results.methods if method in present]
    _, columns = _grid(results, pairs)
    width = 0.62 + columns * _PANEL
    figure, axes = _panels(results, pairs, 1.8, 0.62, legend_height(names, width))
    for index, (own, pair) in enumerate(zip(axes, pairs, strict=True)):
        plot_curves(own, drawn[pair], styles)
        own.set_xlabel(AXIS_LABELS[axis])
        if index % columns == 0:
            own.set_ylabel("score")
    draw_legend(figure, names, styles, width)
    return figure


def _bar_panels(
    results: SuiteResults, pairs: list[str], styles: Mapping[str, Style], band: Band, form: Form, seed: int
) -> Figure:
    names = results.methods
    left = 0.25 + 0.085 * min(24, max(map(len, names)))
    _, columns = _grid(results, pairs)
    figure, axes = _panels(results, pairs, 0.15 + 0.24 * len(names), left, 0.0)
    for index, (own, pair) in enumerate(zip(axes, pairs, strict=True)):
        for bar in bars(results, pair, form, band, seed):
            _draw_bar(own, names.index(bar.method), bar, styles[bar.method])
        shown = [clipped(name) for name in names] if index % columns == 0 else [""] * len(names)
        own.set_yticks(range(len(names)), shown)
        own.set_ylim(len(names) - 0.4, -0.6)
        own.tick_params(axis="y", length=0, labelcolor=INK)
        own.grid(False, axis="y")
        own.set_xlim(left=min(0.0, own.get_xlim()[0]))
        own.set_xlabel("score before any target step" if form == "zero-shot" else "final score")
    return figure


def _draw_bar(axes: Axes, line: int, bar: Bar, style: Style) -> None:
    axes.barh(line, bar.value, height=0.68, color=style.colour, alpha=0.55, linewidth=0)
    if bar.band is not None:
        axes.plot(bar.band, [line, line], color=INK, linewidth=1.1)
    offsets = 0.13 * (np.arange(bar.seeds.size) % 3 - 1)
    axes.plot(
        bar.seeds, line + offsets, linestyle="none", marker="o", markersize=2.4, markerfacecolor="white",
        markeredgecolor=style.colour, markeredgewidth=0.8,
    )  # fmt: skip
