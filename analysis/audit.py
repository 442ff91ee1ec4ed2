"""What lies in a suite's part of a store that should not, and what its manifest's age leaves out."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from analysis.findings import Finding
from analysis.published import band_comparisons
from suites.bands import Comparison
from suites.store import Store

SCHEMA = 1
"""The manifest's schema that this code was written for."""

RUN_FILES = frozenset(
    {
        "spec.json",
        "provenance.json",
        "evals.jsonl",
        "costs.jsonl",
        "train.jsonl",
        "status.json",
        "checkpoint",
        "error.txt",
        "done.json",
    }
)
_MACHINERY = ("lock", "claim", "final", "policy", ".")
_RUN_FOLDER = re.compile(r"s\d+-[0-9a-f]{12}")
_NAMED = 5


def store_findings(store: Store, manifest: dict[str, Any]) -> list[Finding]:
    """Return findings about an older manifest, about returns outside of published bands, and about foreign files."""
    return [
        *_schema(manifest),
        *band_findings(band_comparisons(store, manifest)),
        *_foreign_folders(store, manifest),
        *_foreign_files(store, manifest),
    ]


def band_findings(comparisons: Iterable[Comparison]) -> list[Finding]:
    """Return a finding for every method whose mean return lies outside of its published band (verdict `fail`)."""
    return [
        Finding(
            "bands",
            f"{own.environment}, {own.method}",
            f"the mean return {own.mean:,.0f} at {own.steps:,} steps is outside of the published band from "
            f"{own.lo:,.0f} to {own.hi:,.0f}.",
        )
        for own in comparisons
        if own.verdict == "fail"
    ]


def _schema(manifest: dict[str, Any]) -> Iterator[Finding]:
    if manifest["schema"] != SCHEMA:
        age = "an older" if manifest["schema"] < SCHEMA else "a newer"
        message = f"the manifest has schema {manifest['schema']}, {age} one than {SCHEMA}; what it lacks is left blank."
        yield Finding("schema", "manifest", message)


def _foreign_folders(store: Store, manifest: dict[str, Any]) -> Iterator[Finding]:
    parents = sorted({Path(cell["folder"]).parent for cell in manifest["cells"]})
    for parent in parents:
        found = store.root / parent
        names = sorted(path.name for path in found.iterdir()) if found.is_dir() else []
        foreign = [name for name in names if not _RUN_FOLDER.fullmatch(name) and not name.startswith(_MACHINERY)]
        if foreign:
            yield Finding("foreign", str(parent), f"holds what is no run ({_listed(foreign)}); it was left unread.")


def _foreign_files(store: Store, manifest: dict[str, Any]) -> Iterator[Finding]:
    for cell in sorted(manifest["cells"], key=lambda cell: str(cell["folder"])):
        folder = store.run_folder(cell["folder"])
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        foreign = [name for name in names if name not in RUN_FILES and not name.startswith(_MACHINERY)]
        if foreign:
            message = f"holds files that no run writes ({_listed(foreign)}); they were left unread."
            yield Finding("foreign", str(cell["folder"]), message)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
