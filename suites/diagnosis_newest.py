"""The planner against the newest real rows that its model learned from: from the same states, over the same steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suites.diagnosis_trials import Laboratory, Trials
from suites.resampling import Draws, estimate, ratio_draws, stratified_draws
from wombet.dataset import TransferDataset
from wombet.rollouts import Starts

NEWEST_ROWS = 5000
"""Source rows to compare with: those of the latest and best collectors."""
LEAST_PAIRS = 20
"""Fewer episodes than this are cut into shorter pieces."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pieces:
    """n pieces of recorded episodes, all (n,): the row each begins in, what it earned, and how long to watch.

    A piece whose episode was ended by the task's rule is watched for `length` steps, of which those after its end earn
    nothing; any other piece for as many steps as it has rows.
    """

    row: NDArray[np.intp]
    earned: Numbers
    watched: NDArray[np.int64]
    length: int


def against_newest_rows(laboratory: Laboratory) -> dict[str, Any] | None:
    """Return reward per step of planner, policies and recorded rows, and the planner's paired differences.

    Everyone starts in the simulator state of the same recorded rows, without noise on the planner's actions, and is
    watched for the same steps; what follows an early end counts as zero. Intervals resample the pairs. None where the
    artefact keeps no source rows.
    """
    if laboratory.learned is None:
        return None
    pieces = newest_pieces(laboratory.learned, NEWEST_ROWS, laboratory.task.horizon, LEAST_PAIRS)
    starts = starts_of(laboratory, pieces)
    names = ["random", *(("agent", "agent_stochastic") if laboratory.agent is not None else ())]
    found = {"planner": laboratory.planner_trials(laboratory.recipe_factor, pieces.length, starts)}
    found |= {name: laboratory.policy_trials(name, pieces.length, starts) for name in names}
    earned = {name: watched_rewards(trials, pieces) for name, trials in found.items()} | {"rows": pieces.earned}
    draws = stratified_draws(np.zeros(len(pieces.row)), laboratory.generator("bootstrap", "newest rows"))
    return {
        "rows": int(pieces.watched.sum()),
        "pairs": len(pieces.row),
        "steps": pieces.length,
        "reward_per_step": {name: _per_step(values, pieces, draws) for name, values in earned.items()},
        "planner_minus": {
            name: _per_step(earned["planner"] - values, pieces, draws)
            for name, values in earned.items()
            if name != "planner"
        },
    }


def newest_pieces(data: TransferDataset, count: int, horizon: int, least: int) -> Pieces:
    """Cut the whole episodes among the last `count` rows into pieces of at most `horizon` steps.

    Where these are fewer than `least`, their length is halved until they are enough or one step long. If the last
    episode alone has more rows than `count`, it is taken whole.
    """
    starts, ends = data.episode_starts, np.append(data.episode_starts[1:], len(data))
    newest = starts >= min(len(data) - count, starts[-1])
    length = horizon
    while True:
        cuts = [np.arange(start, end, length) for start, end in zip(starts[newest], ends[newest], strict=True)]
        if sum(map(len, cuts)) >= least or length == 1:
            break
        length = max(1, length // 2)
    rows = np.concatenate(cuts)
    last = np.minimum(rows + length, np.repeat(ends[newest], [len(cut) for cut in cuts]))
    total = np.concatenate([[0.0], np.cumsum(data.reward_source, dtype=np.float64)])
    watched = np.where(data.terminated[last - 1], length, last - rows)
    return Pieces(rows, total[last] - total[rows], watched, length)


def starts_of(laboratory: Laboratory, pieces: Pieces) -> Starts:
    """Return the states in which pieces of the learned rows begin, to start trials from."""
    data = laboratory.learned
    assert data is not None
    assert data.sim_state is not None
    obs = data.obs[pieces.row].copy()
    obs[:, : laboratory.task.n_rates] = 0
    visited = ~np.isin(pieces.row, data.episode_starts)
    return Starts(obs, data.sim_state[pieces.row], visited.astype(np.int64), np.zeros(len(obs), np.float32))


def watched_rewards(trials: Trials, pieces: Pieces) -> Numbers:
    """Return what trials (n) earned in the steps in which their pieces are watched."""
    seen = np.arange(trials.rewards.shape[1]) < pieces.watched[:, None]
    return np.asarray(np.where(seen, trials.rewards, 0.0).sum(1), np.float64)


def _per_step(earned: Numbers, pieces: Pieces, draws: Draws) -> dict[str, Any]:
    watched = pieces.watched.astype(np.float64)
    return estimate(float(earned.sum() / watched.sum()), ratio_draws(earned, watched, draws))
