"""Which generated trajectories are kept: high return and low epistemic uncertainty (equation (6) of the paper).

A trajectory is judged by its mean source reward per step R and its mean uncertainty U. Both rules compare trajectories
with their like: those that begin in an initial state of the task with each other, and those that begin in a state seen
in the source data with each other, since a standing start costs return although the target task needs such states.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from wombet.errors import InputError

Rule = Literal["dual", "return", "uncertainty", "none"]
Selection = Literal["threshold", "matched"]
START_TYPES = ("initial", "visited")
"""Names of the start types 0 (drawn from the task's initial states) and 1 (a state of the source data)."""
CERTAIN_SHARE = 0.6
"""Of the candidates, the share with the lowest uncertainty among which matched "dual" ranks by return."""

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]


class AcceptanceError(RuntimeError):
    """Too few trajectories passed the filter for the data to be called generated."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the filter sees of n trajectories, all (n,): `returns` is the mean reward per step, `steps` their length.

    `uncertainty` is the mean over the steps; `start_type` indexes START_TYPES.
    """

    returns: Numbers
    uncertainty: Numbers
    steps: NDArray[np.int64]
    start_type: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the rules: U <= `uncertainty`; R >= `returns` of the start type, over at least `min_steps` steps."""

    uncertainty: float
    returns: tuple[float, ...]
    min_steps: int


def return_thresholds(candidates: Candidates, source_returns: tuple[float, ...]) -> tuple[float, ...]:
    """Return, per start type, the larger of the candidates' median R and the source data's mean reward per step.

    The first keeps about half, the second refuses what is worse than the data that taught the model.
    """
    thresholds = []
    for kind, floor in enumerate(source_returns):
        of_kind = candidates.returns[(candidates.start_type == kind) & (candidates.steps > 0)]
        thresholds.append(max(float(np.median(of_kind)), floor) if len(of_kind) else floor)
    return tuple(thresholds)


def return_mask(candidates: Candidates, thresholds: Thresholds) -> Mask:
    """Return which trajectories have a high return; one that ended early is never among them."""
    bound = np.asarray(thresholds.returns)[candidates.start_type]
    return (candidates.returns >= bound) & (candidates.steps >= max(1, thresholds.min_steps))


def uncertainty_mask(candidates: Candidates, thresholds: Thresholds) -> Mask:
    """Return which trajectories have a low uncertainty."""
    return (candidates.uncertainty <= thresholds.uncertainty) & (candidates.steps > 0)


def threshold_mask(candidates: Candidates, rule: Rule, thresholds: Thresholds) -> Mask:
    """Return which trajectories a rule accepts; those without any step never are."""
    _check(rule, get_args(Rule), "filter")
    accepted = candidates.steps > 0
    if rule in ("dual", "return"):
        accepted = accepted & return_mask(candidates, thresholds)
    if rule in ("dual", "uncertainty"):
        accepted = accepted & uncertainty_mask(candidates, thresholds)
    return accepted


def matched_mask(candidates: Candidates, rule: Rule, count: int, generator: np.random.Generator) -> Mask:
    """Return exactly `count` trajectories by a rule's order, so that rules can be compared at the same size of data.

    "return" takes the highest R; "uncertainty" the lowest U; "dual" the highest R among the CERTAIN_SHARE of lowest U;
    "none" a random choice, the only one that draws from the generator. Each start type contributes in proportion to its
    candidates. Raises AcceptanceError if there are not that many.
    """
    _check(rule, get_args(Rule), "filter")
    usable = candidates.steps > 0
    kinds = [np.flatnonzero(usable & (candidates.start_type == kind)) for kind in range(len(START_TYPES))]
    if not 1 <= count <= usable.sum():
        raise AcceptanceError(f"{count} trajectories are to be kept of {int(usable.sum())} that have any step")
    accepted = np.zeros(len(candidates), np.bool_)
    for of_kind, share in zip(kinds, _apportion(count, [len(kind) for kind in kinds]), strict=True):
        accepted[_ranked(candidates, of_kind, share, rule, generator)[:share]] = True
    return accepted


def venn_counts(candidates: Candidates, thresholds: Thresholds) -> dict[str, int]:
    """Return how many trajectories have high return and low uncertainty, one of the two only, and neither."""
    high, certain = return_mask(candidates, thresholds), uncertainty_mask(candidates, thresholds)
    return {
        "both": int((high & certain).sum()),
        "return_only": int((high & ~certain).sum()),
        "uncertainty_only": int((~high & certain).sum()),
        "neither": int((~high & ~certain).sum()),
    }


def check_acceptance(accepted: Mask, minimum: float, counts: Mapping[str, Any]) -> None:
    """Raise AcceptanceError, with its numbers, if a smaller share than `minimum` was accepted."""
    share = float(accepted.mean()) if len(accepted) else 0.0
    if share < minimum or not accepted.any():
        raise AcceptanceError(
            f"the filter accepted {int(accepted.sum())} of {len(accepted)} trajectories ({share:.1%}) and needs "
            f"{minimum:.0%} ({', '.join(f'{name} {value}' for name, value in counts.items())}); give the source task "
            'more steps, or generate with rollouts="executed"'
        )


def _ranked(
    candidates: Candidates, of_kind: NDArray[np.intp], share: int, rule: Rule, generator: np.random.Generator
) -> NDArray[np.intp]:
    if rule == "none":
        return generator.permutation(of_kind)
    by_uncertainty = of_kind[np.argsort(candidates.uncertainty[of_kind], kind="stable")]
    if rule == "uncertainty":
        return by_uncertainty
    if rule == "dual":
        of_kind = np.sort(by_uncertainty[: max(share, round(CERTAIN_SHARE * len(of_kind)))])
    return of_kind[np.argsort(-candidates.returns[of_kind], kind="stable")]


def _apportion(count: int, sizes: list[int]) -> list[int]:
    """Split a count in proportion to sizes, by largest remainders; no part exceeds its size."""
    quotas = [count * size / sum(sizes) for size in sizes]
    parts = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda i: parts[i] - quotas[i])
    for i in by_remainder[: count - sum(parts)]:
        parts[i] += 1
    return parts


def _check(value: str, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise InputError(f"the {what} is {value!r}; it must be one of {', '.join(known)}")
