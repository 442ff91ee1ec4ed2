"""Files of measured returns of tasks: TOML with one table per task and horizon, written by a command, never by hand."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from suites.tasks.task import Task
from wombet.errors import InputError
from wombet.files import write_atomically


class Measured(Protocol):
    """A row, a dataclass: it was measured in the one task of this fingerprint, which holds the horizon too."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def horizon(self) -> int: ...


Row = TypeVar("Row", bound=Measured)


def row_name(task: Task) -> str:
    """Return the name of a task's row: its id, and behind it the horizon unless that is the family's own."""
    return task.id if task.horizon == task.definition.horizon else f"{task.id}/{task.horizon}"


def matching(rows: Mapping[str, Row], fingerprint: str, horizon: int) -> tuple[str, Row] | None:
    """Return the first row (name and content) that was measured in the very same task, or None."""
    for name, row in rows.items():
        if (row.fingerprint, row.horizon) == (fingerprint, horizon):
            return name, row
    return None


def read_rows(path: Path, kind: Callable[..., Row], what: str, command: str) -> dict[str, Row]:
    """Return the rows of a file by name; raises InputError if it is missing or holds something else than `what`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: kind(**_hashable(table)) for name, table in tables.items()}
    except FileNotFoundError as error:
        raise InputError(f"there is no file of {what} {path}; {command} writes one") from error
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a file of {what} ({error}); {command} writes one") from error


def write_rows(path: Path, header: str, rows: Mapping[str, Any]) -> None:
    """Write rows (dataclasses) sorted by name, fields that are None left out; equal rows give equal bytes."""
    tables = []
    for name in sorted(rows):
        fields = {key: value for key, value in asdict(rows[name]).items() if value is not None}
        tables.append("\n".join([f'["{name}"]', *(f"{key} = {_toml(value)}" for key, value in fields.items())]))
    write_atomically(path, header + "\n" + "\n\n".join(tables) + "\n")


def rounded(value: Any) -> float:
    """Return a return with the four digits that files keep."""
    return round(float(value), 4)


def _hashable(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _toml(value: str | bool | int | float | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
