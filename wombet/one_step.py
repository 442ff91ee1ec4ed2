"""The model against the simulator, one step at a time: how large its errors are, and whether its uncertainty says so.

The distance between observations is the root mean square over entries of their difference divided by `scale`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wombet.errors import InputError
from wombet.measures import column, quantile_bins, rank_correlation, share_of, summary

CUTS = (0.25, 0.5, 0.75, 0.95)
"""Inner limits of the bins by uncertainty; the last bin is narrow, because the tail is heavy and errors live there."""
SHARES = (0.9, 0.95, 0.99)
"""Shares of the rows on which a scaled uncertainty is to bound the distance."""
HALF_RANGE, NODE_STEP = 24.0, 0.5
"""Range and spacing of the quadrature in the logarithm of its variable: relative error below 1e-6."""
CHUNK = 256
"""Rows per block of the quadrature, which keeps its arrays at some ten MB."""

Numbers = NDArray[np.float64]


def one_step_truth(
    next_obs: Any,
    true_next_obs: Any,
    uncertainty: Any,
    scale: Any,
    rewards: Mapping[str, tuple[Any, Any]],
    cuts: tuple[float, ...] = CUTS,
) -> dict[str, Any]:
    """Compare a model's next observations (n, obs_dim) with the true ones, in all and in bins by uncertainty (n,).

    `error` is the distance of a row's two observations in units of `scale` (obs_dim,), the standard deviations of what
    the model predicts. `rewards` gives, by name (such as "source" and "target"), the rewards (n,) that follow from the
    model's and from the true observation; a bias is the first minus the second. Raises InputError for wrong shapes or
    values that are not finite.
    """
    said, true = _alike(next_obs, true_next_obs)
    error = distances(said, true, checked_scale(scale, true.shape[-1]))
    unsure = column("uncertainty", uncertainty, len(error))
    gaps = {}
    for name, (of_model, of_truth) in rewards.items():
        pair = (column(f"a reward named {name}", values, len(error)) for values in (of_model, of_truth))
        gaps[name] = next(pair) - next(pair)
    return {
        "rows": len(error),
        "error": summary(error),
        "spearman": rank_correlation(unsure, error),
        "rewards": {name: _bias(gap) for name, gap in gaps.items()},
        "by_uncertainty": [
            {
                **_bin(unsure[rows]),
                "error": summary(error[rows]),
                "rewards": {name: _bias(gap[rows]) for name, gap in gaps.items()},
            }
            for rows in quantile_bins(unsure, cuts)
        ],
    }


def wasserstein_calibration(
    means: Any,
    true_next_obs: Any,
    uncertainty: Any,
    scale: Any,
    stds: Any = None,
    shares: Sequence[float] = SHARES,
    cuts: tuple[float, ...] = CUTS,
) -> dict[str, Any]:
    """Say on which share of rows W1(model, truth) <= u holds, as the theory assumes, and by what factor u is too small.

    The dynamics are deterministic, so a row's truth is one point, there is a single coupling, and W1 is the expected
    distance of the prediction from it. The prediction is the even mixture over members of Gaussians with `means` and
    `stds` (n_members, n, obs_dim), or, without `stds`, of the means alone, which is what is drawn from when members'
    means are propagated. (n, obs_dim) is one member. `factors` holds, per share, the smallest c for which W1 <= c u on
    at least that share of these rows, or None where uncertainty is zero and the distance is not. The interval takes
    rows for independent. Raises InputError for wrong shapes, and for values that are not finite or negative.
    """
    predicted = np.asarray(means, np.float64)
    true = np.asarray(true_next_obs, np.float64)
    w1 = expected_distances(predicted, true, scale, stds)
    unsure = column("uncertainty", uncertainty, len(w1))
    if (unsure < 0).any():
        raise InputError("uncertainty is negative somewhere; it must be zero or more")
    ratio = np.divide(w1, unsure, out=np.where(w1 > 0, np.inf, 0.0), where=unsure > 0)
    return {
        "rows": len(w1),
        "prediction": "means" if stds is None else "mixture of Gaussians",
        "w1": summary(w1),
        "uncertainty": summary(unsure),
        "spearman": rank_correlation(unsure, w1),
        "holds": share_of(w1 <= unsure),
        "factors": {f"{share:g}": _smallest_factor(ratio, share) for share in shares},
        "by_uncertainty": [
            {**_bin(unsure[rows]), "w1": summary(w1[rows]), "holds": float((w1[rows] <= unsure[rows]).mean())}
            for rows in quantile_bins(unsure, cuts)
        ],
    }


def expected_distances(means: Any, points: Any, scale: Any, stds: Any = None) -> Numbers:
    """Return W1 (n,) between predictions and points (n, obs_dim); shapes and units as in `wasserstein_calibration`.

    A square root is an integral of exponentials, E sqrt(q) = integral of (1 - E exp(-t q)) t^(-3/2) dt / (2 sqrt(pi)),
    and the exponential of a Gaussian quadratic form is known, so no sample is drawn.
    """
    predicted, truth = np.asarray(means, np.float64), np.asarray(points, np.float64)
    predicted = predicted[None] if predicted.ndim == 2 else predicted
    if predicted.ndim != 3:
        raise InputError(f"means has shape {predicted.shape}; it must be (n_members, n, obs_dim) or (n, obs_dim)")
    predicted, truth = _alike(predicted, truth)
    units = checked_scale(scale, truth.shape[-1])
    if stds is None:
        return np.asarray(distances(predicted, truth, units).mean(0), np.float64)
    spread = np.asarray(stds, np.float64).reshape(np.shape(stds) if np.ndim(stds) == 3 else (1, *np.shape(stds)))
    if spread.shape != predicted.shape or not (np.isfinite(spread) & (spread >= 0)).all():
        raise InputError(
            f"stds has shape {spread.shape} or bad values; it must be {predicted.shape}, finite, not negative"
        )
    squared_gap = np.square((predicted - truth) / units) / truth.shape[-1]
    variance = np.square(spread / units) / truth.shape[-1]
    blocks = [slice(start, start + CHUNK) for start in range(0, len(truth), CHUNK)]
    return np.concatenate([_mean_norms(squared_gap[:, rows], variance[:, rows]).mean(0) for rows in blocks])


def distances(a: Numbers, b: Numbers, scale: Numbers) -> Numbers:
    """Return the root mean square over the last axis of (a - b) / scale."""
    return np.asarray(np.sqrt(np.square((a - b) / scale).mean(-1)), np.float64)


def checked_scale(scale: Any, obs_dim: int) -> Numbers:
    """Return scale as float64; raises InputError unless it is (obs_dim,), finite and positive."""
    units = np.asarray(scale, np.float64)
    if units.shape != (obs_dim,) or not (np.isfinite(units) & (units > 0)).all():
        raise InputError(f"scale has shape {units.shape} or bad values; it must be ({obs_dim},), finite and positive")
    return units


def _mean_norms(squared_mean: Numbers, variance: Numbers) -> Numbers:
    """Return E|x| over the last axis for Gaussian x with squared means and variances (..., obs_dim)."""
    total = (squared_mean + variance).sum(-1)
    unit = np.where(total > 0, total, 1.0)[..., None]
    squared_mean, variance = squared_mean / unit, variance / unit
    area = np.zeros(total.shape)
    for node in np.arange(-HALF_RANGE, HALF_RANGE + NODE_STEP / 2, NODE_STEP):
        t = np.exp(node)
        widened = 1 + 2 * t * variance
        log_mean = -(t * squared_mean / widened + np.log(widened) / 2).sum(-1)
        weight = NODE_STEP / 2 if abs(node) == HALF_RANGE else NODE_STEP
        area -= weight * np.exp(-node / 2) * np.expm1(log_mean)
    # Outside the range, 1 - E exp(-t q) is t below (q has mean one) and 1 above, whose integrals are these.
    area += 4 * np.exp(-HALF_RANGE / 2)
    return np.asarray(np.sqrt(total) * area / (2 * np.sqrt(np.pi)), np.float64)


def _smallest_factor(ratio: Numbers, share: float) -> float | None:
    if not 0 < share <= 1:
        raise InputError(f"a share is {share}; it must be above 0 and at most 1")
    needed = int(np.ceil(share * len(ratio) - 1e-9))
    factor = float(np.sort(ratio)[max(needed, 1) - 1])
    return factor if np.isfinite(factor) else None


def _alike(said: Any, true: Any) -> tuple[Numbers, Numbers]:
    """Return (..., n, obs_dim) and (n, obs_dim) as float64, checked."""
    left, right = np.asarray(said, np.float64), np.asarray(true, np.float64)
    if right.ndim != 2 or right.size == 0 or left.shape[-2:] != right.shape:
        raise InputError(f"next observations have shapes {left.shape} and {right.shape}; both must be (n, obs_dim)")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise InputError("next observations hold NaN or infinity; they must be finite")
    return left, right


def _bin(uncertainty: Numbers) -> dict[str, Any]:
    return {
        "n": len(uncertainty),
        "lowest": float(uncertainty.min()),
        "highest": float(uncertainty.max()),
        "uncertainty": float(uncertainty.mean()),
    }


def _bias(gap: Numbers) -> dict[str, float]:
    return {"bias": float(gap.mean()), "absolute": float(np.abs(gap).mean())}
