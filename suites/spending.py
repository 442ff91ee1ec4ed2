"""What an attempt has cost so far: wall, processor and accelerator time, memory, and steps per second."""

import contextlib
import resource
import sys
import time
from pathlib import Path
from typing import Any


class Spending:
    """Counts from the moment it is made; `enter` says which phase the work is in, and at how many units it stands.

    Everything is counted, evaluations and checkpoints too, because that is what another such run will take.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._began = _now()
        self._phases: dict[str, dict[str, float]] = {}
        self._current: tuple[str, int, tuple[float, float]] | None = None
        self._units = 0
        _forget_peak_memory()

    def enter(self, phase: str, units: int) -> None:
        """Begin a phase at so many units."""
        self._settle()
        self._current, self._units = (phase, units, _now()), units

    def at(self, units: int) -> None:
        """Note how many units are done."""
        self._units = units

    def to_json(self) -> dict[str, Any]:
        """Return seconds, peak memory in MB, and the units, seconds and units per second of each phase.

        `gpu_s` is the time for which the attempt held an accelerator, busy or not.
        """
        self._settle()
        wall, cpu = _since(self._began)
        gpu = {"gpu_s": round(wall, 3)} if self.device.startswith("cuda") else {}
        phases = {name: _phase(**spent) for name, spent in self._phases.items()}
        memory = {"peak_memory_mb": round(_peak_memory_mb(), 1)}
        return {"wall_s": round(wall, 3), "cpu_s": round(cpu, 3), **gpu, **memory, "phases": phases}

    def _settle(self) -> None:
        if self._current is None:
            return
        phase, units, began = self._current
        wall, cpu = _since(began)
        spent = self._phases.setdefault(phase, {"units": 0, "wall_s": 0.0, "cpu_s": 0.0})
        spent["units"] += self._units - units
        spent["wall_s"] += wall
        spent["cpu_s"] += cpu
        self._current = (phase, self._units, _now())


def _phase(units: float, wall_s: float, cpu_s: float) -> dict[str, Any]:
    rate = round(units / wall_s, 3) if wall_s > 0 else None
    return {"units": int(units), "wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3), "per_second": rate}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    now = _now()
    return now[0] - began[0], now[1] - began[1]


def _forget_peak_memory() -> None:
    """A worker process serves many attempts; where the kernel does not allow this, the peak is the process's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
