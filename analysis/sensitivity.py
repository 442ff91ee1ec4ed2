"""Whether a ranking survives other choices: another statistic, other anchors, one pair less, failures counted."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.aggregates import scores_of
from analysis.anchors import random_scores
from analysis.bootstrap import distribution
from analysis.load import SuiteResults
from analysis.statistics import Scores, Statistic, TaskScores, iqm, mean, median, point
from analysis.tables import Scale, scale_over
from wombet.streams import Streams

COLUMNS = ["variant", "method", "value", "rank", "pairs"]
_NAMES: dict[Scale, str] = {"score": "scores", "normalised": "normalised scores"}


def failure_table(results: SuiteResults) -> pd.DataFrame:
    """Return what every method scores with its failed runs left out and with them scored as the random policy.

    One row per pair and method that has a failed run. Where no random policy was measured the failed runs count as the
    lowest final score of any run of the pair, and `scored_as` says so.
    """
    runs, known = results.runs, random_scores(results.manifest, results.runs)
    rows = []
    for pair in results.pairs:
        floor = _floor(results, pair, known)
        for method in results.methods:
            failed = _failed(runs, pair, method)
            if not failed:
                continue
            own = results.final_scores(pair, method)
            without = point(iqm, [own]) if own else None
            counted = _with_failures(own, failed, floor[0], pair) if floor else None
            with_them = point(iqm, [counted]) if counted else None
            finished = 0 if own is None else own.values.size
            rows.append([pair, method, finished, failed, without, with_them, *(floor or (None, "nothing to score as"))])
    columns = ["pair", "method", "finished", "failed", "iqm", "iqm_with_failures", "failure_score", "scored_as"]
    return pd.DataFrame(rows, columns=columns)


def _failed(runs: pd.DataFrame, pair: str, method: str) -> int:
    own = runs[(runs["pair"] == pair) & (runs["method"] == method)]
    return int(((own["state"] == "failed") | ((own["state"] == "done") & ~own["usable"].astype(bool))).sum())


def _floor(results: SuiteResults, pair: str, known: Mapping[str, float]) -> tuple[float, str] | None:
    if pair in known:
        return known[pair], "the random policy"
    scores = results.runs[(results.runs["pair"] == pair) & results.runs["usable"].astype(bool)]["score"]
    return (float(scores.min()), "the lowest final score of the pair") if len(scores) else None


def _with_failures(own: TaskScores | None, failed: int, score: float, pair: str) -> TaskScores:
    values = np.concatenate([own.values if own else np.empty(0), np.full(failed, score)])
    datasets = (*(own.datasets if own else ()), *[None] * failed)
    return TaskScores(pair, values, datasets)


def ranking_table(results: SuiteResults) -> pd.DataFrame:
    """Return every method's value and rank (1 is best) under each variant of the analysis.

    Variants: the primary one (IQM over all pairs, of normalised scores where the table over all pairs has them), mean,
    median, IQM on the other scale where all pairs have anchors, failed runs scored as the random policy, and each pair
    left out. Only methods with a score on every pair are ranked, and `pairs` says on how many that is.
    """
    scale = scale_over(results, results.pairs)
    whole = _whole(results, scale)
    variants: list[tuple[str, Statistic, dict[str, Scores]]] = [
        (f"IQM of {_NAMES[scale]}", iqm, whole),
        (f"mean of {_NAMES[scale]}", mean, whole),
        (f"median of {_NAMES[scale]}", median, whole),
    ]
    if whole and set(results.pairs) <= set(results.anchors):
        other: Scale = "score" if scale == "normalised" else "normalised"
        variants.append((f"IQM of {_NAMES[other]}", iqm, _whole(results, other)))
    variants.append(("IQM, failures as random", iqm, _failures_counted(results, scale)))
    if len(results.pairs) > 1:
        for pair in results.pairs:
            kept: dict[str, Scores] = {name: [s for s in own if s.task != pair] for name, own in whole.items()}
            variants.append((f"IQM without {pair}", iqm, kept))
    rows = []
    for name, statistic, scores in variants:
        values = {method: point(statistic, own) for method, own in scores.items()}
        for method, value in values.items():
            rank = 1 + sum(other > value for other in values.values())
            rows.append([name, method, value, rank, len(scores[method])])
    return pd.DataFrame(rows, columns=COLUMNS)


def _whole(results: SuiteResults, scale: Scale) -> dict[str, Scores]:
    found = {method: scores_of(results, results.pairs, method, scale) for method in results.methods}
    return {method: own for method, own in found.items() if len(own) == len(results.pairs)}


def _failures_counted(results: SuiteResults, scale: Scale) -> dict[str, Scores]:
    known = random_scores(results.manifest, results.runs)
    found: dict[str, Scores] = {}
    for method in results.methods:
        own = []
        for pair in results.pairs:
            scores, failed = results.final_scores(pair, method, scale), _failed(results.runs, pair, method)
            floor = _floor(results, pair, known)
            if failed and floor:
                anchors = results.anchors[pair] if scale == "normalised" else None
                score = floor[0] if anchors is None else anchors.normalise(floor[0] * anchors.horizon)
                own.append(_with_failures(scores, failed, score, pair))
            elif scores is not None:
                own.append(scores)
        if len(own) == len(results.pairs):
            found[method] = own
    return found


def rank_stability(results: SuiteResults, seed: int = 0, resamples: int = 10_000) -> pd.DataFrame:
    """Return in which share of resamples each method ranks first by IQM, over resampled seeds and resampled pairs.

    `first_over_pairs` draws the pairs with replacement and keeps the seeds; with one pair it is None. Ties share.
    """
    whole = _whole(results, scale_over(results, results.pairs))
    if not whole:
        return pd.DataFrame(columns=["method", "first_over_seeds", "first_over_pairs"])
    streams = Streams(seed, "stability")
    over_seeds = _first_shares(whole, lambda name, own: distribution(iqm, own, streams.numpy("seeds", name), resamples))
    over_pairs: Sequence[float | None] = [None] * len(whole)
    if len(results.pairs) > 1:
        n = len(results.pairs)
        drawn = streams.numpy("pairs").multinomial(n, np.full(n, 1 / n), size=resamples)
        over_pairs = _first_shares(whole, lambda name, own: _iqm_over_pairs(own, drawn))
    rows = [list(row) for row in zip(whole, over_seeds, over_pairs, strict=True)]
    return pd.DataFrame(rows, columns=["method", "first_over_seeds", "first_over_pairs"])


def _first_shares(whole: Mapping[str, Scores], draw: Callable[[str, Scores], np.ndarray]) -> list[float]:
    samples = np.stack([draw(name, own) for name, own in whole.items()])
    best = samples == samples.max(axis=0)
    return [float(share) for share in (best / best.sum(axis=0)).mean(axis=1)]


def _iqm_over_pairs(scores: Scores, drawn: np.ndarray) -> np.ndarray:
    values = np.concatenate([task.values for task in scores])
    tasks = np.repeat(np.arange(len(scores)), [task.values.size for task in scores])
    sizes = np.array([task.values.size for task in scores])
    weights = (drawn / sizes * values.size / len(scores))[:, tasks]
    return iqm(values, weights, tasks)
