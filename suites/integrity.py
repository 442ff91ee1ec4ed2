"""Whether a store still is what was written into it: every folder, file, hash and row."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from suites.checkpoint import stored_digest
from suites.claim import LOCK, is_claimed
from suites.spec import SCHEMA, RunSpec, recipe_from_json, run_spec_from_json
from suites.store import Store, StoredRun, read_json, read_list, read_rows
from wombet.dataset import load_card, load_dataset, load_source, part_names
from wombet.errors import InputError
from wombet.files import sha256_of_file

Kind = Literal["damaged", "missing", "inconsistent", "foreign", "leftover"]

RUN_FILES = frozenset(
    (
        *("spec.json", "provenance.json", "status.json", "error.txt", "done.json", LOCK),
        *("evals.jsonl", "costs.jsonl", "train.jsonl", "policy.safetensors", "checkpoint"),
    )
)
DATASET_FILES = frozenset(
    ("card.json", "provenance.json", "data", "parts", "source", "model", "agent", "diagnosis.json")
)
AGAIN = "; move this folder away or delete it, and `wombet run` does the run again"
_RUN_NAME = re.compile(r"s\d+-([0-9a-f]{12})")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: where (relative to the store), what kind, and one sentence.

    damaged: content that is not what was written. missing: a file that should be there. inconsistent: files that
    contradict each other. foreign: something that no run writes. leftover: harmless, of a process that was killed.
    """

    where: str
    kind: Kind
    sentence: str


def check_store(root: Path) -> list[Finding]:
    """Check every manifest, run folder and dataset of a store; an empty list says that all is whole.

    Folders at which a living process is at work are left out, and files that published results came without are not
    missed. Raises InputError if there is no store at `root`.
    """
    store = Store(root)
    store.require()
    fed: Counter[str] = Counter()
    return [*_manifests(store), *_runs(store, fed), *_datasets(store), *_gone(store, fed)]


def _manifests(store: Store) -> Iterator[Finding]:
    for name in store.manifests():
        where = f"suites/{name}.json"
        try:
            manifest = store.manifest(name)
        except InputError as error:
            yield Finding(where, "damaged", str(error))
            continue
        if manifest.get("schema") != SCHEMA:
            yield Finding(
                where, "inconsistent", f"it is of schema {manifest.get('schema')}; this version reads {SCHEMA}"
            )


def _runs(store: Store, fed: Counter[str]) -> Iterator[Finding]:
    """What is wrong with runs; `fed` is told how many of the finished ones were fed each dataset."""
    for folder in sorted((store.root / "runs").glob("*/*/*")):
        where = str(folder.relative_to(store.root))
        if not folder.is_dir() or not _RUN_NAME.fullmatch(folder.name):
            yield Finding(where, "foreign", "it is not the folder of a run")
        elif not is_claimed(folder):
            # What is finished is never begun again by itself, however damaged.
            finished = read_json(folder / "done.json") is not None
            for kind, sentence in _run(store, folder, where, fed):
                advice = AGAIN if finished and kind in ("damaged", "missing", "inconsistent") else ""
                yield Finding(where, kind, sentence + advice)


def _run(store: Store, folder: Path, where: str, fed: Counter[str]) -> Iterator[tuple[Kind, str]]:
    stored = store.read_run(folder)
    yield from (("damaged", problem) for problem in stored.problems)
    yield from _foreign(folder, RUN_FILES)
    yield from _checkpoints(folder / "checkpoint")
    problems: list[str] = []
    read_rows(folder / "train.jsonl", problems)
    attempts = read_list(folder / "provenance.json", problems)
    if not attempts and not problems and (folder / "provenance.json").is_file():
        problems.append("provenance.json tells of no attempt, and every attempt writes itself there")
    yield from (("damaged", problem) for problem in problems)
    if stored.spec is None:
        if not (folder / "spec.json").exists():
            yield "missing", "spec.json is missing, so that nobody can say what was run"
        return
    try:
        spec = run_spec_from_json(stored.spec)
    except (InputError, KeyError, TypeError) as error:
        yield "inconsistent", f"spec.json cannot be read as a run ({error})"
        return
    if spec.folder != where:
        yield "inconsistent", f"spec.json is that of {spec.folder}: its hash is not the folder's id, or it was moved"
    if stored.done is not None:
        fed.update({recipe.id for recipe in spec.recipes})
        yield from _finished(folder, spec, stored, attempts, store.left_out)


def _finished(
    folder: Path, spec: RunSpec, stored: StoredRun, attempts: list[dict[str, Any]], left_out: frozenset[str]
) -> Iterator[tuple[Kind, str]]:
    done, rows = stored.done or {}, stored.evaluations
    if done.get("run_id") != spec.run_id:
        yield "inconsistent", f"done.json belongs to run {done.get('run_id')}, and spec.json to run {spec.run_id}"
    evaluations = folder / "evals.jsonl"
    for name in ("evals.jsonl", "costs.jsonl", "provenance.json"):
        if not (folder / name).is_file():
            yield "missing", f"{name} of a finished run is missing"
    if evaluations.is_file() and sha256_of_file(evaluations) != done.get("evals_sha256"):
        yield "damaged", "evals.jsonl is not what it was when the run finished (its hash differs from done.json)"
    elif evaluations.is_file():
        yield from (("inconsistent", sentence) for sentence in _rows(spec, rows, done.get("summary") or {}))
    policy = done.get("policy")
    if f"{spec.folder}/policy.safetensors" in left_out and not (folder / "policy.safetensors").is_file():
        policy = None
    if policy is not None and not (folder / "policy.safetensors").is_file():
        yield "missing", "policy.safetensors of a finished run is missing"
    elif policy is not None and sha256_of_file(folder / "policy.safetensors") != policy.get("sha256"):
        yield "damaged", "policy.safetensors is not what it was when the run finished (its hash differs from done.json)"
    if attempts and attempts[-1].get("state") != "done":
        yield "inconsistent", "the run is finished, and provenance.json tells of no attempt that finished it"
    if (folder / "checkpoint").is_dir():
        yield "leftover", "the checkpoints of the finished run are still there"


