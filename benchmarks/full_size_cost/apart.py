"""Work in a process of its own, so that its peak memory is not that of what was measured before."""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")


def apart(work: Callable[[], Found]) -> Found:
    """Return what `work` returns in a forked process; raises RuntimeError with its traceback if it raises.

    The process has what this one has imported, so that nothing is imported again.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, theirs))
    process.start()
    theirs.close()
    try:
        found, failure = ours.recv()
    except EOFError:
        found, failure = None, "the process died"
    process.join()
    if failure is not None:
        raise RuntimeError(failure)
    return found


def libraries_mb() -> float:
    """Return MB of files that this process has in memory; a forked process has them in no page table of its own."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile:")) * 1024 / 1e6


def _send(work: Callable[[], Any], pipe: Connection) -> None:
    try:
        pipe.send((work(), None))
    except BaseException:
        pipe.send((None, traceback.format_exc()))
