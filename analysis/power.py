"""How many seeds a difference needs, from the variances of the runs in a store."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

from analysis import paired
from analysis.aggregates import groups
from analysis.comparisons import check_methods
from analysis.load import SuiteResults
from analysis.tables import scale_over
from wombet.errors import InputError

CAUTION = 0.8
MAX_SEEDS = 10_000
COLUMNS = [
    "scope",
    "group",
    "a",
    "b",
    "seeds_now",
    "units_now",
    "standard_error",
    "detectable_now",
    "power_now",
    "seeds_needed",
    "seeds_cautious",
    "note",
]


def power_table(
    results: SuiteResults,
    difference: float,
    methods: Sequence[str] | None = None,
    *,
    power: float = paired.POWER,
    alpha: float = paired.ALPHA,
) -> pd.DataFrame:
    """Return for every two methods, over all pairs and by pair, the seeds per pair that find a true difference.

    A paired two-sided t-test on independent units is assumed, with the variance of the paired differences in the store;
    `seeds_cautious` takes the upper end of an 80 % interval of that variance, which few seeds know badly. Where runs
    share datasets a unit is a dataset, and the seeds needed presume as many runs on each as now. Over several pairs the
    difference is one of normalised scores where the tables' are, and `note` says so. Raises InputError for a
    difference, power or alpha out of range.
    """
    if not 0 < difference <= 1:
        raise InputError(
            f"the difference is {difference}; give a difference of scores above 0 and up to 1, such as 0.05"
        )
    if not alpha < power < 1 or not 0 < alpha < 0.5:
        raise InputError(f"power is {power} and alpha {alpha}; give 0 < alpha < 0.5 and a power between alpha and 1")
    chosen = check_methods(results, methods)
    rows = []
    for scope, group, pairs in groups(results):
        if scope in ("all", "pair"):
            for index, a in enumerate(chosen):
                for b in chosen[index + 1 :]:
                    rows.append([scope, group, a, b, *_needed(results, a, b, pairs, difference, power, alpha)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _needed(
    results: SuiteResults, a: str, b: str, pairs: list[str], difference: float, power: float, alpha: float
) -> list[object]:
    scale = scale_over(results, pairs)
    found = paired.paired_differences(results, a, b, pairs, scale=scale)
    if found is None:
        return [0, 0, math.nan, math.nan, math.nan, None, None, "no seed that both finished"]
    error, freedom = paired.standard_error(found)
    seeds = found.n_seeds
    if not np.isfinite(error):
        return [seeds, found.n_units, math.nan, math.nan, math.nan, None, None, "too few seeds to know the variance"]
    notes = ["of normalised scores"] if scale == "normalised" else []
    notes += ["units are datasets shared by runs"] if found.n_units < len(found.values) else []
    if error == 0:
        return [seeds, found.n_units, 0.0, 0.0, 1.0, None, None, "the differences do not vary"]
    cautious = error * math.sqrt(freedom / scipy.stats.chi2.ppf((1 - CAUTION) / 2, freedom))
    sizes = [
        seeds_needed(found.n_units, found.n_strata, own, seeds, difference, power, alpha) for own in (error, cautious)
    ]
    return [
        seeds,
        found.n_units,
        error,
        paired.detectable_difference(found, alpha, power),
        paired.power_of_t_test(difference / error, freedom, alpha),
        *sizes,
        "; ".join(notes),
    ]


def seeds_needed(
    units: int, strata: int, error: float, seeds: int, difference: float, power: float, alpha: float
) -> int | None:
    """Return the smallest number of seeds per pair that reaches the power; None beyond 10,000.

    `error` is the standard error of the mean difference on `units` independent units of `seeds` seeds per pair.
    """

    def reached(n: int) -> bool:
        own = units * n / seeds
        freedom = math.floor(own) - strata
        return (
            freedom >= 1
            and paired.power_of_t_test(difference / (error * math.sqrt(units / own)), freedom, alpha) >= power
        )

    low, high = 1, 2
    while not reached(high):
        if high >= MAX_SEEDS:
            return None
        low, high = high, min(2 * high, MAX_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
