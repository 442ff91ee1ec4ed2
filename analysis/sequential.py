"""Group-sequential boundaries: how to look at growing evidence several times without inflating the error.

The error is spent with O'Brien and Fleming's shape by the function of Lan and DeMets (1983), so that looks need not be
planned at equal distances; boundaries come from the recursion of Armitage, McPherson and Rowe (1969).
"""

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.stats

from analysis.statistics import Array
from wombet.errors import InputError

_POINTS = 1201
_WIDEST = 8.0


def spent(information: float, alpha: float) -> float:
    """Return the two-sided error that may have been spent at a fraction of the information, in (0, 1]."""
    return float(4 * scipy.stats.norm.sf(scipy.stats.norm.isf(alpha / 4) / np.sqrt(information)))


def boundaries(information: Sequence[float], alpha: float) -> Array:
    """Return the bounds on |z| at each look (L,), for rising fractions of the information in (0, 1].

    The chance that a process without drift crosses any of the bounds is what was spent up to the last look: alpha if
    that is at 1. Raises InputError for fractions that do not rise or leave (0, 1].
    """
    times = np.asarray(information, dtype=float)
    if times.size == 0 or (np.diff(times) <= 0).any() or times[0] <= 0 or times[-1] > 1:
        raise InputError(f"the looks are at {list(information)} of the information; give rising fractions up to 1")
    bounds: list[float] = []
    grid = density = np.empty(0)
    before = 0.0
    for time in times:
        step = np.sqrt(time - (before if bounds else 0.0))
        allowed = spent(float(time), alpha) - (spent(before, alpha) if bounds else 0.0)
        bound = _bound(grid, density, step, float(time), allowed)
        bounds.append(bound)
        limit = min(bound, _WIDEST) * np.sqrt(time)
        fresh = np.linspace(-limit, limit, _POINTS)
        density = _carried(grid, density, fresh, step)
        grid, before = fresh, float(time)
    return np.array(bounds)


def _bound(grid: Array, density: Array, step: float, time: float, allowed: float) -> float:
    """The |z| beyond which the process, still inside so far, ends up with probability `allowed`."""

    def excess(bound: float) -> float:
        limit = bound * np.sqrt(time)
        if grid.size == 0:
            return float(2 * scipy.stats.norm.sf(limit / step)) - allowed
        outside = scipy.stats.norm.sf((limit - grid) / step) + scipy.stats.norm.cdf((-limit - grid) / step)
        return float(np.trapezoid(density * outside, grid)) - allowed

    top = 38.0
    if excess(top) >= 0:
        return top
    return float(scipy.optimize.brentq(excess, 0.0, top, xtol=1e-10))


def _carried(grid: Array, density: Array, fresh: Array, step: float) -> Array:
    """The density of the process at a later time, on a fresh grid."""
    if grid.size == 0:
        return scipy.stats.norm.pdf(fresh / step) / step
    kernel = scipy.stats.norm.pdf((fresh[:, None] - grid) / step) / step
    return np.trapezoid(kernel * density, grid, axis=1)
