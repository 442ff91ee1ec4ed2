"""Where the noise of a score comes from, and what one more run may be: seeds, episodes, tolerance, worst cases."""

import math

import numpy as np
import pandas as pd
import scipy.stats

from analysis.load import SuiteResults
from analysis.statistics import Array

NEGLIGIBLE = 0.1
CONTENT, CONFIDENCE = 0.9, 0.95
COLUMNS = [
    "pair",
    "method",
    "seeds",
    "episodes",
    "seed_std",
    "episode_std",
    "episode_share",
    "share_low",
    "share_high",
    "episodes_enough",
    "tolerance_low",
    "tolerance_high",
    "tolerance_kind",
    "worst_decile",
    "worst_runs",
    "note",
]


def noise_table(results: SuiteResults) -> pd.DataFrame:
    """Return for every pair and method how the final scores vary, in units of the score, one row a cell.

    `episode_share` is the share of the variance of a run's score that its few evaluation episodes make, with a 95 %
    interval; `episodes_enough` is the number of episodes from which they add less than a tenth of the variance between
    seeds (None: the seeds do not differ measurably, so no number is known to be enough). The tolerance interval holds
    nine runs in ten with 95 % confidence. `worst_decile` is the mean of the lowest tenth of the runs, at least one.
    """
    rows = []
    for pair in results.pairs:
        for method in results.methods:
            returns = final_returns(results, pair, method)
            if returns:
                horizon = next(entry["horizon"] for entry in results.manifest["pairs"] if entry["id"] == pair)
                rows.append([pair, method, *_row([own / horizon for own in returns])])
    return pd.DataFrame(rows, columns=COLUMNS)


def final_returns(results: SuiteResults, pair: str, method: str) -> list[Array]:
    """Return the episodes' returns of the last evaluation of every usable run, by seed."""
    last = results.history(pair, method).groupby("seed").tail(1)
    return [results.episode_returns(int(row)) for row in last.index]


def _row(scores: list[Array]) -> list[object]:
    means = np.array([own.mean() for own in scores])
    seeds, episodes = len(scores), [own.size for own in scores]
    low, high, kind = tolerance_interval(means)
    worst = np.sort(means)[: max(1, math.ceil(seeds / 10))]
    tail = [low, high, kind, float(worst.mean()), worst.size]
    if seeds < 2 or min(episodes) < 2 or len(set(episodes)) > 1:
        note = "the split needs two seeds with the same number of episodes, two at least"
        return [seeds, min(episodes), *[math.nan] * 5, None, *tail, note]
    parts = variance_parts(np.stack(scores))
    return [seeds, episodes[0], *parts, *tail, ""]


def variance_parts(scores: Array) -> list[float | int | None]:
    """Split the variance of scores (seeds, episodes) by a one-way random-effects analysis.

    Returns the standard deviation between seeds (without the episodes' part), that between episodes, the share of the
    variance of a seed's mean that is the episodes', its exact 95 % interval from the F distribution (Searle 1971), and
    the number of episodes whose part is a tenth of the variance between seeds.
    """
    seeds, episodes = scores.shape
    between = episodes * scores.mean(axis=1).var(ddof=1)
    within = scores.var(axis=1, ddof=1).mean()
    seed_variance = max(0.0, (between - within) / episodes)
    if between == 0:
        return [0.0, math.sqrt(within), math.nan, math.nan, math.nan, None]
    enough = max(1, math.ceil(within / (NEGLIGIBLE * seed_variance))) if seed_variance > 0 else None
    quantiles = scipy.stats.f.ppf([0.025, 0.975], seeds - 1, seeds * (episodes - 1))
    share, low, high = (float(np.clip(x, 0.0, 1.0)) for x in within / between * np.array([1.0, *quantiles]))
    return [math.sqrt(seed_variance), math.sqrt(within), share, low, high, enough]


def tolerance_interval(values: Array) -> tuple[float, float, str]:
    """Return bounds that hold 90 % of runs with 95 % confidence, and how: `order statistics` or `normal`.

    From 46 runs on the extremes serve whatever the distribution (Wilks 1941); below, a normal one is assumed (the
    factor of Howe 1969). With one run there are none.
    """
    n = values.size
    if n < 2:
        return math.nan, math.nan, "none"
    if n * CONTENT ** (n - 1) - (n - 1) * CONTENT**n <= 1 - CONFIDENCE:
        return float(values.min()), float(values.max()), "order statistics"
    centre = scipy.stats.norm.ppf((1 + CONTENT) / 2) * math.sqrt(1 + 1 / n)
    factor = centre * math.sqrt((n - 1) / scipy.stats.chi2.ppf(1 - CONFIDENCE, n - 1))
    reach = factor * values.std(ddof=1)
    return float(values.mean() - reach), float(values.mean() + reach), "normal"
