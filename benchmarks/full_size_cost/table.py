"""The prediction as a Markdown table between markers, and as JSON."""

import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.full_size_cost.keep import rates_json
from benchmarks.full_size_cost.predict import Rates, SuiteCost
from suites.provenance import processor

CORES = (100, 400)
"""For which wall hours are told."""
BEGIN = "<!-- python -m benchmarks.full_size_cost -->"
END = "<!-- end -->"
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
    return "\n".join([BEGIN, "", *lines, "", f"Measured on: {machine()}.", "", END])


def as_json(suites: Sequence[SuiteCost], rates: Rates) -> dict[str, Any]:
    """Return everything that was measured and predicted; hours, MB and bytes."""
    return {
        "machine": machine(),
        "suites": [{**asdict(suite), "wall_hours": {n: suite.wall_hours(n) for n in CORES}} for suite in suites],
        "rates": rates_json(rates),
    }


def replaced(text: str, table: str) -> str:
    """Return a page with the table between its markers replaced; raises ValueError if it has none."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page has no markers {BEGIN} and {END}")
    return pattern.sub(lambda _: table, text)


def counts(text: str) -> dict[str, tuple[int, int]]:
    """Return what a page's table says: cells and datasets of each suite."""
    block = text[text.index(BEGIN) : text.index(END)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"]
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
