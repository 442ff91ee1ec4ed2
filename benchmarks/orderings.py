"""Orderings that papers report, held against the runs of a store.

python -m benchmarks.orderings [--store FOLDER] [--suite NAME] [--json]

Each is put as a figure per seed whose mean has to lie on one side of a bound: it `holds` where the 95 % interval does,
is `undecided` where only the mean does, and else `fails`. Counts of seeds have no interval. The anchor is the range
between a random policy's return and the pair's reference. Exit code 1 if an ordering fails or is undecided, 2 if the
input is wrong; what a store lacks is named and decides nothing.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.anchors import FROM_SCRATCH
from analysis.bootstrap import distribution, enough_seeds, percentile_interval
from analysis.load import SuiteResults, load_suite
from analysis.source_weights import weight_frame
from analysis.statistics import Array, TaskScores, mean
from analysis.transfer import Progress, progress, transfer_table
from suites.store import Store
from wombet.errors import InputError
from wombet.streams import Streams

RESAMPLES = 10_000
OFFLINE_TO_ONLINE, MULTI_SOURCE = "paper-fig4-pocket", "multi-source-pocket"


@dataclass(frozen=True)
class Finding:
    """A claim on a pair, the figure that decides it with its interval, over how many seeds, and the verdict."""

    pair: str
    claim: str
    figure: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    verdict: str = "not run"

    def line(self) -> str:
        """Return the row of a Markdown table."""
        number = "–" if self.value is None else f"{self.value:.3f}"
        if self.low is not None:
            number += f" [{self.low:.3f}, {self.high:.3f}]"
        return f"| {self.pair} | {self.claim} | {self.figure} | {number} | {self.seeds} | {self.verdict} |"


@dataclass(frozen=True)
class Cells:
    """The curves of a pair's methods, and the report's figures of transfer."""

    results: SuiteResults
    pair: str

    @cached_property
    def transfer(self) -> pd.DataFrame:
        """The transfer table's rows of the pair that have a value."""
        table = transfer_table(self.results, FROM_SCRATCH)
        return table[table["pair"] == self.pair].dropna(subset=["value"])

    def curves(self, *methods: str) -> list[Progress] | None:
        """Return the curves of methods over the seeds that all of them have, or None where there are none."""
        found = [progress(self.results, self.pair, method) for method in methods]
        curves = [curve for curve in found if curve is not None]
        shared = sorted(set.intersection(*(set(curve.seeds) for curve in curves))) if curves else []
        return [curve.only(shared) for curve in curves] if len(curves) == len(methods) and shared else None


def offline_to_online(results: SuiteResults, pair: str) -> list[Finding]:
    """Return what the offline-to-online papers lead one to expect on a pair, in the order of the papers' years."""
    cells = Cells(results, pair)

    def decided(claim: str, figure: str, methods: Sequence[str], values: Callable[..., Array], bound: float) -> Finding:
        curves = cells.curves(*methods)
        finding = Finding(pair, claim, figure)
        return finding if curves is None else _decided(finding, values(*curves), curves[0].datasets, bound)

    def tabled(claim: str, figure: str, method: str, name: str, bound: float, above: bool) -> Finding:
        table, finding = cells.transfer, Finding(pair, claim, figure)
        own = table[(table["method"] == method) & (table["figure"] == name)]
        if own.empty:
            return finding
        value, low, high, seeds = (float(own.iloc[0][end]) for end in ("value", "low", "high", "seeds"))
        both = not np.isnan(low)
        return _judged(finding, value, low if both else None, high if both else None, int(seeds), bound, above)

    def falls(claim: str, method: str, bound: float, above: bool) -> Finding:
        return tabled(claim, f"dip / anchor of `{method}`", method, "dip, share of the anchor", bound, above)

    def behind_at_half(rlpd: Progress, awac: Progress) -> Array:
        half = min(rlpd.budget, awac.budget) // 2
        return rlpd.up_to(half).scores[:, -1] - awac.up_to(half).scores[:, -1]

    def gained(own: Progress) -> Array:
        return own.scores[:, -1] - own.scores[:, 0]

    behind = ("rlpd", "awac-finetune")
    return [
        decided("AWAC is below RLPD at half the steps", "`rlpd` − `awac-finetune`", behind, behind_at_half, 0.0),
        falls("CQL, then plain SAC, falls at the switch", "cql-sac", 0.05, True),
        falls("Off2On does not", "off2on", 0.05, False),
        tabled("RLPD gains 1.5 times what SAC does", "area of `rlpd` / `sac`", "rlpd", "area ratio", 1.5, True),
        falls("PEX never falls far below the offline policy", "pex", 0.10, False),
        falls("WSRL falls at the switch", "wsrl", 0.05, True),
        decided("and recovers", "last − first score of `wsrl`", ("wsrl",), gained, 0.0),
    ]


