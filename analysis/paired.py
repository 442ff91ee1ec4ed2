"""Differences between two methods over the same pairs and seeds, and what can be concluded from them.

A difference is that of the final scores of two runs with one seed on one task pair. Differences that rest on the same
generated dataset are one unit: they are drawn together, flipped together, and counted once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.optimize
import scipy.stats

from analysis.bootstrap import Estimate, estimate
from analysis.load import SuiteResults
from analysis.statistics import Array, TaskScores, mean

ALPHA, POWER = 0.05, 0.8
MAX_EXACT_UNITS = 16
FLIPS = 50_000
_CHUNK = 4096


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
        size = {task: self.tasks.count(task) for task in self.task_names}
        return np.array([1 / (size[task] * len(size)) for task in self.tasks])

    @property
    def value(self) -> float:
        """The mean over tasks of the mean difference over seeds."""
        return float(self.weights @ self.values)

    @property
    def n_units(self) -> int:
        """Number of independent units."""
        return len(set(self.units))

    @property
    def n_strata(self) -> int:
        """Number of groups of tasks that have no unit in common."""
        groups: list[set[str]] = []
        for task in self.task_names:
            own = {unit for unit, name in zip(self.units, self.tasks, strict=True) if name == task}
            touching = [group for group in groups if group & own]
            groups = [group for group in groups if not group & own] + [own.union(*touching)]
        return len(groups)

    def unit_sums(self, values: Array) -> Array:
        """Return the weighted sums of values (N,) by unit, (units,)."""
        index = {unit: number for number, unit in enumerate(dict.fromkeys(self.units))}
        return np.bincount([index[unit] for unit in self.units], self.weights * values, minlength=len(index))

    def scores(self) -> list[TaskScores]:
        """Return the differences as scores, for the bootstrap that knows of shared datasets."""
        own = []
        for task in self.task_names:
            rows = [index for index, name in enumerate(self.tasks) if name == task]
            own.append(TaskScores(task, self.values[rows], tuple(self.units[row] for row in rows)))
        return own


def paired_differences(
    results: SuiteResults, a: str, b: str, pairs: Sequence[str], seeds: int | None = None
) -> Differences | None:
    """Return the differences of two methods on the seeds that both finished (only the first `seeds`); None if none."""
    parts = []
    for pair in pairs:
        columns = ["seed", "score", "dataset"]
        both = results.usable(pair, a)[columns].merge(
            results.usable(pair, b)[columns], on="seed", suffixes=("_a", "_b")
        )
        parts.append((both if seeds is None else both[both["seed"] < seeds]).assign(pair=pair))
    rows = pd.concat(parts)
    if rows.empty:
        return None
    units = [_unit(row) for row in rows.to_dict("records")]
    return Differences(
        tuple(rows["pair"]),
        tuple(int(seed) for seed in rows["seed"]),
        tuple(units),
        rows["score_a"].to_numpy(dtype=float),
        rows["score_b"].to_numpy(dtype=float),
    )


def _unit(row: dict[str, object]) -> str:
    fed = sorted({str(name) for name in (row["dataset_a"], row["dataset_b"]) if isinstance(name, str)})
    return " + ".join(fed) if fed else f"{row['pair']}, seed {row['seed']}"


def interval(differences: Differences, rng: np.random.Generator, resamples: int) -> Estimate:
    """Return the mean difference with its paired bootstrap interval; below 5 seeds on some task without one."""
    return estimate(differences.scores(), mean, rng, resamples)


def attainable(n_units: int, alpha: float = ALPHA) -> bool:
    """Whether the sign-flip test of so many units can reach a p-value of alpha: two-sided, from 6 on for 0.05."""
    return 2.0 ** (1 - n_units) <= alpha


def permutation_p(differences: Differences, rng: np.random.Generator) -> float:
    """Return the two-sided p-value of the sign-flip test of no difference, flipping whole units.

    All flips are enumerated up to 16 units; beyond, 50,000 are drawn and the observed one is counted among them
    (Phipson and Smyth 2010).
    """
    sums = differences.unit_sums(differences.values)
    observed = abs(sums.sum()) * (1 - 1e-12)
    if sums.size <= MAX_EXACT_UNITS:
        return float((np.abs(_all_signs(sums.size) @ sums) >= observed).mean())
    reached = 0
    for start in range(0, FLIPS, _CHUNK):
        signs = 2.0 * rng.integers(0, 2, (min(_CHUNK, FLIPS - start), sums.size)) - 1
        reached += int((np.abs(signs @ sums) >= observed).sum())
    return (reached + 1) / (FLIPS + 1)


def _all_signs(n: int) -> Array:
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return 2.0 * bits - 1


def holm(p_values: Sequence[float]) -> Array:
    """Return p-values adjusted for all of them together (Holm 1979); rejecting below alpha bounds the chance of any
    false rejection by alpha."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def standard_error(differences: Differences) -> tuple[float, int]:
    """Return the standard error of the mean difference, clustered by unit, and its degrees of freedom.

    With one task and independent seeds it is s / sqrt(n) with n - 1 degrees; NaN without a degree of freedom.
    """
    means = {
        task: differences.values[[name == task for name in differences.tasks]].mean() for task in differences.task_names
    }
    residuals = differences.values - np.array([means[task] for task in differences.tasks])
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
    upper = 2.0
    while power_of_t_test(upper, freedom, alpha) < power:
        upper *= 2
    return error * float(
        scipy.optimize.brentq(lambda effect: power_of_t_test(effect, freedom, alpha) - power, 1e-9, upper)
    )


def pairing_correlation(differences: Differences) -> float:
    """Return the correlation of both methods' scores over seeds within tasks: what pairing gains; NaN if undefined."""
    centred = []
    for values in (differences.a, differences.b):
        frame = pd.Series(values).groupby(np.array(differences.tasks))
        centred.append((pd.Series(values) - frame.transform("mean")).to_numpy())
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else float("nan")
