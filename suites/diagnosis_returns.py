"""What the planner of an artefact earns in the real source task, against policies from the same starts."""

from typing import Any

from suites.diagnosis_newest import against_newest_rows
from suites.diagnosis_trials import Laboratory, Trials
from suites.resampling import Draws, mean_estimate, rounded, rounded_list, stratified_draws
from wombet.filtering import START_TYPES


def compared_returns(laboratory: Laboratory, planner: Trials) -> dict[str, Any]:
    """Return the returns of planner and policies over whole episodes, their paired differences, and `newest_rows`.

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
        "newest_rows": against_newest_rows(laboratory),
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
