"""The paper's theory, measured on real figures: does what is assumed hold, and what is the bound worth?

    lower_bound(real_rewards, imagined_rewards, imagined_uncertainty, penalties, discount, horizon)  (3)-(5)
    one_step_truth(next_obs, true_next_obs, uncertainty, scale, rewards)              the model, row by row
    wasserstein_calibration(means, true_next_obs, uncertainty, scale, stds)           W1(model, truth) <= u
    lipschitz_value(value, obs, scale), lipschitz_returns(obs, returns, scale)        L_V
    final_bound(penalised_return, ..., reward_range, discount, horizon, ...)          (10)-(13)
    rank_correlation(a, b), wilson_interval(successes, n), quantile_bins(values, cuts)

Everything takes arrays and returns plain numbers. The distance between observations is the root mean square over
entries of their difference divided by `scale` (obs_dim,), the standard deviations of the model's targets: the unit of
the ensemble's own uncertainty (`elite_std`). L_V and Delta below are in this unit, so their product is in reward.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wombet.errors import InputError
from wombet.final_bound import final_bound
from wombet.measures import quantile_bins, rank_correlation, share_of, summary, wilson_interval
from wombet.one_step import checked_scale, distances, one_step_truth, wasserstein_calibration

__all__ = [
    "final_bound",
    "lipschitz_returns",
    "lipschitz_value",
    "lower_bound",
    "one_step_truth",
    "quantile_bins",
    "rank_correlation",
    "wasserstein_calibration",
    "wilson_interval",
]

ROUNDING = 1e-6
"""Relative to the summed rewards: a bound that is missed by less is missed by float32, not by the theory."""
DIFFERENCE = 1e-2
"""Half step of a central difference, in units of `scale`: above the rounding of a float32 critic."""

Numbers = NDArray[np.float64]


def lower_bound(
    real_rewards: Any,
    imagined_rewards: Any,
    imagined_uncertainty: Any,
    penalties: Sequence[float],
    discount: float,
    horizon: int,
    real_steps: Any = None,
    imagined_steps: Any = None,
) -> list[dict[str, Any]]:
    """Return, per penalty lambda, how often the real return is at least the penalised return of the model, (3)-(5).

    Real and imagined trajectories are paired by row and begin in the same states. The three matrices are (n, T), the
    same trajectories for every penalty, or (n_penalties, n, T), planned anew with each; only the latter says what a
    penalty costs in `real_return`. Entries from a trajectory's end on count as zero: beyond `steps`, (n,) or
    (n_penalties, n), and beyond `horizon`. Returns are discounted; a slack is real minus penalised return.
    `lipschitz` is the largest L_V for which (4) promises the bound with this lambda. The share goes to one as lambda
    grows, whatever the model, so it is to be read with the slack and the real return. Raises InputError for matrices of
    other shapes or not finite, a negative penalty, or a discount outside (0, 1].
    """
    lambdas = np.asarray(penalties, np.float64)
    if lambdas.ndim != 1 or len(lambdas) == 0 or not (np.isfinite(lambdas) & (lambdas >= 0)).all():
        raise InputError(f"penalties is {penalties!r}; it must list at least one finite number, none negative")
    if not 0 < discount <= 1 or horizon < 1:
        raise InputError(f"discount is {discount} and horizon {horizon}; they must be in (0, 1] and at least 1")
    shape = np.shape(real_rewards)
    real, earned, unsure = (
        _planes(name, values, steps, shape, len(lambdas), horizon)
        for name, values, steps in (
            ("real_rewards", real_rewards, real_steps),
            ("imagined_rewards", imagined_rewards, imagined_steps),
            ("imagined_uncertainty", imagined_uncertainty, imagined_steps),
        )
    )
    weights = discount ** np.arange(real.shape[-1])
    size = np.abs(real) @ weights + np.abs(earned) @ weights
    real, earned, unsure = real @ weights, earned @ weights, unsure @ weights
    rows = []
    for i, penalty in enumerate(lambdas):
        promised = earned[i] - penalty * unsure[i]
        slack = real[i] - promised
        tolerance = ROUNDING * (size[i] + penalty * np.abs(unsure[i]))
        rows.append(
            {
                "penalty": float(penalty),
                "lipschitz": float(penalty / discount),
                "n": len(slack),
                **share_of(slack >= -tolerance),
                "mean_slack": float(slack.mean()),
                "smallest_slack": float(slack.min()),
                "real_return": float(real[i].mean()),
                "model_return": float(earned[i].mean()),
                "penalised_return": float(promised.mean()),
            }
        )
    return rows


def lipschitz_value(value: Callable[[Numbers], Any], obs: Any, scale: Any, step: float = DIFFERENCE) -> dict[str, Any]:
    """Return quantiles of how steep a value function is at observations (n, obs_dim): an estimate of L_V, no bound.

    `value` maps (m, obs_dim) to (m,); it is asked at obs +- step * scale along every entry. A row's slope is the
    largest change of the value per unit of distance in any direction: the gradient's norm in the dual of the distance.
    The largest slope over rows still is at most the true constant of this function, since rows are a sample; and a
    learnt critic is not the value function of the theory. Raises InputError for wrong shapes or values not finite.
    """
    points = _matrix(obs)
    units, n = checked_scale(scale, points.shape[1]), len(points)
    slopes = np.empty(points.shape)
    for k in range(points.shape[1]):
        shift = np.zeros(points.shape[1])
        shift[k] = step * units[k]
        both = np.asarray(value(np.concatenate([points + shift, points - shift])), np.float64)
        if both.shape != (2 * n,) or not np.isfinite(both).all():
            raise InputError(f"value returned shape {both.shape} or values not finite; it must return ({2 * n},)")
        slopes[:, k] = (both[:n] - both[n:]) / (2 * step)
    steepness = np.sqrt(points.shape[1] * np.square(slopes).sum(1))
    return {"label": "estimate", "rows": n, **summary(steepness)}


def lipschitz_returns(obs: Any, returns: Any, scale: Any) -> dict[str, Any]:
    """Return quantiles of |G - G'| / distance over all pairs of start observations (n, obs_dim) with returns (n,).

    An estimate of L_V, no bound: returns of one policy stand for its value, so noise in them makes near pairs too
    steep, and pairs that are all far apart cannot show how steep it is between them. Equal observations are left out.
    Raises InputError for wrong shapes, or if all observations are equal.
    """
    points, gained = _matrix(obs), np.asarray(returns, np.float64)
    units = checked_scale(scale, points.shape[1])
    if gained.shape != (len(points),) or not np.isfinite(gained).all():
        raise InputError(f"returns has shape {gained.shape} or is not finite; it must be ({len(points)},) and finite")
    first, second = np.triu_indices(len(points), 1)
    apart = distances(points[first], points[second], units)
    far = apart > 0
    if not far.any():
        raise InputError("obs holds no two different observations; slopes need at least two")
    steepness = np.abs(gained[first] - gained[second])[far] / apart[far]
    return {"label": "estimate", "pairs": int(far.sum()), **summary(steepness)}


def _planes(
    name: str, values: Any, steps: Any, shape: tuple[int, ...], n_penalties: int, horizon: int
) -> NDArray[np.float64]:
    """Return (n_penalties, n, min(T, horizon)), zero from the end of every trajectory on."""
    array = np.asarray(values, np.float64)
    if (
        array.ndim not in (2, 3)
        or array.size == 0
        or array.shape != shape
        or array.shape[:-2] not in ((), (n_penalties,))
    ):
        raise InputError(
            f"{name} has shape {array.shape}; all three matrices must be (n, T) or ({n_penalties}, n, T) alike"
        )
    if steps is not None:
        ends = np.asarray(steps)
        if ends.shape != array.shape[:-1]:
            raise InputError(f"the steps of {name} have shape {ends.shape}; they must be {array.shape[:-1]}")
        array = np.where(np.arange(array.shape[-1]) < ends[..., None], array, 0.0)
    array = array[..., :horizon]
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinity before the end of a trajectory; it must be finite")
    return np.broadcast_to(array, (n_penalties, *array.shape[-2:]))


def _matrix(obs: Any) -> Numbers:
    points = np.asarray(obs, np.float64)
    if points.ndim != 2 or points.size == 0 or not np.isfinite(points).all():
        raise InputError(f"obs has shape {points.shape} or is not finite; it must be (n, obs_dim) and finite")
    return points
