"""Are the levels of shift what they are called? Judged by behaviour cloning alone, reported, and never mended."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.anchors import random_scores
from analysis.bootstrap import enough_seeds, ratio_interval
from analysis.load import SuiteResults
from analysis.paired import unit_of
from analysis.statistics import TaskScores
from wombet.streams import Streams

JUDGE, ALIGNED = "bc", "aligned"
HOLDS, HARDER, EASIER = "holds", "harder than the rule", "easier than the rule"
COLUMNS = [
    "family",
    "level",
    "pair",
    "method",
    "retained",
    "low",
    "high",
    "rule",
    "bounds",
    "verdict",
    "seeds",
    "datasets",
    "score",
    "random_score",
    "aligned_score",
    "aligned_random_score",
    "note",
]


@dataclass(frozen=True)
class Rule:
    """What share of its aligned score behaviour cloning should retain at a level, in words, and the bounds of that."""

    share: str
    bounds: str
    at_least: float
    at_most: float

    def verdict(self, retained: float) -> str:
        """Say of a share whether the level holds; both bounds belong to it."""
        if retained < self.at_least:
            return HARDER
        return EASIER if retained > self.at_most else HOLDS


RULES = {
    "close": Rule("about 0.85", "from 0.725", 0.725, np.inf),
    "moderate": Rule("about 0.60", "0.45 to 0.725", 0.45, 0.725),
    "far": Rule("at most 0.30", "up to 0.30", -np.inf, 0.30),
}
"""The rule that levels were designed by; its bounds lie midway between its figures, but for the one that far has."""


def level_table(results: SuiteResults, seed: int = 0, resamples: int = 10_000) -> pd.DataFrame:
    """Return for every level of a family what `bc` retains of its score at `aligned`, one row a level.

    `retained` is the mean final score above the random policy's, over the same at the family's aligned level, each task
    with its own random policy, over the seeds that finished both. Seeds are resampled in pairs, and those of one
    dataset together; below 5 seeds there is no interval. `verdict` is that of the point. Only pairs that differ in
    reward and initial states from an aligned one of the same horizon are judged; without any the frame is empty.
    """
    low = random_scores(results.manifest, results.runs)
    rows = [
        {"family": pair["family"], "level": pair["level"], "pair": pair["id"], "method": JUDGE}
        | _row(results, pair["id"], aligned, RULES[pair["level"]], low, Streams(seed, "levels", pair["id"]), resamples)
        for pair, aligned in (_judged(results.manifest["pairs"]) if JUDGE in results.methods else ())
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _judged(pairs: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every pair at a level that has a rule, with the id of its family's aligned pair."""
    aligned = {(pair.get("family"), pair["horizon"]): pair["id"] for pair in pairs if pair.get("level") == ALIGNED}
    for pair in pairs:
        base = aligned.get((pair.get("family"), pair["horizon"]))
        if base is not None and pair["level"] in RULES and pair.get("shift", "both") == "both":
            yield pair, base


def _row(
    results: SuiteResults,
    pair: str,
    aligned: str,
    rule: Rule,
    low: dict[str, float],
    streams: Streams,
    resamples: int,
) -> dict[str, object]:
    ours, theirs = results.finals(pair, JUDGE), results.finals(aligned, JUDGE)
    shared = [seed for seed in ours if seed in theirs]
    row: dict[str, object] = {"rule": rule.share, "bounds": rule.bounds, "seeds": len(shared)}
    if not shared or pair not in low or aligned not in low:
        return row | {"note": "the random policy was not measured" if shared else "no seed finished both levels"}
    units = tuple(unit_of(pair, seed, ours[seed][1], theirs[seed][1]) for seed in shared)
    scores = TaskScores(pair, np.array([ours[seed][0] for seed in shared]) - low[pair], units)
    base = np.array([theirs[seed][0] for seed in shared]) - low[aligned]
    row |= {
        "datasets": scores.n_datasets,
        "score": float(scores.values.mean()) + low[pair],
        "random_score": low[pair],
        "aligned_score": float(base.mean()) + low[aligned],
        "aligned_random_score": low[aligned],
    }
    if base.mean() <= 0:
        return row | {"note": f"{JUDGE} is not above the random policy at {ALIGNED}"}
    retained = float(scores.values.mean() / base.mean())
    row |= {"retained": retained, "verdict": rule.verdict(retained)}
    if enough_seeds([scores]):
        bounds = ratio_interval(scores, base, streams.numpy(), resamples)
        if bounds is None:
            note = f"no interval: in some resamples {JUDGE} is not above the random policy at {ALIGNED}"
            return row | {"note": note}
        row |= {"low": bounds[0], "high": bounds[1]}
    return row
