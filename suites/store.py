"""What is kept of runs and datasets, and where; reading it needs neither torch nor a simulator."""

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from suites.claim import LOCK, is_claimed
from suites.claim import claim as claim
from wombet.errors import InputError
from wombet.files import canonical_json, pretty_json, sync_folder, write_atomically

PUBLISHED = "published.json"
"""In a store that was unpacked from published results: where these are, and which files were left out of them."""
_OLD_SECONDS = 3600.0
RunState = Literal["done", "failed", "running", "interrupted", "todo"]


@dataclass(frozen=True)
class StoredRun:
    """All that a run folder holds; `problems` names whatever could not be read.

    `evaluations` and `costs` are the whole rows of evals.jsonl and costs.jsonl, `error` the last line of error.txt.
    """

    folder: Path
    spec: dict[str, Any] | None
    evaluations: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    done: dict[str, Any] | None
    status: dict[str, Any] | None
    error: str | None
    problems: list[str] = field(default_factory=list)
    state: RunState = "todo"


class Store:
    """A folder with `runs/`, `datasets/` and `suites/`; raises InputError if the path is a file."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"the store {self.root} is a file; name a folder")

    def prepare(self) -> None:
        """Make the folder if need be; raises InputError, before any work, if nothing can be written there."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as probe:
                probe.write(bytes(65536))
                probe.flush()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(
                f"the store {self.root} cannot be written ({reason}); choose another with --store"
            ) from error

    def require(self) -> None:
        """Raise InputError unless the folder exists and is a store."""
        if not any((self.root / part).is_dir() for part in ("suites", "runs", "datasets")):
            if (self.root / "store.tar.xz").is_file():
                raise InputError(
                    f"{self.root} holds published results; `wombet unpack {self.root} STORE` makes a store of them"
                )
            what = "is not a store (no suites, runs or datasets in it)" if self.root.is_dir() else "does not exist"
            raise InputError(f"the store {self.root} {what}; `wombet run SUITE --store {self.root}` makes one")

    def manifests(self) -> list[str]:
        """Names of the suites that were run in this store."""
        return sorted(path.stem for path in (self.root / "suites").glob("*.json"))

    def manifest(self, suite_name: str) -> dict[str, Any]:
        """Return a suite's manifest; raises InputError if it was never run here or the file is damaged."""
        path = self.root / "suites" / f"{suite_name}.json"
        if not path.is_file():
            self.require()
            known = ", ".join(self.manifests()) or "none"
            raise InputError(
                f"the store {self.root} has no suite {suite_name!r} (it has: {known}); start it with "
                f"`wombet run {suite_name} --store {self.root}`"
            )
        content = read_json(path)
        if content is None or not isinstance(content.get("cells"), list):
            raise InputError(f"{path} is damaged; `wombet run {suite_name} --store {self.root}` writes it again")
        return content

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write a suite's manifest under its name."""
        write_atomically(self.root / "suites" / f"{manifest['name']}.json", pretty_json(manifest))

    def run_folder(self, relative: str) -> Path:
        """Path of a run's folder, given as in a manifest."""
        return self.root / relative

    def dataset_folder(self, dataset_id: str) -> Path:
        """Path of a finished dataset's folder."""
        return self.root / "datasets" / dataset_id

    @cached_property
    def published(self) -> dict[str, Any]:
        """What a store that was unpacked says of its origin; empty in any other."""
        return read_json(self.root / PUBLISHED) or {}

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Files, relative to the store, that published results came without: policies and the rows of datasets."""
        return frozenset(self.published.get("left_out", ()))

    def lacks_rows(self, dataset_id: str) -> bool:
        """Whether of a finished dataset the card is there, and the rows were left out when it was published."""
        folder = f"datasets/{dataset_id}/"
        return any(name.startswith(folder) and not (self.root / name).is_file() for name in self.left_out)

    def datasets(self) -> list[str]:
        """Ids of the finished datasets."""
        return sorted(path.parent.name for path in (self.root / "datasets").glob("*/card.json"))

    def building_folder(self, dataset_id: str) -> Path:
        """Path of what there is of a dataset before it is finished."""
        return self.root / "datasets" / f"{dataset_id}.building"

    def scan(self) -> Iterator[StoredRun]:
        """Read every run folder, in the order of their paths."""
        for folder in sorted((self.root / "runs").glob("*/*/*")):
            if folder.is_dir():
                yield self.read_run(folder)

    def read_run(self, folder: Path) -> StoredRun:
        """Read a run folder, whatever state it is in; what cannot be read is named in `problems`."""
        problems: list[str] = []
        spec = read_json(folder / "spec.json", problems)
        done = read_json(folder / "done.json", problems)
        status = read_json(folder / "status.json", problems)
        evaluations = read_rows(folder / "evals.jsonl", problems)
        costs = read_rows(folder / "costs.jsonl", problems)
        return StoredRun(
            folder=folder,
            spec=spec,
            evaluations=evaluations,
            costs=costs,
            done=done,
            status=status,
            error=last_line(folder / "error.txt", problems),
            problems=problems,
            state=folder_state(folder, done is not None, status),
        )


def folder_state(folder: Path, done: bool, status: dict[str, Any] | None) -> RunState:
    """State of a run's (or a building dataset's) folder, from its mark of completion, its status and its claim."""
    if done:
        return "done"
    if status is None:
        return "interrupted" if (folder / "evals.jsonl").exists() else "todo"
    if status.get("state") == "running":
        return "running" if is_claimed(folder) else "interrupted"
    return "failed" if status.get("state") == "failed" else "interrupted"


def read_json(path: Path, problems: list[str] | None = None) -> dict[str, Any] | None:
    """Return a JSON object, or None if the file is missing or (named in `problems`) unreadable."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _note(problems, f"{path.name} is unreadable ({error})")
        return None
    if not isinstance(content, dict):
        _note(problems, f"{path.name} is not a JSON object")
        return None
    return content


