"""Who is at work on a folder: a lock file that one process holds and keeps fresh, and can lose only by falling silent.

The lock appears by a hard link and changes hands by a rename, both of which a file system does whole or not at all,
NFS too; the kernel's own locks are not used, because many clusters mount without them. The time of the last heartbeat
is the file's modification time, and is compared with that of a file made just now, so that the clocks of two machines
need not agree.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wombet.files import pretty_json

LOCK = "lock"
HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""A holder that has been silent for longer has lost its claim, whatever became of it."""
CONFIRM_SECONDS = STALE_SECONDS / 3
"""A holder that could not beat for this long asks whether it still holds the lock before it writes anything."""
_TRIES = 5
_SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURMD_NODENAME", "SLURM_RESTART_COUNT")


class ClaimLost(Exception):
    """Another process has taken the folder over; this one must not write there any more."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: a random token, the machine, the process and when it began, and its job in Slurm."""

    token: str
    host: str
    machine: str
    pid: int
    began: str
    slurm: dict[str, str]
    heartbeat: float

    def is_alive(self, now: float) -> bool:
        """Whether the holder beat within the limit before `now`, and, seen from its own machine, still runs."""
        if self.machine == _machine() and _has_ended(self.pid, self.began):
            return False
        return now - self.heartbeat < STALE_SECONDS


class Claim:
    """A lock that this process holds; a thread beats its heart while the process computes."""

    def __init__(self, folder: Path, token: str) -> None:
        self.lock, self.token = folder / LOCK, token
        self._lost = False
        self._confirmed = _clock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        self._thread.start()

    def confirm(self) -> None:
        """Raise ClaimLost if another process has taken over; costs next to nothing while the heart beats."""
        if not self._lost and _clock() - self._confirmed > CONFIRM_SECONDS:
            self.beat()
        if self._lost:
            raise ClaimLost(str(self.lock.parent))

    def beat(self) -> None:
        """Show that this process is alive, if the lock is still its own."""
        holder = read_holder(self.lock)
        if holder is None or holder.token != self.token:
            self._lost = True
            return
        os.utime(self.lock)
        self._confirmed = _clock()

    def release(self) -> None:
        """Give the lock back, unless another process has it or is about to; a folder that is then empty goes too."""
        self._stopped.set()
        self._thread.join()
        guard = _guard(self.lock, self.token)
        with contextlib.suppress(OSError):
            os.link(self.lock, guard)
            holder = read_holder(self.lock)
            if holder is not None and holder.token == self.token:
                self.lock.unlink()
            guard.unlink()
            self.lock.parent.rmdir()

    def _beat_on(self) -> None:
        while not self._lost and not self._stopped.wait(HEARTBEAT_SECONDS):
            # A disk that fails for a moment is no loss; if it stays away, `confirm` raises its error.
            with contextlib.suppress(OSError):
                self.beat()


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[Claim | None]:
    """Hold a folder's lock; yields None if a living process holds it.

    A lock whose holder has died or fallen silent is taken over, by one process however many try. Raises OSError if
    the folder cannot be written.
    """
    held = _acquire(folder)
    try:
        yield held
    finally:
        if held is not None:
            held.release()


def is_claimed(folder: Path) -> bool:
    """Whether a living process holds the folder's lock, by the clock of this machine."""
    holder = read_holder(folder / LOCK)
    return holder is not None and holder.is_alive(time.time())


def read_holder(lock: Path) -> Holder | None:
    """Return who holds a lock, or None if nobody does; what cannot be read is told apart by its time alone."""
    try:
        with open(lock, "rb") as file:
            heartbeat, data = os.fstat(file.fileno()).st_mtime, file.read()
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(data), heartbeat=heartbeat)
    except (TypeError, ValueError):
        return Holder(f"unreadable-{heartbeat:.6f}", "", "", 0, "", {}, heartbeat)


def slurm_ids() -> dict[str, str]:
    """The ids by which Slurm knows this process; empty outside of it."""
    return {name.lower(): os.environ[name] for name in _SLURM if name in os.environ}


def _acquire(folder: Path) -> Claim | None:
    token = secrets.token_hex(8)
    for attempt in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        candidate = folder / f".{LOCK}.{token}.tmp"
        try:
            candidate.write_text(_own_content(token))
            return Claim(folder, token) if _take(folder / LOCK, candidate) else None
        except FileNotFoundError:
            # The folder went away meanwhile, as that of a dataset does when it is finished.
            if attempt == _TRIES - 1:
                raise
        finally:
            candidate.unlink(missing_ok=True)
    raise AssertionError("unreachable")


def _take(lock: Path, candidate: Path) -> bool:
    """Make the candidate the lock, unless a living process holds it."""
    while not _link(candidate, lock):
        holder = read_holder(lock)
        if holder is None:
            continue
        os.utime(candidate)
        if holder.is_alive(candidate.stat().st_mtime):
            return False
        return _take_over(lock, candidate, holder)
    return True


def _take_over(lock: Path, candidate: Path, stale: Holder) -> bool:
    """Replace a stale lock; whoever holds the guard that is named by its token may do so, and nobody else."""
    guard = _guard(lock, stale.token)
    if not _take(guard, candidate):
        return False
    try:
        now_there = read_holder(lock)
        if now_there is None:
            return _link(candidate, lock)
        if now_there.token != stale.token:
            return False
        os.rename(candidate, lock)
        return True
    finally:
        guard.unlink(missing_ok=True)


def _guard(lock: Path, token: str) -> Path:
    return lock.with_name(f".{LOCK}.{token}.taken")


def _link(source: Path, target: Path) -> bool:
    """Whether `target` is now a name of `source`; a link whose answer the network lost counts too."""
    try:
        os.link(source, target)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samefile(source, target)
        return False
    return True


def _own_content(token: str) -> str:
    me = Holder(token, socket.gethostname(), _machine(), os.getpid(), _process(os.getpid())[1], slurm_ids(), 0.0)
    content: dict[str, Any] = asdict(me)
    del content["heartbeat"]
    return pretty_json(content)


@cache
def _machine() -> str:
    """What tells apart two spaces of process numbers: host, start of its kernel, and container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _has_ended(pid: int, began: str) -> bool:
    """Whether a process of this machine is gone, or waits to be buried, or its number is another's by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    state, now_began = _process(pid)
    return state in ("Z", "X") or (bool(now_began) and now_began != began)


def _process(pid: int) -> tuple[str, str]:
    """State of a process and when it began, in the kernel's ticks; blank where that cannot be seen."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return after_name[0], after_name[19]


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
