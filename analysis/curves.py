"""Learning curves: the score of a method's runs at every evaluation point, against what it cost to get there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from analysis.bootstrap import estimate, estimate_series
from analysis.load import SuiteResults, task_scores
from analysis.statistics import Array, iqm
from wombet.errors import InputError, nearest
from wombet.streams import Streams

Axis = Literal["target", "total", "updates", "cpu"]
Band = Literal["ci", "std"]
AXIS_LABELS: dict[Axis, str] = {
    "target": "target steps",
    "total": "source + target steps",
    "updates": "gradient updates",
    "cpu": "CPU seconds",
}

_RUN = ["pair", "method", "seed"]
_ENDS = ["source_steps", "target_steps", "mean_return", "return_std", "score", "normalised", "normalised_std"]


@dataclass(frozen=True)
class Curve:
    """A method's score at its evaluation points: steps and values (P,), and the lower and upper ends of a band.

    `steps` are in the unit of the axis. There is no band where some point has too few seeds for one. `flat` says that
    the method never trains online: its one evaluation holds for every number of target steps, and the curve is that
    level from what it cost to the end of the others.
    """

    method: str
    steps: Array
    values: Array
    band: tuple[Array, Array] | None
    flat: bool


def check_band(name: str) -> Band:
    """Return the name of a band as such; raises InputError for another."""
    for band in get_args(Band):
        if name == band:
            return band
    raise InputError(f"--band is {name!r}{nearest(name, get_args(Band))}; std is the paper's, ci a 95 % interval")


def evaluation_points(history: pd.DataFrame) -> pd.DataFrame:
    """Return every seed's last evaluation at each number of target steps: at 0, what online training starts from."""
    return history.drop_duplicates(["seed", "target_steps"], keep="last")


