"""The figure of a dataset: what was accepted, and how far the model that made it can be trusted."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suites.commands.data_card import NAMES, in_order
from wombet.errors import InputError
from wombet.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = Mapping[str, Any]

FORMATS = ("png", "svg", "pdf")
BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#767676", "#222222"  # Okabe and Ito: told apart by all eyes
LOGARITHMIC = 6.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
MARGINS: Any = {"h_pad": 0.06, "w_pad": 0.06, "hspace": 0.05, "wspace": 0.04}
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "savefig.dpi": 160,
    "svg.fonttype": "path",
    "svg.hashsalt": "wombet",
    "text.color": INK,
    "xtick.color": "#555555",
    "xtick.labelsize": 8,
    "ytick.color": "#555555",
    "ytick.labelsize": 8,
}


def check_format(path: Path) -> str:
    """Return the file's format; raises InputError for one that cannot be drawn."""
    ending = path.suffix.lower().lstrip(".")
    if ending not in FORMATS:
        raise InputError(f"the figure {path} ends in {path.suffix or 'nothing'!r}; it can be .png, .svg or .pdf")
    return ending


def write_figure(path: Path, name: str, card: Json, diagnosis: Json | None) -> None:
    """Draw a dataset into a file whose ending names the format; the same content gives the same bytes."""
    import io

    import matplotlib

    ending = check_format(path)
    if "trajectories" not in card:
        raise InputError(f"dataset {name} was not generated, so its card has no trajectories to draw")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure, buffer = _draw(name, card, diagnosis), io.BytesIO()
        without_clock = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}, "png": {}}[ending]
        figure.savefig(buffer, format=ending, metadata=without_clock)
    write_atomically(path, buffer.getvalue())


def _draw(name: str, card: Json, diagnosis: Json | None) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(12, 7.4 if diagnosis is not None else 4.0), layout=ConstrainedLayoutEngine(**MARGINS))
    figure.suptitle(_title(name, card), x=0.01, ha="left", fontsize=10)
    if diagnosis is None:
        places = figure.subplots(1, 2, sharex=True, sharey=True)
        _candidates(places[0], card, 0)
        _candidates(places[1], card, 1)
        return figure
    grid = figure.add_gridspec(2, 3)
    first = figure.add_subplot(grid[0, 0])
    _candidates(first, card, 0)
    _candidates(figure.add_subplot(grid[0, 1], sharex=first, sharey=first), card, 1)
    _one_step(figure.add_subplot(grid[0, 2]), diagnosis["one_step"])
    _returns(figure.add_subplot(grid[1, 0]), diagnosis["returns"])
    _closed_loop(figure.add_subplot(grid[1, 1]), diagnosis["closed_loop"])
    inner = grid[1, 2].subgridspec(2, 1, hspace=0.05)
    top = figure.add_subplot(inner[0])
    _bound(top, figure.add_subplot(inner[1], sharex=top), diagnosis["lower_bound"])
    return figure


def _title(name: str, card: Json) -> str:
    counts = card["counts"]
    kept = f"accepted {counts['accepted_rows']} of {counts['candidate_rows']} rows"
    how = f"{card['task']}, {card['collection_mode']}, {card['rollouts']}"
    return f"{name}: {how}; {card['source_steps']['total']} source steps, {kept}"


def _candidates(axes: "Axes", card: Json, kind: int) -> None:
    """Uncertainty against return of the trajectories of one start type, and the thresholds."""
    columns = {key: np.asarray(value) for key, value in card["trajectories"].items()}
    there = (columns["start_type"] == kind) & (columns["steps"] > 0)
    start = ("initial", "visited")[kind]
    accepted = there & (columns["accepted"] == 1)
    hollow: Any = {"facecolors": "none", "edgecolors": GREY, "linewidths": 0.8}
    filled: Any = {"facecolors": BLUE, "edgecolors": "none", "alpha": 0.75}
    for mask, label, look in ((there & ~accepted, "rejected", hollow), (accepted, "accepted", filled)):
        axes.scatter(columns["uncertainty"][mask], columns["return_per_step"][mask], s=15, label=label, **look)
    thresholds = card["thresholds"]
    lines: Any = {"color": ORANGE, "linewidth": 1.1, "linestyle": (0, (4, 2))}
    axes.axvline(thresholds["uncertainty"], label="thresholds", **lines)
    axes.axhline(thresholds["return_per_step"][start], **lines)
    _scale(axes, "x", [*columns["uncertainty"][columns["steps"] > 0], thresholds["uncertainty"]])
    title = f"Candidates from {start} states: {int(accepted.sum())} of {int(there.sum())} accepted"
    axes.set(title=title, xlabel="mean uncertainty", ylabel="source reward per step")
    if kind == 0:
        axes.legend(loc="best", handletextpad=0.3)


