"""Small statistics that reports of models and of the theory share, in plain numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wombet.errors import InputError

NORMAL_975 = 1.959963984540054
"""Half width of the central 95 % of a standard normal."""

Numbers = NDArray[np.float64]


def column(name: str, values: Any, rows: int | None = None) -> Numbers:
    """Return values as float64 (n,); raises InputError where they are not one column of `rows` finite numbers."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) == 0 or (rows is not None and len(array) != rows):
        wanted = "(n,) with at least one row" if rows is None else f"({rows},)"
        raise InputError(f"{name} has shape {array.shape}; it must be {wanted}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinity; it must be finite")
    return array


def rank_correlation(a: Any, b: Any) -> float | None:
    """Return Spearman's correlation of two columns (n,), ties sharing their mean rank; None where one is constant."""
    left = column("the first column", a)
    right = column("the second column", b, len(left))
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    x, y = ranks(left), ranks(right)
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def ranks(values: Numbers) -> Numbers:
    """Return ranks (n,) from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927), for `successes` of `n` independent trials.

    Raises InputError unless 0 <= successes <= n and n >= 1.
    """
    if not (n >= 1 and 0 <= successes <= n):
        raise InputError(f"{successes} successes of {n} trials; there must be a trial, and at most as many successes")
    z2, share = NORMAL_975**2, successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_975 / (1 + z2 / n) * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)))
    # The ends are exact where all or none succeed; rounding would put them past 0 or 1.
    return (0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def share_of(holds: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of rows (n,) that hold, with its Wilson interval."""
    successes = int(np.count_nonzero(holds))
    return {"share": successes / len(holds), "interval": list(wilson_interval(successes, len(holds)))}


def quantile_bins(values: Numbers, cuts: tuple[float, ...]) -> list[NDArray[np.intp]]:
    """Return row numbers, ascending in `values` (n,), cut at the inner quantiles `cuts`; empty bins are left out.

    Equal values keep their order, and may fall on both sides of a cut.
    """
    if list(cuts) != sorted(cuts) or any(not 0 < cut < 1 for cut in cuts):
        raise InputError(f"cuts is {cuts}; they must ascend between 0 and 1")
    order = np.argsort(values, kind="stable")
    places = np.round(np.array(cuts) * len(order)).astype(np.intp)
    return [part for part in np.split(order, places) if len(part)]


def summary(values: Numbers) -> dict[str, float]:
    """Return mean, median, 95 % and 99 % quantile, and the largest of values (n,)."""
    named = {"median": 0.5, "q95": 0.95, "q99": 0.99, "max": 1.0}
    return {"mean": float(values.mean()), **{name: float(np.quantile(values, q)) for name, q in named.items()}}
