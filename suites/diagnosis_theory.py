"""The paper's bounds with the figures of one artefact: what they assume, what they promise, and whether it is empty."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from suites.diagnosis_trials import Laboratory, Trials
from suites.resampling import rounded_tree
from wombet import theory
from wombet.dataset import TransferDataset

OFFLINE_SHARE = 1.0
"""alpha of (12): the bound is that of the dataset alone, before any row of the target task."""


def theory_figures(
    laboratory: Laboratory, rows: TransferDataset, truth: NDArray[np.float32], planner: Trials, imagined: Trials
) -> dict[str, Any]:
    """Return calibration of u against W1, the Lipschitz estimate and the final bound, and sentences that say them.

    `rows` and `truth` are those of the one-step check, `planner` its real trials, `imagined` those in the model.
    """
    scale = laboratory.target_std
    obs, action = torch.from_numpy(rows.obs), torch.from_numpy(rows.action)
    with torch.no_grad():
        predicted = laboratory.model.predict(obs, action)
    means, stds = predicted.mean.numpy(), predicted.std.numpy()
    of_means = theory.wasserstein_calibration(means, truth, rows.uncertainty, scale)
    of_mixture = theory.wasserstein_calibration(means, truth, rows.uncertainty, scale, stds)
    lipschitz = _lipschitz(laboratory, rows, planner, scale)
    bound = _final_bound(laboratory, imagined, lipschitz["value"], of_means["w1"]["mean"])
    found = {
        "uncertainty_measure": laboratory.model.config.uncertainty,
        "wasserstein": {"means": of_means, "mixture": of_mixture},
        "lipschitz": lipschitz,
        "final_bound": bound,
        "sentences": [
            _calibration_sentence(of_means),
            _penalty_sentence(laboratory, lipschitz, of_means),
            bound["sentence"],
        ],
    }
    return dict(rounded_tree(found))


def _lipschitz(laboratory: Laboratory, rows: TransferDataset, planner: Trials, scale: NDArray[Any]) -> dict[str, Any]:
    """L_V from the agent's critic, or from returns over the starts; no bound in either case."""
    if laboratory.agent is not None:
        agent = laboratory.agent
        found = theory.lipschitz_value(
            lambda obs: agent.value(torch.from_numpy(obs.astype(np.float32))).float().numpy(), rows.obs, scale
        )
        return {"from": "the agent's critic, the steepest of the rows", "value": found["max"], **found}
    discounts = laboratory.recipe_config.agent.discount ** np.arange(planner.rewards.shape[1])
    found = theory.lipschitz_returns(laboratory.starts.obs, planner.rewards @ discounts, scale)
    return {"from": "returns from pairs of starts, the 95 % quantile", "value": found["q95"], **found}


def _final_bound(laboratory: Laboratory, imagined: Trials, lipschitz: float, model_error: float) -> dict[str, Any]:
    agent = laboratory.recipe_config.agent
    penalty = laboratory.recipe_factor * laboratory.unit_penalty
    discounts = agent.discount ** np.arange(imagined.rewards.shape[1])
    penalised = (imagined.rewards - penalty * imagined.uncertainty) @ discounts
    seen = laboratory.dataset if laboratory.source is None else laboratory.source
    return theory.final_bound(
        penalised_return=float(penalised.mean()),
        n_rows=len(laboratory.dataset),
        n_parameters=laboratory.tools.agent().learner.critics.vector.numel() // agent.n_critics,
        lipschitz=lipschitz,
        model_error=model_error,
        offline_share=OFFLINE_SHARE,
        reward_range=(float(seen.reward_source.min()), float(seen.reward_source.max())),
        discount=agent.discount,
        horizon=imagined.rewards.shape[1],
        reward_label="estimate",
    )


def _calibration_sentence(found: dict[str, Any]) -> str:
    holds, factor = found["holds"], found["factors"]["0.95"]
    scaled = "no factor would do" if factor is None else f"u would have to be {factor:.3g} times as large"
    return (
        f"The theory assumes W1(model, truth) <= u: it holds on {holds['share']:.0%} of {found['rows']} rows, and for "
        f"95 % of them {scaled}."
    )


def _penalty_sentence(laboratory: Laboratory, lipschitz: dict[str, Any], calibration: dict[str, Any]) -> str:
    penalty, factor = laboratory.recipe_factor * laboratory.unit_penalty, calibration["factors"]["0.95"]
    needed = laboratory.recipe_config.agent.discount * lipschitz["value"]
    scaled = float("inf") if factor is None else max(1.0, factor) * needed
    verdict = (
        "enough, as far as the estimate is right, but for the other rows"
        if penalty >= scaled
        else "too little for the theory to promise the lower bound; whether it holds all the same is measured above"
    )
    return (
        f"It then asks for a penalty of gamma L_V = {needed:.3g} (an estimate, from {lipschitz['from']}), and with "
        f"that factor for one of {scaled:.3g}; the recipe's is {penalty:.3g}: {verdict}."
    )
