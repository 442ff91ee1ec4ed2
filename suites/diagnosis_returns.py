"""What the planner of an artefact earns in the real source task, against policies from the same starts."""

from typing import Any

import numpy as np

from suites.diagnosis_trials import Laboratory, Trials
from suites.resampling import Draws, estimate, mean_estimate, ratio_draws, rounded, rounded_list, stratified_draws
from wombet.dataset import TransferDataset
from wombet.filtering import START_TYPES

NEWEST_ROWS = 5000
"""Source rows to compare with: those of the latest and best collectors."""


def compared_returns(laboratory: Laboratory, planner: Trials) -> dict[str, Any]:
    """Return the returns of planner and policies over whole episodes, their paired differences, and the source rows.

    `planner` holds the planner's trials over the task's horizon. Intervals resample the starts within their type.
    """
    names = ["random", *(("agent", "agent_stochastic") if laboratory.agent is not None else ())]
    horizon = laboratory.task.horizon
    found = {"planner": planner, **{name: laboratory.policy_trials(name, horizon) for name in names}}
    draws = stratified_draws(planner.start_type, laboratory.generator("bootstrap"))
    own = planner.rewards.sum(1)
    return {
        "horizon": horizon,
        "policies": {name: _policy(trials, draws) for name, trials in found.items()},
        "planner_minus": {name: mean_estimate(own - found[name].rewards.sum(1), draws) for name in names},
        "source_rows": None if laboratory.source is None else _against_rows(laboratory, planner, draws),
    }


def _policy(trials: Trials, draws: Draws) -> dict[str, Any]:
    returns = trials.rewards.sum(1)
    kinds = {name: returns[trials.start_type == kind] for kind, name in enumerate(START_TYPES)}
    return {
        **mean_estimate(returns, draws),
        "by_start": {name: rounded(values.mean()) for name, values in kinds.items() if len(values)},
        "steps": rounded(trials.steps.mean()),
        "returns": rounded_list(returns),
    }


def _against_rows(laboratory: Laboratory, planner: Trials, draws: Draws) -> dict[str, Any]:
    """Compare rewards per executed step, unpaired: rows are resampled by whole episodes."""
    assert laboratory.source is not None
    rows = newest(laboratory.source, NEWEST_ROWS)
    rewards = rows.episode_sums(rows.reward_source)
    lengths = rows.episode_sums(np.ones(len(rows)))
    of_rows = stratified_draws(np.zeros(len(lengths)), laboratory.generator("bootstrap", "source rows"))
    earned, steps = planner.rewards.sum(1), planner.steps.astype(np.float64)
    theirs, ours = ratio_draws(rewards, lengths, of_rows), ratio_draws(earned, steps, draws)
    own, other = earned.sum() / steps.sum(), rewards.sum() / lengths.sum()
    return {
        "rows": len(rows),
        "episodes": len(lengths),
        "reward_per_step": estimate(other, theirs),
        "planner_reward_per_step": estimate(own, ours),
        "planner_minus": estimate(own - other, ours - theirs),
    }


def newest(data: TransferDataset, count: int) -> TransferDataset:
    """Return the last `count` rows; the first episode among them may be without its beginning."""
    columns: dict[str, Any] = {name: column[-count:] for name, column in data.columns().items()}
    return TransferDataset(**columns)
