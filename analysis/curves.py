"""Sample-efficiency curves: the score of a method's runs at every evaluation point."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis.bootstrap import Estimate, estimate, estimate_series
from analysis.load import SuiteResults, task_scores
from analysis.statistics import Array, iqm
from wombet.streams import Streams

Axis = Literal["target", "total"]


@dataclass(frozen=True)
class Curve:
    """A method's score against steps, one estimate per evaluation point (P,).

    `steps` are target steps, or source and target steps together. `flat` says that the method never trains online:
    its one evaluation holds for every number of target steps, and the curve is that level over the others' range.
    """

    method: str
    steps: Array
    estimates: tuple[Estimate, ...]
    flat: bool

    @property
    def values(self) -> Array:
        """Point estimates (P,)."""
        return np.array([point.value for point in self.estimates])

    @property
    def band(self) -> tuple[Array, Array] | None:
        """Lower and upper ends of the intervals (P,), or None where some point has too few seeds for one."""
        if not all(point.has_interval for point in self.estimates):
            return None
        return (
            np.array([point.low for point in self.estimates], dtype=float),
            np.array([point.high for point in self.estimates], dtype=float),
        )


def evaluation_points(history: pd.DataFrame) -> pd.DataFrame:
    """Return every seed's last evaluation at each number of target steps: at 0, what online training starts from."""
    return history.groupby(["seed", "target_steps"], as_index=False).tail(1)


def at_target_steps(history: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Return for every seed its last evaluation with at most `steps` target steps, so that none has more experience."""
    return history[history["target_steps"] <= steps].groupby("seed", as_index=False).tail(1)


def common_target_steps(results: SuiteResults, pair: str) -> int | None:
    """Return the largest number of target steps at which every run of every online method of a pair was evaluated.

    None if no method of the pair trains online.
    """
    grids = []
    for method in results.methods:
        history = results.history(pair, method)
        for run in sorted(set(history["seed"])):
            grid = {int(steps) for steps in history[history["seed"] == run]["target_steps"]}
            if max(grid) > 0:
                grids.append(grid)
    return max(set.intersection(*grids), default=0) if grids else None


def learning_curves(results: SuiteResults, pair: str, axis: Axis, seed: int, resamples: int) -> list[Curve]:
    """Return the curve of every method of a pair that has a usable run, in the suite's order.

    Estimates are the IQM over seeds (the mean below 4) with 95 % intervals from 5 seeds on. On the axis `total` a point
    lies at the mean source steps of its seeds plus its target steps.
    """
    curves = []
    for method in results.methods:
        points = evaluation_points(results.history(pair, method))
        if points.empty:
            continue
        rng = Streams(seed, "curve").numpy(pair, method)
        curves.append(_curve(pair, method, points, axis, rng, resamples))
    return [_extended(curve, curves) for curve in curves]


def on_axis(curves: list[Curve], results: SuiteResults, pair: str, axis: Axis) -> list[Curve]:
    """Return curves against target steps with the same estimates on another axis."""
    moved = []
    for curve in curves:
        points = evaluation_points(results.history(pair, curve.method))
        moved.append(
            Curve(curve.method, _positions(points, axis), curve.estimates[: 1 if curve.flat else None], curve.flat)
        )
    return [_extended(curve, moved) for curve in moved]


def _curve(pair: str, method: str, points: pd.DataFrame, axis: Axis, rng: np.random.Generator, resamples: int) -> Curve:
    scores = points.pivot(index="seed", columns="target_steps", values="score")
    if scores.notna().to_numpy().all():
        datasets = points.drop_duplicates("seed").sort_values("seed")["dataset"]
        names = tuple(None if pd.isna(name) else str(name) for name in datasets)
        estimates = estimate_series(pair, scores.to_numpy(), names, iqm, rng, resamples)
    else:
        estimates = []
        for _, rows in points.groupby("target_steps"):
            own = task_scores(pair, rows)
            assert own is not None
            estimates.append(estimate([own], iqm, rng, resamples))
    flat = bool(points["target_steps"].max() == 0)
    return Curve(method, _positions(points, axis), tuple(estimates), flat=flat)


def _positions(points: pd.DataFrame, axis: Axis) -> Array:
    """The mean steps of the seeds at every evaluation point, (P,)."""
    groups = points.groupby("target_steps")
    steps = np.unique(points["target_steps"].to_numpy(dtype=np.float64))
    if axis == "target":
        return steps
    return steps + groups["source_steps"].mean().fillna(0).to_numpy(dtype=np.float64)


def _extended(curve: Curve, curves: list[Curve]) -> Curve:
    if not curve.flat:
        return curve
    start = float(curve.steps[0])
    end = max([float(other.steps[-1]) for other in curves], default=start)
    return Curve(curve.method, np.array([start, max(end, start)]), curve.estimates * 2, flat=True)
