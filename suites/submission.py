"""Runs handed to Slurm: what is queued is written down in the store, and no process has to stay alive for it."""

import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from suites.datasets import has_rows, missing_datasets
from suites.keeper import Keeper
from suites.pack import Pack
from suites.packing import pack, recorded_rates
from suites.queue import dataset_folder, jobs_folder, live_jobs, records
from suites.runner import is_finished
from suites.site import Site
from suites.slurm import array_limit
from suites.spec import DatasetRecipe, RunSpec
from suites.store import Store, claim
from wombet.errors import InputError
from wombet.files import pretty_json, write_atomically, write_once

KEEPER_MINUTES = 15
TURN_SECONDS = 120.0


@dataclass
class Submitted:
    """How many runs and datasets were queued in which jobs, and how many runs are done or were queued before."""

    runs: int = 0
    datasets: int = 0
    done: int = 0
    queued_before: int = 0
    jobs: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """One line for people."""
        before = [f"{self.done} done"] * bool(self.done) + [f"{self.queued_before} queued"] * bool(self.queued_before)
        already = f" ({', '.join(before)} before)" if before else ""
        if not self.jobs:
            return f"nothing to submit{already}"
        counts = [_count(number, what) for number, what in ((self.datasets, "dataset"), (self.runs, "run")) if number]
        return f"queued {' and '.join(counts)} in {_count(len(self.jobs), 'job')}{already}"


def submit(
    runs: Sequence[RunSpec],
    store: Store,
    suite: str,
    site: Site,
    *,
    recipes: Sequence[DatasetRecipe] = (),
    memory: Mapping[str, float] | None = None,
    alone: bool = False,
    max_failures: int | None = None,
    checkpoint_seconds: float = 60.0,
) -> Submitted:
    """Queue all runs that are neither finished nor queued, and the missing datasets that they (and `recipes`) need.

    What another suite of the store has queued is not queued again. Runs begin when the job of their dataset, whichever
    suite's it is, has ended well, and are packed by recorded rates unless they are to be `alone`.
    A last small job submits again, up to the profile's `attempts`, what is lost when all the others have ended.
    `memory` overrides the profile's GB by folder. What is queued is written to `suites/<suite>-jobs/` job by job.
    Raises InputError if Slurm is not there or refuses, and if other processes submit to the store for two minutes.
    """
    runs = list({run.folder: run for run in runs}.values())
    with turn(store):
        needed = {recipe.id: recipe for run in runs for recipe in run.recipes} | {each.id: each for each in recipes}
        live = live_jobs(store, [*(run.folder for run in runs), *map(dataset_folder, needed)])
        submitted = Submitted()
        open_runs = _open_runs(runs, store, live, submitted)
        wanted = {recipe.id: recipe for recipe in recipes}
        wanted |= {recipe.id: recipe for run in open_runs for recipe in run.recipes}
        missing = missing_datasets(wanted.values(), store)
        options = {"device": "cuda" if site.gpus else "cpu", "checkpoint_seconds": checkpoint_seconds}
        queue = _Queue(store, suite, site, memory or {}, options, max_failures)
        dataset_jobs = {recipe.id: live.get(dataset_folder(recipe.id)) for recipe in missing}
        for recipe in missing:
            if dataset_jobs[recipe.id] is None:
                dataset_jobs[recipe.id] = queue.add_dataset(recipe)
                submitted.datasets += 1
        rates = recorded_rates(store)
        for dependency, some in _by_dependency(open_runs, dataset_jobs).items():
            queue.add_runs([[run] for run in some] if alone else pack(some, rates, site.pack_seconds), dependency)
        submitted.runs, submitted.jobs = len(open_runs), list(queue.record["jobs"])
        if submitted.jobs and site.attempts > 1:
            queue.add_keeper()
    return submitted


@contextlib.contextmanager
def turn(store: Store) -> Iterator[None]:
    """Be the only process that submits to the store, after those that are at it, or raise InputError."""
    end = time.monotonic() + TURN_SECONDS
    while True:
        with claim(store.root / "suites" / "submitting") as ours:
            if ours:
                yield
                return
        if time.monotonic() > end:
            raise InputError("another process has been submitting to this store for long; wait until it has returned")
        time.sleep(1.0)


def _open_runs(runs: Iterable[RunSpec], store: Store, live: Mapping[str, str], submitted: Submitted) -> list[RunSpec]:
    open_runs = []
    for run in runs:
        if is_finished(store.run_folder(run.folder)):
            submitted.done += 1
        elif run.folder in live:
            submitted.queued_before += 1
        else:
            open_runs.append(run)
    return open_runs


def _by_dependency(runs: Iterable[RunSpec], dataset_jobs: Mapping[str, str | None]) -> dict[str | None, list[RunSpec]]:
    """Runs by the jobs that they wait for, in Slurm's form (ids joined by a colon), in their order."""
    found: dict[str | None, list[RunSpec]] = {}
    for run in runs:
        jobs = [job for recipe in run.recipes if (job := dataset_jobs.get(recipe.id)) is not None]
        found.setdefault(":".join(jobs) or None, []).append(run)
    return found


