"""Whether foreign rows can be a task family's: observations of plausible size, steps that the simulator repeats."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suites.tasks.task import Task
from wombet.dataset import TransferDataset
from wombet.errors import InputError

CHECKED_ROWS = 200
"""Rows that are repeated in the simulator, to see whether they can be the family's."""
SMALLEST_CHANGE = 1e-3
"""Observation entries that change less than this in a step are compared on this scale."""
OUTERMOST = 0.02
"""Share of the largest, and of the smallest changes that have no say in that scale."""
LARGEST = 1000.0
"""Distance from an entry's median that no observation has, in interquartile ranges, medians or units (the largest)."""


def place(row: int, steps: NDArray[np.int_]) -> tuple[int, int]:
    """Return the episode and the step that a row is, of episodes with so many `steps`."""
    episode = int(np.searchsorted(np.cumsum(steps), row, side="right"))
    return episode, row - int(steps[:episode].sum())


def check_sizes(obs: NDArray[np.float32], next_obs: NDArray[np.float32], steps: NDArray[np.int_]) -> None:
    """Raise InputError for the first observation with an entry far beyond all that the others have."""
    quarter, median, three_quarters = np.quantile(obs.astype(np.float64), (0.25, 0.5, 0.75), axis=0)
    limit = LARGEST * np.maximum(np.maximum(three_quarters - quarter, np.abs(median)), 1.0)
    for what, values in (("begins with", obs), ("ends with", next_obs)):
        rows, entries = np.nonzero(np.abs(values - median) > limit)
        if len(rows):
            row, entry = rows[0], entries[0]
            raise InputError(
                f"{_named(row, steps)} {what} {values[row, entry]:g} in entry {entry} of the observation, where half "
                f"of the rows have {quarter[entry]:.3g} to {three_quarters[entry]:.3g}; leave that episode out"
            )


def check_labels(reward: NDArray[np.float32], source: Task, steps: NDArray[np.int_]) -> None:
    """Raise InputError for the first row whose reward by the task is no finite number."""
    wrong = np.flatnonzero(~np.isfinite(reward))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{_named(row, steps)} has a reward of {reward[row]:g} in {source.id}; leave that episode out")


def one_step_error(rows: TransferDataset, source: Task) -> float:
    """Return the median error of next_obs against one step of the simulator from each of some rows.

    Up to 200 rows, evenly spaced; errors are root mean squares over the observation's entries, each in units of the
    standard deviation of its change in one step, the outermost changes aside. About 0 for rows of this family's
    simulator, and large for observations that have another meaning. At most 1000. Raises InputError, naming the row,
    if the simulator cannot take a step from it.
    """
    scale, env = _usual_change(rows), source.make_env()
    steps = np.array([end - first for first, end in pairwise([*rows.episode_starts.tolist(), len(rows)])])
    errors = []
    for row in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), CHECKED_ROWS)).astype(int)):
        next_obs = _simulated(env, source, rows, row)
        if not np.isfinite(next_obs).all():
            raise InputError(
                f"{_named(row, steps)} has no finite state in the simulator of {source.id}; leave that episode out"
            )
        errors.append(np.sqrt(np.mean(((next_obs - rows.next_obs[row].astype(np.float64)) / scale) ** 2)))
    env.close()
    return round(float(np.median(np.clip(errors, 0, 1000))), 6)


def _usual_change(rows: TransferDataset) -> NDArray[np.float64]:
    """How much each entry changes in a step: one absurd row must not make every error look small."""
    change = rows.next_obs.astype(np.float64) - rows.obs
    low, high = np.quantile(change, (OUTERMOST, 1 - OUTERMOST), axis=0)
    return np.maximum(change.clip(low, high).std(0), SMALLEST_CHANGE)


def _simulated(env: Any, source: Task, rows: TransferDataset, row: int) -> NDArray[np.floating[Any]]:
    """One step from a row, or the state itself where that is not finite, as a state that nothing can step from."""
    state = source.sim_state_from_obs(rows.obs[row])
    if not np.isfinite(state).all():
        return state
    env.set_sim_state(state)
    return np.asarray(env.step(rows.action[row])[0])


def _named(row: int, steps: NDArray[np.int_]) -> str:
    episode, step = place(row, steps)
    return f"step {step} of episode {episode} of the Minari dataset"
