"""Who computed a result: one record per attempt, kept beside the result and never hashed with it."""

import json
import os
import platform
import socket
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from wombet.files import pretty_json, sha256, write_atomically

PACKAGES = (
    "d3rlpy",
    "gymnasium",
    "minari",
    "mujoco",
    "numpy",
    "safetensors",
    "stable-baselines3",
    "torch",
    "wombet",
)


class Attempt:
    """One attempt at a run or a dataset, written when it begins and when it ends."""

    def __init__(self, folder: Path, device: str) -> None:
        self.path = folder / "provenance.json"
        self._earlier = _read(self.path)
        self.record = {**_machine(), **_code(), "device": device, "pid": os.getpid(), "start": _now(), "end": None}
        self.record["threads"] = _threads()
        self.record["problems"] = []
        self._write()

    def note(self, problems: list[str]) -> None:
        """Keep what went wrong without ending the attempt."""
        self.record["problems"] = [*self.record["problems"], *problems]
        self._write()

    def end(self, state: str) -> None:
        """Keep how the attempt ended, and when."""
        self.record |= {"end": _now(), "state": state}
        self._write()

    def _write(self) -> None:
        write_atomically(self.path, pretty_json([*self._earlier, self.record]))


def _read(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list) else []


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


@cache
def _machine() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "cpu": _cpu(),
        "system": platform.platform(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


@cache
def _code() -> dict[str, Any]:
    found = {name.lower(): item.version for item in distributions() if (name := item.metadata["Name"])}
    versions = {"python": platform.python_version()} | {name: found[name] for name in PACKAGES if name in found}
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
