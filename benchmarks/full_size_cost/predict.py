"""From measured rates to what runs, datasets and suites cost."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from benchmarks.full_size_cost.apart import apart
from benchmarks.full_size_cost.generation import (
    GenerationCost,
    agent_step,
    dataset_seconds,
    fit_step,
    iteration_seconds,
    keys_of,
    planned_together,
    planning,
)
from benchmarks.full_size_cost.methods import DATASET_ROWS, MethodCost, key_of, kind_of, measure
from benchmarks.offline_update import random_dataset
from suites.datasets import config_of
from suites.spec import DatasetRecipe, RunSpec
from suites.tasks import make_task
from wombet.dataset import TransferDataset
from wombet.generation_config import GenerationConfig

ACCEPTED = 0.5
"""Share of the candidates that is accepted, about."""
COPIES = 3
"""Of the rows that are met online: the buffer, and two while a checkpoint is written."""
TRAIN_ROWS = 200
"""Rows that train.jsonl holds of a phase."""
EVALUATION_BYTES = 40
"""Of one episode's return and length, and of its estimates."""
CHECKPOINTS = 2
"""That are kept while a run goes on."""


@dataclass(frozen=True)
class Cost:
    """Of a run or a dataset: CPU seconds, peak memory in MB, bytes that stay, and bytes while it goes on."""

    seconds: float
    memory_mb: float
    kept: float
    running: float


@dataclass
class Rates:
    """What was measured so far; each kind is measured when it is first asked for, for `seconds` per phase.

    `tell` is called with what is about to be measured. `base_mb` is what a process takes that has imported everything,
    and `libraries_mb` what the peak of a forked one leaves out.
    """

    seconds: float = 1.0
    tell: Callable[[str], object] = lambda text: None
    methods: dict[str, MethodCost] = field(default_factory=dict)
    parts: dict[str, object] = field(default_factory=dict)
    base_mb: float = 0.0
    libraries_mb: float = 0.0

    @cached_property
    def _rows(self) -> TransferDataset:
        return random_dataset(DATASET_ROWS)

    def of_method(self, run: RunSpec) -> MethodCost:
        """Return the rates of a run's kind."""
        key = key_of(run)
        if key not in self.methods:
            kind = kind_of(run)
            self.tell(kind.label)
            self.methods[key] = apart(lambda: measure(kind, self._rows, self.seconds))
        return self.methods[key]

    def of_generation(self, config: GenerationConfig) -> GenerationCost:
        """Return the rates of a recipe's parts."""
        agent, model, planner = keys_of(config)
        works: list[tuple[str, str, Callable[[], object]]] = [
            ("source agent", agent, lambda: agent_step(config, self.seconds, self._rows)),
            ("fit of the model", model, lambda: fit_step(config.world_model, self._rows)),
            ("planner", planner, lambda: planning(config, self._rows)),
        ]
        found = []
        for name, key, work in works:
            if f"{name} {key}" not in self.parts:
                self.tell(name)
                self.parts[f"{name} {key}"] = apart(work)
            found.append(self.parts[f"{name} {key}"])
        return GenerationCost(*found)  # type: ignore[arg-type]


def run_cost(run: RunSpec, rates: Rates) -> Cost:
    """Predict a run; every unit of a phase counts as one with updates, and every evaluation as one of whole episodes.

    Raises RuntimeError if it has a budget for a phase in which its method made no updates when it was measured.
    """
    found, budgets = rates.of_method(run), run.budgets
    units = {"offline": budgets.offline_updates, "online": budgets.target_steps}
    seconds = found.once
    for phase, count in units.items():
        if count and phase not in found.seconds:
            raise RuntimeError(f"{run.label}: no update was measured in the {phase} phase")
        seconds += count * found.seconds.get(phase, 0.0)
    episodes = len(run.evaluation_steps()) * run.evaluation["episodes"]
    seconds += episodes * run.pair.horizon * found.evaluation
    iterations = int(run.config.get("iterations", 1))
    if iterations > 1 and run.dataset is not None:
        config = config_of(run.dataset)
        seconds += (iterations - 1) * iteration_seconds(config, rates.of_generation(config))
    row = _row_bytes(run.pair.family)
    online = min(budgets.target_steps, int(run.config.get("replay_capacity", budgets.target_steps))) * row
    data = sum(max(0, _accepted(recipe) - DATASET_ROWS) for recipe in run.recipes) * row
    imagined = _imagined_rows(run) * row
    memory = rates.libraries_mb + found.peak_mb + (COPIES * online + 2 * data + (1 + COPIES) * imagined) / 1e6
    phases = sum(1 for count in units.values() if count)
    kept = found.policy_bytes + phases * TRAIN_ROWS * found.train_row_bytes + episodes * EVALUATION_BYTES
    return Cost(seconds, memory, kept, kept + CHECKPOINTS * (found.state_bytes + online + imagined))


