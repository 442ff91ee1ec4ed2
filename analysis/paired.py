"""Differences between two methods over the same pairs and seeds, and what can be concluded from them.

A difference is that of the final scores of two runs with one seed on one task pair. Differences that rest on the same
generated dataset are one unit: they are drawn together, flipped together, and counted once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray

from analysis.bootstrap import Estimate, estimate
from analysis.load import SuiteResults
from analysis.statistics import Array, TaskScores, mean
from analysis.tables import Scale

ALPHA, POWER = 0.05, 0.8
MAX_EXACT_UNITS = 16
_GRID = 2**15


@dataclass(frozen=True)
class Differences:
    """Paired differences a - b of final scores (N,), with the task, seed and unit of each (N,), and both scores (N,).

    Tasks weigh equally and seeds within a task too, so that `value` is the mean over tasks of mean differences.
    """

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    units: tuple[str, ...]
    a: Array
    b: Array

    @property
    def values(self) -> Array:
        """The differences (N,)."""
        return self.a - self.b

    @property
    def task_names(self) -> list[str]:
        """Tasks in order of appearance."""
        return list(dict.fromkeys(self.tasks))

    @property
    def weights(self) -> Array:
        """What each difference counts (N,); the sum is 1."""
        size = Counter(self.tasks)
        return np.array([1 / (size[task] * len(size)) for task in self.tasks])

    @property
    def value(self) -> float:
        """The mean over tasks of the mean difference over seeds."""
        return float(self.weights @ self.values)

    @property
    def n_seeds(self) -> int:
        """Smallest number of seeds on any task."""
        return min(Counter(self.tasks).values())

    @property
    def n_units(self) -> int:
        """Number of independent units."""
        return len(set(self.units))

    @property
    def n_strata(self) -> int:
        """Number of groups of tasks that have no unit in common."""
        units_of: dict[str, set[str]] = {}
        for task, unit in zip(self.tasks, self.units, strict=True):
            units_of.setdefault(task, set()).add(unit)
        groups: list[set[str]] = []
        for own in units_of.values():
            touching = [group for group in groups if group & own]
            groups = [*(group for group in groups if not group & own), own.union(*touching)]
        return len(groups)

    def unit_sums(self, values: Array) -> Array:
        """Return the weighted sums of values (N,) by unit, (units,)."""
        index = {unit: number for number, unit in enumerate(dict.fromkeys(self.units))}
        rows = [index[unit] for unit in self.units]
        return np.bincount(rows, self.weights * values, minlength=len(index)).astype(np.float64)

    def scores(self) -> list[TaskScores]:
        """Return the differences as scores, for the bootstrap that knows of shared datasets."""
        rows_of: dict[str, list[int]] = {}
        for row, task in enumerate(self.tasks):
            rows_of.setdefault(task, []).append(row)
        own = []
        for task, rows in rows_of.items():
            own.append(TaskScores(task, self.values[rows], tuple(self.units[row] for row in rows)))
        return own


def paired_differences(
    results: SuiteResults,
    a: str,
    b: str,
    pairs: Sequence[str],
    seeds: int | None = None,
    scale: Scale = "score",
) -> Differences | None:
    """Return the differences of two methods on the seeds that both finished (only the first `seeds`); None if none."""
    rows = []
    for pair in pairs:
        ours, theirs = results.finals(pair, a, scale), results.finals(pair, b, scale)
        for seed in ours:
            if seed in theirs and (seeds is None or seed < seeds):
                unit = unit_of(pair, seed, ours[seed][1], theirs[seed][1])
                rows.append((pair, seed, unit, ours[seed][0], theirs[seed][0]))
    if not rows:
        return None
    tasks, seed_numbers, units, own, other = zip(*rows, strict=True)
    return Differences(tasks, seed_numbers, units, np.array(own, dtype=float), np.array(other, dtype=float))


def unit_of(pair: str, seed: int, *datasets: str | None) -> str:
    """Return the name of the independent unit of runs with one seed: the datasets they were fed, or pair and seed."""
    fed = sorted({name for name in datasets if name is not None})
    return " + ".join(fed) if fed else f"{pair}, seed {seed}"


def interval(differences: Differences, rng: np.random.Generator, resamples: int) -> Estimate:
    """Return the mean difference with its paired bootstrap interval; below 5 seeds on some task without one."""
    return estimate(differences.scores(), mean, rng, resamples)


def attainable(n_units: int, alpha: float = ALPHA) -> bool:
    """Whether the sign-flip test of so many units can reach a p-value of alpha: two-sided, from 6 on for 0.05."""
    return 2.0 ** (1 - n_units) <= alpha


def permutation_p(differences: Differences) -> float:
    """Return the two-sided p-value of the sign-flip test of no difference, flipping whole units.

    All flips are enumerated up to 16 units. Beyond, their distribution is built unit by unit on a grid of 2^15 steps
    (Pagano and Tritchler 1983), which takes no draws and knows small p-values as well as large ones.
    """
    sums = differences.unit_sums(differences.values)
    if sums.size <= MAX_EXACT_UNITS:
        observed = abs(sums.sum()) * (1 - 1e-12)
        return float((np.abs(_all_signs(sums.size) @ sums) >= observed).mean())
    if not sums.any():
        return 1.0
    steps = np.rint(sums * (_GRID / np.abs(sums).sum())).astype(np.int64)
    return _convolved_p(steps)


def _all_signs(n: int) -> Array:
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return (2.0 * bits - 1).astype(np.float64)


def _convolved_p(steps: NDArray[np.int64]) -> float:
    """The chance that whole numbers with random signs add to at least what they add to as they are, either side."""
    total, observed = int(np.abs(steps).sum()), abs(int(steps.sum()))
    # A sum of what is negative is as likely as the total less that, and only the tail is wanted: the rest is left out.
    tail = (total - observed) // 2
    lower = np.zeros(tail + 1)
    lower[0] = 1.0
    reach = 0
    for step in np.abs(steps).tolist():
        flipped = 0.5 * lower[: max(0, min(reach, tail - step) + 1)]
        lower[: reach + 1] *= 0.5
        reach = min(tail, reach + step)
        lower[step : step + flipped.size] += flipped
    return float(min(1.0, lower.sum() + lower[::-1].copy().sum()))


def holm(p_values: Sequence[float]) -> Array:
    """Return p-values adjusted for all of them together (Holm 1979); rejecting below alpha bounds the chance of any
    false rejection by alpha."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty(p.size, dtype=np.float64)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def standard_error(differences: Differences) -> tuple[float, int]:
    """Return the standard error of the mean difference, clustered by unit, and its degrees of freedom.

    With one task and independent seeds it is s / sqrt(n) with n - 1 degrees; NaN without a degree of freedom.
    """
    residuals = _centred(differences.values, differences.tasks)
    units, freedom = differences.n_units, differences.n_units - differences.n_strata
    if freedom < 1:
        return float("nan"), freedom
    return float(np.sqrt((differences.unit_sums(residuals) ** 2).sum() * units / freedom)), freedom


