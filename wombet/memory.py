"""How a process holds memory, set once by its start-up and never by an import."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


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
