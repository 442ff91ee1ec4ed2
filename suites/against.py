"""Runs that were computed again beside the stored ones: the same rows, where they part, or why they cannot be compared.

What a run computed is compared, and not when, where and how fast: clocks, hosts and versions enter no comparison, but
versions and processors are named where the rows differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Literal

from suites.rebuilt import differing_content
from suites.spec import RunSpec, run_spec_from_json
from suites.store import Store, StoredRun, read_json, read_list, read_rows
from wombet.errors import InputError
from wombet.files import sha256_of_file

Verdict = Literal["identical", "differs", "not comparable"]
COMPUTING = ("d3rlpy", "gymnasium", "mujoco", "numpy", "stable-baselines3", "torch")
"""Packages whose versions may change the last digits of what a run computes."""
_SHOWN = 6


@dataclass(frozen=True)
class Compared:
    """A run of ours: its folder, the verdict, and in one sentence what it rests on."""

    folder: str
    verdict: Verdict
    reason: str


def compare_stores(ours: Store, theirs: Store) -> list[Compared]:
    """Compare every finished run of a store with the run of the same settings in another.

    Evaluations and training rows are compared row by row, then the datasets that they were fed and the final state.
    Raises InputError if ours has no finished run.
    """
    finished = [run for run in ours.scan() if run.done is not None]
    if not finished:
        raise InputError(f"{ours.root} has no finished run to compare; `wombet run` makes some")
    stored = {_folder(run, theirs): run for run in theirs.scan()}
    return [_compare(ours, run, theirs, stored) for run in finished]


def _folder(run: StoredRun, store: Store) -> str:
    return str(run.folder.relative_to(store.root))


def _compare(ours: Store, run: StoredRun, theirs: Store, stored: Mapping[str, StoredRun]) -> Compared:
    folder = _folder(run, ours)
    other = stored.get(folder)
    if other is None:
        return Compared(folder, "not comparable", _no_such_run(run, stored.values()))
    if other.done is None:
        return Compared(folder, "not comparable", f"there the run is not finished ({other.state})")
    spec = _spec(run)
    if spec is None:
        return Compared(folder, "not comparable", "spec.json here cannot be read as a run")
    for where, each in (("here", run), ("there", other)):
        if not _is_whole(each):
            return Compared(folder, "not comparable", f"evals.jsonl {where} is not what it was when the run finished")
    for where, store in (("here", ours), ("there", theirs)):
        for recipe in spec.recipes:
            if _card(store, recipe.id) is None:
                return Compared(folder, "not comparable", f"{where} is no card of its dataset {recipe.id}")
    cards = [_card_differences(recipe.id, ours, theirs) for recipe in spec.recipes]
    difference = next(chain(*cards, _differences(run, other)), None)
    if difference is None:
        rows = read_rows(run.folder / "train.jsonl")
        told = f"{len(run.evaluations)} evaluations, {len(rows)} training rows, datasets and final state"
        return Compared(folder, "identical", told)
    versions, notes = _environment(run, other)
    if versions:
        return Compared(folder, "not comparable", f"{difference}; computed with other versions ({versions})")
    return Compared(folder, "differs", difference + notes)


def _is_whole(run: StoredRun) -> bool:
    path = run.folder / "evals.jsonl"
    return path.is_file() and sha256_of_file(path) == (run.done or {}).get("evals_sha256")


def _spec(run: StoredRun) -> RunSpec | None:
    try:
        return run_spec_from_json(run.spec or {})
    except (InputError, KeyError, TypeError):
        return None


def _card(store: Store, dataset: str) -> dict[str, Any] | None:
    return read_json(store.dataset_folder(dataset) / "card.json")


def _card_differences(dataset: str, ours: Store, theirs: Store) -> Iterator[str]:
    differing = differing_content(_card(ours, dataset) or {}, _card(theirs, dataset) or {})
    if differing:
        yield f"dataset {dataset} is another one: not the same {' and '.join(differing)}"


def _differences(run: StoredRun, other: StoredRun) -> Iterator[str]:
    for name in ("evals.jsonl", "train.jsonl"):
        yield from _row_differences(name, read_rows(run.folder / name), read_rows(other.folder / name))
    states = [(each.done or {}).get("state_sha256") for each in (run, other)]
    if states[0] != states[1]:
        yield "all rows are the same, and the final state (weights and buffers) differs"


def _row_differences(name: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Iterator[str]:
    for number, (here, there) in enumerate(zip_longest(ours, theirs), start=1):
        if here is None or there is None:
            yield f"{name} has {len(ours)} rows here and {len(theirs)} there; those before are the same"
            return
        for key in sorted(here.keys() | there.keys()):
            if here.get(key) != there.get(key):
                yield f"differs at row {number} of {name}: {key} {_values(here.get(key), there.get(key))}"
                return


def _values(here: Any, there: Any) -> str:
    """Two values, or of two lists the first entries that differ."""
    if isinstance(here, list) and isinstance(there, list):
        index = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
        if index is None:
            return f"has {len(here)} entries here and {len(there)} there"
        return f"[{index}] is {here[index]!r} here and {there[index]!r} there"
    return f"is {here!r} here and {there!r} there"


def _environment(run: StoredRun, other: StoredRun) -> tuple[str, str]:
    """Versions that differ, and as a note what else differs that may change the digits; empty where nothing does."""
    ours, theirs = (_last_attempt(each.folder) for each in (run, other))
    here, there = ours.get("versions", {}), theirs.get("versions", {})
    versions = [
        f"{name} {here.get(name)} here, {there.get(name)} there" for name in COMPUTING if _other(here, there, name)
    ]
    notes = [
        f"{what} {ours.get(key)} here, {theirs.get(key)} there"
        for key, what in (("cpu", "processor"), ("device", "device"), ("gpu", "GPU"), ("commit", "commit"))
        if _other(ours, theirs, key)
    ]
    return "; ".join(versions), f" ({'; '.join(notes)})" if notes else ""


def _other(here: Mapping[str, Any], there: Mapping[str, Any], key: str) -> bool:
    return here.get(key) != there.get(key)


def _last_attempt(folder: Path) -> dict[str, Any]:
    attempts = read_list(folder / "provenance.json")
    return attempts[-1] if attempts else {}


def _no_such_run(run: StoredRun, stored: Any) -> str:
    """Say which settings differ from those of the most similar run of the same pair, method and seed."""
    ours = _flat(run.spec or {})
    found = []
    for other in stored:
        spec = other.spec or {}
        if all(_identity(spec)[key] == value for key, value in _identity(run.spec or {}).items()):
            theirs = _flat(spec)
            differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
            found.append([f"{key} is {ours.get(key)!r} here and {theirs.get(key)!r} there" for key in differing])
    if not found:
        pair, method, seed = _identity(run.spec or {}).values()
        return f"there is no run of {method} on {pair} with seed {seed} there"
    least = min(found, key=len)
    more = f" and {len(least) - _SHOWN} more" if len(least) > _SHOWN else ""
    return f"its settings differ: {', '.join(least[:_SHOWN])}{more}"


def _identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"pair": spec.get("pair", {}).get("id"), "method": spec.get("method"), "seed": spec.get("seed")}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {key: leaf for part, inner in value.items() for key, leaf in _flat(inner, f"{name}.{part}").items()}
    return {name.removeprefix("."): value}
