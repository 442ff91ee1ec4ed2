"""Settings of a whole process, made once by the start-up of a worker and never by an import."""

import contextlib

import torch

from wombet.errors import InputError
from wombet.resources import keep_freed_memory


def prepare_process(threads: int = 1) -> None:
    """Fix torch's threads and make glibc keep freed memory; may be called again, with the same effect.

    One thread per process is the fastest use of a machine that runs several processes. Without the memory settings
    glibc returns every freed array above 128 kB to the system, and the page faults of getting it back cost a
    ten-critic update a third of its time; on a system without glibc they are left out.
    Raises InputError if threads is below 1.
    """
    if threads < 1:
        raise InputError(f"threads is {threads}; a process needs at least one")
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != threads:
        # torch allows this only before its first parallel work; later calls keep what there is.
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(threads)
    keep_freed_memory()


def check_device(device: str) -> None:
    """Raise InputError unless torch can compute on `device`: "cpu", "cuda", or "cuda:N" with a GPU of that number."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return
    if kind != "cuda" or (number and not number.isdecimal()):
        raise InputError(f'there is no device {device!r}; it must be "cpu", "cuda" or "cuda:N"')
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= found:
        raise InputError(f"the device is {device!r}, and torch {torch.__version__} finds {found} GPUs; use cpu")


def devices_of(device: str) -> list[str]:
    """Return the devices that jobs take in turn: every GPU there is for "cuda", or else the device itself."""
    found = torch.cuda.device_count() if device == "cuda" else 0
    return [f"cuda:{number}" for number in range(found)] or [device]
