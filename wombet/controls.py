"""The data that controls and ablations are fed in place of the accepted trajectories: same format, another choice.

A gain from generated data belongs to the world model only if it exceeds what these give: trajectories that no filter
chose, the newest real source rows (those of the planner's own episodes first), and the source agent's policy in the
model without any planner; all of as many rows as were accepted. A gain from the filter is one over the other rules,
each of which keeps the same number of trajectories of the same pool.
"""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from wombet.collection import Progress
from wombet.dataset import TransferDataset
from wombet.filtering import Rule, matched_mask
from wombet.learner import ActorCritic
from wombet.rollouts import Rollouts, Starts, imagined
from wombet.task import Task
from wombet.world_model import WorldModel

CONTROLS = ("unfiltered", "source", "policy")
"""Names of the parts beside "accepted"; "policy" needs an agent and so exists where collection is "guided"."""
RULES: tuple[Rule, ...] = get_args(Rule)
MATCHED = tuple(f"matched-{rule}" for rule in RULES)
"""Names of the parts that a rule of the filter chooses, at the same number of trajectories."""
DIGITS = 6
"""Digits after the point of listed numbers."""


class PolicyPilot:
    """Stands where a planner does, and samples each action from a policy."""

    def __init__(self, model: WorldModel, policy: ActorCritic, generator: torch.Generator) -> None:
        self.model, self.policy = model, policy
        self._generator = generator

    def reset(self, n: int) -> None:
        """Begin episodes: a policy keeps nothing of them."""

    def drop(self, keep: torch.Tensor) -> None:
        """Go on with some episodes."""

    def plan(self, obs: torch.Tensor) -> torch.Tensor:
        """Return one sampled action (n, 1, action_dim) each for obs (n, obs_dim)."""
        return self.policy.act(obs, self._generator).float()[:, None]


def policy_rollouts(
    pilot: PolicyPilot,
    task: Task,
    starts: Starts,
    max_steps: int,
    hard_stop: float,
    generator: np.random.Generator,
    progress: Progress,
) -> Rollouts:
    """Run a policy in the model from the starts of the candidates, without further noise on its actions."""
    calm = Starts(starts.obs, starts.sim_state, starts.type, np.zeros_like(starts.noise))
    return imagined(pilot.model, task, pilot, calm, max_steps, hard_stop, generator, progress)


def control_parts(
    candidates: TransferDataset,
    source: TransferDataset,
    policy: TransferDataset | None,
    count: int,
    generator: np.random.Generator,
) -> dict[str, TransferDataset]:
    """Return the parts by name, each of `count` rows, or of fewer where there are no more.

    unfiltered: whole candidate trajectories in random order. source: the newest episodes of the real source rows.
    policy: trajectories of the policy in random order. The last trajectory taken is cut, and truncated there.
    """
    parts = {
        "unfiltered": taken(candidates, generator.permutation(len(candidates.episode_starts)), count),
        "source": taken(source, np.arange(len(source.episode_starts))[::-1], count),
    }
    if policy is not None:
        parts["policy"] = taken(policy, generator.permutation(len(policy.episode_starts)), count)
    return parts


def matched_parts(rollouts: Rollouts, fraction: float, generator: np.random.Generator) -> dict[str, TransferDataset]:
    """Return, by the names of MATCHED, what each rule keeps if it keeps this share of the candidates.

    Of fewer candidates with any step than that, all are kept.
    """
    candidates = rollouts.candidates()
    count = max(1, min(round(fraction * len(candidates)), int((candidates.steps > 0).sum())))
    chosen = [matched_mask(candidates, rule, count, generator) for rule in RULES]
    return {name: rollouts.select(mask) for name, mask in zip(MATCHED, chosen, strict=True)}


def taken(data: TransferDataset, order: NDArray[Any], count: int) -> TransferDataset:
    """Return the first `count` rows of the episodes taken in `order`, sorted and renumbered as they lie in `data`.

    The episode that reaches the count is cut at its end and truncated there; all rows are returned if they are fewer.
    """
    starts = data.episode_starts
    lengths = np.diff([*starts, len(data)])
    total = np.cumsum(lengths[order])
    chosen = order[: int(np.searchsorted(total, count)) + 1]
    kept = lengths[chosen]
    kept[-1] -= max(0, int(total[len(chosen) - 1]) - count)
    in_place = np.argsort(chosen)
    chosen, kept = chosen[in_place], kept[in_place]
    rows = np.concatenate([np.arange(starts[i], starts[i] + n) for i, n in zip(chosen, kept, strict=True)])
    columns: dict[str, Any] = {name: column[rows] for name, column in data.columns().items()}
    columns["episode_id"] = np.repeat(np.arange(len(chosen)), kept).astype(np.int32)
    last = np.cumsum(kept) - 1
    columns["truncated"][last] = ~columns["terminated"][last]
    return TransferDataset(**columns)


def part_entries(parts: Sequence[tuple[str, TransferDataset]], wanted: int) -> dict[str, Any]:
    """Return, for the card, the figures of each part.

    `missing_rows` says how many it falls short of `wanted`; parts of MATCHED have their number of trajectories instead.
    """
    return {
        name: {
            "rows": len(part),
            "missing_rows": 0 if name in MATCHED else wanted - len(part),
            "episodes": len(part.episode_starts),
            "reward_per_step": round(float(part.reward_source.mean(dtype=np.float64)), DIGITS),
            "uncertainty": round(float(part.uncertainty.mean(dtype=np.float64)), DIGITS),
        }
        for name, part in parts
    }