class _Queue:
    """One submission: every job goes to Slurm and, at once, into the record."""

    def __init__(
        self,
        store: Store,
        suite: str,
        site: Site,
        memory: Mapping[str, float],
        options: dict[str, Any],
        max_failures: int | None,
    ) -> None:
        self.store, self.suite, self.site, self.memory = store, suite, site, memory
        self.options, self.max_failures = options, max_failures
        number = 1 + max((record["number"] for record in records(store, suite)), default=0)
        self.path = jobs_folder(store, suite) / f"{number:04d}.json"
        self.logs = self.path.with_suffix("").resolve()
        self.record: dict[str, Any] = {
            "number": number,
            "suite": suite,
            "time": time.time(),
            "host": socket.gethostname(),
            "site": site.model_dump(mode="json", exclude_unset=True),
            "max_failures": max_failures,
            "jobs": {},
        }

    def add_dataset(self, recipe: DatasetRecipe) -> str:
        """Queue the building of a dataset; returns the job's id."""
        folder = dataset_folder(recipe.id)
        if not has_rows(self.store, recipe):
            write_once(self.store.root / folder / "recipe.json", pretty_json(asdict(recipe)))
        (job,) = self._send([(folder,)], self._memory([folder]), None)
        return job

    def add_runs(self, packs: Sequence[Sequence[RunSpec]], dependency: str | None) -> None:
        """Queue packs of runs, as arrays of packs that are given the same memory."""
        by_memory: dict[float, list[tuple[str, ...]]] = {}
        for some in packs:
            for run in some:
                write_once(self.store.run_folder(run.folder) / "spec.json", pretty_json(run.to_json()))
            folders = tuple(run.folder for run in some)
            by_memory.setdefault(self._memory(folders), []).append(folders)
        limit = self.site.max_array or array_limit()
        for memory, groups in by_memory.items():
            for start in range(0, len(groups), limit):
                self._send(groups[start : start + limit], memory, dependency)

    def add_keeper(self) -> None:
        """Queue the job that looks after what the others have lost."""
        ids = dict.fromkeys(job.split("_")[0] for job in self.record["jobs"])
        parameters = self._parameters(self.site.memory_gb, None)
        parameters["dependency"] = "afterany:" + ":".join(ids)
        parameters["time"] = min(KEEPER_MINUTES, self.site.time_minutes)
        parameters.pop("gpus_per_node", None)
        keeper = Keeper(str(self.store.root.resolve()), self.suite, self.max_failures)
        (self.record["keeper"],) = _sbatch([keeper], self.logs, parameters)
        write_atomically(self.path, pretty_json(self.record))

    def _memory(self, folders: Iterable[str]) -> float:
        return max(self.memory.get(folder, self.site.memory_gb) for folder in folders)

    def _send(self, groups: Sequence[tuple[str, ...]], memory: float, dependency: str | None) -> list[str]:
        rivals = tuple(folder for group in groups for folder in group) if self.max_failures is not None else ()
        cell_seconds = None if self.site.cell_minutes is None else 60 * self.site.cell_minutes
        root = str(self.store.root.resolve())
        calls = [Pack(root, group, self.options, cell_seconds, self.max_failures, rivals) for group in groups]
        jobs = _sbatch(calls, self.logs, self._parameters(memory, dependency))
        for job, group in zip(jobs, groups, strict=True):
            self.record["jobs"][job] = {"folders": list(group), "memory_gb": memory}
        write_atomically(self.path, pretty_json(self.record))
        return jobs

    def _parameters(self, memory: float, dependency: str | None) -> dict[str, Any]:
        site = self.site
        extra: dict[str, Any] = {"requeue": True, "kill-on-invalid-dep": "yes", **site.sbatch}
        named = {"partition": site.partition, "account": site.account, "qos": site.qos, "dependency": None}
        if dependency is not None:
            named["dependency"] = f"afterok:{dependency}"
        return {
            **{name: value for name, value in named.items() if value is not None},
            **({"gpus_per_node": site.gpus} if site.gpus else {}),
            "job_name": f"wombet-{self.suite}",
            "time": site.time_minutes,
            "mem": f"{math.ceil(1024 * memory)}M",
            "cpus_per_task": site.cpus,
            "array_parallelism": site.max_parallel,
            "signal_delay_s": site.signal_seconds,
            # srun of Slurm 22.05 to 23.02 does not take over the job's cpus by itself.
            "setup": ['export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"', *site.setup],
            "wckey": "",
            "additional_parameters": extra,
        }


def _sbatch(calls: Sequence[Callable[[], Any]], logs: Path, parameters: Mapping[str, Any]) -> list[str]:
    """Submit the calls as one array; returns their job ids. Raises InputError with Slurm's words if it refuses."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        executor = submitit.SlurmExecutor(folder=logs)
    except RuntimeError as error:
        raise InputError(
            "the slurm executor needs Slurm's commands, and srun is not on PATH; use a login node, or --executor local"
        ) from error
    executor.update_parameters(**parameters)
    try:
        with executor.batch():
            jobs = [executor.submit(call) for call in calls]
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line for line in str(error).splitlines() if "error" in line.lower()] or str(error).splitlines()
        raise InputError(f"Slurm refuses the job ({said[-1].strip()}); correct the site profile") from error
    return [job.job_id for job in jobs]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
