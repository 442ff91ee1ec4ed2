"""Runs of native tasks beside published learning curves, as far as the manifest says what the methods' settings are."""

from typing import Any

import pandas as pd

from suites.bands import NATIVE, Comparison, compare_with_bands, read_bands
from suites.store import Store

UNKNOWN = "The suite's manifest does not hold the methods' own settings; `wombet check` makes this comparison."
NOTHING_TO_COMPARE = "No run of a native task has finished, so there is nothing to compare."


def native_pairs(manifest: dict[str, Any]) -> set[str]:
    """Ids of the pairs whose task is one of Gymnasium's own."""
    return {pair["id"] for pair in manifest["pairs"] if str(pair.get("family", "")).startswith(NATIVE)}


def band_comparisons(store: Store, manifest: dict[str, Any]) -> list[Comparison]:
    """Return the comparisons of a suite's finished runs with published bands.

    Empty without a native task, and for a manifest of before the methods' own settings were written into it.
    """
    native, defaults = native_pairs(manifest), manifest.get("method_defaults", {})
    if not native or not defaults:
        return []
    names = manifest.get("method_names", {})
    cells = [cell for cell in manifest["cells"] if cell["pair"] in native]
    runs = [store.read_run(store.run_folder(cell["folder"])) for cell in sorted(cells, key=lambda cell: cell["folder"])]
    return compare_with_bands(runs, read_bands(), {names.get(row, row): own for row, own in defaults.items()})


def band_table(comparisons: list[Comparison]) -> pd.DataFrame:
    """Return comparisons as a frame, one row each; `changed` are settings that are not the method's own."""
    rows = [
        {
            "environment": own.environment,
            "method": own.method,
            "changed": ", ".join(f"{name} = {value}" for name, value in own.changed.items()),
            "steps": own.steps,
            "seeds": own.seeds,
            "mean_return": own.mean,
            "band_low": own.lo,
            "band_high": own.hi,
            "verdict": own.verdict,
            "reason": own.reason,
            "source": own.source,
        }
        for own in comparisons
    ]
    return pd.DataFrame(rows)
