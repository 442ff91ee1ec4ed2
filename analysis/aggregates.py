"""The aggregate statistics of every method: per pair, family, level of shift and over all, on every scale."""

from collections.abc import Iterator, Sequence
from typing import Literal

import pandas as pd

from analysis.bootstrap import Estimate, estimates, improvement_matrix
from analysis.load import SuiteResults
from analysis.statistics import Scores, Statistic, TaskScores, iqm, mean, median, optimality_gap
from wombet.errors import InputError
from wombet.streams import Streams

Backend = Literal["wombet", "rliable"]
BACKENDS: tuple[Backend, ...] = ("wombet", "rliable")
STATISTICS: tuple[Statistic, ...] = (iqm, mean, median, optimality_gap)
SCALES = {"score": "score", "normalised": "normalised", "return": "mean_return"}
COLUMNS = [
    "scope",
    "group",
    "scale",
    "method",
    "statistic",
    "label",
    "value",
    "low",
    "high",
    "expected_coverage",
    "scores",
    "kept",
    "seeds",
    "units",
    "pairs",
]


def check_backend(name: str) -> Backend:
    """Return the name of a bootstrap as such; raises InputError for another."""
    for backend in BACKENDS:
        if name == backend:
            return backend
    raise InputError(f"--statistics is {name!r}; it must be wombet (our seeded bootstrap) or rliable")


def estimates_by(
    backend: Backend, scores: Scores, statistics: Sequence[Statistic], streams: Streams, name: str, resamples: int
) -> list[Estimate]:
    """Return statistics with intervals by our bootstrap or by rliable's, seeded from a named stream."""
    if backend == "wombet":
        return estimates(scores, statistics, streams.numpy(name), resamples)
    from analysis.rliable_backend import rliable_estimates

    return rliable_estimates(scores, statistics, streams.integer(name), resamples)


def groups(results: SuiteResults) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the groups of pairs that are summarised: (scope, name, pairs), from the whole to the single pair."""
    entries = results.manifest["pairs"]
    if len(entries) > 1:
        yield "all", "all pairs", [entry["id"] for entry in entries]
    for scope in ("family", "level"):
        names = list(dict.fromkeys(str(entry.get(scope) or "unknown") for entry in entries))
        if len(names) > 1 or scope == "family":
            for name in names:
                yield scope, name, [entry["id"] for entry in entries if str(entry.get(scope) or "unknown") == name]
    for entry in entries:
        yield "pair", entry["id"], [entry["id"]]


def scores_of(results: SuiteResults, pairs: Sequence[str], method: str, column: str = "score") -> list[TaskScores]:
    """Return the final scores of a method on those of the pairs where it has a usable run."""
    found = [results.final_scores(pair, method, column) for pair in pairs]
    return [scores for scores in found if scores is not None]


def aggregates(
    results: SuiteResults, seed: int = 0, resamples: int = 10_000, backend: Backend = "wombet"
) -> pd.DataFrame:
    """Return IQM, mean, median and optimality gap of the final scores, one row per group, scale, method and statistic.

    `score` is the return divided by the horizon, `normalised` lies between the pair's anchors (only where every pair of
    the group has them), `return` is raw (single pairs only). Groups of the same pairs are given once. `label` names the
    statistic that was really computed, `pairs` says on how many pairs the method has scores.
    """
    rows, seen = [], set()
    for scope, group, pairs in groups(results):
        if tuple(pairs) in seen and scope != "pair":
            continue
        seen.add(tuple(pairs))
        for scale, column in SCALES.items():
            if (scale == "normalised" and not set(pairs) <= set(results.anchors)) or (
                scale == "return" and scope != "pair"
            ):
                continue
            for method in results.methods:
                scores = scores_of(results, pairs, method, column)
                if not scores:
                    continue
                wanted = [own for own in STATISTICS if own is not optimality_gap or scale != "return"]
                streams = Streams(seed, "aggregates", scope, group, scale)
                found = estimates_by(backend, scores, wanted, streams, method, resamples)
                rows += [
                    _row((scope, group, scale, method, own.__name__), estimate, len(scores))
                    for own, estimate in zip(wanted, found, strict=True)
                ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(names: tuple[str, ...], estimate: Estimate, pairs: int) -> list[object]:
    return [
        *names,
        estimate.label,
        estimate.value,
        estimate.low,
        estimate.high,
        estimate.expected_coverage,
        estimate.n_scores,
        estimate.kept,
        estimate.seeds,
        estimate.units,
        pairs,
    ]


def improvement_table(results: SuiteResults, seed: int = 0, resamples: int = 10_000) -> pd.DataFrame:
    """Return the probability that a run of method `a` ends above a run of `b`, for every two methods, over all pairs.

    Methods without a score on some pair are left out of it, as the audit says of them.
    """
    scores = {method: scores_of(results, results.pairs, method) for method in results.methods}
    whole = {method: own for method, own in scores.items() if len(own) == len(results.pairs)}
    found = improvement_matrix(whole, Streams(seed, "improvement").numpy(), resamples)
    rows = [[a, b, own.value, own.low, own.high, own.seeds] for (a, b), own in found.items()]
    rows += [
        [b, a, 1 - own.value, *(None if x is None else 1 - x for x in (own.high, own.low)), own.seeds]
        for (a, b), own in found.items()
    ]
    return pd.DataFrame(rows, columns=["a", "b", "probability", "low", "high", "seeds"])