def at_target_steps(history: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Return for every seed its last evaluation with at most `steps` target steps, so that none has more experience."""
    return history[history["target_steps"] <= steps].drop_duplicates("seed", keep="last")


def stopped_at(results: SuiteResults, steps: Mapping[str, int]) -> SuiteResults:
    """Return results whose runs end with their last evaluation of at most so many target steps, by pair."""
    rows = results.evaluations[results.evaluations["usable"].astype(bool)].sort_values("evaluation")
    rows = rows[rows["target_steps"] <= rows["pair"].map(steps)]
    rows = rows.drop_duplicates(_RUN, keep="last").set_index(_RUN)[_ENDS]
    ends = rows.reindex(pd.MultiIndex.from_frame(results.runs[_RUN])).set_axis(results.runs.index)
    kept = results.runs["usable"].astype(bool) & ends["score"].notna()
    return replace(results, runs=results.runs.assign(usable=kept, **{name: ends[name] for name in _ENDS}))


def common_target_steps(
    results: SuiteResults, pair: str, methods: Sequence[str] | None = None, limit: int | None = None
) -> int | None:
    """Return the largest number of target steps, up to `limit`, at which every run of a pair was evaluated.

    Of all methods, or the named ones; those that never train online do not count. None if all are such.
    """
    grids = []
    for method in results.methods if methods is None else methods:
        history = results.history(pair, method)
        for _, steps in history.groupby("seed")["target_steps"]:
            grid = {int(number) for number in steps}
            if max(grid) > 0:
                grids.append({number for number in grid if limit is None or number <= limit})
    return max(set.intersection(*grids), default=0) if grids else None


def equal_target_steps(results: SuiteResults, methods: Sequence[str], limit: int) -> dict[str, int]:
    """Return by pair the largest number of target steps, up to `limit`, at which all of the methods were evaluated.

    0 where none of them trains online. Raises InputError for a pair where they share no evaluation by then.
    """
    common = {pair: common_target_steps(results, pair, methods, limit) for pair in results.pairs}
    for pair, steps in common.items():
        if steps == 0 and limit > 0:
            raise InputError(
                f"{', '.join(methods)} were not all evaluated at one number of target steps up to {limit:,} on {pair}; "
                "give a larger --target-steps, or compare them at the end"
            )
    return {pair: steps or 0 for pair, steps in common.items()}


def learning_curves(
    results: SuiteResults, pair: str, axis: Axis, seed: int, resamples: int, band: Band = "ci"
) -> list[Curve]:
    """Return the curve of every method of a pair that has a usable run, in the suite's order.

    With the band `ci`, values are the IQM over seeds (the mean below 4) with 95 % intervals from 5 seeds on; with `std`
    the mean, and one standard deviation over seeds to either side from 2 seeds on. On another axis than `target` a
    point lies at the mean of what its seeds had cost by then; a method whose runs did not record that is left out.
    """
    curves = []
    for method in results.methods:
        points = evaluation_points(results.history(pair, method))
        if points.empty:
            continue
        if band == "std":
            values, ends = _spread(points)
        else:
            rng = Streams(seed, "curve").numpy(pair, method)
            values, ends = _interval(pair, points, rng, resamples)
        flat = bool(points["target_steps"].max() == 0)
        curves.append(Curve(method, _positions(points, "target"), values, ends, flat))
    target = [_extended(curve, curves) for curve in curves]
    return target if axis == "target" else on_axis(target, results, pair, axis)


def on_axis(curves: list[Curve], results: SuiteResults, pair: str, axis: Axis) -> list[Curve]:
    """Return curves against target steps with the same values on another axis; those without costs are left out."""
    moved = []
    for curve in curves:
        steps = _positions(evaluation_points(results.history(pair, curve.method)), axis)
        if np.isfinite(steps).all():
            moved.append(replace(_first(curve) if curve.flat else curve, steps=steps))
    return [_extended(curve, moved) for curve in moved]


def _interval(
    pair: str, points: pd.DataFrame, rng: np.random.Generator, resamples: int
) -> tuple[Array, tuple[Array, Array] | None]:
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
    values = np.array([point.value for point in estimates])
    if not all(point.has_interval for point in estimates):
        return values, None
    low, high = (np.array([getattr(point, end) for point in estimates], dtype=float) for end in ("low", "high"))
    return values, (low, high)


def _spread(points: pd.DataFrame) -> tuple[Array, tuple[Array, Array] | None]:
    by_steps = points.groupby("target_steps")["score"]
    mean = np.asarray(by_steps.mean(), dtype=np.float64)
    std = np.asarray(by_steps.std(ddof=1), dtype=np.float64)
    return mean, (mean - std, mean + std) if np.isfinite(std).all() else None


def _positions(points: pd.DataFrame, axis: Axis) -> Array:
    """The mean over seeds of what every evaluation point had cost, (P,); not finite where that was not recorded."""
    steps = np.unique(points["target_steps"].to_numpy(dtype=np.float64))
    if axis == "target":
        return steps
    columns = {"total": "source_steps", "updates": "updates", "cpu": "cpu_s"}
    costs = points[columns[axis]].astype(float).groupby(points["target_steps"]).mean()
    spent = np.asarray(costs, dtype=np.float64)
    return steps + np.nan_to_num(spent) if axis == "total" else spent


def _first(curve: Curve) -> Curve:
    """The one evaluation of a flat curve."""
    band = None if curve.band is None else (curve.band[0][:1], curve.band[1][:1])
    return replace(curve, steps=curve.steps[:1], values=curve.values[:1], band=band)


def _extended(curve: Curve, curves: list[Curve]) -> Curve:
    if not curve.flat:
        return curve
    start = float(curve.steps[0])
    end = max([float(other.steps[-1]) for other in curves], default=start)
    band = None if curve.band is None else (np.repeat(curve.band[0], 2), np.repeat(curve.band[1], 2))
    return replace(curve, steps=np.array([start, max(end, start)]), values=np.repeat(curve.values, 2), band=band)
