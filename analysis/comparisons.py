"""Methods against each other: paired differences with intervals, p-values controlled over the family, and verdicts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import paired
from analysis.aggregates import groups
from analysis.load import SuiteResults
from analysis.tables import scale_over
from wombet.errors import InputError, nearest
from wombet.streams import Streams

MARGIN = 0.02
SCOPES = ("all", "family", "pair")
COLUMNS = [
    "scope",
    "group",
    "a",
    "b",
    "difference",
    "low",
    "high",
    "expected_coverage",
    "seeds",
    "units",
    "correlation",
    "p",
    "p_holm",
    "p_equivalence",
    "margin",
    "detectable",
    "verdict",
    "note",
]


def compare(
    results: SuiteResults,
    methods: Sequence[str] | None = None,
    *,
    margin: float = MARGIN,
    alpha: float = paired.ALPHA,
    seed: int = 0,
    resamples: int = 10_000,
) -> pd.DataFrame:
    """Return every comparison a - b of two of the methods (all of the suite if None): over all, by family, by pair.

    `p` is that of the sign-flip test on independent units, None where so few units cannot reach alpha; `p_holm` is
    adjusted over all comparisons of the same scope. `verdict` is `win` or `loss` of a (p_holm <= alpha), `equivalent`
    (both one-sided tests of `margin`, itself adjusted in the same way, reject), `tie` (neither), or `too few seeds`.
    `detectable` is the smallest true difference that such a test finds with a power of 0.8. b against a is a against b
    mirrored, with the same resamples. Over several pairs differences, margin and what is detectable are of normalised
    scores where the tables' are, and `note` says so. Raises InputError for a method that the suite does not have, or a
    margin or alpha out of range.
    """
    chosen = check_methods(results, methods)
    if not 0 < margin < 1:
        raise InputError(f"the margin is {margin}; give a difference of scores between 0 and 1, such as {MARGIN}")
    if not 0 < alpha < 0.5:
        raise InputError(f"alpha is {alpha}; give an error probability between 0 and 0.5, such as {paired.ALPHA}")
    tables = []
    for scope in SCOPES:
        rows = []
        for own_scope, group, pairs in groups(results):
            if own_scope != scope:
                continue
            for index, a in enumerate(chosen):
                for b in chosen[index + 1 :]:
                    streams = Streams(seed, "compare", scope, group, *sorted((a, b)))
                    rows.append(_row(results, (scope, group, a, b), pairs, margin, alpha, streams, resamples))
        if rows:
            tables.append(_judged(pd.DataFrame(rows, columns=COLUMNS), alpha))
    return pd.concat(tables, ignore_index=True)


def check_methods(results: SuiteResults, methods: Sequence[str] | None) -> list[str]:
    """Return the methods named, or all; raises InputError for an unknown or doubled one, or fewer than two."""
    chosen = list(methods) if methods else results.methods
    for name in chosen:
        if name not in results.methods:
            raise InputError(f"suite {results.manifest['name']} has no method {name!r}{nearest(name, results.methods)}")
    if len(set(chosen)) < len(chosen) or len(chosen) < 2:
        raise InputError(f"a comparison needs two different methods; the suite has {', '.join(results.methods)}")
    return chosen


def _row(
    results: SuiteResults,
    names: tuple[str, str, str, str],
    pairs: list[str],
    margin: float,
    alpha: float,
    streams: Streams,
    resamples: int,
) -> dict[str, object]:
    scope, group, a, b = names
    row: dict[str, object] = {"scope": scope, "group": group, "a": a, "b": b, "margin": margin, "note": ""}
    scale = scale_over(results, pairs)
    found = paired.paired_differences(results, a, b, pairs, scale=scale)
    if found is None:
        return row | {"seeds": 0, "units": 0, "note": "no seed that both finished"}
    estimate = paired.interval(found, streams.numpy("bootstrap"), resamples)
    testable = paired.attainable(found.n_units, alpha)
    missing = [pair for pair in pairs if pair not in found.tasks]
    notes = ["of normalised scores"] if scale == "normalised" else []
    notes += [f"on {len(pairs) - len(missing)} of {len(pairs)} pairs"] if missing else []
    if found.n_units < len(found.values):
        notes.append(f"{len(found.values)} differences on {found.n_units} independent datasets or runs")
    return row | {
        "difference": found.value,
        "low": estimate.low,
        "high": estimate.high,
        "expected_coverage": estimate.expected_coverage,
        "seeds": found.n_seeds,
        "units": found.n_units,
        "correlation": paired.pairing_correlation(found),
        "p": paired.permutation_p(found) if testable else None,
        "p_equivalence": paired.equivalence_p(found, margin) if testable else None,
        "detectable": paired.detectable_difference(found, alpha),
        "note": "; ".join(notes),
    }


def _judged(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Adjust the p-values of a scope together and say what follows from each."""
    table = table.astype({"p": float, "p_equivalence": float, "difference": float, "detectable": float})
    tested = table["p"].notna()
    table["p_holm"] = np.nan
    equivalent = pd.Series(1.0, index=table.index)
    if tested.any():
        table.loc[tested, "p_holm"] = paired.holm(table.loc[tested, "p"].tolist())
        equivalent[tested] = paired.holm(table.loc[tested, "p_equivalence"].fillna(1.0).tolist())
    columns = zip(tested, table["p_holm"], equivalent, table["difference"], strict=True)
    return table.assign(verdict=[_verdict(*row, alpha) for row in columns])


def _verdict(tested: bool, p_holm: float, p_equivalent: float, difference: float, alpha: float) -> str:
    if not tested:
        return "too few seeds"
    if p_holm <= alpha:
        return "win" if difference > 0 else "loss"
    return "equivalent" if p_equivalent <= alpha else "tie"


def tally(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return wins, ties (equivalences among them) and losses of every method over task families.

    Each family's verdict on each two methods counts once; where it has too few seeds that is counted too.
    """
    families = comparisons[comparisons["scope"] == "family"]
    methods = list(dict.fromkeys([*families["a"], *families["b"]]))
    flipped = families.rename(columns={"a": "b", "b": "a"}).replace({"verdict": {"win": "loss", "loss": "win"}})
    both = pd.concat([families, flipped])
    rows = []
    for method in methods:
        verdicts = both[both["a"] == method]["verdict"].tolist()
        counts = [verdicts.count(name) for name in ("win", "tie", "equivalent", "loss", "too few seeds")]
        rows.append([method, *counts])
    return pd.DataFrame(rows, columns=["method", "win", "tie", "equivalent", "loss", "too few seeds"])
