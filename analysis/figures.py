"""Figures as vector and pixel files that are the same bytes each time; drawing changes no global setting."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.lines
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.bootstrap import Estimate
from analysis.curves import Curve
from analysis.palette import Style
from analysis.statistics import Array, TaskScores

WIDTH, HEIGHT = 5.0, 3.3
_LABEL_POINTS = 11.0
_LONGEST_DIRECT_LABEL = 18
_INK = "#222222"
_STYLE: Any = {
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "wombet",
    "text.color": _INK,
    "xtick.color": "#555555",
    "xtick.labelsize": 8.5,
    "ytick.color": "#555555",
    "ytick.labelsize": 8.5,
}


@dataclass(frozen=True)
class Strip:
    """A line of the strip plot: the final score of every seed, their summary, and how many runs failed."""

    method: str
    values: Array
    summary: Estimate
    failed: int


@dataclass(frozen=True)
class Profile:
    """A method's share of runs above each threshold (T,), with its band where there are seeds enough."""

    method: str
    thresholds: Array
    share: Array
    low: Array | None
    high: Array | None


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def curve_figure(curves: Sequence[Curve], styles: Mapping[str, Style], x_label: str) -> dict[str, bytes]:
    """Draw learning curves with their bands; flat lines are methods that never train online."""
    with _style():
        figure, axes = _new_figure()
        for curve in curves:
            style = styles[curve.method]
            marker = None if curve.flat else style.marker
            axes.plot(
                curve.steps,
                curve.values,
                color=style.colour,
                linestyle=style.dashes,
                marker=marker,
                markersize=3,
                linewidth=1.2 if curve.flat else 1.6,
                clip_on=False,
            )
            if curve.band is not None:
                axes.fill_between(curve.steps, *curve.band, color=style.colour, alpha=0.15, linewidth=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel("score (return / horizon)")
        end = max(float(curve.steps[-1]) for curve in curves) or 1.0
        axes.set_xlim(0, end)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value, end)))
        _name_lines(figure, axes, curves, styles)
        return _files(figure)