def _one_step(axes: "Axes", found: Json) -> None:
    """True one-step error of rows against their uncertainty: the rows, and quantiles in bins."""
    points, parts = found["points"], found["by_uncertainty"]
    axes.scatter(points["uncertainty"], points["error"], s=5, color=GREY, alpha=0.35, linewidths=0, label="rows")
    u, median, high = zip(
        *((part["uncertainty"], part["error"]["median"], part["error"]["q95"]) for part in parts), strict=True
    )
    axes.plot(u, median, color=BLUE, marker="o", markersize=4.5, label="median")
    axes.plot(
        u, high, color=BLUE, marker="_", markersize=8, linestyle="none", markeredgewidth=1.6, label="95 % quantile"
    )
    low, high = min(points["uncertainty"]), max(points["uncertainty"])
    axes.plot([low, high], [low, high], color=INK, linewidth=0.9, linestyle=":", label="error = uncertainty")
    _scale(axes, "x", points["uncertainty"])
    _scale(axes, "y", points["error"])
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * (top / bottom) ** 0.2 if axes.get_yscale() == "log" else top + 0.2 * (top - bottom))
    axes.set(
        title="One step: true error by uncertainty",
        xlabel="uncertainty",
        ylabel="error (standard deviations of a step)",
    )
    axes.legend(loc="upper left", ncols=2, handletextpad=0.5)


def _returns(axes: "Axes", found: Json) -> None:
    """True returns of planner and policies from the same starts."""
    policies = in_order(found["policies"])
    for place, (name, policy) in enumerate(policies.items()):
        colour = ORANGE if name == "planner" else BLUE
        returns = np.asarray(policy["returns"])
        spread = (np.arange(len(returns)) % 5 - 2) * 0.035
        axes.scatter(returns, place + 0.22 + spread, s=7, color=GREY, alpha=0.5, linewidths=0)
        low, high = policy["interval"]
        axes.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot(policy["mean"], place, "o", color=colour, markersize=5.5)
    axes.set_yticks(
        range(len(policies)), [NAMES[name].replace(", ", ",\n").replace(" random", "\nrandom") for name in policies]
    )
    axes.set_ylim(len(policies) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.set(
        title="True return from the same starts",
        xlabel=f"source return over {found['horizon']} steps (mean, 95 %; dots: starts)",
    )


def _closed_loop(axes: "Axes", found: Json) -> None:
    """Real and imagined return of every start, joined, at the uncertainty of the imagined trajectory."""
    columns = {key: np.asarray(value) for key, value in found["trajectories"].items()}
    u, real, imagined = columns["uncertainty"], columns["real"], columns["imagined"]
    axes.vlines(u, np.minimum(real, imagined), np.maximum(real, imagined), color="#bbbbbb", linewidth=0.9)
    axes.scatter(u, imagined, s=18, facecolors="white", edgecolors=ORANGE, linewidths=1.1, label="imagined", zorder=3)
    axes.scatter(u, real, s=16, color=BLUE, linewidths=0, label="real", zorder=4)
    for key, colour in (("real", BLUE), ("imagined", ORANGE)):
        parts = found["by_uncertainty"]
        levels, lefts, rights = ([part[name] for part in parts] for name in (key, "lowest", "highest"))
        axes.hlines(levels, lefts, rights, color=colour, linewidth=1.8, alpha=0.55)
    _scale(axes, "x", u)
    axes.set(
        title="Closed loop: real against imagined",
        xlabel="mean uncertainty of the imagined trajectory (bars: quarters)",
        ylabel=f"source return over {found['steps']} steps",
    )
    axes.legend(loc="best", handletextpad=0.3)


def _bound(top: "Axes", bottom: "Axes", found: Json) -> None:
    """Where the lower bound holds, and what it costs: slack, and the planner's return, as the penalty grows."""
    rows = found["closed_loop"]
    x = np.arange(len(rows))
    share = np.array([row["share"] for row in rows])
    low, high = np.array([row["interval"] for row in rows]).T
    top.errorbar(x, share, [share - low, high - share], color=BLUE, marker="o", markersize=4.5, capsize=2)
    top.set(title="Lower bound as the penalty grows", ylabel="share that holds", ylim=(-0.04, 1.06))
    top.tick_params(labelbottom=False)
    for key, colour, label in (("real_return", BLUE, "real"), ("penalised_return", ORANGE, "imagined, penalised")):
        bottom.plot(x, [row[key] for row in rows], color=colour, marker="o", markersize=3.5, label=label)
    real, penalised = ([row[key] for row in rows] for key in ("real_return", "penalised_return"))
    bottom.fill_between(x, real, penalised, color=GREY, alpha=0.15, linewidth=0, label="mean slack")
    bottom.set_xticks(x, [f"{row['factor']:g}" for row in rows])
    bottom.set(xlabel="penalty, times the calibrated one", ylabel="discounted return")
    bottom.legend(loc="best", handletextpad=0.5)


def _scale(axes: "Axes", which: str, values: Any) -> None:
    """A logarithmic axis with ticks at 1, 2 and 5 for values (n,) that spread over much, and else a plain one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis = getattr(axes, f"{which}axis")
    if min(values) <= 0 or max(values) < LOGARITHMIC * min(values):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        return
    getattr(axes, f"set_{which}scale")("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
