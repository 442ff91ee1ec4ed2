"""The clock side of an attempt: heartbeat, time between checkpoints, requests to stop, and what the work has cost."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suites.claim import HEARTBEAT_SECONDS, Claim
from suites.spending import Spending
from suites.store import write_status

CHECKPOINT_SHARE = 0.02
"""Largest share of the time that checkpoints may take; where writing is slow they come less often."""


@dataclass(frozen=True)
class Progress:
    """How far an attempt is: units of `total`, units per second, and seconds left (None before it is known)."""

    units: int
    total: int
    rate: float | None
    seconds_left: float | None


def progress_of(status: dict[str, Any]) -> Progress | None:
    """Return the progress that a status.json tells of, or None if it tells of none."""
    try:
        units, total = int(status["units"]), int(status["total_units"])
        seconds, first = float(status["seconds"]), int(status["first_units"])
    except (KeyError, TypeError, ValueError):
        return None
    rate = (units - first) / seconds if seconds > 0 and units > first else None
    return Progress(units, total, rate, None if rate is None else max(0, total - units) / rate)


class Stopwatch:
    """CPU and wall seconds, over all attempts, outside of what is paused."""

    def __init__(self) -> None:
        self.cpu_s = self.wall_s = 0.0
        self._began = self._now()

    def read(self) -> tuple[float, float]:
        """Return (CPU seconds of this process, wall seconds) so far."""
        cpu, wall = self._now()
        return self.cpu_s + cpu - self._began[0], self.wall_s + wall - self._began[1]

    def restart(self, cpu_s: float, wall_s: float) -> None:
        """Go on from what earlier attempts took."""
        self.cpu_s, self.wall_s = cpu_s, wall_s
        self._began = self._now()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done meanwhile."""
        spent = self.read()
        try:
            yield
        finally:
            self.restart(*spent)

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()


class Pace:
    """Says when a checkpoint is due, and beats the heart in status.json every few seconds."""

    def __init__(
        self,
        folder: Path,
        total: int,
        checkpoint_seconds: float,
        stop: Callable[[], bool] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.folder, self.total = folder, total
        self._claim = claim
        self.spending: Spending | None = None
        self.checkpoint_seconds = checkpoint_seconds
        self.stop_requested = stop or (lambda: False)
        self._on_progress = on_progress
        self._began = self._last_checkpoint = time.monotonic()
        self._last_beat = -float("inf")
        self._checkpoint_took = 0.0
        self._first_units = 0
        self._shown: dict[str, Any] = {}

    def enter(self, phase: str, units: int) -> None:
        """Say that a phase of the work begins, for what it costs to be told apart."""
        if self.spending is not None:
            self.spending.at(units)
            self.spending.enter(phase, units)

    def begin(self, units: int, **values: Any) -> None:
        """Start the clock where the attempt starts, and show it as running."""
        self._first_units = units
        self._began = self._last_checkpoint = time.monotonic()
        self._beat(units, values)

    def confirm(self) -> None:
        """Raise ClaimLost if another process has taken the folder over, so that nothing may be written any more."""
        if self._claim is not None:
            self._claim.confirm()

    def beat(self, units: int, *, now: bool = False, **values: Any) -> None:
        """Beat the heart if it is time, or if it must be now."""
        if now or time.monotonic() - self._last_beat >= HEARTBEAT_SECONDS:
            self._beat(units, values)

    @property
    def checkpoint_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint."""
        wait = max(self.checkpoint_seconds, self._checkpoint_took / CHECKPOINT_SHARE)
        return time.monotonic() - self._last_checkpoint >= wait

    @contextlib.contextmanager
    def checkpointing(self) -> Iterator[None]:
        """Measure a checkpoint and count the time to the next one from its end."""
        self.confirm()
        began = time.monotonic()
        yield
        self._last_checkpoint = time.monotonic()
        self._checkpoint_took = self._last_checkpoint - began

    def end(self, state: str) -> None:
        """Show how the attempt ended, with the counts of its last heartbeat."""
        self.confirm()
        write_status(self.folder, state, **self._shown)

    def _beat(self, units: int, values: dict[str, Any]) -> None:
        self.confirm()
        self._last_beat = time.monotonic()
        counts = {"units": units, "total_units": self.total, "first_units": self._first_units}
        status = {**counts, "seconds": self._last_beat - self._began, **values}
        if self.spending is not None:
            self.spending.at(units)
            status["cost"] = self.spending.to_json()
        self._shown = status
        write_status(self.folder, "running", **status)
        if self._on_progress is not None:
            progress = progress_of(status)
            assert progress is not None
            self._on_progress(progress)