def multi_source(results: SuiteResults, pair: str, store: Store) -> list[Finding]:
    """Return in how many seeds a misleading source ends below an equal share, so that a useful one lies above it."""
    frame = weight_frame(store, results)
    own = frame[(frame["pair"] == pair) & (frame["method"] == "misleading-added")]
    claim, figure = "The misleading source loses weight, a useful one keeps it", "seeds (of 5, at least 4)"
    if own.empty:
        return [Finding(pair, claim, figure)]
    last = own[own["target_steps"] == own.groupby("seed")["target_steps"].transform("max")]
    weights = last.pivot(index="seed", columns="source", values="weight")
    kept = int((weights["misleading"] < 1 / weights.shape[1]).sum())
    n = len(weights)
    verdict = "not run" if n < 5 else "holds" if kept >= 0.8 * n else "fails"
    return [Finding(pair, claim, figure, float(kept), None, None, n, verdict)]


def _decided(claim: Finding, values: Array, datasets: tuple[str | None, ...], bound: float) -> Finding:
    scores = [TaskScores("seeds", values, datasets)]
    value, low, high = float(values.mean()), None, None
    if enough_seeds(scores):
        rng = Streams(0, "orderings", claim.pair).numpy(claim.claim)
        low, high = (float(end) for end in percentile_interval(distribution(mean, scores, rng, RESAMPLES)))
    return _judged(claim, value, low, high, len(values), bound, True)


def _judged(
    claim: Finding, value: float, low: float | None, high: float | None, seeds: int, bound: float, above: bool
) -> Finding:
    def on_its_side(figure: float | None) -> bool:
        return figure is not None and (figure > bound if above else figure <= bound)

    edge = low if above else high
    verdict = "holds" if on_its_side(edge) else "undecided" if on_its_side(value) else "fails"
    figure = f"{claim.figure} ({'above' if above else 'at most'} {bound:g})"
    return Finding(claim.pair, claim.claim, figure, value, low, high, seeds, verdict)


def findings(store: Store, suite: str) -> list[Finding]:
    """Return the orderings of a suite's pairs; raises InputError for a suite that none is known for."""
    results = load_suite(store, suite)
    if suite == OFFLINE_TO_ONLINE:
        return [finding for pair in results.pairs for finding in offline_to_online(results, pair)]
    if suite == MULTI_SOURCE:
        return [finding for pair in results.pairs for finding in multi_source(results, pair, store)]
    raise InputError(
        f"no orderings are known for the suite {suite}; there are some for {OFFLINE_TO_ONLINE} and {MULTI_SOURCE}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the orderings as a table: 0 all hold, 1 one does not, 2 the input is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orderings", description=main.__doc__)
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--suite", help=f"{OFFLINE_TO_ONLINE} or {MULTI_SOURCE} (those that the store has)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        store = Store(options.store)
        store.require()
        known = [name for name in (OFFLINE_TO_ONLINE, MULTI_SOURCE) if name in store.manifests()]
        if not known and not options.suite:
            raise InputError(
                f"the store {options.store} has neither {OFFLINE_TO_ONLINE} nor {MULTI_SOURCE}; `wombet run` makes them"
            )
        found = [each for suite in ([options.suite] if options.suite else known) for each in findings(store, suite)]
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        print("| pair | expected | figure | value [95 %] | seeds | verdict |\n| --- | --- | --- | ---: | ---: | --- |")
        print("\n".join(each.line() for each in found))
    return int(any(each.verdict in ("undecided", "fails") for each in found))


if __name__ == "__main__":
    sys.exit(main())
