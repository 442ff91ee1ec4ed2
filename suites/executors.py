"""Where jobs are carried out: in this process, or in worker processes of this machine."""

import concurrent.futures
import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from suites.outcome import Outcome, sentence_of
from suites.pacing import Progress, progress_of
from suites.spec import DatasetRecipe, RunSpec, recipe_from_json, run_spec_from_json
from suites.store import Store, claim, read_json, record_failure
from suites.worker import Task, initialise, perform, prepare, work
from wombet.errors import InputError


@dataclass(frozen=True)
class Job:
    """A dataset to build or a run to carry out; `id` is unique, `label` is for people, `folder` has its status.json."""

    kind: Literal["dataset", "run"]
    id: str
    label: str
    folder: Path
    task: Task
    datasets: tuple[str, ...] = ()

    @classmethod
    def of_run(cls, spec: RunSpec, store: Store, options: dict[str, Any]) -> "Job":
        """The job of a run."""
        task = {"kind": "run", "content": spec.to_json(), "store": str(store.root), "options": options}
        datasets = tuple(recipe.id for recipe in spec.recipes)
        return cls("run", spec.folder, spec.label, store.run_folder(spec.folder), task, datasets)

    @classmethod
    def of_folder(cls, relative: str, store: Store, options: dict[str, Any]) -> "Job":
        """The job of a run's or building dataset's folder, which holds what it is; raises InputError if it does not."""
        folder = store.root / relative
        spec, recipe = read_json(folder / "spec.json"), read_json(folder / "recipe.json")
        if spec is not None:
            return cls.of_run(run_spec_from_json(spec), store, options)
        if recipe is None:
            raise InputError(f"{folder} has neither spec.json nor recipe.json; submit the suite again")
        return cls.of_dataset(recipe_from_json(recipe), store, options)

    @classmethod
    def of_dataset(cls, recipe: DatasetRecipe, store: Store, options: dict[str, Any]) -> "Job":
        """The job of a dataset."""
        task = {"kind": "dataset", "content": asdict(recipe), "store": str(store.root), "options": options}
        return cls("dataset", recipe.id, f"dataset {recipe.id}", store.building_folder(recipe.id), task)


OnProgress = Callable[[Job, Progress], None]


class Executor(Protocol):
    """Carries out up to `slots` jobs at a time."""

    slots: int

    def start(self, job: Job) -> None:
        """Take on a job; there must be a free slot."""

    def wait(self, seconds: float, on_progress: OnProgress) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended, waiting for one up to `seconds` (or as long as it takes, in this process)."""

    def stop(self) -> None:
        """Ask all jobs to save themselves and stop."""

    def close(self) -> None:
        """Free everything; jobs that are still running are killed."""


class InlineExecutor:
    """One job at a time in this process."""

    slots = 1

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self._job: Job | None = None
        prepare(1)

    def start(self, job: Job) -> None:
        """Keep the job for `wait`."""
        self._job = job

    def wait(self, seconds: float, on_progress: OnProgress) -> list[tuple[Job, Outcome]]:
        """Carry out the job."""
        job, self._job = self._job, None
        if job is None:
            return []
        return [(job, perform(job.task, self._stop, lambda progress: on_progress(job, progress)))]

    def stop(self) -> None:
        """The job asks by itself."""

    def close(self) -> None:
        """Nothing to free."""


class LocalExecutor:
    """Worker processes with one thread each; one that dies costs its own job alone and is replaced."""

    def __init__(self, workers: int, run_seconds: float | None = None) -> None:
        """Start `workers` processes; one whose run takes longer than `run_seconds` is killed, datasets take theirs."""
        from pebble import ProcessPool

        # A forked child would inherit the threads and locks of this process.
        context = multiprocessing.get_context("spawn")
        self.slots = workers
        self._run_seconds = run_seconds
        self._stop = context.Event()
        self._pool = ProcessPool(workers, initializer=initialise, initargs=(self._stop,), context=context)
        self._running: dict[concurrent.futures.Future[Outcome], Job] = {}

    def start(self, job: Job) -> None:
        """Hand the job to a worker."""
        timeout = self._run_seconds if job.kind == "run" else None
        self._running[self._pool.schedule(work, args=(job.task,), timeout=timeout)] = job

    def wait(self, seconds: float, on_progress: OnProgress) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended, and tell of the others from their heartbeats."""
        done, others = concurrent.futures.wait(
            self._running, timeout=seconds, return_when=concurrent.futures.FIRST_COMPLETED
        )
        for future in others:
            job = self._running[future]
            progress = progress_of(read_json(job.folder / "status.json") or {})
            if progress is not None:
                on_progress(job, progress)
        return [(self._running.pop(future), _outcome(future, self._run_seconds)) for future in done]

    def stop(self) -> None:
        """Set the event that all workers ask in every tick."""
        self._stop.set()

    def close(self) -> None:
        """End the workers."""
        if self._running:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()


def _outcome(future: "concurrent.futures.Future[Outcome]", run_seconds: float | None) -> Outcome:
    from pebble import ProcessExpired

    try:
        return future.result()
    except ProcessExpired as error:
        return Outcome("lost", f"the worker process died ({_cause(error.exitcode)})")
    except TimeoutError:
        return Outcome("lost", f"it took longer than its limit of {(run_seconds or 0) / 60:g} minutes")
    except concurrent.futures.CancelledError:
        return Outcome("preempted", "it was cancelled before it began")
    except Exception as error:
        return Outcome("lost", f"the worker could not report ({sentence_of(error)})")


def record_loss(job: Job, message: str) -> None:
    """Show a job whose process died as failed, and as one that may be tried again, unless another process is at it."""
    with claim(job.folder) as ours:
        if ours:
            record_failure(job.folder, f"{job.label} failed.\n\n{message}\n", message=message, lost=True)


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}; the machine may be out of memory" if name == "SIGKILL" else name
