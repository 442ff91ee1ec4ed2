"""How true the model of an artefact is: step by step, in closed loop, and as a lower bound on the real return."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from suites.diagnosis_trials import Laboratory, Trials
from suites.resampling import mean_estimate, rounded, rounded_list, rounded_tree, stratified_draws
from suites.tasks import make_task
from wombet import theory
from wombet.dataset import TransferDataset
from wombet.one_step import distances

FACTORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Penalties to try, in units of the calibrated one."""
IMAGINED_ROWS = "Imagined rows against one simulated step from the same observation and action."
REAL_ROWS = "These rows are real; the error is that of the model's mean on them."
TRAJECTORY_BINS = 4
"""Bins of trajectories by uncertainty."""
OPEN_LOOP = (10, 20)
DRAWN_ROWS = 400
"""Rows whose error is stored one by one, for a figure."""

Numbers = NDArray[np.float64]


def one_step_truth(laboratory: Laboratory, rows: TransferDataset, truth: NDArray[np.float32]) -> dict[str, Any]:
    """Compare what the model says of `rows` with the simulator's next observations `truth` (n, obs_dim).

    Errors are root mean squares over entries, each in standard deviations of its change per step; reward biases are
    given for every level of the family, since all of them are relabelled from these rows.
    """
    imagined, said = laboratory.recipe_config.rollouts == "imagined", _said(laboratory, rows)
    scale, drawn = laboratory.target_std, np.linspace(0, len(rows) - 1, min(len(rows), DRAWN_ROWS)).astype(np.intp)
    levels = level_rewards(laboratory, rows, said, truth)
    return {
        "meaning": IMAGINED_ROWS if imagined else REAL_ROWS,
        **rounded_tree(theory.one_step_truth(said, truth, rows.uncertainty, scale, levels)),
        "wrong_terminations": rounded(np.mean(_ends(laboratory, said) != _ends(laboratory, truth))),
        "points": {
            "uncertainty": rounded_list(rows.uncertainty[drawn]),
            "error": rounded_list(distances(said[drawn].astype(np.float64), truth[drawn].astype(np.float64), scale)),
        },
    }


def closed_loop(laboratory: Laboratory, real: Trials, imagined: Trials) -> dict[str, Any]:
    """Compare returns of the planner from the same starts in the simulator and in its model, by mean uncertainty."""
    real = as_long_as(real, imagined)
    columns = {
        "real": real.rewards.sum(1),
        "imagined": imagined.rewards.sum(1),
        "uncertainty": imagined.uncertainty.sum(1) / np.maximum(imagined.steps, 1),
    }
    draws = stratified_draws(real.start_type, laboratory.generator("bootstrap"))
    order = np.argsort(columns["uncertainty"], kind="stable")
    return {
        "steps": real.rewards.shape[1],
        "gap": mean_estimate(columns["imagined"] - columns["real"], draws),
        "diverged": int(_diverged(imagined).sum()),
        "by_uncertainty": [
            {
                "n": len(part),
                **{name: rounded(values[part].mean()) for name, values in columns.items()},
                "lowest": rounded(columns["uncertainty"][part].min()),
                "highest": rounded(columns["uncertainty"][part].max()),
            }
            for part in np.array_split(order, min(TRAJECTORY_BINS, len(order)))
        ],
        "trajectories": {
            **{name: rounded_list(values) for name, values in columns.items()},
            "start_type": real.start_type.tolist(),
        },
    }


def lower_bound(laboratory: Laboratory, length: int, own: Trials) -> dict[str, Any]:
    """Plan with every penalty, in the simulator and in the model, and see where the penalised return is a lower bound.

    `own` holds the planner's real trials with the recipe's penalty. Returns are discounted as the planner does, except
    `true_return`. Open loop replays the imagined actions, over a few steps only.
    """
    factors = sorted({*FACTORS, laboratory.recipe_factor})
    imagined = [laboratory.imagined_trials(factor, length) for factor in factors]
    real = [
        own if factor == laboratory.recipe_factor else laboratory.planner_trials(factor, length) for factor in factors
    ]
    replayed = np.stack([laboratory.open_loop_rewards(trials) for trials in imagined])
    fair = np.stack([as_long_as(*pair).rewards for pair in zip(real, imagined, strict=True)])
    draws = stratified_draws(own.start_type, laboratory.generator("bootstrap"))
    return {
        "steps": length,
        "discount": laboratory.recipe_config.planner.discount,
        "closed_loop": [
            {**row, "true_return": mean_estimate(trials.rewards.sum(1), draws)}
            for row, trials in zip(_bound(laboratory, factors, fair, imagined), real, strict=True)
        ],
        "open_loop": {
            str(n): _bound(laboratory, factors, replayed[..., :n], [trials.cut(n) for trials in imagined])
            for n in OPEN_LOOP
            if n <= length
        },
    }


def as_long_as(real: Trials, imagined: Trials) -> Trials:
    """Real trials, cut where the imagined one left all bounds: nothing was promised beyond."""
    beyond = np.arange(real.rewards.shape[1]) >= imagined.steps[:, None]
    gone = beyond & _diverged(imagined)[:, None]
    return replace(real, rewards=np.where(gone, 0.0, real.rewards))


def level_rewards(
    laboratory: Laboratory, rows: TransferDataset, said: NDArray[np.float32], truth: NDArray[np.float32]
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return, for every level of the family, the rewards (n,) of the rows by what was said and by what is true."""
    task, rewards = laboratory.task, {}
    for level in task.definition.levels:
        of_level = make_task(task.family, level, "both", task.horizon)
        by_said, by_truth = (of_level.relabel(rows.obs, rows.action, after)[0] for after in (said, truth))
        rewards[level] = by_said, by_truth
    return rewards


def _bound(laboratory: Laboratory, factors: list[float], real: Numbers, imagined: list[Trials]) -> list[dict[str, Any]]:
    penalties = [factor * laboratory.unit_penalty for factor in factors]
    rewards, unsure = (np.stack([getattr(trials, name) for trials in imagined]) for name in ("rewards", "uncertainty"))
    discount = laboratory.recipe_config.planner.discount
    rows = theory.lower_bound(real, rewards, unsure, penalties, discount, real.shape[-1])
    return [{"factor": factor, **rounded_tree(row)} for factor, row in zip(factors, rows, strict=True)]


def _said(laboratory: Laboratory, rows: TransferDataset) -> NDArray[np.float32]:
    """What the model says comes next: the imagined rows themselves, or the elites' mean on real ones."""
    if laboratory.recipe_config.rollouts == "imagined":
        return rows.next_obs
    with torch.no_grad():
        means = laboratory.model.step(torch.from_numpy(rows.obs), torch.from_numpy(rows.action))[0]
    return means.mean(0).numpy()


def _ends(laboratory: Laboratory, next_obs: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(laboratory.task.terminated(next_obs.astype(np.float64)), np.bool_)


def _diverged(imagined: Trials) -> NDArray[np.bool_]:
    return (imagined.steps < imagined.rewards.shape[1]) & ~imagined.ended