def _rows(spec: RunSpec, rows: list[dict[str, Any]], summary: dict[str, Any]) -> Iterator[str]:
    """What a finished run's evaluations say against its spec and its summary."""
    planned = len(spec.evaluation_steps()) if spec.budgets.target_steps else 1
    if len(rows) != planned or summary.get("evaluations") != planned:
        told = summary.get("evaluations")
        yield f"evals.jsonl has {len(rows)} evaluations, done.json tells of {told}, and {planned} were planned"
        return
    if [row.get("evaluation") for row in rows] != list(range(planned)):
        yield "the evaluations of evals.jsonl are not numbered one after the other"
    returns = rows[-1].get("returns") or [float("nan")]
    if any(len(row.get("returns") or ()) != spec.evaluation["episodes"] for row in rows):
        yield f"an evaluation does not have the {spec.evaluation['episodes']} episodes that were planned"
    elif sum(returns) / len(returns) != summary.get("final_mean_return"):
        yield "the final return of done.json is not that of evals.jsonl"


def _checkpoints(folder: Path) -> Iterator[tuple[Kind, str]]:
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        digest = stored_digest(path)
        if path.suffix == ".damaged":
            yield "leftover", f"checkpoint/{path.name} was found damaged and set aside"
        elif digest is None and not path.name.startswith("."):
            yield "foreign", f"checkpoint/{path.name} is not a checkpoint"
        elif digest is not None and sha256_of_file(path) != digest:
            yield "damaged", f"checkpoint/{path.name} is damaged: its content is not what its name says"


def _datasets(store: Store) -> Iterator[Finding]:
    for folder in sorted((store.root / "datasets").glob("*")):
        where = str(folder.relative_to(store.root))
        if not folder.is_dir():
            yield Finding(where, "foreign", "it is not the folder of a dataset")
        elif is_claimed(folder):
            continue
        elif folder.name.endswith(".building"):
            yield from (Finding(where, kind, sentence) for kind, sentence in _checkpoints(folder / "checkpoint"))
        else:
            yield from (Finding(where, kind, sentence) for kind, sentence in _dataset(store, folder))


def _gone(store: Store, fed: Counter[str]) -> Iterator[Finding]:
    """Datasets of which even the card is gone: it says what runs were fed, also where rows were not published."""
    for name, count in sorted(fed.items()):
        if not store.dataset_folder(name).exists() and not is_claimed(store.building_folder(name)):
            runs = "1 finished run was fed" if count == 1 else f"{count} finished runs were fed"
            yield Finding(f"datasets/{name}", "missing", f"the dataset that {runs} is gone, and its card.json with it")


def _dataset(store: Store, folder: Path) -> Iterator[tuple[Kind, str]]:
    yield from _foreign(folder, DATASET_FILES)
    try:
        card = load_card(folder)
    except InputError as error:
        yield "damaged", str(error)
        return
    recipe = card.get("recipe")
    try:
        named = recipe_from_json(recipe or {})
        if named.id != folder.name or asdict(named) != recipe:
            yield "inconsistent", f"the card's recipe is that of dataset {named.id}, and the folder is {folder.name}"
    except (TypeError, KeyError):
        yield "inconsistent", "the card's recipe cannot be read"
    if not store.lacks_rows(folder.name):
        yield from _content(folder, card)
    if (folder / "diagnosis.json").exists() and read_json(folder / "diagnosis.json") is None:
        yield "damaged", "diagnosis.json is unreadable"


def _content(folder: Path, card: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    """What the rows, model and agent of a dataset say against its card."""
    for part in part_names(card):
        yield from _readable(lambda part=part: load_dataset(folder, part).validate())
    if "source" in card:
        yield from _readable(lambda: load_source(folder).validate())
    for name, digest in card.get("files", {}).items():
        if not (folder / name).is_file():
            yield "missing", f"{name} is missing"
        elif sha256_of_file(folder / name) != digest:
            yield "damaged", f"{name} was changed: its hash is not the card's"


def _readable(read: Any) -> Iterator[tuple[Kind, str]]:
    try:
        read()
    except InputError as error:
        yield "damaged", str(error)


def _foreign(folder: Path, known: frozenset[str]) -> Iterator[tuple[Kind, str]]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") and path.suffix in (".tmp", ".taken"):
            yield "leftover", f"{path.name} was left by a process that was killed; it can be deleted"
        elif path.name not in known:
            yield "foreign", f"{path.name} does not belong there"
