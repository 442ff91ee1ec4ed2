"""What methods that mix offline and online rows recorded while they trained: traces over target steps, by run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.curves import Curve
from analysis.load import SuiteResults
from suites.store import Store, read_json, read_rows

SHARE = "offline_fraction"
QUANTITIES = {
    SHARE: "share of offline rows in a minibatch, α_t",
    "mixing_signal": "TD-error signal, z_t",
    "q_mean": "mean Q of a minibatch",
    "q_bound_rate": "largest |Q| / LayerNorm bound (8)",
}
"""Metrics that are drawn over target steps, and what they are."""
ROUND = ("acceptance", "kept", "offline_rows", "offline_uncertainty", "model_error", "refused_iterations")
"""Metrics that change from one round of data to the next."""
_KEYS = ("pair", "method", "seed")
_LAST = 0.1
"""Part of the target steps, at the end, over which the final mean Q is taken."""
_BELIEFS = ("estimated_return", "discounted_return")


@dataclass(frozen=True)
class Traces:
    """`rows` has one line per recorded training row of the online phase: pair, method, seed, target_steps, metrics.

    `notes` says what could not be read.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...]

    def curves(self, pair: str, quantity: str, methods: Iterable[str]) -> list[Curve]:
        """Return the mean over seeds of a metric, with a standard deviation to either side from two seeds on.

        Methods that did not record it, or that never saw an offline row, are left out.
        """
        own = self.rows[self.rows["pair"] == pair]
        if quantity not in own:
            return []
        found = []
        for method in methods:
            part = own[(own["method"] == method) & own[quantity].notna()]
            if len(part) and part[SHARE].max() > 0:
                by_steps = part.groupby("target_steps")[quantity]
                mean = np.asarray(by_steps.mean(), dtype=np.float64)
                std = np.asarray(by_steps.std(ddof=1), dtype=np.float64)
                band = (mean - std, mean + std) if np.isfinite(std).all() else None
                steps = np.array(sorted(set(part["target_steps"])), dtype=np.float64)
                found.append(Curve(method, steps, mean, band, flat=False))
        return found


def read_traces(store: Store, results: SuiteResults) -> Traces:
    """Read the online rows of train.jsonl of every usable run of the methods that record a share of offline rows."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for pair in results.pairs:
        for method in results.methods:
            for run in results.usable(pair, method)[["seed", "folder"]].to_dict("records"):
                found = _online_rows(store.run_folder(run["folder"]), str(run["folder"]), notes)
                if not any(SHARE in row for row in found):
                    break
                rows += [{"pair": pair, "method": method, "seed": int(run["seed"]), **row} for row in found]
    return Traces(pd.DataFrame(rows, columns=None if rows else [*_KEYS, "target_steps", SHARE]), tuple(notes))


def round_table(traces: Traces) -> pd.DataFrame:
    """Return, by pair, method and iteration, the means over seeds of what the iteration's data were.

    Only of methods that went through more than one; the figures are those of the last row of the iteration.
    """
    rows = traces.rows
    if "iteration" not in rows or rows["iteration"].notna().sum() == 0:
        return pd.DataFrame()
    recorded = rows[rows["iteration"].notna()]
    last = recorded.drop_duplicates([*_KEYS, "iteration"], keep="last")
    names = [name for name in ROUND if name in last]
    table = last.groupby(["pair", "method", "iteration"], sort=False)[names].mean()
    table.insert(0, "seeds", last.groupby(["pair", "method", "iteration"], sort=False)["seed"].count())
    return table.reset_index().astype({"iteration": int})


def value_table(traces: Traces, store: Store, results: SuiteResults) -> pd.DataFrame:
    """Return what the critics believed at the end of training beside the Monte-Carlo return of the same episodes.

    `mean_q` is of minibatches. `estimated_return` is the critics' mean at the first steps of evaluation episodes, and
    `discounted_return` the rewards of those episodes, discounted, with the critics' value where a time limit cut them;
    `overestimation` is the difference. Means over seeds and over the last tenth of the target steps.
    """
    rows = traces.rows
    if "q_mean" not in rows:
        return pd.DataFrame()
    found = []
    for (pair, method), own in rows[rows["q_mean"].notna()].groupby(["pair", "method"], sort=False):
        runs = results.usable(str(pair), str(method))
        spec = read_json(store.run_folder(str(runs["folder"].iloc[0])) / "spec.json") or {}
        begin = (1 - _LAST) * own["target_steps"].max()
        beliefs = [_beliefs(store.run_folder(str(folder)), begin) for folder in runs["folder"]]
        estimated, discounted = np.mean([belief for belief in beliefs if belief is not None] or [[np.nan] * 2], axis=0)
        mean_q = float(own[own["target_steps"] >= begin]["q_mean"].mean())
        discount = spec.get("config", {}).get("discount")
        found.append([pair, method, len(runs), discount, mean_q, estimated, discounted, estimated - discounted])
    columns = ["pair", "method", "seeds", "discount", "mean_q", *_BELIEFS, "overestimation"]
    return pd.DataFrame(found, columns=columns)


def _beliefs(folder: Path, begin: float) -> list[float] | None:
    """The mean estimated and discounted return of a run's evaluations from a target step on, if it recorded them."""
    late = [row for row in read_rows(folder / "evals.jsonl", []) if _has_beliefs(row) and row["target_steps"] >= begin]
    return [float(np.mean([row[f"{name}s"] for row in late])) for name in _BELIEFS] if late else None


def _has_beliefs(row: dict[str, Any]) -> bool:
    return all(isinstance(row.get(f"{name}s"), list) for name in _BELIEFS)


def _online_rows(folder: Path, name: str, notes: list[str]) -> list[dict[str, Any]]:
    problems: list[str] = []
    found = read_rows(folder / "train.jsonl", problems)
    notes.extend(f"{name}: {problem}" for problem in problems)
    kept = {*QUANTITIES, *ROUND, "iteration", "target_steps"}
    return [
        {key: value for key, value in row.items() if key in kept}
        for row in found
        if row.get("phase") == "online" and isinstance(row.get("target_steps"), int)
    ]
