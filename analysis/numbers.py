"""All tables of a suite's numbers, by name; a notebook and the report take them from here."""

import pandas as pd

from analysis.aggregates import Backend, aggregates, improvement_table
from analysis.anchors import FROM_SCRATCH, anchor_table
from analysis.comparisons import compare, tally
from analysis.levels import level_table
from analysis.load import SuiteResults
from analysis.noise import noise_table
from analysis.sensitivity import failure_table, rank_stability, ranking_table
from analysis.transfer import budget_table, transfer_table

TRANSFER = "wombet"


def number_tables(
    results: SuiteResults, seed: int = 0, resamples: int = 10_000, backend: Backend = "wombet"
) -> dict[str, pd.DataFrame]:
    """Return every table of numbers that the suite has something for; all intervals have as many resamples."""
    tables = {
        "aggregates": aggregates(results, seed, resamples, backend),
        "improvement": improvement_table(results, seed, resamples),
        "noise": noise_table(results),
        "failures": failure_table(results),
        "ranking": ranking_table(results),
        "stability": rank_stability(results, seed, resamples),
        "anchors": anchor_table(results.anchors),
        "levels": level_table(results, seed, resamples),
    }
    if len(results.methods) > 1:
        tables["comparisons"] = compare(results, seed=seed, resamples=resamples)
        tables["tally"] = tally(tables["comparisons"])
    if FROM_SCRATCH in results.methods:
        tables["transfer"] = transfer_table(results, FROM_SCRATCH, seed, resamples)
    if TRANSFER in results.methods:
        tables["budget"] = budget_table(results, TRANSFER, seed, resamples)
    return {name: table for name, table in tables.items() if not table.empty}
