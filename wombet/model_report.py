"""How good a fitted world model is, on trajectories it was not trained on."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wombet import measures

if TYPE_CHECKING:
    from wombet.ensemble_training import Fit
    from wombet.world_model import WorldModel

OPEN_LOOP_STEPS = (1, 5, 20)
OPEN_LOOP_STARTS = 256
"""Starts per length, evenly spread: enough for a mean, and as quick as a check of the training."""
NORMAL_90 = 1.6448536269514722
"""Half width of the central 90 % of a standard normal."""


Rows = tuple[Tensor, Tensor, Tensor]
"""obs (N, obs_dim), action (N, action_dim) and next_obs (N, obs_dim)."""


def report(
    model: "WorldModel",
    obs: Tensor,
    action: Tensor,
    next_obs: Tensor,
    episode_id: NDArray[Any],
    fit: "Fit",
    n_train: int,
    off_policy: Rows | None = None,
) -> dict[str, Any]:
    """Return plain numbers about the held-out rows (N, ...); errors are in units of the targets' standard deviation.

    What `accuracy` says of them stands at the top, with members' columns named `holdout_*`; where rows of another
    policy are given, such as random actions that were not trained on, what it says of those is under `off_policy`.
    `open_loop_rmse` lets the elites' mean run on recorded actions, and is None where no held-out trajectory is long
    enough.
    """
    found = accuracy(model, obs, action, next_obs)
    return {
        "n_train": n_train,
        "n_holdout": found["n"],
        "holdout_episodes": len(np.unique(episode_id)),
        "steps": fit.steps,
        "elites": list(model.elites),
        "holdout_mse": found["mse"],
        "holdout_mse_before": fit.initial_error.tolist(),
        "holdout_nll": found["nll"],
        **{name: found[name] for name in ("ensemble_mse", "uncertainty", "spearman", "coverage_90")},
        "open_loop_rmse": {
            str(n): open_loop_error(model, obs, action, next_obs, episode_id, n) for n in OPEN_LOOP_STEPS
        },
        **({} if off_policy is None else {"off_policy": accuracy(model, *off_policy)}),
    }


def accuracy(model: "WorldModel", obs: Tensor, action: Tensor, next_obs: Tensor) -> dict[str, Any]:
    """Return plain numbers about any rows (N, ...) by one-step error, in units of the targets' standard deviation.

    `mse` and `nll` are per member, of all members. `spearman` ranks uncertainty against the error of the elites' mean.
    `coverage_90` is the share of entries within the central 90 % of the elites' mixture, taken as a Gaussian of its
    mean and variance.
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
        "n": len(obs),
        "mse": squared.mean((1, 2)).tolist(),
        "nll": (squared * (-logvar).exp() + logvar + np.log(2 * np.pi)).div(2).mean((1, 2)).tolist(),
        "ensemble_mse": float(error.square().mean()),
        "uncertainty": quantiles(uncertainty),
        "spearman": rank_correlation(uncertainty, error),
        "coverage_90": float(((centre - target).abs() <= NORMAL_90 * spread).float().mean()),
    }


def quantiles(values: Tensor) -> dict[str, float]:
    """Return mean, median and upper quantiles of values (N,)."""
    column = values.double().cpu().numpy()
    named = {"median": 0.5, "q95": 0.95, "q99": 0.99}
    return {"mean": float(column.mean()), **{name: float(np.quantile(column, q)) for name, q in named.items()}}


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Return Spearman's correlation of two columns (N,), or None where one of them is constant."""
    return measures.rank_correlation(a.double().cpu().numpy(), b.double().cpu().numpy())


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
