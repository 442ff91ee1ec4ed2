"""What a row's value is at least: the return that followed it, and what lay beyond the end of its episode."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.bool_]


def open_ends(over: Rows, terminated: Rows) -> Rows:
    """Return which of n rows end an episode at a time limit or a segment's end, where more would have followed."""
    return over & ~terminated


def returns_to_go(reward: ArrayLike, over: Rows, tail: ArrayLike, discount: float) -> NDArray[np.float32]:
    """Return the discounted return from each of n rows to its episode's end, plus the discounted `tail` there.

    `over` (n,) marks the last row of every episode, the last of all rows included, and `tail` (n,) is read in those
    rows alone: the value of what follows them.
    """
    rewards, ends = np.asarray(reward, np.float64).tolist(), np.asarray(over).tolist()
    beyond = np.asarray(tail, np.float64).tolist()
    found = [0.0] * len(rewards)
    following = 0.0
    for row in range(len(rewards) - 1, -1, -1):
        following = rewards[row] + discount * (beyond[row] if ends[row] else following)
        found[row] = following
    return np.array(found, np.float32)


def rows_to_end(over: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for each of n rows the index of its episode's last row, and how many rows that is away."""
    ends, rows = np.flatnonzero(over), np.arange(len(over))
    last = ends[np.searchsorted(ends, rows)]
    return last, last - rows


def lower_bounds(
    reward: ArrayLike, terminated: Rows, over: Rows, end_values: ArrayLike, discount: float, masked_rows: int = 0
) -> NDArray[np.float32]:
    """Return what the values (n,) of n rows, in the order in which their episodes ran, are at least.

    `end_values` are those of the states behind the `open_ends`, in order; nothing follows a termination. The last
    `masked_rows` rows before an open end get minus infinity: no bound.
    """
    unfinished = open_ends(over, terminated)
    tail = np.zeros(len(over))
    tail[unfinished] = end_values
    bounds = returns_to_go(reward, over, tail, discount)
    last, distance = rows_to_end(over)
    bounds[unfinished[last] & (distance < masked_rows)] = -np.inf
    return bounds
