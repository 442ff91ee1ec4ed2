"""What all figures share: their look, how lines are named, and files that are the same bytes each time."""

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.lines
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.curves import Curve
from analysis.palette import Style
from wombet.errors import InputError, nearest

FORMATS = ("svg", "pdf", "png")
WIDTH, HEIGHT = 5.0, 3.3
INK = "#222222"
MOST_MARKERS = 25
"""A line of more points is drawn without markers."""
_LABEL_POINTS = 11.0
_LONGEST_DIRECT_LABEL = 18
_STYLE: Any = {
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "figure.dpi": 100,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "wombet",
    "text.color": INK,
    "xtick.color": "#555555",
    "xtick.labelsize": 8.5,
    "ytick.color": "#555555",
    "ytick.labelsize": 8.5,
}
# No dates and no version numbers, so that a figure is the same bytes whenever it is drawn.
_METADATA: Any = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of a list such as `svg,pdf`; raises InputError for one that cannot be drawn."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--formats has {name!r}{nearest(name, FORMATS)}; it can list {', '.join(FORMATS)}")
    if not names:
        raise InputError(f"--formats is empty; list some of {', '.join(FORMATS)}, such as svg,pdf")
    return names


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in our look within the block; no global setting is changed."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def saved(figure: Figure, formats: Sequence[str]) -> dict[str, bytes]:
    """Return a figure's bytes by format."""
    files = {}
    for kind in formats:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
        files[kind] = buffer.getvalue()
    return files


def inline_svg(svg: bytes, prefix: str, title: str) -> str:
    """Return an SVG for a page that holds several: no prologue, its ids made its own, and a name for screen readers."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)


def new_figure(height: float = HEIGHT, left: float = 0.62, right: float = 0.2) -> tuple[Figure, Axes]:
    """Return a figure of the usual width with one pair of axes; margins in inches."""
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((left / WIDTH, 0.5 / height, 1 - (left + right) / WIDTH, 1 - 0.65 / height))
    return figure, axes


def plot_curves(axes: Axes, curves: Sequence[Curve], styles: Mapping[str, Style]) -> None:
    """Draw lines with their bands on axes that begin at zero steps; flat ones are thinner and have no markers."""
    for curve in curves:
        style = styles[curve.method]
        axes.plot(
            curve.steps,
            curve.values,
            color=style.colour,
            linestyle=style.dashes,
            marker=None if curve.flat or len(curve.steps) > MOST_MARKERS else style.marker,
            markersize=3,
            linewidth=1.2 if curve.flat else 1.6,
            clip_on=False,
        )
        if curve.band is not None:
            axes.fill_between(curve.steps, *curve.band, color=style.colour, alpha=0.15, linewidth=0)
    end = max((float(curve.steps[-1]) for curve in curves), default=0.0) or 1.0
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value, end)))


def name_lines(figure: Figure, axes: Axes, curves: Sequence[Curve], styles: Mapping[str, Style]) -> None:
    """Write each method's name at its line's end where there is room for all, else in a legend below."""
    box = axes.get_position()
    points = 72 * figure.get_size_inches()[1] * box.height
    names = [curve.method for curve in curves]
    longest = max(map(len, names))
    if len(curves) * _LABEL_POINTS > points or longest > _LONGEST_DIRECT_LABEL:
        legend(figure, axes, names, styles)
        return
    axes.set_position((box.x0, box.y0, 1 - box.x0 - (0.2 + 0.082 * longest) / WIDTH, box.height))
    full = axes.get_xlim()[1]
    at_edge = [curve for curve in curves if curve.steps[-1] > 0.98 * full]
    for curve in curves:
        if curve not in at_edge:
            end = (float(curve.steps[-1]), float(curve.values[-1]))
            axes.annotate(
                plain(curve.method), end, xytext=(6, 0), textcoords="offset points", va="center", size=8.5,
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
            plain(curve.method), (1, float(curve.values[-1])), xycoords=("axes fraction", "data"),
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


def legend(figure: Figure, axes: Axes, names: Sequence[str], styles: Mapping[str, Style]) -> None:
    """Put a legend under the axes and make the figure as much taller as it needs."""
    extra = legend_height(names, WIDTH)
    height = figure.get_size_inches()[1]
    box = axes.get_position()
    figure.set_size_inches(WIDTH, height + extra)
    grown = height + extra
    axes.set_position((box.x0, (box.y0 * height + extra) / grown, box.width, box.height * height / grown))
    draw_legend(figure, names, styles, WIDTH)


def legend_height(names: Sequence[str], width: float) -> float:
    """Inches that a legend of so many names takes in a figure of a width."""
    return 0.185 * -(-len(names) // _legend_columns(names, width)) + 0.08


def draw_legend(figure: Figure, names: Sequence[str], styles: Mapping[str, Style], width: float) -> None:
    """Draw a legend of lines at the lower edge of a figure."""
    lines = [
        matplotlib.lines.Line2D([], [], color=styles[name].colour, linestyle=styles[name].dashes) for name in names
    ]
    figure.legend(
        lines,
        [plain(name) for name in names],
        loc="lower center",
        ncols=_legend_columns(names, width),
        handlelength=2.2,
        columnspacing=1.2,
        bbox_to_anchor=(0.5, 0.0),
    )


def _legend_columns(names: Sequence[str], width: float) -> int:
    return max(1, min(len(names), int(width / (0.072 * max(map(len, names)) + 0.47))))


def plain(name: str) -> str:
    """A name as text: matplotlib takes dollars for mathematics, and a label with an underscore in front for none."""
    escaped = name.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def short_number(value: float, largest: float) -> str:
    """Format a tick of an axis that ends at `largest`."""
    if value == 0:
        return "0"
    if largest >= 2e6:
        return f"{value / 1e6:g}M"
    if largest >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:,.0f}" if largest >= 10 else f"{value:g}"


def clipped(name: str) -> str:
    """Cut a name to what fits beside a line of a plot."""
    return plain(name if len(name) <= 24 else name[:23] + "…")
