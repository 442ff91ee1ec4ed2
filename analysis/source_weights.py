"""How much each of several source tasks weighed while the target was learned, for methods that record it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import charts
from analysis.drawing import WIDTH, house_style, saved
from analysis.load import SuiteResults
from analysis.palette import Style, method_styles
from analysis.sections import Section
from suites.store import read_rows

if TYPE_CHECKING:
    from suites.store import Store

KIND = "multi-source"
PREFIX = "weight_"
COLUMNS = ["pair", "method", "seed", "source", "target_steps", "weight"]


def weight_frame(store: "Store", results: SuiteResults) -> pd.DataFrame:
    """Return w_k(t) of every usable run of a multi-source method: a row per source and recorded number of steps."""
    runs = results.runs[results.runs["usable"].astype(bool) & (results.runs["kind"] == KIND)]
    rows = [
        (run.pair, run.method, run.seed, name.removeprefix(PREFIX), row["target_steps"], weight)
        for run in runs.itertuples()
        for row in read_rows(store.run_folder(str(run.folder)) / "train.jsonl")
        for name, weight in row.items()
        if name.startswith(PREFIX) and row["phase"] == "online"
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def mean_weights(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over seeds of one method's weights on one pair: sources are columns, steps of all seeds rows."""
    by_seed = frame.pivot_table(index="target_steps", columns=["source", "seed"], values="weight").dropna()
    return by_seed.T.groupby(level="source", sort=False).mean().T


def weights_section(frame: pd.DataFrame, formats: Sequence[str]) -> Section:
    """The weights of every pair as a part of the report; empty where no method learns from several sources."""
    drawn = [
        charts.Figure(
            f"{charts.file_name(str(pair))}-weights",
            f"{pair}: weight of each source task over target steps; thin lines are seeds, thick ones their mean.",
            weights_figure(own, formats),
        )
        for pair, own in frame.groupby("pair")
    ]
    said = ("How much each source task's knowledge counts, by the similarity that the method itself estimates.",)
    return Section("weights", "Weights of several source tasks", said if drawn else (), (), tuple(drawn))


def weights_figure(frame: pd.DataFrame, formats: Sequence[str] = ("svg",)) -> dict[str, bytes]:
    """Draw the weights of the methods of one pair, a panel each: a thin line for a seed, a thick one for their mean."""
    methods, sources = list(dict.fromkeys(frame["method"])), list(dict.fromkeys(frame["source"]))
    styles, rows = method_styles(sources), -(-len(methods) // 2)
    with house_style():
        height = 0.9 + 1.6 * rows
        figure = Figure(figsize=(WIDTH, height))
        panels = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
        figure.subplots_adjust(
            left=0.11, right=0.97, bottom=0.8 / height, top=1 - 0.25 / height, hspace=0.4, wspace=0.12
        )
        for axes, method in zip(panels, methods, strict=False):
            _draw_method(axes, method, frame[frame["method"] == method], styles)
        for axes in panels[len(methods) :]:
            axes.set_visible(False)
        figure.supxlabel("target steps", y=0.38 / height, fontsize=9)
        lines = [panels[0].plot([], [], color=styles[source].colour, linewidth=2)[0] for source in sources]
        figure.legend(lines, sources, loc="lower center", ncols=len(sources), bbox_to_anchor=(0.5, 0.0))
        return saved(figure, formats)


def _draw_method(axes: Axes, method: str, frame: pd.DataFrame, styles: dict[str, Style]) -> None:
    mean = mean_weights(frame)
    for (source, _), own in frame.groupby(["source", "seed"], sort=False):
        axes.plot(own["target_steps"], own["weight"], color=styles[str(source)].colour, alpha=0.35, linewidth=0.7)
    for source in mean.columns:
        axes.plot(mean.index, mean[source], color=styles[source].colour, linewidth=1.8)
    axes.set_title(method, fontsize=9, loc="left")
    axes.set_ylim(0, 1)