def dataset_cost(recipe: DatasetRecipe, rates: Rates) -> Cost:
    """Predict a build; all fits use all of their steps, and every trajectory goes to its end."""
    config = config_of(recipe)
    cost = rates.of_generation(config)
    row, candidates = _row_bytes(recipe.family), config.n_trajectories * config.trajectory_steps
    # As many rows as accepted in three other parts, four matched ones, the source rows, and the agent's own.
    source = config.required_steps + (config.agent_steps if config.guided else 0)
    kept = (4 * ACCEPTED * candidates + 4 * config.matched_fraction * candidates + source) * row
    memory = planned_together(config) * cost.planning.peak_mb + COPIES * (candidates + source) * row / 1e6
    return Cost(dataset_seconds(config, cost), rates.libraries_mb + rates.base_mb + memory, kept, 2 * kept)


@dataclass(frozen=True)
class SuiteCost:
    """What the cells and datasets of a suite cost: hours of CPU time, memory in MB, storage in bytes.

    `run_hours` are those of the shortest and of the longest run, in hours.
    """

    name: str
    cells: int
    datasets: int
    run_hours: tuple[float, float]
    dataset_hours: tuple[float, float]
    hours: float
    run_mb: float
    dataset_mb: float
    kept: float
    running: float

    def wall_hours(self, cores: int) -> float:
        """Return hours on so many cores: the work's share of each, or what the longest run needs with its dataset."""
        return max(self.hours / cores, self.run_hours[1] + self.dataset_hours[1])


def suite_cost(name: str, runs: Iterable[RunSpec], rates: Rates) -> SuiteCost:
    """Predict cells and the datasets that they need, each once however often it is named."""
    cells = {run.folder: run for run in runs}
    recipes = {recipe.id: recipe for run in cells.values() for recipe in run.recipes}
    ran = list(_by_seed(cells.values(), rates))
    built = _without_seed(recipes.values(), rates)
    hours = [cost.seconds / 3600 for cost in ran]
    dataset_hours = [cost.seconds / 3600 for cost in built] or [0.0]
    return SuiteCost(
        name,
        len(ran),
        len(built),
        (min(hours), max(hours)),
        (min(dataset_hours), max(dataset_hours)),
        sum(hours) + sum(dataset_hours) if built else sum(hours),
        max(cost.memory_mb for cost in ran),
        max((cost.memory_mb for cost in built), default=0.0),
        sum(cost.kept for cost in (*ran, *built)),
        max(cost.running for cost in ran),
    )


def _by_seed(runs: Iterable[RunSpec], rates: Rates) -> Iterator[Cost]:
    """The costs of runs; those that differ in their seed alone cost the same."""
    known: dict[tuple[object, ...], Cost] = {}
    for run in runs:
        key = run.pair.id, key_of(run), run.budgets, run.data_part, len(run.recipes), _iterated_recipe(run)
        if key not in known:
            known[key] = run_cost(run, rates)
        yield known[key]


def _without_seed(recipes: Collection[DatasetRecipe], rates: Rates) -> list[Cost]:
    """The costs of builds; those that differ in their seed alone cost the same."""
    ids = [replace(recipe, dataset_seed=0).id for recipe in recipes]
    known = dict(zip(ids, recipes, strict=True))
    costs = {name: dataset_cost(recipe, rates) for name, recipe in known.items()}
    return [costs[name] for name in ids]


def _iterated_recipe(run: RunSpec) -> object:
    return None if run.dataset is None else (run.dataset.profile, run.dataset.rollouts, str(run.dataset.config))


def _imagined_rows(run: RunSpec) -> int:
    config = run.config
    names = ("rollout_starts", "rollout_length", "retained_rounds")
    if not all(name in config for name in names):
        return 0
    return int(config["rollout_starts"]) * int(config["rollout_length"]) * int(config["retained_rounds"])


def _accepted(recipe: DatasetRecipe) -> int:
    config = config_of(recipe)
    return round(ACCEPTED * config.n_trajectories * config.trajectory_steps)


def _row_bytes(family: str) -> int:
    """Two observations, an action, a reward, a penalty and an ending, in float32."""
    task = make_task(family)
    return 4 * (2 * task.obs_dim + task.action_dim + 3)
