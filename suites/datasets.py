"""The generated datasets of a store: built once per recipe, checked whenever they are used."""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from baselines.config import make_config
from suites.checkpoint import Checkpoints
from suites.claim import LOCK, ClaimLost, claim
from suites.exchange import content_digits
from suites.outcome import Outcome, Preempted, failure_text, sentence_of
from suites.pacing import Pace, Progress
from suites.problem import tasks_of
from suites.provenance import Attempt
from suites.rebuilt import put_in_place
from suites.sources import source_task as source_task
from suites.spec import IMPORTED, DatasetRecipe, RunSpec, SourceRecipe
from suites.store import Store, clear_leftovers, record_failure
from suites.tasks.task import Task
from wombet.dataset import ACCEPTED, TransferDataset, load_card, load_dataset, load_source, part_names
from wombet.errors import InputError
from wombet.files import pretty_json, sha256, sha256_of_file, write_atomically
from wombet.generation import Generated, GenerationConfig, TransferDataBuilder
from wombet.interaction import Meter, MeteredEnv
from wombet.serialization import dumps
from wombet.streams import Streams

MODEL = "model/ensemble.safetensors"
AGENT = "agent/agent.safetensors"


def build_dataset(
    recipe: DatasetRecipe,
    store: Store,
    *,
    device: str = "cpu",
    checkpoint_seconds: float = 60.0,
    stop: Callable[[], bool] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Build a dataset, or what is left of it, beside its place and move it there when it is whole.

    The folder is `store.dataset_folder(recipe.id)`; a finished one is skipped, and one that was published without its
    rows is given them if they come out as its card says. A build that was stopped or killed goes on from its checkpoint
    and gives the same bytes. Raises InputError if the recipe fits no task or config.
    """
    if has_rows(store, recipe):
        return Outcome("skipped")
    folder = store.building_folder(recipe.id)
    with claim(folder) as held:
        if held is None:
            return Outcome("busy", f"another process is building the dataset {recipe.id}")
        if has_rows(store, recipe):
            return Outcome("skipped")
        write_atomically(folder / "recipe.json", pretty_json(asdict(recipe)))
        clear_leftovers(folder)
        config = config_of(recipe)
        build = _Build(recipe, config, folder, device)
        build.pace = Pace(folder, build.builder.progress()[1], checkpoint_seconds, stop, on_progress, held)
        try:
            return _attempt(build, store)
        except ClaimLost:
            return Outcome("busy", f"another process has taken over the dataset {recipe.id}: this one had been silent")


def is_built(store: Store, recipe: DatasetRecipe) -> bool:
    """Whether the recipe's dataset is finished; an imported one also has to be there for the recipe's source task."""
    folder = store.dataset_folder(recipe.id)
    there = (folder / "card.json").is_file()
    return there and (not recipe.imported or load_card(folder).get("recipe") == asdict(recipe))


def has_rows(store: Store, recipe: DatasetRecipe) -> bool:
    """Whether the recipe's dataset is finished and its rows are there, which published results come without."""
    return is_built(store, recipe) and not store.lacks_rows(recipe.id)


def missing_datasets(recipes: Iterable[DatasetRecipe], store: Store) -> list[DatasetRecipe]:
    """Return the recipes whose datasets have to be built; raises InputError for one that cannot be built."""
    missing = [recipe for recipe in recipes if not has_rows(store, recipe)]
    for recipe in missing:
        if recipe.imported:
            raise InputError(
                f"the store has no dataset {recipe.id} for a horizon of {recipe.horizon}; it is imported, so put it "
                f"there with `wombet data import NAME --family {recipe.family} --horizon {recipe.horizon} --store "
                f"{store.root}`, and name it in the suite by the id that this prints"
            )
        source_task(recipe)
        config_of(recipe)
    return missing


def config_of(recipe: DatasetRecipe) -> GenerationConfig:
    """Return the recipe's settings.

    Raises InputError for a field or value that does not exist or fit, and for an imported dataset, which has none.
    """
    if recipe.imported:
        raise InputError(f"dataset {recipe.id} is imported, so that it has no settings, model or agent to work with")
    return make_config(GenerationConfig, recipe.config, f"dataset recipe {recipe.id}")


def verify_dataset(folder: Path, task: Task) -> dict[str, Any]:
    """Check every file's hash, every row of every part, and that the rewards are `task`'s; returns the card.

    Raises InputError naming the first file or row that is wrong.
    """
    card = load_card(folder)
    for part in part_names(card):
        dataset = load_dataset(folder, part)
        dataset.validate(task)
        if part == ACCEPTED:
            _check_imported_rows(dataset, folder)
    if "source" in card:
        load_source(folder).validate(task)
    for name, digest in card.get("files", {}).items():
        path = folder / name
        if not path.is_file() or sha256_of_file(path) != digest:
            raise InputError(f"{path} is missing or was changed; build the dataset again")
    return card


def load_for_run(spec: RunSpec, store: Store, part: str = ACCEPTED) -> TransferDataset | None:
    """Return a part of the run's dataset with the target's labels, checked against its recipe and its source task."""
    if spec.dataset is None:
        return None
    folder = store.dataset_folder(spec.dataset.id)
    card = load_card(folder)
    if card.get("recipe") != asdict(spec.dataset):
        raise InputError(f"{folder} was not built by the recipe of {spec.label}; build the dataset again")
    source, target = tasks_of(spec.pair)
    dataset = load_dataset(folder, part)
    dataset.validate(source)
    _check_imported_rows(dataset, folder)
    return dataset.relabel(target)


def _check_imported_rows(dataset: TransferDataset, folder: Path) -> None:
    """The id of an imported dataset says which rows it has, so that no card can vouch for others."""
    recipe = dataset.card.get("recipe", {})
    if recipe.get("collection") != IMPORTED:
        return
    if content_digits(dataset, recipe["horizon"], recipe["source_fingerprint"]) != recipe["config"]["rows"]:
        raise InputError(f"{folder} does not hold the rows that were imported; remove it and import them again")


class _Build:
    """A dataset in the making: the builder, its meter and its checkpoints."""

    pace: Pace

    def __init__(self, recipe: DatasetRecipe, config: GenerationConfig, folder: Path, device: str) -> None:
        self.recipe, self.folder, self.device = recipe, folder, device
        self.task = source_task(recipe)
        self.meter = Meter(config.source_steps, "source")
        self.checkpoints = Checkpoints(folder / "checkpoint")
        path = (recipe.source_fingerprint,) if isinstance(recipe, SourceRecipe) else ()
        self._streams = Streams(recipe.dataset_seed).child("dataset", recipe.family, *path)
        self.builder = TransferDataBuilder(self.task, self._open_env, self.meter, config, self._streams, device)

    def run(self) -> Generated:
        """Go on from the newest whole checkpoint, if there is one, to the end."""
        state = next(self.checkpoints.load(), None)
        if state is not None:
            self.builder.restore(state)
        units = self.builder.progress()[0]
        self.pace.enter("generation", units)
        self.pace.begin(units, source_steps=self.meter.count)
        return self.builder.run(self._tick)

    def _tick(self, *, updates: int, metrics: Callable[[], Mapping[str, float]] | None = None) -> None:
        self.pace.confirm()
        stop = self.pace.stop_requested()
        units = self.builder.progress()[0]
        self.pace.beat(units, now=stop, source_steps=self.meter.count, updates=updates)
        if stop or self.pace.checkpoint_due:
            with self.pace.checkpointing():
                self.checkpoints.save(self.builder.state())
        if stop:
            raise Preempted

    def _open_env(self, name: str) -> MeteredEnv:
        return MeteredEnv(self.task.make_env(), self.meter, self._streams.child("resets", name).integer)


def _attempt(build: _Build, store: Store) -> Outcome:
    recipe, folder = build.recipe, build.folder
    attempt = Attempt(folder, build.device)
    build.pace.spending = attempt.spending
    (folder / "error.txt").unlink(missing_ok=True)
    try:
        generated = build.run()
        attempt.note(build.checkpoints.problems)
        made = folder / "artefact"
        shutil.rmtree(made, ignore_errors=True)
        _write_artefact(made, build, generated)
        build.pace.end("done")
        attempt.end("done")
        shutil.copyfile(folder / "provenance.json", made / "provenance.json")
        _place(made, store.dataset_folder(recipe.id), build)
    except Preempted:
        build.pace.end("interrupted")
        attempt.end("interrupted")
        return Outcome("preempted", f"the dataset {recipe.id} was stopped; the same command continues it")
    except ClaimLost:
        raise
    except Exception as error:
        build.pace.confirm()
        record_failure(folder, failure_text(error, f"the dataset {recipe.id}", folder), message=sentence_of(error))
        with contextlib.suppress(OSError):
            attempt.end("failed")
        return Outcome("failed", sentence_of(error))
    _remove(build)
    return Outcome("done")


def _write_artefact(folder: Path, build: _Build, generated: Generated) -> None:
    states = {MODEL: generated.model_state, AGENT: generated.agent_state}
    files = {}
    for name, state in states.items():
        if state is not None:
            data = dumps(state)
            files[name] = sha256(data)
            write_atomically(folder / name, data)
    card = {
        **generated.card,
        "recipe": asdict(build.recipe),
        "dataset_seed": build.recipe.dataset_seed,
        "versions": {name: version(name) for name in ("mujoco", "numpy", "torch")},
        "files": files,
    }
    if card["source_steps"]["total"] != build.meter.count:
        raise RuntimeError(
            f"the card tells of {card['source_steps']} source steps; the meter counted {build.meter.count}"
        )
    replace(generated.dataset, card=card).save(folder, generated.parts, generated.source)
    verify_dataset(folder, build.task)


def _place(made: Path, folder: Path, build: _Build) -> None:
    try:
        put_in_place(made, folder)
    except InputError:
        # The next attempt, with other versions perhaps, must not go on from what these computed.
        build.checkpoints.clear()
        raise


def _remove(build: _Build) -> None:
    """The lock stays, and goes with the folder when the claim is given back."""
    build.checkpoints.clear()
    for path in build.folder.iterdir():
        if path.name != LOCK and not path.name.startswith(f".{LOCK}."):
            path.unlink(missing_ok=True)
