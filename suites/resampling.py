"""Bootstrap intervals for a handful of trials, seeded and paired, in plain numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
"""Enough for the third digit of a 95 % interval not to depend on the seed."""
DIGITS = 6
"""Digits after the point of the numbers that are stored."""

Numbers = NDArray[np.float64]
Draws = NDArray[np.intp]


def stratified_draws(strata: NDArray[Any], generator: np.random.Generator, resamples: int = RESAMPLES) -> Draws:
    """Return indices (resamples, n) of trials drawn with repetition, each stratum from itself and in its own number."""
    draws = np.empty((resamples, len(strata)), np.intp)
    for stratum in np.unique(strata):
        places = np.flatnonzero(strata == stratum)
        draws[:, places] = places[generator.integers(0, len(places), (resamples, len(places)))]
    return draws


def mean_estimate(values: Numbers, draws: Draws) -> dict[str, Any]:
    """Return the mean of values (n,) and its 95 % percentile interval; differences in, paired intervals out."""
    return estimate(float(values.mean()), values[draws].mean(1))


def ratio_draws(amounts: Numbers, sizes: Numbers, draws: Draws) -> Numbers:
    """Return, per resample, the total of `amounts` over the total of `sizes`, such as reward per executed step."""
    return np.asarray(amounts[draws].sum(1) / sizes[draws].sum(1), np.float64)


def estimate(value: float, resampled: Numbers) -> dict[str, Any]:
    """Return a value with the central 95 % of its resampled ones."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"mean": rounded(value), "interval": [rounded(low), rounded(high)]}


def rounded(value: float) -> float:
    """A number as it is stored."""
    return round(float(value), DIGITS)


def rounded_list(values: NDArray[Any]) -> list[float]:
    """Numbers as they are stored."""
    return [rounded(value) for value in values]


def rounded_tree(value: Any) -> Any:
    """A tree of plain values as it is stored."""
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, dict):
        return {key: rounded_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded_tree(item) for item in value]
    return value
