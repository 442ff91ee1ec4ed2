"""What a benchmark measured, and how it is timed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Result:
    """One measured figure beside a peer's, and whether it reaches its bar."""

    what: str  # what was done
    figure: float  # ours, in `unit`
    unit: str
    peer: str  # who did the same in the same run
    peer_figure: float  # theirs, in `unit`
    ratio: float  # how many times better ours is
    bar: str  # the floor or target, as text
    passed: bool  # whether the bar is reached

    def line(self) -> str:
        """Return the result as one line of text."""
        verdict = "ok    " if self.passed else "MISSED"
        return (
            f"{verdict} {self.what}: {self.figure:.4g} {self.unit}; {self.peer}: {self.peer_figure:.4g} {self.unit}; "
            f"ratio {self.ratio:.2f}; bar: {self.bar}"
        )


def interleaved_medians(works: Sequence[Callable[[], object]], turns: int, per_turn: int) -> list[float]:
    """Return each work's median thread CPU time in seconds.

    The works take turns, so that all meet the same load; the first call of a turn, which finds the caches full of
    another work's data, and the whole first turn are not counted.
    """
    times: list[list[float]] = [[] for _ in works]
    for turn in range(turns + 1):
        for work, taken in zip(works, times, strict=True):
            for call in range(per_turn + 1):
                start = time.thread_time()
                work()
                if turn > 0 and call > 0:
                    taken.append(time.thread_time() - start)
    return [median(taken) for taken in times]
