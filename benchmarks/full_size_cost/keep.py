"""Measured rates in a file, so that a prediction goes on where it was stopped and other suites need no new rates."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.full_size_cost.generation import PlanningCost
from benchmarks.full_size_cost.methods import MethodCost
from benchmarks.full_size_cost.predict import Rates
from suites.provenance import processor
from suites.store import read_json
from wombet.errors import InputError
from wombet.files import pretty_json, write_atomically


def rates_json(rates: Rates) -> dict[str, Any]:
    """Return everything that was measured, and on which processor."""
    parts = {key: asdict(part) if isinstance(part, PlanningCost) else part for key, part in rates.parts.items()}
    return {
        "processor": processor(),
        "methods": {key: asdict(cost) for key, cost in rates.methods.items()},
        "parts": parts,
    }


def save(rates: Rates, path: Path | None) -> None:
    """Write the rates, if there is a path to write them to."""
    if path is not None:
        write_atomically(path, pretty_json(rates_json(rates)))


def load(rates: Rates, path: Path | None) -> None:
    """Take up the rates of a file, if there is one; raises InputError if they are another processor's."""
    content = read_json(path) if path is not None else None
    if content is None:
        return
    if content["processor"] != processor():
        raise InputError(
            f"the rates in {path} are of {content['processor']}, and this is {processor()}; name another file"
        )
    rates.methods = {key: MethodCost(**cost) for key, cost in content["methods"].items()}
    rates.parts = {
        key: PlanningCost(**part) if isinstance(part, dict) else part for key, part in content["parts"].items()
    }
