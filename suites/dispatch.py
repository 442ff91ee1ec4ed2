"""All jobs of a suite, each when it may begin: datasets first, and every run as soon as its dataset is there."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from suites.datasets import has_rows, missing_datasets
from suites.executors import Executor, InlineExecutor, Job, LocalExecutor, record_loss
from suites.matrix import available_cores
from suites.outcome import Outcome
from suites.pacing import Progress
from suites.rates import Rates, TimeLeft
from suites.runner import is_finished
from suites.spec import DatasetRecipe, RunSpec
from suites.store import Store
from suites.worker import StopRequest
from wombet.errors import InputError
from wombet.files import pretty_json, write_once
from wombet.process import devices_of

EXECUTORS = ("inline", "local", "slurm")
POLL_SECONDS = 0.5

EventKind = Literal["started", "progress", "done", "failed", "blocked", "busy", "preempted"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    `finished` of `total` jobs have ended. `seconds_left` is an estimate for all of them, by what such jobs have
    taken and how far those that run are; None while nothing is known.
    """

    kind: EventKind
    job: Job
    message: str
    progress: Progress | None
    finished: int
    total: int
    seconds_left: float | None


@dataclass
class Summary:
    """How many jobs ended how ("skipped" were finished before), what failed and why, and whether it was stopped.

    `counts` are of runs and datasets, `datasets` of datasets alone. `left` counts the jobs that were not
    begun because of a stop.
    """

    counts: Counter[str] = field(default_factory=Counter)
    datasets: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    blocked: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    left: int = 0

    @property
    def message(self) -> str:
        """One line for people."""
        text = ", ".join(map(self._ended, sorted(self.counts))) or "nothing to do"
        if self.interrupted:
            return f"{text}; stopped with {self.left} not begun: the same command continues"
        return f"{text}; {self.left} not begun, because so many failed" if self.left else text

    def _ended(self, ending: str) -> str:
        of_them = self.datasets[ending]
        among = f" ({of_them} dataset{'s' * (of_them > 1)} among them)" if of_them else ""
        return f"{self.counts[ending]} {ending}{among}"


