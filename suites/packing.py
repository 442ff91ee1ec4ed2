"""Short runs put together into jobs of a useful length, by what such runs have taken before."""

from collections.abc import Mapping, Sequence

from suites.spec import RunSpec
from suites.store import Store, read_json, read_rows

Rates = Mapping[tuple[str, str], float]
"""Seconds per unit (a step or an offline update), by task pair and method; under an empty pair, over all pairs."""


def units_of(budgets: Mapping[str, int]) -> int:
    """Return the steps and offline updates of a run."""
    return max(1, sum(budgets.values()))


def recorded_rates(store: Store) -> dict[tuple[str, str], float]:
    """Return the mean wall seconds per unit of the finished runs of a store."""
    found: dict[tuple[str, str], list[float]] = {}
    for done in sorted((store.root / "runs").glob("*/*/*/done.json")):
        spec = read_json(done.parent / "spec.json")
        costs = read_rows(done.parent / "costs.jsonl")
        if spec is None or not costs:
            continue
        seconds = costs[-1]["wall_s"] / units_of(spec["budgets"])
        for pair in (spec["pair"]["id"], ""):
            found.setdefault((pair, spec["method"]), []).append(seconds)
    return {key: sum(values) / len(values) for key, values in found.items()}


def expected_seconds(run: RunSpec, rates: Rates) -> float | None:
    """Return what a run will take by the rate of its pair and method, or of its method; None if neither is known."""
    rate = rates.get((run.pair.id, run.method), rates.get(("", run.method)))
    budgets = run.budgets
    units = {"source": budgets.source_steps, "offline": budgets.offline_updates, "target": budgets.target_steps}
    return None if rate is None else rate * units_of(units)


def pack(runs: Sequence[RunSpec], rates: Rates, seconds: float, *, start_seconds: float = 5.0) -> list[list[RunSpec]]:
    """Return the runs, in their order, in packs of at most `seconds`.

    A run that takes longer, or of which nothing is known, is alone. Every run counts `start_seconds` more.
    """
    packs: list[list[RunSpec]] = []
    filled = float("inf")
    for run in runs:
        expected = expected_seconds(run, rates)
        takes = float("inf") if expected is None else expected + start_seconds
        if filled + takes > seconds:
            packs.append([])
            filled = 0.0
        packs[-1].append(run)
        filled += takes
    return packs
