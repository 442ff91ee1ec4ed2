"""The two returns between which a task's scores are normalised, and where each was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from suites.tasks.anchors import Anchor, read_anchors
from suites.tasks.measured import matching
from suites.tasks.references import Reference, read_references

RANDOM, FROM_SCRATCH = "random", "sac"
"""The methods of a suite whose final returns serve where no anchor was measured beforehand."""


@dataclass(frozen=True)
class PairAnchors:
    """Mean returns of a policy that has learnt nothing (`low`) and of one that has learnt from scratch (`high`).

    `low_source` and `high_source` say in words how each was measured; `beforehand` is whether both are kept with the
    software, measured for the very same task, and not taken from the suite's own results.
    """

    pair: str
    horizon: int
    low: float
    high: float
    low_source: str
    high_source: str
    beforehand: bool = False

    def normalise(self, mean_return: Any) -> Any:
        """Return a return or an array of returns on the scale where `low` is 0 and `high` is 1."""
        return (mean_return - self.low) / (self.high - self.low)

    def normalise_spread(self, spread: Any) -> Any:
        """Return a standard deviation of returns on the normalised scale: divided by the range, never shifted."""
        return spread / (self.high - self.low)

    def score_at(self, share: float) -> float:
        """Return the score (return divided by the horizon) at a share of the way from `low` to `high`."""
        return (self.low + share * (self.high - self.low)) / self.horizon


def pair_anchors(manifest: dict[str, Any], runs: pd.DataFrame) -> dict[str, PairAnchors]:
    """Return the anchors of every pair that has both; a pair without them has no normalised scores.

    The low one is the random policy of `suites/anchors.toml` where that measured the very same task (fingerprint and
    horizon), else the suite's own row `random`. The high one is the reference of `suites/references.toml` for the very
    same task, else the suite's row `sac`, the mean return of the last evaluation. A pair whose high one is not above
    its low one has none.
    """
    measured, references = read_anchors(), read_references()
    found = {}
    for pair in manifest["pairs"]:
        low, low_source = _low(pair, measured, runs)
        high, high_source = _high(pair, references, runs)
        beforehand = None not in (matching(measured, *_task(pair)), matching(references, *_task(pair)))
        if np.isfinite(low) and np.isfinite(high) and high > low:
            found[pair["id"]] = PairAnchors(pair["id"], pair["horizon"], low, high, low_source, high_source, beforehand)
    return found


def _task(pair: dict[str, Any]) -> tuple[str, int]:
    return str(pair.get("target_fingerprint", "")), pair["horizon"]


def random_scores(manifest: dict[str, Any], runs: pd.DataFrame) -> dict[str, float]:
    """Return the random policy's score in every pair for which it is known."""
    measured = read_anchors()
    low = {pair["id"]: (_low(pair, measured, runs)[0], pair["horizon"]) for pair in manifest["pairs"]}
    return {name: value / horizon for name, (value, horizon) in low.items() if np.isfinite(value)}


def with_normalised(frame: pd.DataFrame, anchors: Mapping[str, PairAnchors]) -> pd.DataFrame:
    """Return a frame with `mean_return` and `return_std` by pair, and with both normalised; NaN without anchors."""
    low = frame["pair"].map({name: own.low for name, own in anchors.items()}).astype(float)
    span = frame["pair"].map({name: own.high - own.low for name, own in anchors.items()}).astype(float)
    return frame.assign(normalised=(frame["mean_return"] - low) / span, normalised_std=frame["return_std"] / span)


def anchor_table(anchors: Mapping[str, PairAnchors]) -> pd.DataFrame:
    """Return the anchors with their sources, one row a pair."""
    columns = ["pair", "horizon", "low", "high", "low_source", "high_source"]
    return pd.DataFrame([[getattr(own, name) for name in columns] for own in anchors.values()], columns=columns)


def _low(pair: dict[str, Any], measured: Mapping[str, Anchor], runs: pd.DataFrame) -> tuple[float, str]:
    own = matching(measured, *_task(pair))
    if own is None:
        return _row(pair["id"], RANDOM, runs)
    name, anchor = own
    source = (
        f"random policy, {anchor.episodes} episodes of {name}, seed {anchor.seed}, mujoco {anchor.mujoco}, "
        f"gymnasium {anchor.gymnasium}"
    )
    return anchor.random_mean, source


def _high(pair: dict[str, Any], references: Mapping[str, Reference], runs: pd.DataFrame) -> tuple[float, str]:
    own = matching(references, *_task(pair))
    if own is None:
        return _row(pair["id"], FROM_SCRATCH, runs)
    reference = own[1]
    source = (
        f"{reference.method.upper()}, {reference.seeds} seeds, {reference.target_steps:,} steps, best of "
        f"{reference.evaluations} seed averages (at {reference.at_steps:,}){', provisional' * reference.provisional}, "
        f"runs {', '.join(reference.runs)}"
    )
    return reference.mean_return, source


def _row(pair: str, method: str, runs: pd.DataFrame) -> tuple[float, str]:
    own = runs[(runs["pair"] == pair) & (runs["method"] == method) & runs["usable"].astype(bool)]
    if own.empty:
        return float("nan"), ""
    steps = int(own["target_steps"].max())
    return float(own["mean_return"].mean()), f"{method} of this suite, {len(own)} seeds, {steps:,} target steps"
