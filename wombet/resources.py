"""A process's threads and memory, set once by its start-up and never by an import; this module loads nothing heavy."""

import ctypes
import os
import sys

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def set_threads(threads: int) -> None:
    """Have numpy's and torch's libraries use so many threads, through the environment that loading them reads."""
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the process's next arrays; return whether it took the settings.

    By itself it returns every freed array above 128 kB to the system, and work on arrays of a few MB then spends most
    of its time on the page faults of getting them back. On a system without glibc nothing is set.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))
