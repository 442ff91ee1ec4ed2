"""The two newest states of a run on disk, so that a damaged one costs minutes and not the run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wombet.errors import InputError
from wombet.files import sha256, sync_folder, write_atomically
from wombet.serialization import dumps, loads

KEPT = 2
_NAME = re.compile(r"(\d{8})-([0-9a-f]{64})\.safetensors")


class Checkpoints:
    """Numbered files whose names hold the SHA-256 of their content; `problems` names the damaged ones that were met."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def save(self, state: Any) -> None:
        """Write a state and keep it and the one before."""
        data = dumps(state)
        before = self._files()
        number = 1 + max((number for number, _, _ in before), default=0)
        new = not self.folder.is_dir()
        write_atomically(self.folder / f"{number:08d}-{sha256(data)}.safetensors", data)
        if new:
            sync_folder(self.folder.parent)
        for _, _, path in before[KEPT - 1 :]:
            path.unlink(missing_ok=True)

    def load(self) -> Iterator[Any]:
        """Yield the states that are whole, the newest first; damaged files are named and set aside."""
        for _, digest, path in self._files():
            try:
                data = path.read_bytes()
                if sha256(data) != digest:
                    raise InputError("its content is not what its name says")
                state = loads(data)
            except (OSError, InputError) as error:
                self.problems.append(f"checkpoint {path.name} is damaged ({error}); an older one was used, if any")
                path.rename(path.with_suffix(".damaged"))
                continue
            yield state

    def clear(self) -> None:
        """Delete all states, and what a killed process left half written."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                path.unlink(missing_ok=True)
            self.folder.rmdir()

    def _files(self) -> list[tuple[int, str, Path]]:
        if not self.folder.is_dir():
            return []
        found = [(match, path) for path in self.folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        return sorted(((int(match[1]), match[2], path) for match, path in found), reverse=True)


def stored_digest(path: Path) -> str | None:
    """Return the hash that a checkpoint's content should have, by its name; None for another file."""
    match = _NAME.fullmatch(path.name)
    return None if match is None else match[2]


def state_sha256(state: Any) -> str:
    """Return the hash of a state."""
    return sha256(dumps(state))