def read_list(path: Path, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """Return a JSON list of objects; empty if the file is missing or (named in `problems`) unreadable."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        _note(problems, f"{path.name} is unreadable ({error})")
        return []
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        _note(problems, f"{path.name} is not a JSON list of objects")
        return []
    return content


def read_rows(path: Path, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of an append-only file; a torn last line and damaged rows are left out and named."""
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        _note(problems, f"{path.name} is unreadable ({error})")
        return []
    if tail:
        _note(problems, f"the last line of {path.name} is torn and was left out")
    whole = _whole_rows(lines)
    if whole is not None:
        return whole
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            _note(problems, f"line {number} of {path.name} is damaged and was left out")
    return rows


def _whole_rows(lines: list[bytes]) -> list[dict[str, Any]] | None:
    """Return all rows if every line is one, parsed at once, which is much faster; else None."""
    try:
        rows = json.loads(b"[" + b",\n".join(lines) + b"]")
    except ValueError:
        return None
    return rows if len(rows) == len(lines) and all(isinstance(row, dict) for row in rows) else None


def last_line(path: Path, problems: list[str] | None = None) -> str | None:
    """Return the last line of a text that is not blank, or None."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        _note(problems, f"{path.name} is unreadable ({error})")
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), None)


def _note(problems: list[str] | None, sentence: str) -> None:
    if problems is not None:
        problems.append(sentence)


class Rows:
    """An append-only file of JSON rows that can be cut back to a length it once had."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.length = path.stat().st_size if path.exists() else 0

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows at the end."""
        data = "".join(canonical_json(row) + "\n" for row in rows).encode()
        with open(self.path, "ab") as file:
            file.write(data)
        self.length += len(data)

    def cut(self, length: int) -> None:
        """Forget everything after the first `length` bytes."""
        with open(self.path, "ab") as file:
            file.truncate(length)
        self.length = length

    def sync(self) -> None:
        """Make the rows, and the name of their file, durable."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())
            sync_folder(self.path.parent)


def write_status(folder: Path, state: str, **values: Any) -> None:
    """Write a folder's status.json with the time and who wrote it."""
    content = {"state": state, "heartbeat": time.time(), "pid": os.getpid(), "host": socket.gethostname(), **values}
    write_atomically(folder / "status.json", pretty_json(content))


def record_failure(folder: Path, text: str, **values: Any) -> None:
    """Write error.txt and the status "failed"; a disk that takes neither is no further error."""
    with contextlib.suppress(OSError):
        write_atomically(folder / "error.txt", text)
        write_status(folder, "failed", **values)


def clear_leftovers(folder: Path) -> None:
    """Delete what killed processes left half done; only who holds the folder's claim may do so.

    What belongs to a lock may be that of a process which is claiming just now, and has to be old.
    """
    for path in (*folder.glob(".*.tmp"), *folder.glob(f".{LOCK}.*")):
        with contextlib.suppress(FileNotFoundError):
            if not path.name.startswith(f".{LOCK}.") or path.stat().st_mtime < time.time() - _OLD_SECONDS:
                path.unlink()
