"""The card of a generated dataset: where it came from, as plain JSON without clock or host."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wombet.dataset import TransferDataset
from wombet.files import canonical_json
from wombet.filtering import START_TYPES, Candidates, Mask, Thresholds
from wombet.generation_config import GenerationConfig
from wombet.task import Task

DIGITS = 6
"""Digits after the point of listed numbers."""


def card_of(
    task: Task, config: GenerationConfig, seed: int, products: Mapping[str, Any], made: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the card: recipe, source steps by stage, model reports, and what `made` tells of the rest."""
    planner = config.planner
    card = {
        "task": task.id,
        "horizon": task.horizon,
        "seed": seed,
        "collection_mode": config.collection,
        "rollouts": config.rollouts,
        "config": dataclasses.asdict(config),
        "source_steps": {"total": sum(products["spent"].values()), "by_stage": dict(products["spent"])},
        "model_reports": products["reports"],
        "planner": {
            "policy_proposals": planner.n_policy_proposals,
            "terminal_value": planner.terminal_value,
            "penalty": made["penalty"],
        },
        **{name: value for name, value in made.items() if name != "penalty"},
    }
    return dict(json.loads(canonical_json(card)))


def collection_entries(parts: Sequence[tuple[str, TransferDataset]]) -> dict[str, Any]:
    """Return, by stage, the source episodes' count, steps, mean return and reward per step, and a comparison.

    `comparison` holds mean returns of whole episodes: of the last round of the planner, of uniform random actions, of
    the source agent's last ten episodes, and of the data that the planner's model was fitted to.
    """
    found: dict[str, list[TransferDataset]] = {}
    for stage, part in parts:
        found.setdefault(stage, []).append(part)
    planned = [stage for stage in found if stage.startswith("plan")]
    before = [part for stage, part in parts if stage not in ("calibration", *planned[-1:])]
    comparison = {"random": _mean_return(found["random"], slice(0, None, 2)), "training_data": _mean_return(before)}
    if "agent" in found:
        comparison["agent"] = _mean_return(found["agent"], slice(-10, None))
    if planned:
        comparison["planner"] = _mean_return(found[planned[-1]])
    return {"stages": {stage: _summary(group) for stage, group in found.items()}, "comparison": comparison}


def candidate_entries(
    candidates: Candidates,
    early: Mask,
    accepted: Mask,
    thresholds: Thresholds,
    hard_stop: float,
    venn: Mapping[str, int],
) -> dict[str, Any]:
    """Return thresholds, counts by start type, origin and rule, and what was accepted and rejected.

    `early` says which candidates the early model planned.
    """
    kinds = {name: candidates.start_type == kind for kind, name in enumerate(START_TYPES)}
    return {
        "thresholds": {
            "uncertainty": thresholds.uncertainty,
            "hard_stop": hard_stop,
            "return_per_step": dict(zip(START_TYPES, thresholds.returns, strict=True)),
            "min_return_steps": thresholds.min_steps,
        },
        "counts": {
            "candidates": {name: int(mask.sum()) for name, mask in kinds.items()},
            "accepted": {name: int((mask & accepted).sum()) for name, mask in kinds.items()},
            "early": {"candidates": int(early.sum()), "accepted": int((early & accepted).sum())},
            "acceptance": round(float(accepted.mean()), DIGITS),
            "candidate_rows": int(candidates.steps.sum()),
            "accepted_rows": int(candidates.steps[accepted].sum()),
            "venn": dict(venn),
        },
        "accepted": _trajectory_means(candidates, accepted),
        "rejected": _trajectory_means(candidates, ~accepted),
        "early": _trajectory_means(candidates, early),
        "trajectories": {
            "return_per_step": _rounded(candidates.returns),
            "uncertainty": _rounded(candidates.uncertainty),
            "steps": candidates.steps.tolist(),
            "start_type": candidates.start_type.tolist(),
            "early": early.astype(int).tolist(),
            "accepted": accepted.astype(int).tolist(),
        },
    }


def _summary(parts: Sequence[TransferDataset]) -> dict[str, Any]:
    steps = sum(len(part) for part in parts)
    episodes = sum(len(part.episode_starts) for part in parts)
    total = sum(float(part.reward_source.sum(dtype=np.float64)) for part in parts)
    return {
        "episodes": episodes,
        "steps": steps,
        "mean_return": round(total / episodes, DIGITS),
        "reward_per_step": round(total / steps, DIGITS),
    }


def _mean_return(parts: Sequence[TransferDataset], which: slice = slice(None)) -> float:
    returns = np.concatenate([part.episode_sums(part.reward_source) for part in parts])
    return round(float(returns[which].mean()), DIGITS)


def _trajectory_means(candidates: Candidates, mask: Mask) -> dict[str, Any] | None:
    mask = mask & (candidates.steps > 0)
    if not mask.any():
        return None
    return {
        "return_per_step": round(float(candidates.returns[mask].mean()), DIGITS),
        "return": round(float((candidates.returns * candidates.steps)[mask].mean()), DIGITS),
        "uncertainty": round(float(candidates.uncertainty[mask].mean()), DIGITS),
        "steps": round(float(candidates.steps[mask].mean()), DIGITS),
    }


def _rounded(values: Any) -> list[float]:
    return [round(float(value), DIGITS) for value in values]
