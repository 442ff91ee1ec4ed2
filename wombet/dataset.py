"""The transfer dataset: what every method is fed, with a card that says where it came from."""

import difflib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wombet.errors import InputError
from wombet.files import canonical_json, pretty_json, sha256, sha256_of_file, write_atomically
from wombet.task import Task

DTYPES: dict[str, type[np.generic]] = {
    "obs": np.float32,
    "action": np.float32,
    "next_obs": np.float32,
    "reward_source": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "episode_id": np.int32,
    "uncertainty": np.float32,
    "sim_state": np.float64,
}
FORMAT = 1
ACCEPTED = "accepted"
"""Name of the part that a dataset is: the trajectories that the filter accepted."""
SOURCE = "source"
"""Folder of all real source rows in a stored dataset."""


@dataclass(frozen=True, eq=False)
class TransferDataset:
    """Source-task transitions of N rows, in the order in which their episodes ran, and, once relabelled, target labels.

    obs, next_obs (N, obs_dim); action (N, action_dim) as executed, in [-1, 1]; the rest (N,). `uncertainty` is the
    epistemic uncertainty of the row when it was generated. `sim_state` (N, n) is the simulator's state before the step,
    or None for imagined rows. `card` holds the provenance as plain JSON.
    """

    obs: NDArray[np.float32]
    action: NDArray[np.float32]
    next_obs: NDArray[np.float32]
    reward_source: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    episode_id: NDArray[np.int32]
    uncertainty: NDArray[np.float32]
    sim_state: NDArray[np.float64] | None = None
    reward_target: NDArray[np.float32] | None = None
    terminated_target: NDArray[np.bool_] | None = None
    card: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.obs)

    @property
    def episode_starts(self) -> NDArray[np.intp]:
        """Row index of every episode's first row."""
        changes = np.flatnonzero(np.diff(self.episode_id)) + 1
        return np.concatenate([np.zeros(min(1, len(self)), np.intp), changes])

    def episode_sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum `values` (N,) over each episode; of rewards, that is the episodes' returns."""
        return np.add.reduceat(values.astype(np.float64), self.episode_starts) if len(self) else np.zeros(0)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The stored columns by name; target labels are not stored, since they follow from the rows and the task."""
        named = {name: getattr(self, name) for name in DTYPES}
        return {name: column for name, column in named.items() if column is not None}

    def relabel(self, task: Task) -> "TransferDataset":
        """Return the same rows with the reward and termination that `task`, a task of the same dynamics, gives them."""
        if (task.obs_dim, task.action_dim) != (self.obs.shape[1], self.action.shape[1]):
            raise InputError(
                f"the dataset has {self.obs.shape[1]} observation and {self.action.shape[1]} action entries, but task "
                f"{task.id} has {task.obs_dim} and {task.action_dim}; use a dataset of the same family"
            )
        reward, terminated = task.relabel(self.obs, self.action, self.next_obs)
        return replace(self, reward_target=reward, terminated_target=terminated)

    def validate(self, source: Task | None = None) -> None:
        """Raise InputError, naming the first defect, unless the rows are consistent (and are `source`'s, if given)."""
        _check_shapes(self)
        _check_values(self)
        _check_episodes(self)
        if source is not None:
            relabelled = self.relabel(source)
            if not np.array_equal(relabelled.reward_target, self.reward_source):  # type: ignore[arg-type]
                raise InputError(f"the dataset's rewards are not those of task {source.id}; it belongs to another task")
            if not np.array_equal(relabelled.terminated_target, self.terminated):  # type: ignore[arg-type]
                raise InputError(f"the dataset's terminations are not those of task {source.id}; it is another task's")

    def save(
        self,
        folder: Path,
        parts: Mapping[str, "TransferDataset"] | None = None,
        source: "TransferDataset | None" = None,
    ) -> None:
        """Write `data/*.npy` and then, as the mark that all is there, `card.json` with the hash of every column.

        `parts`, the data of controls by name, go to `parts/<name>/`, and all real source rows to `source/`.
        """
        written = {
            name: _write(part, folder / _place(name)) for name, part in {ACCEPTED: self, **(parts or {})}.items()
        }
        described = self.card.get("parts", {})
        entries = {name: {**described.get(name, {}), **entry} for name, entry in written.items()}
        card = {**self.card, "format": FORMAT, **written[ACCEPTED], "parts": entries}
        card |= {} if source is None else {"source": _write(source, folder / SOURCE)}
        write_atomically(folder / "card.json", pretty_json(card))


def load_card(folder: Path) -> dict[str, Any]:
    """Read a dataset's card; raises InputError if there is none or it cannot be read."""
    path = folder / "card.json"
    if not path.is_file():
        raise InputError(f"{folder} holds no finished dataset (no card.json); build it with `wombet data build`")
    try:
        card = json.loads(path.read_text())
        if card["format"] != FORMAT:
            raise InputError(f"{path} is of format {card['format']}, and this version reads format {FORMAT}")
        _ = card["columns"], card["rows"], card["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a dataset card ({error!r}); build the dataset again") from error
    return dict(card)


def load_dataset(folder: Path, part: str = ACCEPTED) -> TransferDataset:
    """Read a dataset, or the part of it that a control is fed, with the whole dataset's card.

    Raises InputError for a part that it does not have, and, naming the file, if a column is missing, truncated or
    changed.
    """
    card = load_card(folder)
    known = card.get("parts", {ACCEPTED: card})
    if part not in known:
        close = difflib.get_close_matches(part, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{folder} has no part {part!r}; did you mean {close!r}? (there are: {', '.join(sorted(known))})"
        )
    return _read(folder / _place(part), known[part], card)


def load_source(folder: Path) -> TransferDataset:
    """Read all real source rows of a dataset; raises InputError as `load_dataset` does, and if none were stored."""
    card = load_card(folder)
    if "source" not in card:
        raise InputError(f"{folder} holds no source rows; build the dataset again")
    return _read(folder / SOURCE, card["source"], card)


def part_names(card: Mapping[str, Any]) -> list[str]:
    """Return the names of a dataset's parts, the accepted trajectories first."""
    return [ACCEPTED, *sorted(set(card.get("parts", {})) - {ACCEPTED})]


def _place(part: str) -> str:
    return "data" if part == ACCEPTED else f"parts/{part}"


def _write(data: TransferDataset, folder: Path) -> dict[str, Any]:
    """Write every column and return what a card says of them."""
    data.validate()
    hashes = {}
    for name, column in data.columns().items():
        content = _npy_bytes(column)
        hashes[name] = sha256(content)
        write_atomically(folder / f"{name}.npy", content)
    return {"rows": len(data), "columns": hashes, "sha256": sha256(canonical_json(hashes))}


def _read(folder: Path, entry: Mapping[str, Any], card: dict[str, Any]) -> TransferDataset:
    columns: dict[str, Any] = {}
    for name, digest in entry["columns"].items():
        path = folder / f"{name}.npy"
        if name not in DTYPES or not path.is_file():
            raise InputError(f"{path} is missing; build the dataset again")
        if sha256_of_file(path) != digest:
            raise InputError(
                f"{path} is truncated or was changed (its hash is not the card's); build the dataset again"
            )
        columns[name] = np.load(path, allow_pickle=False)
    missing = set(DTYPES) - {"sim_state"} - set(columns)
    if missing:
        raise InputError(f"{folder} lacks the columns {', '.join(sorted(missing))}; build the dataset again")
    dataset = TransferDataset(**columns, card=card)
    dataset.validate()
    return dataset


def _npy_bytes(column: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(column), allow_pickle=False)
    return buffer.getvalue()


def _check_shapes(data: TransferDataset) -> None:
    rows = len(data.obs)
    if rows == 0:
        raise InputError("the dataset has no rows")
    for name, column in data.columns().items():
        if column.dtype != DTYPES[name]:
            raise InputError(f"column {name} is {column.dtype}; it must be {np.dtype(DTYPES[name])}")
        if len(column) != rows or column.ndim != (2 if name in ("obs", "action", "next_obs", "sim_state") else 1):
            raise InputError(f"column {name} has shape {column.shape}; it must have {rows} rows like obs")
    if data.obs.shape != data.next_obs.shape:
        raise InputError(f"obs has shape {data.obs.shape} and next_obs {data.next_obs.shape}; they must be equal")


def _check_values(data: TransferDataset) -> None:
    for name, column in data.columns().items():
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column).reshape(len(column), -1).all(1))[0])
            raise InputError(f"column {name} is not finite in row {row}")
    if np.abs(data.action).max() > 1:
        raise InputError(f"an action is {np.abs(data.action).max():g}; actions are stored as executed, in [-1, 1]")
    if (data.uncertainty < 0).any():
        raise InputError("an uncertainty is negative")
    if (data.terminated & data.truncated).any():
        raise InputError("a row is terminated and truncated at once; truncated is for the time limit alone")


def _check_episodes(data: TransferDataset) -> None:
    last = np.append(np.diff(data.episode_id) != 0, True)
    if (np.diff(data.episode_id) < 0).any():
        raise InputError("episode_id decreases; the rows of an episode must be together and in order")
    if not np.array_equal(last, data.terminated | data.truncated):
        row = int(np.flatnonzero(last != (data.terminated | data.truncated))[0])
        raise InputError(
            f"row {row}: an episode ends exactly where terminated or truncated is set, and here it does not"
        )
    inner = ~last[:-1]
    if not np.array_equal(data.next_obs[:-1][inner], data.obs[1:][inner]):
        raise InputError("next_obs is not the following row's obs within an episode")
