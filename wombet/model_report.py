"""How good a fitted world model is, on trajectories it was not trained on."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from wombet.ensemble_training import Fit
    from wombet.world_model import WorldModel

OPEN_LOOP_STEPS = (1, 5, 20)
OPEN_LOOP_STARTS = 256
"""Starts per length, evenly spread: enough for a mean, and as quick as a check of the training."""
NORMAL_90 = 1.6448536269514722
"""Half width of the central 90 % of a standard normal."""


def report(
    model: "WorldModel",
    obs: Tensor,
    action: Tensor,
    next_obs: Tensor,
    episode_id: NDArray[Any],
    fit: "Fit",
    n_train: int,
) -> dict[str, Any]:
    """Return plain numbers about the held-out rows (N, ...); errors are in units of the targets' standard deviation.

    `spearman` ranks uncertainty against the one-step error of the elites' mean. `coverage_90` is the share of entries
    within the central 90 % of the elites' mixture, taken as a Gaussian of its mean and variance; `open_loop_rmse` lets
    the elites' mean run on recorded actions, and is None where no held-out trajectory is long enough.
    """
    target = model.standardised_targets(obs, next_obs)
    mean, logvar = model.predict_standardised(obs, action)
    elites = torch.tensor(model.elites, device=mean.device)
    uncertainty = model.uncertainty(obs, action)
    centre = mean[elites].mean(0)
    spread = (logvar[elites].exp().mean(0) + mean[elites].var(0, correction=0)).sqrt()
    error = (centre - target).square().mean(-1).sqrt()
    squared = (mean - target).square()
    return {
        "n_train": n_train,
        "n_holdout": len(obs),
        "holdout_episodes": len(np.unique(episode_id)),
        "steps": fit.steps,
        "elites": list(model.elites),
        "holdout_mse": squared.mean((1, 2)).tolist(),
        "holdout_mse_before": fit.initial_error.tolist(),
        "holdout_nll": (squared * (-logvar).exp() + logvar + np.log(2 * np.pi)).div(2).mean((1, 2)).tolist(),
        "ensemble_mse": float(error.square().mean()),
        "uncertainty": quantiles(uncertainty),
        "spearman": rank_correlation(uncertainty, error),
        "coverage_90": float(((centre - target).abs() <= NORMAL_90 * spread).float().mean()),
        "open_loop_rmse": {
            str(n): open_loop_error(model, obs, action, next_obs, episode_id, n) for n in OPEN_LOOP_STEPS
        },
    }


def quantiles(values: Tensor) -> dict[str, float]:
    """Return mean, median and upper quantiles of values (N,)."""
    column = values.double().cpu().numpy()
    named = {"median": 0.5, "q95": 0.95, "q99": 0.99}
    return {"mean": float(column.mean()), **{name: float(np.quantile(column, q)) for name, q in named.items()}}


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Return Spearman's correlation of two columns (N,), or None where one of them is constant."""
    from scipy.stats import spearmanr  # A second to import, and only a fit needs it.

    left, right = a.double().cpu().numpy(), b.double().cpu().numpy()
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(spearmanr(left, right).statistic)


def open_loop_error(
    model: "WorldModel", obs: Tensor, action: Tensor, next_obs: Tensor, episode_id: NDArray[Any], n_steps: int
) -> float | None:
    """Return the root mean squared error after `n_steps` recorded actions, in units of the targets' std."""
    last = np.arange(len(obs) - n_steps + 1) + n_steps - 1
    starts = np.flatnonzero(episode_id[last] == episode_id[last - n_steps + 1]) if len(last) else last
    if len(starts) == 0:
        return None
    starts = starts[np.linspace(0, len(starts) - 1, min(len(starts), OPEN_LOOP_STARTS)).astype(np.intp)]
    state = obs[starts]
    for ahead in range(n_steps):
        state = model.step(state, action[starts + ahead])[0].mean(0)
    final = starts + n_steps - 1
    gap = model.standardised_targets(obs[final], state) - model.standardised_targets(obs[final], next_obs[final])
    return float(gap.square().mean().sqrt())
