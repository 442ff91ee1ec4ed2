"""What a Slurm job does: some runs (or a dataset) one after the other, each in a process of its own that may die."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from suites.executors import Job, LocalExecutor, record_loss
from suites.outcome import Outcome
from suites.slurm import own_job, requeue
from suites.store import Store, read_json

MAX_REQUEUES = 100
BUSY_SECONDS = 300.0
"""For so long a pack waits for a run that another process seems to be at, which may be one that has just died."""
_POLL_SECONDS = 0.5
_BUSY_POLL_SECONDS = 5.0
_END_SECONDS = 600.0


class PackFailed(RuntimeError):
    """Not everything in the pack was finished; the run folders say what and why."""


@dataclass(frozen=True)
class Pack:
    """The folders of a job, relative to its store; called in the job, by submitit.

    Finished ones are skipped, so that the same pack may be called again whenever the job is requeued. It begins nothing
    more once `max_failures` of the runs in `rivals` (all those of its submission) have failed.
    """

    store: str
    folders: tuple[str, ...]
    options: dict[str, Any]
    cell_seconds: float | None = None
    max_failures: int | None = None
    rivals: tuple[str, ...] = ()

    def __call__(self) -> dict[str, int]:
        """Carry out what is not finished; returns how many ended how. Raises PackFailed unless all are done."""
        with _Notice() as notice:
            endings = _Round(self, notice).run()
            if notice and (endings["preempted"] or endings["not begun"]):
                _leave(notice)
        bad = {ending: count for ending, count in sorted(endings.items()) if ending not in ("done", "skipped")}
        if bad:
            raise PackFailed(", ".join(f"{count} {ending}" for ending, count in bad.items()))
        return dict(endings)

    def checkpoint(self) -> Any:
        """What submitit submits again if the signal comes before this package's own handler is there."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Notice:
    """Notes that the job is about to end: SIGUSR2, which Slurm sends in time, or SIGTERM, which it sends last.

    SIGCONT, which goes with them, is taken so that submitit does not write of it.
    """

    def __init__(self) -> None:
        self.to_requeue = self.to_end = False
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> "_Notice":
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT):
            self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.to_requeue or self.to_end

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.to_requeue |= number == signal.SIGUSR2
        self.to_end |= number == signal.SIGTERM


class _Round:
    """One pass over a pack."""

    def __init__(self, pack: Pack, notice: _Notice) -> None:
        self.pack, self.notice = pack, notice
        self.store = Store(Path(pack.store))
        self.endings: Counter[str] = Counter()
        self._busy_since: float | None = None

    def run(self) -> Counter[str]:
        """Carry out one job after the other until all have ended, or until a notice has reached the one that runs."""
        jobs = deque(Job.of_folder(folder, self.store, self.pack.options) for folder in self.pack.folders)
        executor = _one_worker(self.pack.cell_seconds)
        try:
            while jobs and not self.notice and not self._too_many_failures():
                job = jobs.popleft()
                outcome = self._carry_out(job, executor)
                if outcome.ending == "busy" and self._may_wait(job):
                    jobs.append(job)
                    time.sleep(0.0 if self.notice else _BUSY_POLL_SECONDS)
                    continue
                if outcome.ending != "busy":
                    self._busy_since = None
                self.endings[outcome.ending] += 1
                print(f"{outcome.ending}: {job.label} {outcome.message}".rstrip(), file=sys.stderr, flush=True)
        finally:
            executor.close()
        self.endings["not begun"] += len(jobs)
        return +self.endings

    def _carry_out(self, job: Job, executor: LocalExecutor) -> Outcome:
        executor.start(job)
        told = False
        while True:
            for _, outcome in executor.wait(_POLL_SECONDS, lambda job, progress: None):
                if outcome.ending != "lost":
                    return outcome
                # The same signal ends a worker that is still starting; the notice may be a moment behind.
                time.sleep(1.0)
                if self.notice:
                    return Outcome("preempted", outcome.message)
                record_loss(job, outcome.message)
                return outcome
            if self.notice and not told:
                executor.stop()
                told = True

    def _may_wait(self, job: Job) -> bool:
        """A dataset is waited for until it is there, because runs wait for this job."""
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        return job.kind == "dataset" or now - self._busy_since < BUSY_SECONDS

    def _too_many_failures(self) -> bool:
        if self.pack.max_failures is None:
            return False
        states = (read_json(self.store.root / folder / "status.json") or {} for folder in self.pack.rivals)
        return sum(state.get("state") == "failed" for state in states) >= self.pack.max_failures


def _one_worker(cell_seconds: float | None) -> LocalExecutor:
    """Slurm signals every process of the job, and would kill the one that minds the worker's semaphores."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        return LocalExecutor(1, cell_seconds)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def _leave(notice: _Notice) -> None:
    """Go back into the queue if told in time to do so, and wait for Slurm to end the job.

    A job that ended by itself would not be requeued by a pre-emption that sends SIGTERM alone.
    """
    if notice.to_requeue:
        if int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= MAX_REQUEUES:
            raise PackFailed(f"this job was requeued {MAX_REQUEUES} times; `wombet retry` submits it again")
        try:
            requeue(own_job())
        except (OSError, KeyError, subprocess.TimeoutExpired) as error:
            raise PackFailed(f"it cannot be requeued ({error}); `wombet retry` submits it again") from error
    time.sleep(_END_SECONDS)
    raise PackFailed(f"it was told to end, and Slurm did not end it within {_END_SECONDS:g} seconds")