def t_test_p(differences: Differences) -> float:
    """Return the two-sided p-value of the t-test on units; NaN without a degree of freedom."""
    error, freedom = standard_error(differences)
    if not np.isfinite(error):
        return float("nan")
    if error == 0:
        return 0.0 if differences.value else 1.0
    return float(2 * scipy.stats.t.sf(abs(differences.value) / error, freedom))


def equivalence_p(differences: Differences, margin: float) -> float:
    """Return the p-value of two one-sided t-tests that the difference lies outside of +-margin (Schuirmann 1987)."""
    error, freedom = standard_error(differences)
    if not np.isfinite(error):
        return float("nan")
    slack = margin - abs(differences.value)
    if error == 0:
        return 0.0 if slack > 0 else 1.0
    return float(scipy.stats.t.sf(slack / error, freedom))


def power_of_t_test(effect: float, freedom: int, alpha: float = ALPHA) -> float:
    """Return the power of a two-sided t-test for a true difference of `effect` standard errors."""
    # The square of a noncentral t is a noncentral F, which scipy computes also where the lower tail of t is lost.
    return float(scipy.stats.ncf.sf(scipy.stats.t.isf(alpha / 2, freedom) ** 2, 1, freedom, effect**2))


def detectable_difference(differences: Differences, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest true difference that a t-test on these units finds with the given power; NaN without one."""
    error, freedom = standard_error(differences)
    if not np.isfinite(error):
        return float("nan")
    return error * _effect_found(freedom, alpha, power)


@lru_cache(maxsize=1024)
def _effect_found(freedom: int, alpha: float, power: float) -> float:
    """The true difference, in standard errors, that a t-test finds with a power."""
    upper = 2.0
    while power_of_t_test(upper, freedom, alpha) < power:
        upper *= 2
    return float(scipy.optimize.brentq(lambda effect: power_of_t_test(effect, freedom, alpha) - power, 1e-9, upper))


def pairing_correlation(differences: Differences) -> float:
    """Return the correlation of both methods' scores over seeds within tasks: what pairing gains; NaN if undefined."""
    centred = [_centred(values, differences.tasks) for values in (differences.a, differences.b)]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else float("nan")


def _centred(values: Array, tasks: Sequence[str]) -> Array:
    """Values less the mean of their task."""
    codes = np.unique(np.asarray(tasks), return_inverse=True)[1]
    return values - (np.bincount(codes, values) / np.bincount(codes))[codes]
