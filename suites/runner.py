"""One run from its spec to its mark of completion: skipped if done, continued if begun, recorded if it fails."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suites.adapter_source import adapter_source
from suites.adapters import build_adapter
from suites.checkpoint import state_sha256
from suites.claim import ClaimLost, claim
from suites.evaluate import Evaluator
from suites.outcome import Outcome, Preempted, failure_text, sentence_of
from suites.pacing import Pace, Progress
from suites.policy import save_policy
from suites.problem import tasks_of, total_units
from suites.provenance import Attempt
from suites.spec import RunSpec
from suites.store import Store, clear_leftovers, read_json, read_rows, record_failure
from suites.training import Training
from wombet.errors import InputError
from wombet.files import pretty_json, sha256_of_file, write_atomically


def run_cell(
    spec: RunSpec,
    store: Store,
    *,
    device: str = "cpu",
    checkpoint_seconds: float = 60.0,
    stop: Callable[[], bool] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Carry out a run, or what is left of it.

    `stop` is asked in every tick; once it says yes the run is saved and ends as "preempted". A method that raises is
    recorded in the folder and ends as "failed". Raises InputError if the folder belongs to another spec, and OSError if
    it cannot be written.
    """
    folder = store.run_folder(spec.folder)
    if is_finished(folder):
        return Outcome("skipped")
    for recipe in spec.recipes:
        if not (store.dataset_folder(recipe.id) / "card.json").is_file() or store.lacks_rows(recipe.id):
            return Outcome("blocked", f"{spec.label} needs the dataset {recipe.id}, which is not built")
    with claim(folder) as held:
        if held is None:
            return Outcome("busy", f"another process is running {spec.label}")
        if is_finished(folder):
            return Outcome("skipped")
        _write_spec(spec, folder)
        clear_leftovers(folder)
        pace = Pace(folder, total_units(spec.budgets), checkpoint_seconds, stop, on_progress, held)
        try:
            return _attempt(spec, store, folder, device, pace)
        except ClaimLost:
            return Outcome(
                "busy", f"another process has taken over {spec.label}: this one had been silent for too long"
            )


def is_finished(folder: Path) -> bool:
    """Whether the folder has a readable mark of completion."""
    return read_json(folder / "done.json") is not None


def _write_spec(spec: RunSpec, folder: Path) -> None:
    path = folder / "spec.json"
    text = pretty_json(spec.to_json())
    if not path.exists():
        write_atomically(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise InputError(f"{path} is not the spec of {spec.label}; move the folder away")


def _attempt(spec: RunSpec, store: Store, folder: Path, device: str, pace: Pace) -> Outcome:
    attempt = Attempt(folder, device, **adapter_source(spec.method))
    pace.spending = attempt.spending
    (folder / "error.txt").unlink(missing_ok=True)
    try:
        training = _prepare(spec, store, folder, device, pace)
        attempt.note(training.checkpoints.problems)
        training.run()
        _finish(spec, folder, training, attempt)
        training.close()
    except Preempted:
        pace.end("interrupted")
        attempt.end("interrupted")
        return Outcome("preempted", f"{spec.label} was stopped; the same command continues it")
    except ClaimLost:
        raise
    except Exception as error:
        pace.confirm()
        record_failure(folder, failure_text(error, spec.label, folder), message=sentence_of(error))
        with contextlib.suppress(OSError):
            attempt.end("failed")
        return Outcome("failed", sentence_of(error))
    return Outcome("done")


def _prepare(spec: RunSpec, store: Store, folder: Path, device: str, pace: Pace) -> Training:
    adapter, problem = build_adapter(spec, store, device)
    evaluator = Evaluator(tasks_of(spec.pair)[1], spec.evaluation["episodes"], spec.seed, spec.method)
    datasets = [source.dataset for source in problem.sources]
    datasets += [] if problem.dataset is None else [problem.dataset]
    dataset_steps = sum(dataset.card["source_steps"]["total"] for dataset in datasets)
    training = Training(spec, folder, problem, adapter, evaluator, pace, dataset_steps)
    training.restore()
    return training


def _finish(spec: RunSpec, folder: Path, training: Training, attempt: Attempt) -> None:
    evaluations = folder / "evals.jsonl"
    for rows in training.rows.values():
        rows.sync()
    training.pace.confirm()
    resumable = training.adapter.capabilities.resumable
    done = {
        "run_id": spec.run_id,
        "evals_sha256": sha256_of_file(evaluations),
        "state_sha256": state_sha256(training.adapter.state()) if resumable else None,
        "policy": save_policy(training.adapter, folder),
        "summary": _summary(evaluations),
    }
    training.pace.end("done")
    attempt.end("done")
    write_atomically(folder / "done.json", pretty_json(done))
    with contextlib.suppress(OSError):
        training.checkpoints.clear()


def _summary(evaluations: Path) -> dict[str, Any]:
    rows = read_rows(evaluations)
    last = rows[-1]
    costs = {name: last[name] for name in ("source_steps", "target_steps", "updates")}
    return {"evaluations": len(rows), "final_mean_return": sum(last["returns"]) / len(last["returns"]), **costs}
