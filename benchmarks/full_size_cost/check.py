"""The prediction held against what finished runs and datasets of a store have taken."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from baselines.registry import method
from benchmarks.full_size_cost.methods import key_of
from benchmarks.full_size_cost.predict import Cost, Rates, dataset_cost, run_cost
from suites.rates import spent_on
from suites.spec import RunSpec, recipe_from_json, run_spec_from_json
from suites.store import Store, read_json, read_list


@dataclass(frozen=True)
class Compared:
    """What a kind of work took on average, and what was predicted for it: CPU seconds, and peak memory in MB."""

    name: str
    count: int
    recorded: float
    predicted: float
    recorded_mb: float
    predicted_mb: float

    def line(self) -> str:
        """Return the row of the table."""
        return (
            f"{self.predicted / self.recorded:>6.2f} {self.predicted:>9.1f} {self.recorded:>9.1f} "
            f"{self.predicted_mb:>6.0f} {self.recorded_mb:>6.0f} {self.count:>4}  {self.name}"
        )


HEAD = f"{'ratio':>6} {'predicted':>9} {'recorded':>9} {'MB':>6} {'MB':>6} {'n':>4}  what"


def compare(path: Path, rates: Rates) -> Iterator[Compared]:
    """Predict whatever is finished in a store, each kind once, at its own size."""
    store = Store(path)
    runs: dict[tuple[str, str], list[tuple[RunSpec, Path]]] = {}
    for folder in sorted((store.root / "runs").glob("*/*/*")):
        content = read_json(folder / "spec.json")
        if content is None or not (folder / "done.json").exists():
            continue
        run = run_spec_from_json(content)
        runs.setdefault((run.pair.id, key_of(run)), []).append((run, folder))
    for (pair, _), group in runs.items():
        run = group[0][0]
        yield from _compared(f"{pair} {_settings(run)}", [f for _, f in group], lambda run=run: run_cost(run, rates))  # type: ignore[misc]
    for name in sorted(store.datasets()):
        folder = store.dataset_folder(name)
        recipe = recipe_from_json((read_json(folder / "card.json") or {})["recipe"])
        if not recipe.imported:
            yield from _compared(f"dataset {name}", [folder], lambda r=recipe: dataset_cost(r, rates))  # type: ignore[misc]


def _compared(name: str, folders: list[Path], predict: Callable[[], Cost]) -> Iterator[Compared]:
    spent = [found[0] for folder in folders if (found := spent_on(folder)) is not None]
    if not spent:
        return
    attempts: list[dict[str, Any]] = [a for folder in folders for a in read_list(folder / "provenance.json")]
    memory = [attempt["cost"]["peak_memory_mb"] for attempt in attempts if "cost" in attempt]
    cost = predict()
    yield Compared(name, len(spent), mean(spent), cost.seconds, mean(memory or [0.0]), cost.memory_mb)


def _settings(run: RunSpec) -> str:
    defaults = vars(method(run.method).Config())
    own = [f"{name}={value}" for name, value in run.config.items() if defaults.get(name) != value]
    return f"{run.method} {' '.join(own)}"
