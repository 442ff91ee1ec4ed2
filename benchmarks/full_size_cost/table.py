"""The prediction as a Markdown table between markers, and as JSON."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.full_size_cost.keep import rates_json
from benchmarks.full_size_cost.predict import Rates, SuiteCost
from benchmarks.page import END, block
from suites.provenance import processor

CORES = (100, 400)
"""For which wall hours are told."""
COMMAND = "python -m benchmarks.full_size_cost"
TOTAL = "all, each run once"
HEAD = ("suite", "cells", "datasets", "core-hours per run", "per dataset", "in all",
        *(f"hours on {cores} cores" for cores in CORES), "memory, run", "dataset", "storage")  # fmt: skip


def machine() -> str:
    """Return what the rates were measured on."""
    return f"{processor()}, {os.cpu_count()} cores, one thread, torch {torch.__version__}"


def markdown(suites: Sequence[SuiteCost]) -> str:
    """Return the table between its markers, and the machine below."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    lines += [f"| {' | '.join(_cells(suite))} |" for suite in suites]
    return block(COMMAND, [*lines, "", f"Measured on: {machine()}."])


def as_json(suites: Sequence[SuiteCost], rates: Rates) -> dict[str, Any]:
    """Return everything that was measured and predicted; hours, MB and bytes."""
    return {
        "machine": machine(),
        "suites": [{**asdict(suite), "wall_hours": {n: suite.wall_hours(n) for n in CORES}} for suite in suites],
        "rates": rates_json(rates),
    }


def counts(text: str) -> dict[str, tuple[int, int]]:
    """Return what a page's table says: cells and datasets of each suite."""
    made = text.partition(f"<!-- {COMMAND} -->")[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in made.splitlines() if line[:1] == "|"]
    return {row[0].strip("`"): (_number(row[1]), _number(row[2])) for row in rows[2:]}


def _cells(suite: SuiteCost) -> list[str]:
    name = suite.name if suite.name == TOTAL else f"`{suite.name}`"
    return [
        name,
        f"{suite.cells:,}",
        f"{suite.datasets:,}",
        _span(suite.run_hours),
        _span(suite.dataset_hours),
        f"{suite.hours:,.0f}",
        *(f"{suite.wall_hours(cores):,.0f}" for cores in CORES),
        f"{suite.run_mb / 1000:.1f} GB",
        f"{suite.dataset_mb / 1000:.0f} GB",
        f"{suite.kept / 1e9:,.0f} GB",
    ]


def _span(hours: tuple[float, float]) -> str:
    low, high = (f"{value:.1f}" if value < 10 else f"{value:.0f}" for value in hours)
    return low if low == high else f"{low}–{high}"


def _number(text: str) -> int:
    return int(text.replace(",", ""))