def dispatch(
    runs: Sequence[RunSpec],
    store: Store,
    *,
    executor: str = "local",
    workers: int | None = None,
    recipes: Sequence[DatasetRecipe] = (),
    device: str = "cpu",
    checkpoint_seconds: float = 60.0,
    cell_seconds: float | None = None,
    max_failures: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Summary:
    """Carry out all runs that are not finished, and build the datasets that they (and `recipes`) need.

    A job that fails costs the others nothing, but runs whose dataset failed are reported as blocked. SIGINT, SIGTERM,
    SIGUSR1 and SIGUSR2 make every job save itself and stop. With device "cuda" jobs take the GPUs in turn. Local
    workers are killed when a run takes longer than `cell_seconds`, and nothing more is begun after `max_failures`
    failures. Raises InputError, before any work, for an unknown executor (and for slurm, which does not wait), for more
    workers than cores, for a store that cannot be written, for a recipe that fits no task or config, and for an
    imported dataset that is not there.
    """
    if executor == "slurm":
        raise InputError("the slurm executor does not wait for its jobs; queue them with suites.submission.submit")
    workers = check_workers(executor, workers)
    options = {"device": device, "checkpoint_seconds": checkpoint_seconds}
    plan = _Plan(runs, recipes, store, options)
    store.prepare()
    with StopRequest() as stop:
        if not plan.open_jobs:
            return plan.summary
        chosen = _executor(executor, min(workers, plan.open_jobs), stop, cell_seconds)
        try:
            _Dispatch(plan, chosen, stop, on_event, max_failures).run()
        finally:
            chosen.close()
    return plan.summary


def check_workers(executor: str, workers: int | None) -> int:
    """Return the number of workers (by default, one per core); raises InputError if it cannot be."""
    if executor not in EXECUTORS:
        raise InputError(f"there is no executor {executor!r}; known are {', '.join(EXECUTORS)}")
    if executor == "slurm":
        if workers is not None:
            raise InputError("--workers is for local processes; the site profile's max_parallel throttles Slurm jobs")
        return 0
    cores = available_cores()
    if workers is None:
        return 1 if executor == "inline" else cores
    if workers < 1:
        raise InputError(f"--workers is {workers}; it must be at least 1")
    if executor == "inline" and workers > 1:
        raise InputError(f"--workers is {workers}, and the inline executor runs one job at a time; use local")
    if workers > cores:
        raise InputError(f"--workers is {workers}, and this machine offers {cores} cores; each worker needs one")
    return workers


def _executor(name: str, workers: int, stop: Callable[[], bool], cell_seconds: float | None) -> Executor:
    return InlineExecutor(stop) if name == "inline" else LocalExecutor(workers, cell_seconds)


class _Plan:
    """Jobs that may begin, jobs that wait for datasets, and what became of the rest."""

    def __init__(
        self, runs: Sequence[RunSpec], recipes: Sequence[DatasetRecipe], store: Store, options: dict[str, Any]
    ) -> None:
        self.summary, self.store = Summary(), store
        # Two rows of a suite may come down to the same run.
        runs = list({run.folder: run for run in runs}.values())
        open_runs = [run for run in runs if not is_finished(store.run_folder(run.folder))]
        wanted = {recipe.id: recipe for recipe in recipes}
        wanted |= {recipe.id: recipe for run in open_runs for recipe in run.recipes}
        missing = missing_datasets(wanted.values(), store)
        built = sum(has_rows(store, recipe) for recipe in recipes)
        self.summary.datasets += Counter(skipped=built)
        self.summary.counts += Counter(skipped=len(runs) - len(open_runs) + built)
        each = ({**options, "device": device} for device in cycle(devices_of(options["device"])))
        self.ready = deque(Job.of_dataset(recipe, store, next(each)) for recipe in missing)
        self._missing = {recipe.id for recipe in missing}
        jobs = [Job.of_run(run, store, next(each)) for run in open_runs]
        self.waiting = [job for job in jobs if self._waits(job)]
        self.ready.extend(job for job in jobs if not job.datasets)
        self.ready.extend(job for job in jobs if job.datasets and not self._waits(job))

    @property
    def open_jobs(self) -> int:
        """How many jobs have not begun."""
        return len(self.ready) + len(self.waiting)

    def ended(self, job: Job, outcome: Outcome) -> list[tuple[Job, Outcome]]:
        """Take note of an ending; returns it and those that follow from it."""
        endings = [(job, outcome)]
        if job.kind == "dataset" and outcome.ending in ("done", "skipped"):
            self._missing.discard(job.id)
            self.ready.extend(self._taken(lambda run: not self._waits(run)))
        elif job.kind == "dataset" and outcome.ending != "preempted":
            follows = Outcome("busy" if outcome.ending == "busy" else "blocked", f"{job.label}: {outcome.message}")
            endings += [(run, follows) for run in self._taken(lambda run: job.id in run.datasets)]
        for ended, result in endings:
            ending = "failed" if result.ending == "lost" else result.ending
            self.summary.counts[ending] += 1
            self.summary.datasets[ending] += ended.kind == "dataset"
            if ending == "failed":
                self.summary.failures.append((ended.label, result.message))
            elif ending == "blocked":
                # So that the run is known when its dataset is tried again.
                write_once(ended.folder / "spec.json", pretty_json(ended.task["content"]))
                self.summary.blocked.append((ended.label, result.message))
        return endings

    def _waits(self, job: Job) -> bool:
        return not self._missing.isdisjoint(job.datasets)

    def _taken(self, which: Callable[[Job], bool]) -> list[Job]:
        """Take out of the waiting jobs those that `which` holds for."""
        taken = [job for job in self.waiting if which(job)]
        self.waiting = [job for job in self.waiting if job not in taken]
        return taken


class _Dispatch:
    """The loop that keeps an executor's slots busy."""

    def __init__(
        self,
        plan: _Plan,
        executor: Executor,
        stop: StopRequest,
        on_event: Callable[[Event], None] | None,
        max_failures: int | None,
    ) -> None:
        self.plan, self.executor, self.stop = plan, executor, stop
        self._max_failures = max_failures
        self._on_event = on_event or (lambda event: None)
        self._running: set[str] = set()
        self._finished, self._total = 0, plan.open_jobs
        jobs = [*plan.ready, *plan.waiting]
        self._left = TimeLeft(Rates.of_store(plan.store), ((job.id, job.kind, job.task["content"]) for job in jobs))

    def run(self) -> None:
        """Go on until nothing is left, or until a stop has reached every job."""
        stopping = False
        while self._running or (self.plan.ready and not stopping and not self._too_many_failures):
            while self.plan.ready and len(self._running) < self.executor.slots and self._may_begin:
                self._start(self.plan.ready.popleft())
            for job, outcome in self.executor.wait(POLL_SECONDS, self._progress):
                self._end(job, outcome)
            if self.stop() and not stopping:
                stopping = True
                self.executor.stop()
        self.plan.summary.interrupted = stopping
        self.plan.summary.left = self.plan.open_jobs

    @property
    def _may_begin(self) -> bool:
        return not self.stop() and not self._too_many_failures

    @property
    def _too_many_failures(self) -> bool:
        return self._max_failures is not None and len(self.plan.summary.failures) >= self._max_failures

    def _start(self, job: Job) -> None:
        self._running.add(job.id)
        self.executor.start(job)
        self._tell("started", job)

    def _progress(self, job: Job, progress: Progress) -> None:
        share = min(1.0, progress.units / progress.total) if progress.total else 0.0
        self._left.progress(job.id, share, progress.seconds_left)
        self._tell("progress", job, progress=progress)

    def _end(self, job: Job, outcome: Outcome) -> None:
        self._running.remove(job.id)
        if outcome.ending == "lost":
            record_loss(job, outcome.message)
        if outcome.ending == "preempted":
            # A worker that was told to stop is a machine that is going away.
            self.stop.requested = True
        for ended, result in self.plan.ended(job, outcome):
            self._finished += 1
            self._left.ended(ended.id, self._result_of(ended) if result.ending == "done" else None)
            kinds: dict[str, EventKind] = {"lost": "failed", "skipped": "done"}
            self._tell(kinds.get(result.ending, result.ending), ended, result.message)  # type: ignore[arg-type]

    def _result_of(self, job: Job) -> Path:
        return job.folder if job.kind == "run" else self.plan.store.dataset_folder(job.id)

    def _tell(self, kind: EventKind, job: Job, message: str = "", progress: Progress | None = None) -> None:
        left = self._left.seconds(self.executor.slots)
        self._on_event(Event(kind, job, message, progress, self._finished, self._total, left))