def strip_figure(strips: Sequence[Strip], styles: Mapping[str, Style]) -> dict[str, bytes]:
    """Draw the final score of every seed, one line a method, with the summary as a tick and its interval as a bar."""
    with _style():
        longest = max(len(strip.method) for strip in strips)
        height = 0.75 + 0.36 * len(strips)
        figure, axes = _new_figure(height, left=0.25 + 0.085 * min(longest, 24), right=0.2)
        for line, strip in enumerate(strips):
            style = styles[strip.method]
            if strip.summary.low is not None:
                ends = np.array([strip.summary.low, strip.summary.high], dtype=float)
                axes.plot(ends, [line, line], color=style.colour, alpha=0.3, linewidth=7, solid_capstyle="butt")
            axes.plot([strip.summary.value] * 2, [line - 0.3, line + 0.3], color=style.colour, linewidth=2)
            offsets = 0.14 * (np.arange(strip.values.size) % 3 - 1)
            axes.plot(
                strip.values, line + offsets, linestyle="none", marker="o", markersize=4.2, markerfacecolor="white",
                markeredgecolor=style.colour, markeredgewidth=1.1,
            )  # fmt: skip
            if strip.failed:
                note = f"{strip.failed} failed"
                axes.annotate(
                    note, (1, line + 0.36), xycoords=("axes fraction", "data"), ha="right", size=7.5, color=_INK
                )
        axes.set_yticks(range(len(strips)), [_clipped(strip.method) for strip in strips])
        axes.set_ylim(len(strips) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        axes.grid(False, axis="y")
        axes.set_xlabel("final score of each seed (return / horizon)")
        return _files(figure)


def profile_figure(profiles: Sequence[Profile], styles: Mapping[str, Style]) -> dict[str, bytes]:
    """Draw performance profiles: the share of runs whose final score is above each threshold."""
    with _style():
        figure, axes = _new_figure()
        for profile in profiles:
            style = styles[profile.method]
            line: dict[str, Any] = {"color": style.colour, "linestyle": style.dashes, "drawstyle": "steps-post"}
            axes.plot(profile.thresholds, profile.share, **line)
            if profile.low is not None and profile.high is not None:
                axes.fill_between(
                    profile.thresholds, profile.low, profile.high, step="post", color=style.colour, alpha=0.12,
                    linewidth=0,
                )  # fmt: skip
        axes.set_xlabel("final score threshold τ")
        axes.set_ylabel("share of runs with score > τ")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(float(profiles[0].thresholds[0]), float(profiles[0].thresholds[-1]))
        _legend(figure, axes, [profile.method for profile in profiles], styles)
        return _files(figure)


def thresholds(scores: Sequence[TaskScores]) -> Array:
    """Return the thresholds of a profile that shows all of the scores, (101,)."""
    values = np.concatenate([task.values for task in scores])
    low, high = min(0.0, float(values.min())), max(float(values.max()), 1e-9)
    return np.linspace(low, high + 0.03 * (high - low), 101)


def inline_svg(svg: bytes, prefix: str, title: str) -> str:
    """Return an SVG for a page that holds several: no prologue, its ids made its own, and a name for screen readers."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text, count=1)
    escaped = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{escaped}" ', 1)


def _new_figure(height: float = HEIGHT, left: float = 0.62, right: float = 0.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((left / WIDTH, 0.5 / height, 1 - (left + right) / WIDTH, 1 - 0.65 / height))
    return figure, axes


def _name_lines(figure: Figure, axes: Axes, curves: Sequence[Curve], styles: Mapping[str, Style]) -> None:
    """Write each method's name at its line's end where there is room for all, else in a legend below."""
    box = axes.get_position()
    points = 72 * figure.get_size_inches()[1] * box.height
    names = [curve.method for curve in curves]
    longest = max(map(len, names))
    if len(curves) * _LABEL_POINTS > points or longest > _LONGEST_DIRECT_LABEL:
        _legend(figure, axes, names, styles)
        return
    axes.set_position((box.x0, box.y0, 1 - box.x0 - (0.2 + 0.082 * longest) / WIDTH, box.height))
    full = axes.get_xlim()[1]
    at_edge = [curve for curve in curves if curve.steps[-1] > 0.98 * full]
    for curve in curves:
        if curve not in at_edge:
            end = (float(curve.steps[-1]), float(curve.values[-1]))
            axes.annotate(
                curve.method, end, xytext=(6, 0), textcoords="offset points", va="center", size=8.5,
                color=styles[curve.method].colour, path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip
    _name_at_edge(figure, axes, at_edge, styles, points)


def _name_at_edge(
    figure: Figure, axes: Axes, curves: Sequence[Curve], styles: Mapping[str, Style], points: float
) -> None:
    low, high = axes.get_ylim()
    beside = 1 + 8 / 72 / _axes_width(figure, axes)
    wanted = [(float(curve.values[-1]) - low) / (high - low) * points for curve in curves]
    for curve, at in zip(curves, _spread(wanted, points), strict=True):
        colour = styles[curve.method].colour
        axes.annotate(
            curve.method, (1, float(curve.values[-1])), xycoords=("axes fraction", "data"),
            xytext=(beside, at / points), textcoords="axes fraction", va="center", size=8.5, color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


def _axes_width(figure: Figure, axes: Axes) -> float:
    return float(figure.get_size_inches()[0] * axes.get_position().width)


def _spread(wanted: list[float], top: float) -> list[float]:
    """Move positions in points apart until labels do not overlap, keeping their order and staying within [0, top]."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = list(wanted)
    lowest = 0.0
    for index in order:
        placed[index] = max(placed[index], lowest)
        lowest = placed[index] + _LABEL_POINTS
    highest = top
    for index in reversed(order):
        placed[index] = min(placed[index], highest)
        highest = placed[index] - _LABEL_POINTS
    return placed


def _legend(figure: Figure, axes: Axes, names: list[str], styles: Mapping[str, Style]) -> None:
    """Put a legend under the axes and make the figure as much taller as it needs."""
    columns = max(1, min(len(names), int(WIDTH / (0.072 * max(map(len, names)) + 0.47))))
    extra = 0.185 * -(-len(names) // columns) + 0.08
    height = figure.get_size_inches()[1]
    box = axes.get_position()
    figure.set_size_inches(WIDTH, height + extra)
    grown = height + extra
    axes.set_position((box.x0, (box.y0 * height + extra) / grown, box.width, box.height * height / grown))
    lines = [
        matplotlib.lines.Line2D([], [], color=styles[name].colour, linestyle=styles[name].dashes) for name in names
    ]
    labels = [name if not name.startswith("_") else f" {name}" for name in names]
    figure.legend(
        lines, labels, loc="lower center", ncols=columns, handlelength=2.2, columnspacing=1.2, bbox_to_anchor=(0.5, 0.0)
    )


def _short(value: float, largest: float) -> str:
    if value == 0:
        return "0"
    if largest >= 2e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if largest >= 1e4 else f"{value:,.0f}"


def _clipped(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _files(figure: Figure) -> dict[str, bytes]:
    """Return the figure as SVG, PDF and PNG bytes without dates or version numbers."""
    metadata: dict[str, dict[str, None]] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    files = {}
    for kind, entries in metadata.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=entries)
        files[kind] = buffer.getvalue()
    return files
