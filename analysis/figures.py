"""The figures of a report as files by format; what is drawn comes in as plain numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from analysis.bootstrap import Estimate
from analysis.curves import Curve
from analysis.drawing import (
    INK,
    WIDTH,
    clipped,
    house_style,
    legend,
    name_lines,
    new_figure,
    plot_curves,
    saved,
)
from analysis.palette import Style
from analysis.statistics import Array, TaskScores

Files = dict[str, bytes]
# Blue and orange of Okabe and Ito about white: told apart by all eyes, and by lightness on paper.
_DIVERGING = matplotlib.colors.LinearSegmentedColormap.from_list("wins", ["#EDB94D", "#ffffff", "#7CC3EC"])


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


def curve_figure(
    curves: Sequence[Curve],
    styles: Mapping[str, Style],
    x_label: str,
    formats: Sequence[str],
    y_label: str = "score (return / horizon)",
) -> Files:
    """Draw lines with their bands; flat lines are methods that never train online."""
    with house_style():
        figure, axes = new_figure()
        plot_curves(axes, curves, styles)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        name_lines(figure, axes, curves, styles)
        return saved(figure, formats)


def strip_figure(strips: Sequence[Strip], styles: Mapping[str, Style], formats: Sequence[str]) -> Files:
    """Draw the final score of every seed, one line a method, with the summary as a tick and its interval as a bar."""
    with house_style():
        longest = max(len(strip.method) for strip in strips)
        height = 0.75 + 0.36 * len(strips)
        figure, axes = new_figure(height, left=0.25 + 0.085 * min(longest, 24), right=0.2)
        for line, strip in enumerate(strips):
            _strip(axes, line, strip, styles[strip.method])
        axes.set_yticks(range(len(strips)), [clipped(strip.method) for strip in strips])
        axes.set_ylim(len(strips) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(False, axis="y")
        axes.set_xlabel("final score of each seed (return / horizon)")
        return saved(figure, formats)


def _strip(axes: Axes, line: int, strip: Strip, style: Style) -> None:
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
        axes.annotate(note, (1, line + 0.36), xycoords=("axes fraction", "data"), ha="right", size=7.5, color=INK)


def profile_figure(
    profiles: Sequence[Profile], styles: Mapping[str, Style], formats: Sequence[str], normalised: bool = False
) -> Files:
    """Draw performance profiles: the share of runs whose final score is above each threshold."""
    with house_style():
        figure, axes = new_figure()
        for profile in profiles:
            style = styles[profile.method]
            line: dict[str, Any] = {"color": style.colour, "linestyle": style.dashes, "drawstyle": "steps-post"}
            axes.plot(profile.thresholds, profile.share, **line)
            if profile.low is not None and profile.high is not None:
                axes.fill_between(
                    profile.thresholds, profile.low, profile.high, step="post", color=style.colour, alpha=0.12,
                    linewidth=0,
                )  # fmt: skip
        axes.set_xlabel(f"final{' normalised' * normalised} score threshold τ")
        axes.set_ylabel("share of runs with score > τ")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(float(profiles[0].thresholds[0]), float(profiles[0].thresholds[-1]))
        legend(figure, axes, [profile.method for profile in profiles], styles)
        return saved(figure, formats)


def matrix_figure(
    methods: Sequence[str], probability: Mapping[tuple[str, str], float], sure: set[tuple[str, str]],
    formats: Sequence[str],
) -> Files:  # fmt: skip
    """Draw the probability that a run of the row ends above a run of the column; bold where `sure`.

    `probability` has both orders of every pair that was compared.
    """
    with house_style():
        longest = min(24, max(map(len, methods)))
        names = 0.25 + 0.085 * longest
        cell = min(0.55, (WIDTH - names - 0.1) / len(methods))
        side, below = cell * len(methods), 0.25 + 0.065 * longest
        figure, axes = new_figure(side + below + 0.1, left=names, right=0.1)
        width, height = figure.get_size_inches()
        axes.set_position((names / width, below / height, side / width, side / height))
        for row, a in enumerate(methods):
            for column, b in enumerate(methods):
                if (a, b) in probability:
                    _cell(axes, row, column, probability[a, b], (a, b) in sure, cell)
        axes.set_xlim(0, len(methods))
        axes.set_ylim(len(methods), 0)
        centres = np.arange(len(methods)) + 0.5
        labels = [clipped(name) for name in methods]
        axes.set_yticks(centres, labels)
        axes.set_xticks(centres, labels, rotation=40, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0, labelcolor=INK)
        axes.grid(False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return saved(figure, formats)


def _cell(axes: Axes, row: int, column: int, value: float, sure: bool, inches: float) -> None:
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=_DIVERGING(value), edgecolor="white", linewidth=1))
    if inches >= 0.2:
        text = f"{value:.2f}" if inches >= 0.3 else f"{value:.1f}"
        axes.text(
            column + 0.5, row + 0.5, text, ha="center", va="center_baseline", size=min(8.5, 24 * inches),
            weight="bold" if sure else "normal",
        )  # fmt: skip


def thresholds(scores: Sequence[TaskScores]) -> Array:
    """Return the thresholds of a profile that shows all of the scores, (101,)."""
    values = np.concatenate([task.values for task in scores])
    low, high = min(0.0, float(values.min())), max(float(values.max()), 1e-9)
    return np.linspace(low, high + 0.03 * (high - low), 101)
