"""What runs and datasets take, by what finished ones of their kind have taken."""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suites.store import Store, read_json, read_list, read_rows
from wombet.files import canonical_json

Content = Mapping[str, Any]
"""A spec.json, or a dataset's recipe, as plain values."""
Key = tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """CPU and wall seconds, and what they are known from."""

    cpu_s: float
    wall_s: float
    basis: str


class Rates:
    """Mean seconds per unit of work of what is finished in a store.

    The closest kind that is known counts: the same settings on the same pair; the same settings elsewhere; the same
    method on the same pair; the same method. Of what has no finished relative nothing is guessed.
    """

    def __init__(self) -> None:
        self._known: dict[Key, tuple[float, float, int]] = {}

    @classmethod
    def of_store(cls, store: Store) -> "Rates":
        """Learn from everything that is finished in a store."""
        rates = cls()
        for folder in (store.root / "runs").glob("*/*/*"):
            rates.learn("run", folder)
        for name in store.datasets():
            rates.learn("dataset", store.dataset_folder(name))
        return rates

    def learn(self, kind: str, folder: Path) -> None:
        """Learn from a run's or a dataset's folder, if it is finished and its costs were kept."""
        if kind == "run":
            content = read_json(folder / "spec.json") if (folder / "done.json").exists() else None
        else:
            content = (read_json(folder / "card.json") or {}).get("recipe")
        spent = None if content is None else spent_on(folder)
        if content is None or spent is None:
            return
        for key, _ in _keys(kind, content):
            cpu_s, wall_s, units = self._known.get(key, (0.0, 0.0, 0))
            self._known[key] = (cpu_s + spent[0], wall_s + spent[1], units + _units(kind, content))

    def estimate(self, kind: str, content: Content, share: float = 1.0) -> Estimate | None:
        """Return what a run or dataset (or a share of it) will take, or None if nothing like it has been finished."""
        for key, basis in _keys(kind, content):
            if key in self._known:
                cpu_s, wall_s, units = self._known[key]
                work = share * _units(kind, content) / units
                return Estimate(work * cpu_s, work * wall_s, basis)
        return None


@dataclass(frozen=True)
class Work:
    """A job that is still to do: the wall seconds it takes, and the id of the job it waits for, if any."""

    id: str
    seconds: float
    after: str | None = None


def makespan(works: Sequence[Work], workers: int) -> float:
    """Return the seconds until all works are done by so many workers, each taking the next that may begin."""
    ids = {work.id for work in works}
    waiting: dict[str, list[Work]] = {}
    ready: deque[Work] = deque()
    for work in works:
        if work.after in ids:
            waiting.setdefault(str(work.after), []).append(work)
        else:
            ready.append(work)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            work = ready.popleft()
            heapq.heappush(running, (now + work.seconds, work.id))
        now, ended = heapq.heappop(running)
        ready.extend(waiting.pop(ended, []))
    return now


class TimeLeft:
    """Seconds until jobs are done, from rates, and for those that run from their own progress."""

    def __init__(self, rates: Rates, jobs: Iterable[tuple[str, str, Content]]) -> None:
        self._rates = rates
        self._left: dict[str, tuple[str, Content]] = {name: (kind, content) for name, kind, content in jobs}
        self._running: dict[str, tuple[float, float | None]] = {}

    def progress(self, name: str, share: float, seconds: float | None) -> None:
        """Note a running job's share that is done, and the seconds that it says are left."""
        self._running[name] = (share, seconds)

    def ended(self, name: str, folder: Path | None) -> None:
        """Take a job off the list, and learn from its folder if it was finished."""
        kind, _ = self._left.pop(name)
        self._running.pop(name, None)
        if folder is not None:
            self._rates.learn(kind, folder)

    def seconds(self, workers: int) -> float | None:
        """Return the estimate, with the mean job in place of unknown ones; None while nothing at all is known."""
        if not self._left:
            return 0.0
        known = [seconds for name in self._left if (seconds := self._of(name)) is not None]
        if not known:
            return None
        return sum(known) / len(known) * len(self._left) / min(workers, len(self._left))

    def _of(self, name: str) -> float | None:
        share, seconds = self._running.get(name, (0.0, None))
        if seconds is not None:
            return seconds
        kind, content = self._left[name]
        estimate = self._rates.estimate(kind, content, 1 - share)
        return None if estimate is None else estimate.wall_s


def _units(kind: str, content: Content) -> int:
    return max(1, sum(content["budgets"].values())) if kind == "run" else 1


def _keys(kind: str, content: Content) -> Iterator[tuple[Key, str]]:
    """Kinds that a run or dataset belongs to, the closest first, and how they are called."""
    settings = canonical_json(content["config"])
    if kind == "run":
        name, pair = content["method"], content["pair"]["id"]
        yield ("run", name, pair, settings), "the same settings on this pair"
        yield ("run", name, "any pair", settings), "the same settings on other pairs"
        yield ("run", name, pair, "any settings"), "other settings on this pair"
        yield ("run", name, "any pair", "any settings"), "other settings on other pairs"
    else:
        family, way = content["family"], (content["collection"], content["rollouts"], content["profile"])
        yield ("dataset", family, settings), "the same recipe with another seed"
        yield ("dataset", *way, family), "the same profile of this family"
        yield ("dataset", *way), "the same profile of other families"


def spent_on(folder: Path) -> tuple[float, float] | None:
    """Return CPU and wall seconds of all attempts at a folder; of training alone where no attempt has kept them."""
    costs = [attempt["cost"] for attempt in read_list(folder / "provenance.json") if "cost" in attempt]
    if costs:
        return sum(cost["cpu_s"] for cost in costs), sum(cost["wall_s"] for cost in costs)
    rows = read_rows(folder / "costs.jsonl")
    return (rows[-1]["cpu_s"], rows[-1]["wall_s"]) if rows else None
