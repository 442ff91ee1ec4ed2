"""Aggregate statistics of scores: tasks weigh equally, seeds within a task too, and unequal numbers are never cut.

Every statistic is a function of pooled scores and of weights, one row of weights per bootstrap resample, so that a
point estimate and all its resamples are the same code. With as many seeds in each task the weights are ones and the
values are those of rliable (Agarwal et al. 2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wombet.errors import InputError

Array = NDArray[np.float64]
TRIM = 0.25
_FEW_RESAMPLES = 64


@dataclass(frozen=True)
class TaskScores:
    """The scores of one method on one task: one value per seed, and the dataset each run was fed (None: its own).

    Raises InputError if there is no score, a score is not finite, or the datasets do not match the scores.
    """

    task: str
    values: Array
    datasets: tuple[str | None, ...] = field(default=())

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "datasets", tuple(self.datasets) or (None,) * values.size)
        if values.ndim != 1 or values.size == 0:
            raise InputError(f"the scores of task {self.task!r} must be a non-empty list of numbers, one per seed")
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"score {bad} of task {self.task!r} is {values[bad]}; statistics need finite scores, so leave that run "
                "out and count it as failed"
            )
        if len(self.datasets) != values.size:
            raise InputError(f"task {self.task!r} has {values.size} scores but {len(self.datasets)} dataset names")

    @property
    def n_datasets(self) -> int:
        """Number of independent units: runs that share a dataset count once."""
        named = [name for name in self.datasets if name is not None]
        return len(set(named)) + len(self.datasets) - len(named)


Scores = Sequence[TaskScores]


def pool(scores: Scores) -> tuple[Array, NDArray[np.int64]]:
    """Return all scores in one vector (N,), and for each the index of its task (N,)."""
    if not scores:
        raise InputError("there are no scores to summarise; give at least one task with one score")
    values = np.concatenate([task.values for task in scores])
    tasks = np.repeat(np.arange(len(scores)), [task.values.size for task in scores])
    return values, tasks


def balanced_weights(multiplicities: NDArray[np.int64] | Array, tasks: NDArray[np.int64]) -> Array:
    """Turn how often each score was drawn (B, N) into weights (B, N) that sum to N, the same sum in every task.

    As many seeds in each task give exactly the multiplicities.
    """
    n_scores, n_tasks = tasks.size, int(tasks.max()) + 1
    members = (tasks[:, None] == np.arange(n_tasks)).astype(np.float64)
    counts = np.asarray(multiplicities, dtype=np.float64)
    scale = n_scores / n_tasks / (counts @ members)
    return counts if (scale == 1).all() else counts * scale[:, tasks]


def weighted_sums(weights: Array, values: Array) -> Array:
    """Return the sum of values (N,) under every row of weights (B, N).

    Not a matrix product: the last digits of those depend on the number of threads of the linear algebra library.
    """
    return np.einsum("bn,n->b", weights, values)


def trimmed(n_scores: int) -> int:
    """Number of scores that a 25 % trim takes from each end: the floor, as scipy's trim_mean and rliable do."""
    return int(TRIM * n_scores)


def iqm(values: Array, weights: Array, tasks: NDArray[np.int64]) -> Array:
    """Interquartile mean (B,): the mean of the middle half of the pooled weight; with N < 4 nothing is trimmed."""
    order = np.argsort(values, kind="stable")
    cut = trimmed(values.size)
    kept = weights.T[order]
    total = _clip_sums(kept, np.array(float(cut)), np.array(float(values.size - cut)))
    return np.einsum("nb,n->b", kept, values[order]) / total


def _clip_sums(rows: Array, low: Array, high: Array) -> Array:
    """Replace rows (N, B) by what each adds to their running sum within [low, high]; return the whole of it (B,)."""
    if rows.shape[1] < _FEW_RESAMPLES:
        sums = np.cumsum(rows, axis=0).clip(low, high)
        rows[:] = np.diff(sums, axis=0, prepend=low)
        return np.asarray(sums[-1] - low)
    # Row by row all of it stays in the cache: down the columns of many resamples, cumsum is five times slower.
    reached = np.zeros(rows.shape[1])
    before, after = np.full_like(reached, low), np.empty_like(reached)
    for row in rows:
        np.add(reached, row, out=reached)
        reached.clip(low, high, out=after)
        np.subtract(after, before, out=row)
        before, after = after, before
    return before - low


def mean(values: Array, weights: Array, tasks: NDArray[np.int64]) -> Array:
    """Mean over tasks of the mean over seeds (B,)."""
    return weighted_sums(weights, values) / values.size


def median(values: Array, weights: Array, tasks: NDArray[np.int64]) -> Array:
    """Median over tasks of the mean over seeds (B,), as rliable defines it; one task: its mean."""
    return np.median(_task_means(values, weights, tasks), axis=1)


def optimality_gap(values: Array, weights: Array, tasks: NDArray[np.int64]) -> Array:
    """Mean amount by which scores fall short of 1 (B,); scores above 1 count as 1."""
    return 1.0 - weighted_sums(weights, np.minimum(values, 1.0)) / values.size


def _task_means(values: Array, weights: Array, tasks: NDArray[np.int64]) -> Array:
    members = (tasks == np.arange(int(tasks.max()) + 1)[:, None]).astype(np.float64)
    if weights.flags.f_contiguous and len(weights) > 1:
        # Summed run by run, so that the zeros of other tasks change nothing and can be left out.
        parts = [(weights[:, own > 0], values[own > 0]) for own in members]
        sums = [weighted_sums(part, scores) / part.sum(axis=1) for part, scores in parts]
    else:
        sums = [weighted_sums(weights, own * values) / weighted_sums(weights, own) for own in members]
    return np.stack(sums, axis=1)


Statistic = Callable[[Array, Array, NDArray[np.int64]], Array]


def point(statistic: Statistic, scores: Scores) -> float:
    """Return a statistic of the scores as they are, every seed drawn once."""
    values, tasks = pool(scores)
    once = np.ones((1, values.size), dtype=np.int64)
    return float(statistic(values, balanced_weights(once, tasks), tasks)[0])


def profile(values: Array, weights: Array, thresholds: Array) -> Array:
    """Return the share of runs whose score is above each threshold, (B, len(thresholds)); tasks weigh equally."""
    above = (values > thresholds[:, None]).astype(np.float64)
    return np.stack([weighted_sums(weights, own) for own in above], axis=1) / values.size


def wins(x: Array, y: Array) -> Array:
    """Return for all pairs of scores (len(x), len(y)) whether x is higher: 1, 0, and 0.5 for a tie."""
    return (x[:, None] > y).astype(np.float64) + 0.5 * (x[:, None] == y)


def probability_of_improvement(x: Scores, y: Scores) -> float:
    """Return the probability that a run of x scores higher than a run of y, averaged over tasks; ties count half.

    Raises InputError unless both have the same tasks in the same order.
    """
    check_same_tasks(x, y)
    return float(np.mean([wins(a.values, b.values).mean() for a, b in zip(x, y, strict=True)]))


def check_same_tasks(x: Scores, y: Scores) -> None:
    """Raise InputError unless two methods have scores on the same tasks in the same order."""
    if [task.task for task in x] != [task.task for task in y]:
        raise InputError(
            f"the two methods must have the same tasks in the same order, but have {[task.task for task in x]} and "
            f"{[task.task for task in y]}"
        )
