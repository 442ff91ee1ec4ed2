"""What Slurm says of jobs, by its own commands; works in any process on any machine that has them."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# fmt: off
WAITING = frozenset((
    "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD", "SUSPENDED", "PREEMPTED",
    "CONFIGURING",
))
# fmt: on
RUNNING = frozenset(("RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"))
_AT_ONCE = 200
_TIMEOUT_S = 60
_OUT_OF_MEMORY = re.compile(r"exceeded memory limit|oom[-_ ]?kill|out[ -]of[ -]memory", re.IGNORECASE)
_ARRAY = re.compile(r"(\d+)_\[([^\]]*)\]")


@dataclass(frozen=True)
class JobState:
    """A job's state in Slurm's words, such as NODE_FAIL, and for what it waits or with which code it ended."""

    state: str
    detail: str = ""

    @property
    def waiting(self) -> bool:
        """Whether it is going to run, for the first time or again."""
        return self.state in WAITING

    @property
    def running(self) -> bool:
        """Whether it runs, or is about to end."""
        return self.state in RUNNING

    def __str__(self) -> str:
        return f"{self.state} ({self.detail})" if self.detail else self.state


ENDED_UNKNOWN = JobState("UNKNOWN", "Slurm does not know it any more")


def job_states(ids: Iterable[str]) -> dict[str, JobState] | None:
    """Return the states of jobs (`7` or `7_3`), or None where Slurm cannot be asked; one it has forgotten is missing.

    The scheduler's word goes before that of the accounting, which lags seconds behind: a job that is being requeued
    after its node died is over in the latter for a moment.
    """
    numbers = sorted({job.split("_")[0] for job in ids}, key=int)
    states: dict[str, JobState] = {}
    answered = not numbers
    for start in range(0, len(numbers), _AT_ONCE):
        some = ",".join(numbers[start : start + _AT_ONCE])
        accounting = _ask("sacct", "-n", "-P", "-X", "-o", "JobID,State,ExitCode", "-j", some)
        scheduler = _ask("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r", "-j", some)
        answered |= accounting is not None or scheduler is not None
        for line in [*(accounting or []), *(scheduler or [])]:
            states.update(_read(line))
    return states if answered else None


def array_limit() -> int:
    """Return how many jobs an array may have; 1000, Slurm's own default, where the cluster does not say."""
    for line in _ask("scontrol", "show", "config") or []:
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdigit():
            return max(1, int(value) - 1)
    return 1000


def own_job() -> str:
    """Return the id of the job that this process is in; raises KeyError outside of one."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def requeue(job: str) -> None:
    """Put a running job back into the queue; raises OSError with Slurm's words if it will not."""
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode:
        raise OSError(f"scontrol requeue {job}: {done.stderr.strip()}")


def last_words(logs: Path, job: str, lines: int = 3) -> str:
    """Return the last lines that a job wrote to standard error, joined by ` / `; empty if it wrote none."""
    try:
        text = (logs / f"{job}_0_log.err").read_bytes()[-8192:].decode(errors="replace")
    except OSError:
        return ""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(said[-lines:])


def ran_out_of_memory(state: JobState, words: str) -> bool:
    """Whether a job was ended for its memory, by its state or by what stands in its standard error."""
    return state.state == "OUT_OF_MEMORY" or _OUT_OF_MEMORY.search(words) is not None


def _read(line: str) -> Iterator[tuple[str, JobState]]:
    job, _, rest = line.partition("|")
    word, _, detail = rest.partition("|")
    if not word.strip():
        return
    # "CANCELLED by 1000" is CANCELLED; a reason of "None" and the exit code of a job that goes on say nothing.
    state = JobState(word.split()[0], "" if detail in ("None", "0:0") else detail)
    array = _ARRAY.fullmatch(job)
    if array is None:
        yield job, state
        return
    for part in array[2].split("%")[0].split(","):
        first, _, last = part.partition("-")
        for index in range(int(first), int(last or first) + 1):
            yield f"{array[1]}_{index}", state


def _ask(*command: str) -> list[str] | None:
    """Lines that a command prints; None if it is not there or cannot reach Slurm."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    return done.stdout.splitlines()
