"""Methods, settings and provenance of a report: who took part, how they were set, which runs are behind each row."""

from typing import Any

from analysis.load import SuiteResults
from analysis.rerun import rerun_frame
from analysis.views import Anchors


def method_cards(results: SuiteResults) -> list[dict[str, Any]]:
    """Return what a reader must know of every method: kind, source, tuning, deviations and settings.

    `changed` are the settings that are not the method's own; both lists are empty where the manifest does not say.
    """
    manifest = results.manifest
    kinds, sources, deviations = (manifest.get(f"method_{name}", {}) for name in ("kinds", "sources", "deviations"))
    cards = []
    for name in results.methods:
        config = manifest.get("method_configs", {}).get(name, {})
        defaults = manifest.get("method_defaults", {}).get(name, {})
        registered = manifest.get("method_names", {}).get(name, name)
        variant = f"a variant of {registered}" if registered != name else ""
        cards.append(
            {
                "name": name,
                "about": "; ".join(filter(None, [kinds.get(name), variant, sources.get(name)])),
                "tuned": manifest.get("method_tuned", {}).get(name, ""),
                "deviations": list(deviations.get(name, [])),
                "changed": [
                    f"{key} = {_plain(value)} (its own: {_plain(defaults[key])})"
                    for key, value in config.items()
                    if key in defaults and defaults[key] != value
                ],
                "settings": [f"{key} = {_plain(value)}" for key, value in config.items()],
            }
        )
    return cards


def suite_settings(results: SuiteResults) -> list[tuple[str, str]]:
    """Return what the suite says of its pairs, seeds, evaluations and budgets."""
    manifest = results.manifest
    evaluation = manifest["evaluation"]
    return [
        ("suite", manifest["name"]),
        ("task pairs", ", ".join(f"{pair['id']} (horizon {pair['horizon']})" for pair in manifest["pairs"])),
        ("seeds per cell", str(manifest["seeds"])),
        ("evaluations", f"{evaluation.get('count', '?')} of {evaluation.get('episodes', '?')} episodes each"),
        *_budgets(manifest["budgets"]),
        *[(f"set: {name}", value) for name, value in _flattened(manifest["overrides"])],
    ]


def _budgets(budgets: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Return the budgets by method, or one line if all methods have the same."""
    by_method = _flattened(budgets)
    if by_method and len({value for _, value in by_method}) == 1:
        return [("budget of every method", by_method[0][1])]
    return [(f"budget: {name}", value) for name, value in by_method]


def _flattened(values: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return `{a: {b: 1}}` as `a: b 1`, in the order given."""
    return [
        (name, ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in inner.items()))
        for name, inner in values.items()
    ]


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def provenance(results: SuiteResults, anchors: Anchors) -> dict[str, list[dict[str, Any]]]:
    """Return the lists of runs that rows lead to: of every pair and method, of every method, and by dataset."""
    by_cell = dict(iter(results.runs.sort_values("seed").groupby(["pair", "method"])))
    empty = results.runs.iloc[:0]
    commands = {(row["pair"], row["method"]): row["command"] for row in rerun_frame(results).to_dict("records")}
    cells = []
    for pair in results.pairs:
        for method in results.methods:
            own = by_cell.get((pair, method), empty)
            runs = [_run(run) for run in own.to_dict("records")]
            again = commands.get((pair, method), "")
            title = f"{pair}, {method}"
            cells.append({"id": anchors.cell(pair, method), "title": title, "runs": runs, "again": again})
    methods = [
        {
            "id": anchors.method(method),
            "title": f"{method}, all task pairs",
            "cells": [(pair, anchors.cell(pair, method)) for pair in results.pairs],
        }
        for method in results.methods
    ]
    fed = dict(iter(results.runs.groupby("dataset"))) if anchors.datasets else {}
    datasets = [
        {
            "id": anchors.dataset(name),
            "title": f"dataset {name}",
            "folders": [str(folder) for folder in sorted(fed[name]["folder"])],
        }
        for name in anchors.datasets
    ]
    return {"cells": cells, "methods": methods if len(results.pairs) > 1 else [], "datasets": datasets}


def _run(run: dict[Any, Any]) -> dict[str, Any]:
    return {
        "seed": int(run["seed"]),
        "folder": str(run["folder"]),
        "state": str(run["state"]) if run["usable"] or run["state"] != "done" else "unusable",
        "dataset": run["dataset"] or "",
        "commit": run["commit"] or "",
    }


def versions(results: SuiteResults) -> list[tuple[str, str]]:
    """Return the versions of code that the usable runs were made with."""
    found: dict[str, set[str]] = {}
    for versions in results.runs[results.runs["usable"].astype(bool)]["versions"]:
        for name, version in versions.items():
            found.setdefault(name, set()).add(version)
    return [(name, ", ".join(sorted(versions))) for name, versions in sorted(found.items())]
