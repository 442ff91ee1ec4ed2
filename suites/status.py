"""Where a suite stands, from its manifest and the small files of its run folders."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suites.pacing import Progress, progress_of
from suites.queue import QueuedJob, dataset_folder, queued_jobs, refined
from suites.store import Store, folder_state, last_line, read_json

STATES = ("done", "running", "waiting", "interrupted", "lost", "blocked", "failed", "todo")
"""waiting: for a dataset that is being built. interrupted: saved itself and stopped. lost: its process died without a
word. blocked: its dataset failed. Runs that are interrupted or lost go on when the suite is run again."""
ENDED = ("done", "failed", "blocked")


@dataclass(frozen=True)
class CellStatus:
    """State of a run; `message` says why it failed, waits or is blocked, `progress` how far it is if it was begun."""

    pair: str
    method: str
    seed: int
    folder: str
    state: str
    message: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class DatasetStatus:
    """State of a dataset: done, running, interrupted, lost, failed or todo."""

    id: str
    state: str
    message: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class SuiteStatus:
    """States of all cells and datasets of a suite, and how many cells are in each state."""

    name: str
    cells: list[CellStatus]
    datasets: list[DatasetStatus]
    totals: dict[str, int]

    @property
    def is_over(self) -> bool:
        """Whether nothing is left that could still change by itself."""
        return all(cell.state in ENDED for cell in self.cells)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def suite_status(store: Store, suite_name: str) -> SuiteStatus:
    """Read where a suite stands; raises InputError if it was never run in this store."""
    manifest = store.manifest(suite_name)
    ids = sorted({dataset_id for cell in manifest["cells"] for dataset_id in _dataset_ids(cell)})
    queue = queued_jobs(store, [*map(dataset_folder, ids), *(cell["folder"] for cell in manifest["cells"])])
    datasets = {dataset_id: _queued_dataset(store, dataset_id, queue) for dataset_id in ids}
    cells = [_queued_cell(store, cell, datasets, queue) for cell in manifest["cells"]]
    counts = Counter(cell.state for cell in cells)
    return SuiteStatus(manifest["name"], cells, list(datasets.values()), {state: counts[state] for state in STATES})


def dataset_status(store: Store, dataset_id: str) -> DatasetStatus:
    """State of a dataset, finished or not."""
    if (store.dataset_folder(dataset_id) / "card.json").is_file():
        return DatasetStatus(dataset_id, "done")
    folder = store.building_folder(dataset_id)
    status = read_json(folder / "status.json")
    state = _state(folder, status)
    message = _failure(folder, status) if state == "failed" else None
    return DatasetStatus(dataset_id, state, message, progress_of(status or {}) if state == "running" else None)


def _queued_dataset(store: Store, dataset_id: str, queue: Mapping[str, QueuedJob]) -> DatasetStatus:
    folder = dataset_folder(dataset_id)
    return refined(dataset_status(store, dataset_id), folder, queue, lambda: dataset_status(store, dataset_id))


def _queued_cell(
    store: Store, cell: dict[str, Any], datasets: dict[str, DatasetStatus], queue: Mapping[str, QueuedJob]
) -> CellStatus:
    status = _cell_status(store, cell, datasets)
    return refined(status, cell["folder"], queue, lambda: _cell_status(store, cell, datasets))


def _cell_status(store: Store, cell: dict[str, Any], datasets: dict[str, DatasetStatus]) -> CellStatus:
    identity = (cell["pair"], cell["method"], cell["seed"], cell["folder"])
    folder = store.run_folder(cell["folder"])
    if read_json(folder / "done.json") is not None:
        return CellStatus(*identity, "done")
    status = read_json(folder / "status.json")
    state = _state(folder, status)
    if state == "failed":
        return CellStatus(*identity, state, _failure(folder, status))
    progress = progress_of(status or {})
    needed = [datasets[dataset_id] for dataset_id in _dataset_ids(cell) if dataset_id in datasets]
    for dataset in needed:
        if state != "running" and dataset.state == "failed":
            return CellStatus(*identity, "blocked", f"dataset {dataset.id}: {dataset.message}", progress)
    for dataset in needed:
        if state == "todo" and dataset.state == "running":
            return CellStatus(*identity, "waiting", f"dataset {dataset.id} is being built")
    return CellStatus(*identity, state, None, progress)


def _dataset_ids(cell: dict[str, Any]) -> list[str]:
    return cell["dataset"].split("+") if cell["dataset"] else []


def _state(folder: Path, status: dict[str, Any] | None) -> str:
    """State of an unfinished folder; one that says it runs, and is held by nobody alive, is lost."""
    state = folder_state(folder, False, status)
    return "lost" if state == "interrupted" and (status or {}).get("state") == "running" else state


def _failure(folder: Path, status: dict[str, Any] | None) -> str | None:
    message = (status or {}).get("message")
    return message if isinstance(message, str) else last_line(folder / "error.txt")
