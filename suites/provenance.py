"""Who computed a result: one record per attempt, kept beside the result and never hashed with it."""

import contextlib
import os
import platform
import socket
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from suites.claim import slurm_ids
from suites.spending import Spending
from suites.store import read_json, read_list
from wombet.files import pretty_json, sha256, write_atomically

PACKAGES = (
    "d3rlpy",
    "gymnasium",
    "minari",
    "mujoco",
    "numpy",
    "pandas",
    "pebble",
    "safetensors",
    "stable-baselines3",
    "submitit",
    "torch",
    "wombet",
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Attempt:
    """One attempt at a run or a dataset, written when it begins and when it ends.

    An earlier attempt that could not write its own end, because it was killed, is closed with the time and the costs
    of its last heartbeat, and the state "lost". `known` is what else there is to say of the attempt.
    """

    def __init__(self, folder: Path, device: str, **known: Any) -> None:
        self.path = folder / "provenance.json"
        self._earlier = [_closed(attempt, folder) for attempt in read_list(self.path)]
        self.spending = Spending(device)
        self.record: dict[str, Any] = {
            **_machine(),
            **_code(),
            **slurm_ids(),
            "device": device,
            **_device(device),
            **known,
        }
        self.record |= {"pid": os.getpid(), "restart": len(self._earlier), "start": _now(), "end": None}
        self.record |= {"threads": _threads(), "thread_settings": _thread_settings(), "problems": []}
        self._write()

    def note(self, problems: list[str]) -> None:
        """Keep what went wrong without ending the attempt."""
        self.record["problems"] = [*self.record["problems"], *problems]
        self._write()

    def end(self, state: str) -> None:
        """Keep how the attempt ended, when, and what it cost."""
        self.record |= {"end": _now(), "state": state, "cost": self.spending.to_json()}
        self._write()

    def _write(self) -> None:
        write_atomically(self.path, pretty_json([*self._earlier, self.record]))


def _closed(attempt: dict[str, Any], folder: Path) -> dict[str, Any]:
    if attempt.get("end") is not None:
        return attempt
    status = read_json(folder / "status.json") or {}
    known = status if status.get("pid") == attempt.get("pid") and status.get("host") == attempt.get("host") else {}
    last = known.get("heartbeat")
    end = _stamp(last) if isinstance(last, int | float) else attempt.get("start")
    return {**attempt, "end": end, "state": "lost", **{key: known[key] for key in ("cost",) if key in known}}


def _now() -> str:
    return _stamp(time.time())


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _thread_settings() -> dict[str, str]:
    return {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}


def _device(device: str) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return {}
    return {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


@cache
def _machine() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


@cache
def _code() -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"versions": versions, **_commit()}


def _commit() -> dict[str, Any]:
    """Commit of the checkout that this code is in, and a hash of what differs from it; None where it is installed."""
    root = Path(__file__).resolve().parent.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.strip()).resolve() != root:
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changes = (_git(root, "status", "--porcelain") or "") + (_git(root, "diff", "HEAD") or "")
    return {"commit": commit and commit.strip(), "dirty": sha256(changes)[:12] if changes else None}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
