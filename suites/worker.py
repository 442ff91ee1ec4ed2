"""What a worker process does; importing this loads nothing heavy, so that threads are set before torch is there."""

import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from suites.outcome import Outcome, sentence_of
from wombet.resources import set_threads

if TYPE_CHECKING:
    from suites.pacing import Progress

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

Task = Mapping[str, Any]
"""A run or a dataset with its options, as plain values that any process can be given."""


class StopRequest:
    """Turns the signals that ask a process to end into a request to stop at the next tick.

    A context manager, which puts the earlier handlers back; it is asked by calling it. A second interrupt from the
    keyboard ends the process at once. Where signals cannot be handled (outside the main thread) it is never set by one.
    """

    def __init__(self, ignore_interrupt: bool = False) -> None:
        self.requested = False
        self._ignore_interrupt = ignore_interrupt
        self._earlier: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.requested

    def __enter__(self) -> "StopRequest":
        for number in STOP_SIGNALS:
            ignore = self._ignore_interrupt and number == signal.SIGINT
            with suppress(ValueError):
                self._earlier[number] = signal.signal(number, signal.SIG_IGN if ignore else self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


def prepare(threads: int = 1) -> None:
    """Give the process its threads, through the environment before torch is imported and through torch after."""
    set_threads(threads)
    from wombet.process import prepare_process

    prepare_process(threads)


_requests: list[Callable[[], bool]] = []
"""What asks a pool's worker to stop: a pool hands its initialiser's findings to the tasks in no other way."""


def initialise(stop_event: Any) -> None:
    """Start-up of a pool's worker: threads, signals, and the event by which the dispatcher asks it to stop."""
    prepare(1)
    request = StopRequest(ignore_interrupt=True)
    request.__enter__()
    _requests[:] = [request, stop_event.is_set]


def work(task: Task) -> Outcome:
    """Carry out a task in a pool's worker."""
    return perform(task, lambda: any(asks() for asks in _requests))


def perform(
    task: Task, stop: Callable[[], bool] | None = None, on_progress: "Callable[[Progress], None] | None" = None
) -> Outcome:
    """Carry out a task; input that is wrong and folders that cannot be written end as failures too."""
    from suites.datasets import build_dataset
    from suites.runner import run_cell
    from suites.spec import recipe_from_json, run_spec_from_json
    from suites.store import Store
    from wombet.errors import InputError

    options = {**task["options"], "stop": stop, "on_progress": on_progress}
    try:
        store = Store(Path(task["store"]))
        if task["kind"] == "dataset":
            return build_dataset(recipe_from_json(task["content"]), store, **options)
        return run_cell(run_spec_from_json(task["content"]), store, **options)
    except (InputError, OSError) as error:
        return Outcome("failed", sentence_of(error))


def main(arguments: list[str] | None = None) -> int:
    """Carry out the run or dataset of one folder of a store, in this process; returns 0 if it is finished."""
    from suites.store import read_json

    given = sys.argv[1:] if arguments is None else arguments
    folder = Path(given[0]).resolve() if len(given) == 1 else Path()
    kind, depth = ("run", 3) if (folder / "spec.json").is_file() else ("dataset", 1)
    content = read_json(folder / ("spec.json" if kind == "run" else "recipe.json"))
    if content is None:
        print("usage: python -m suites.worker FOLDER (of a run, or of a dataset that is being built)", file=sys.stderr)
        return 2
    prepare(1)
    with StopRequest() as stop:
        task = {"kind": kind, "content": content, "store": str(folder.parents[depth]), "options": {}}
        outcome = perform(task, stop)
    print(f"{outcome.ending}: {outcome.message}" if outcome.message else outcome.ending)
    return 0 if outcome.ending in ("done", "skipped") else 1


if __name__ == "__main__":
    sys.exit(main())
