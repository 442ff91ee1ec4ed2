"""What has become of the jobs that a store's suites handed to Slurm, from the records in the store and Slurm itself."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from suites.slurm import ENDED_UNKNOWN, JobState, job_states, last_words, ran_out_of_memory
from suites.store import Store, read_json

UNFINISHED = ("todo", "interrupted", "lost")
Item = TypeVar("Item", bound=Any)


@dataclass(frozen=True)
class QueuedJob:
    """The newest job of a folder; its `state` is None where Slurm cannot be asked.

    `attempts` is how often the folder was submitted, `memory_gb` what the job may use, `logs` where its output is.
    """

    id: str
    logs: Path
    memory_gb: float
    attempts: int
    state: JobState | None

    @property
    def standing(self) -> Literal["waiting", "running", "over"]:
        """Whether the job is still to run, runs or is over; it counts as waiting where Slurm cannot be asked."""
        if self.state is None or self.state.waiting:
            return "waiting"
        return "running" if self.state.running else "over"

    @property
    def message(self) -> str:
        """The job and its state, and the last lines of its standard error if it is over."""
        state = "in Slurm's hands, which cannot be asked from this machine" if self.state is None else self.state
        words = last_words(self.logs, self.id) if self.standing == "over" else ""
        return f"job {self.id} {state}" + (f": {words}" if words else "")

    @property
    def out_of_memory(self) -> bool:
        """Whether the job was ended because it used more memory than it had asked for."""
        return self.state is not None and ran_out_of_memory(self.state, last_words(self.logs, self.id, 20))

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled it."""
        return self.state is not None and self.state.state == "CANCELLED"


def jobs_folder(store: Store, suite: str) -> Path:
    """The folder of a suite's submissions: one JSON file each, and a folder of logs beside it."""
    return store.root / "suites" / f"{suite}-jobs"


def dataset_folder(dataset_id: str) -> str:
    """Return the folder, relative to the store, by which the job that builds a dataset is recorded."""
    return f"datasets/{dataset_id}.building"


def records(store: Store, suite: str) -> list[dict[str, Any]]:
    """Return a suite's submissions, the oldest first; one that cannot be read is left out."""
    found = (read_json(path) for path in sorted(jobs_folder(store, suite).glob("*.json")))
    return [record for record in found if record is not None and isinstance(record.get("jobs"), dict)]


def all_records(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """Return the submissions of all suites of a store, each after its suite's name, the oldest first."""
    ending = jobs_folder(store, "").name
    suites = sorted(path.name.removesuffix(ending) for path in (store.root / "suites").glob(f"*{ending}"))
    found = [(suite, record) for suite in suites for record in records(store, suite)]
    return sorted(found, key=lambda each: each[1].get("time", 0.0))


def queued_jobs(store: Store, folders: Iterable[str]) -> dict[str, QueuedJob]:
    """Return the newest job of each of some folders that was ever submitted, by whichever suite, with its state now.

    Asks Slurm once, and not at all if none of them was submitted.
    """
    wanted = set(folders)
    newest: dict[str, tuple[str, Path, float]] = {}
    attempts: dict[str, int] = {}
    for suite, record in all_records(store):
        logs = jobs_folder(store, suite) / f"{record['number']:04d}"
        for job, content in record["jobs"].items():
            for folder in content["folders"]:
                if folder in wanted:
                    newest[folder] = (job, logs, content["memory_gb"])
                    attempts[folder] = attempts.get(folder, 0) + 1
    states = job_states({job for job, _, _ in newest.values()}) if newest else {}
    return {
        folder: QueuedJob(
            job, logs, memory, attempts[folder], None if states is None else states.get(job, ENDED_UNKNOWN)
        )
        for folder, (job, logs, memory) in newest.items()
    }


def refined(
    item: Item,
    folder: str,
    queue: Mapping[str, QueuedJob],
    again: Callable[[], Item],
    states: Container[str] = UNFINISHED,
) -> Item:
    """Return a status with the state "waiting" or "lost" if its folder was submitted and does not tell the end.

    `item` has `state` and `message`; `again` reads it once more, for what has ended since.
    """
    job = queue.get(folder)
    if job is None or item.state not in states:
        return item
    if job.standing != "over":
        return replace(item, state="waiting", message=job.message)
    item = again()
    return replace(item, state="lost", message=job.message) if item.state in states else item


def live_jobs(store: Store, folders: Iterable[str]) -> dict[str, str]:
    """Return the job that is waiting or running for each of some folders that has one."""
    return {folder: job.id for folder, job in queued_jobs(store, folders).items() if job.standing != "over"}
