"""What experience from the source task is worth: figures of transfer per task pair and method, with intervals.

All are computed per run from its evaluations and then summarised over seeds. A number of steps that a run did not reach
within its budget is censored: it counts as more than any budget, a median of steps is given only where at least half
of the runs reached it, and `reached` says how many did. Steps are those of evaluations; nothing is interpolated.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.anchors import FROM_SCRATCH
from analysis.bootstrap import distribution, enough_seeds, percentile_interval, ratio_interval, resample
from analysis.curves import evaluation_points
from analysis.load import SuiteResults
from analysis.statistics import Array, TaskScores, mean
from wombet.errors import InputError, nearest
from wombet.streams import Streams

SHARES = (0.5, 0.75, 0.9)
COLUMNS = ["pair", "method", "figure", "unit", "value", "low", "high", "seeds", "reached", "reference", "note"]


@dataclass(frozen=True)
class Progress:
    """Scores of a method's usable runs at the evaluations that all of them have, (seeds, points)."""

    seeds: tuple[int, ...]
    datasets: tuple[str | None, ...]
    steps: NDArray[np.int64]
    scores: Array

    @property
    def budget(self) -> int:
        """Target steps of the last common evaluation."""
        return int(self.steps[-1])

    def only(self, seeds: list[int]) -> "Progress":
        """Return the part of some seeds."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return Progress(tuple(seeds), tuple(self.datasets[row] for row in rows), self.steps, self.scores[rows])

    def up_to(self, steps: int) -> "Progress":
        """Return the part with at most so many target steps."""
        kept = self.steps <= steps
        return Progress(self.seeds, self.datasets, self.steps[kept], self.scores[:, kept])


def progress(results: SuiteResults, pair: str, method: str) -> Progress | None:
    """Return the learning curves of a cell, or None without a usable run.

    A method that never trains online has the one point at 0 steps.
    """
    points = evaluation_points(results.history(pair, method))
    if points.empty:
        return None
    table = points.pivot(index="seed", columns="target_steps", values="score").dropna(axis=1)
    if table.shape[1] == 0:
        return None
    by_seed = points.drop_duplicates("seed").set_index("seed")["dataset"]
    datasets = tuple(None if pd.isna(by_seed[seed]) else str(by_seed[seed]) for seed in table.index)
    seeds = tuple(int(seed) for seed in table.index)
    return Progress(seeds, datasets, table.columns.to_numpy(dtype=np.int64), table.to_numpy(dtype=float))


def transfer_table(
    results: SuiteResults, reference: str = FROM_SCRATCH, seed: int = 0, resamples: int = 10_000
) -> pd.DataFrame:
    """Return the transfer figures of every pair and method, one row a figure.

    Figures: `jump-start` (score at 0 target steps above the reference's, paired by seed), `dip` (deepest fall below the
    score at 0 steps), `dip, share of the anchor` (the same over the way from the pair's low anchor to its high one),
    `steps to recover` (from 0 until that score is reached again after the dip, 0 without one), `steps to N %` (of the
    way from the low anchor to the high one), `area ratio` (mean score above the random policy up to the last step at
    which both were evaluated, relative to the reference's), `final gain`, `negative transfer` (share of seeds that end
    below the reference, ties half) and `regret` (mean shortfall from 1 over the evaluations of the online phase). A
    note says where ends are compared after different numbers of target steps, and where an area ends before them.
    Raises InputError if the suite has no such reference.
    """
    if reference not in results.methods:
        raise InputError(
            f"suite {results.manifest['name']} has no reference {reference!r}{nearest(reference, results.methods)}"
        )
    rows: list[dict[str, object]] = []
    for pair in results.pairs:
        scratch = progress(results, pair, reference)
        for method in results.methods:
            own = progress(results, pair, method)
            if own is None:
                continue
            streams = Streams(seed, "transfer", pair, method)
            head = {"pair": pair, "method": method}
            alone = _alone(results, pair, own, streams, resamples)
            against = (
                []
                if scratch is None or method == reference
                else _against(results, pair, own, scratch, streams, resamples)
            )
            rows += [head | row for row in alone]
            rows += [head | row | {"reference": reference} for row in against]
    return pd.DataFrame(rows, columns=COLUMNS)


def _alone(
    results: SuiteResults, pair: str, own: Progress, streams: Streams, resamples: int
) -> list[dict[str, object]]:
    if own.budget == 0:
        return []
    start, scores = own.scores[:, :1], own.scores
    dip = np.maximum(start[:, 0] - scores.min(axis=1), 0.0)
    rows = [_mean("dip", "score", dip, own, streams, resamples)]
    if pair in results.anchors:
        anchors = results.anchors[pair]
        rows.append(_share("dip, share of the anchor", rows[0], anchors.score_at(1.0) - anchors.score_at(0.0)))
    rows.append(_steps("steps to recover", recovery_steps(own), own, streams, resamples))
    if pair in results.anchors:
        for share in SHARES:
            steps = first_steps(own, results.anchors[pair].score_at(share))
            rows.append(_steps(f"steps to {100 * share:.0f} %", steps, own, streams, resamples))
    rows.append(_mean("regret", "score", 1.0 - area(own), own, streams, resamples))
    return rows


def _against(
    results: SuiteResults, pair: str, own: Progress, scratch: Progress, streams: Streams, resamples: int
) -> list[dict[str, object]]:
    shared = [seed for seed in own.seeds if seed in scratch.seeds]
    if not shared:
        return []
    ours, theirs = own.only(shared), scratch.only(shared)
    final, base = ours.scores[:, -1], theirs.scores[:, -1]
    rows = [
        _mean("final gain", "score", final - base, ours, streams, resamples),
        _mean("negative transfer", "share", (final < base) + 0.5 * (final == base), ours, streams, resamples),
    ]
    if ours.budget != theirs.budget:
        rows = [row | {"note": f"after {ours.budget:,} target steps, against {theirs.budget:,}"} for row in rows]
    if ours.steps[0] == 0 and theirs.steps[0] == 0:
        jump = ours.scores[:, 0] - theirs.scores[:, 0]
        rows.insert(0, _mean("jump-start", "score", jump, ours, streams, resamples))
    steps = int(np.intersect1d(ours.steps, theirs.steps).max(initial=0))
    if steps > 0 and pair in results.anchors:
        low = results.anchors[pair].score_at(0.0)
        row = _ratio(area(ours.up_to(steps)) - low, area(theirs.up_to(steps)) - low, ours, streams, resamples)
        if steps < max(ours.budget, theirs.budget) and "note" not in row:
            row["note"] = f"over the first {steps:,} target steps"
        rows.append(row)
    return rows


def area(own: Progress) -> Array:
    """Return every seed's mean score over the target steps of its curve (trapezoids), (seeds,)."""
    if own.budget == own.steps[0]:
        return own.scores[:, -1]
    return np.trapezoid(own.scores, own.steps, axis=1) / (own.budget - own.steps[0])


def first_steps(own: Progress, score: float) -> Array:
    """Return the target steps of every seed's first evaluation with at least a score, infinite if none, (seeds,)."""
    return _first(own.scores >= score, own.steps)


def recovery_steps(own: Progress) -> Array:
    """Return the target steps until every seed is back at its score at the start after its deepest fall, (seeds,)."""
    start, deepest = own.scores[:, :1], own.scores.argmin(axis=1)
    after = np.arange(own.steps.size) >= deepest[:, None]
    return _first(after & (own.scores >= start), own.steps)


def _first(hit: NDArray[np.bool_], steps: NDArray[np.int64]) -> Array:
    return np.where(hit.any(axis=1), steps[hit.argmax(axis=1)].astype(float), np.inf)


def _scores(values: Array, own: Progress) -> list[TaskScores]:
    return [TaskScores("seeds", values, own.datasets)]


def _mean(name: str, unit: str, values: Array, own: Progress, streams: Streams, resamples: int) -> dict[str, object]:
    scores = _scores(np.asarray(values, dtype=float), own)
    row: dict[str, object] = {"figure": name, "unit": unit, "value": float(np.mean(values)), "seeds": len(own.seeds)}
    if enough_seeds(scores):
        low, high = percentile_interval(distribution(mean, scores, streams.numpy(name), resamples))
        row |= {"low": float(low), "high": float(high)}
    return row


def _share(name: str, row: dict[str, Any], whole: float) -> dict[str, object]:
    """The same figure, with the same resamples, as a share of something."""
    scaled = {key: row[key] / whole for key in ("value", "low", "high") if key in row}
    return row | scaled | {"figure": name, "unit": "share"}


def _steps(name: str, steps: Array, own: Progress, streams: Streams, resamples: int) -> dict[str, object]:
    """Summarise steps by the median; an end of the interval that is not reached within the budget is infinite."""
    reached, n = int(np.isfinite(steps).sum()), steps.size
    row: dict[str, object] = {"figure": name, "unit": "target steps", "seeds": n, "reached": reached}
    row["value"] = censored_median(steps[None])[0]
    if reached < n:
        row["note"] = f"{reached} of {n} within {own.budget:,} steps"
    scores = _scores(np.zeros(n), own)
    if enough_seeds(scores):
        drawn = resample(scores, streams.numpy(name), resamples)
        medians = np.sort(_weighted_medians(steps, drawn))
        tail = int(np.floor(0.025 * resamples))
        row |= {"low": float(medians[tail]), "high": float(medians[resamples - 1 - tail])}
    return row


def censored_median(steps: Array) -> Array:
    """Return the lower median along the last axis, which is infinite where fewer than half are finite, (B,)."""
    ordered = np.sort(steps, axis=-1)
    return ordered[..., (steps.shape[-1] - 1) // 2]


def _weighted_medians(steps: Array, drawn: Array) -> Array:
    order = np.argsort(steps, kind="stable")
    counted = np.cumsum(drawn[:, order], axis=1)
    place = ((counted[:, -1] - 1) // 2)[:, None]
    return steps[order][(counted > place).argmax(axis=1)]


def _ratio(ours: Array, theirs: Array, own: Progress, streams: Streams, resamples: int) -> dict[str, object]:
    """The ratio of mean areas above the random policy; no interval where the reference's is not clearly positive."""
    row: dict[str, object] = {"figure": "area ratio", "unit": "ratio", "seeds": len(own.seeds)}
    if theirs.mean() <= 0:
        return row | {"note": "the reference has no area above the random policy"}
    row["value"] = float(ours.mean() / theirs.mean())
    scores = _scores(ours, own)
    if enough_seeds(scores):
        bounds = ratio_interval(scores[0], theirs, streams.numpy("area ratio"), resamples)
        if bounds is None:
            return row | {"note": "no interval: in some resamples the reference has no area above the random policy"}
        row |= {"low": bounds[0], "high": bounds[1]}
    return row


def budget_table(results: SuiteResults, method: str = "wombet", seed: int = 0, resamples: int = 10_000) -> pd.DataFrame:
    """Return how much of each other method's target steps a method needs to reach that method's final mean score.

    `ratio` is the first evaluation at which the mean curve over seeds reaches it, over the other's budget: infinite
    where it never does, 0 where it does before any step; source steps are not in it. Seeds that both finished are
    resampled in pairs. Raises InputError for a method that the suite does not have.
    """
    if method not in results.methods:
        raise InputError(f"suite {results.manifest['name']} has no method {method!r}{nearest(method, results.methods)}")
    rows = []
    for pair in results.pairs:
        own = progress(results, pair, method)
        for other in results.methods:
            theirs = progress(results, pair, other)
            if own is None or theirs is None or other == method or theirs.budget == 0:
                continue
            shared = [seed_ for seed_ in own.seeds if seed_ in theirs.seeds]
            if shared:
                rng = Streams(seed, "budget", pair, method).numpy(other)
                values = _budget(own.only(shared), theirs.only(shared), rng, resamples)
                rows.append([pair, method, other, *values, len(shared)])
    columns = [
        "pair",
        "method",
        "baseline",
        "baseline_steps",
        "steps",
        "ratio",
        "low",
        "high",
        "reached_share",
        "seeds",
    ]
    return pd.DataFrame(rows, columns=columns)


def _budget(own: Progress, theirs: Progress, rng: np.random.Generator, resamples: int) -> list[float | None]:
    def needed(weights: Array) -> Array:
        curve = np.einsum("bn,np->bp", weights, own.scores) / weights.sum(axis=1, keepdims=True)
        goal = np.einsum("bn,n->b", weights, theirs.scores[:, -1]) / weights.sum(axis=1)
        return _first(curve >= goal[:, None], own.steps)

    steps = float(needed(np.ones((1, len(own.seeds))))[0])
    low = high = share = None
    scores = _scores(np.zeros(len(own.seeds)), own)
    if enough_seeds(scores):
        samples = np.sort(needed(resample(scores, rng, resamples)) / theirs.budget)
        tail = int(np.floor(0.025 * resamples))
        low, high = float(samples[tail]), float(samples[resamples - 1 - tail])
        share = float(np.isfinite(samples).mean())
    return [theirs.budget, steps, steps / theirs.budget, low, high, share]
