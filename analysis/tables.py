"""Result tables: what each method ended with, per task pair and over all pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.aggregates import Backend, estimates_by, scores_of
from analysis.bootstrap import Estimate, estimate, estimate_improvement
from analysis.curves import at_target_steps, common_target_steps
from analysis.load import SuiteResults, task_scores
from analysis.statistics import TaskScores, iqm, mean, median, optimality_gap, point
from wombet.streams import Streams

REFERENCE = "sac"
Scale = Literal["score", "normalised"]


@dataclass(frozen=True)
class Row:
    """One method's line; numbers are None where there is no usable run to compute them from.

    `final` summarises the last evaluation of each run, which is the primary metric; `at_equal_steps` the evaluation at
    the table's common number of target steps. `pairs` are those with a usable run. Steps, returns and CPU seconds are
    means per run. `improvement` is the probability that a run ends above a run of the reference method.
    """

    method: str
    kind: str
    planned: int
    finished: int
    failed: int
    missing: int
    pairs: tuple[str, ...]
    final: Estimate | None
    mean: float | None
    median: float | None
    optimality_gap: float | None
    mean_return: float | None
    at_equal_steps: Estimate | None
    improvement: Estimate | None
    source_steps: float | None
    target_steps: float | None
    cpu_s: float | None


@dataclass(frozen=True)
class Table:
    """A table over one pair, or over several (`pair` None, every pair with the same weight).

    Over several pairs scores are `normalised` between each pair's anchors, so that none counts more for its scale,
    unless some pair has none that were measured beforehand.
    """

    title: str
    pair: str | None
    n_pairs: int
    equal_steps: int | None
    reference: str | None
    rows: tuple[Row, ...]
    scale: Scale = "score"


def suite_tables(results: SuiteResults, seed: int, resamples: int, backend: Backend = "wombet") -> list[Table]:
    """Return the table over all pairs, if there are several, and then the table of each pair.

    `backend` chooses whose bootstrap makes the intervals of final scores and of the probability of improvement.
    """
    tables = [_table(results, [pair], seed, resamples, backend) for pair in results.pairs]
    return [_table(results, results.pairs, seed, resamples, backend), *tables] if len(tables) > 1 else tables


def scale_over(results: SuiteResults, pairs: Sequence[str]) -> Scale:
    """Return the scale on which scores of these pairs are put together."""
    common = all(pair in results.anchors and results.anchors[pair].beforehand for pair in pairs)
    return "normalised" if len(pairs) > 1 and common else "score"


def _table(results: SuiteResults, pairs: list[str], seed: int, resamples: int, backend: Backend) -> Table:
    single = pairs[0] if len(pairs) == 1 else None
    scale = scale_over(results, pairs)
    steps = _shared_target_steps(results, pairs)
    reference = REFERENCE if REFERENCE in results.methods else None
    rows = []
    for method in results.methods:
        streams = Streams(seed, "table", single or "all pairs", method)
        rows.append(_row(results, pairs, method, scale, steps, reference, streams, resamples, backend))
    title = single or f"All task pairs ({len(pairs)}){', normalised' * (scale == 'normalised')}"
    return Table(title, single, len(pairs), steps, reference, tuple(rows), scale)


def _shared_target_steps(results: SuiteResults, pairs: list[str]) -> int | None:
    """The number of target steps at which every online method was evaluated, if the pairs have one and the same."""
    found = {common_target_steps(results, pair) for pair in pairs} - {None}
    return found.pop() if len(found) == 1 else None


def _row(
    results: SuiteResults,
    pairs: list[str],
    method: str,
    scale: Scale,
    steps: int | None,
    reference: str | None,
    streams: Streams,
    resamples: int,
    backend: Backend,
) -> Row:
    cells = results.runs[results.runs["pair"].isin(pairs) & (results.runs["method"] == method)]
    usable = cells[cells["usable"].astype(bool)]
    scores = scores_of(results, pairs, method, scale)
    single = len(pairs) == 1
    failed = int(
        (cells["state"] == "failed").sum() + ((cells["state"] == "done") & ~cells["usable"].astype(bool)).sum()
    )
    return Row(
        method=method,
        kind=str(results.manifest.get("method_kinds", {}).get(method, "")),
        planned=len(cells),
        finished=len(usable),
        failed=failed,
        missing=len(cells) - len(usable) - failed,
        pairs=tuple(task.task for task in scores),
        final=estimates_by(backend, scores, [iqm], streams, "final", resamples)[0] if scores else None,
        mean=point(mean, scores) if scores else None,
        median=_median(scores),
        optimality_gap=point(optimality_gap, scores) if scores else None,
        mean_return=float(usable["mean_return"].mean()) if single and len(usable) else None,
        at_equal_steps=_at_equal_steps(results, pairs, method, scale, steps, streams, resamples),
        improvement=_improvement(results, pairs, method, reference, streams, resamples, backend),
        source_steps=_mean_or_none(usable["source_steps"]),
        target_steps=_mean_or_none(usable["target_steps"]),
        cpu_s=_mean_or_none(usable["cpu_s"]),
    )


def _median(scores: list[TaskScores]) -> float | None:
    """The median over seeds for one pair; over pairs, the median of their means."""
    if not scores:
        return None
    return float(np.median(scores[0].values)) if len(scores) == 1 else point(median, scores)


def _at_equal_steps(
    results: SuiteResults,
    pairs: list[str],
    method: str,
    scale: Scale,
    steps: int | None,
    streams: Streams,
    resamples: int,
) -> Estimate | None:
    if steps is None:
        return None
    histories = [(pair, at_target_steps(results.history(pair, method), steps)) for pair in pairs]
    scores = [found for pair, history in histories if (found := task_scores(pair, history, scale)) is not None]
    return estimate(scores, iqm, streams.numpy("equal steps"), resamples) if scores else None


def _improvement(
    results: SuiteResults,
    pairs: list[str],
    method: str,
    reference: str | None,
    streams: Streams,
    resamples: int,
    backend: Backend,
) -> Estimate | None:
    if reference is None or method == reference:
        return None
    ours, theirs = scores_of(results, pairs, method), scores_of(results, pairs, reference)
    shared = {scores.task for scores in ours} & {scores.task for scores in theirs}
    ours = [scores for scores in ours if scores.task in shared]
    theirs = [scores for scores in theirs if scores.task in shared]
    if not shared:
        return None
    if backend == "rliable":
        from analysis.rliable_backend import rliable_improvement

        return rliable_improvement(ours, theirs, streams.integer("improvement"), resamples)
    return estimate_improvement(ours, theirs, streams.numpy("improvement"), resamples)


def _mean_or_none(column: "np.typing.ArrayLike") -> float | None:
    values = np.asarray(column, dtype=float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None
