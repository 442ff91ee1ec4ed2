"""Dispatch with a progress display on a terminal, silence in a pipe, and the failures named at the end."""

import sys
from typing import TYPE_CHECKING

from suites.commands.options import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from suites.dispatch import Event, Summary
    from suites.spec import DatasetRecipe, RunSpec
    from suites.store import Store
    from suites.submission import Submitted


def carry_out(
    recipes: "list[DatasetRecipe]",
    runs: "list[RunSpec]",
    store: "Store",
    executor: str,
    workers: int | None,
    device: str = "cpu",
    cell_minutes: float | None = None,
    max_failures: int | None = None,
) -> "Summary":
    """Build the datasets and carry out the runs that are not there yet, and tell how that ended."""
    from suites.dispatch import dispatch

    with _Display() as display:
        summary = dispatch(
            runs,
            store,
            recipes=recipes,
            executor=executor,
            workers=workers,
            device=device,
            cell_seconds=None if cell_minutes is None else 60 * cell_minutes,
            max_failures=max_failures,
            on_event=display.show,
        )
    _tell(summary)
    return summary


def exit_code(summary: "Summary") -> int:
    """The program's exit code: 1 if something failed, could not begin, is left to another process, or was stopped."""
    undone = summary.failures or summary.blocked or summary.interrupted or summary.counts["busy"]
    return 1 if undone else 0


def tell_queued(submitted: "Submitted", suite: str, store: "Store") -> None:
    """Say what Slurm has been given, and how to see what becomes of it."""
    out = console()
    out.print(submitted.message, markup=False)
    if submitted.jobs or submitted.queued_before:
        out.print(f"`wombet status {suite} --store {store.root}` shows how it goes", markup=False, soft_wrap=True)


def tell_changed(changed: dict[str, int]) -> None:
    """Name the rows with finished runs whose adapter's source file is another one now."""
    for row, count in changed.items():
        console().print(
            f"{row}: {count} finished runs are of an adapter whose file has changed since, and are kept; if its "
            "results change, raise the version in its capabilities",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def tell_left_alone(count: int) -> None:
    """Say that failed runs were not tried again, if there are any."""
    if count:
        console().print(f"{count} that failed with an exception were left alone; --failed tries them again")


def _tell(summary: "Summary") -> None:
    out = console()
    for label, message in summary.failures:
        out.print(f"failed: {label}: {message}", style="red", markup=False, soft_wrap=True)
    for label, message in summary.blocked:
        out.print(f"blocked: {label}: {message}", style="yellow", markup=False, soft_wrap=True)
    out.print(summary.message, markup=False)
    if summary.counts["busy"]:
        out.print("busy: other processes are at it; the same command carries out what they leave", markup=False)


class _Display:
    """One line for the whole suite and one for each job that runs; nothing where standard error is not a terminal."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._overall: TaskID | None = None
        self._jobs: dict[str, TaskID] = {}

    def __enter__(self) -> "_Display":
        if sys.stderr.isatty():
            self._progress = _progress_bars()
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, event: "Event") -> None:
        """Take note of what happened to a job."""
        if self._progress is None:
            return
        if self._overall is None:
            self._overall = self._progress.add_task("all", total=event.total, left="")
        self._progress.update(self._overall, completed=event.finished, left=_duration(event.seconds_left))
        if event.kind == "started":
            self._jobs[event.job.id] = self._progress.add_task(event.job.label, total=None, left="")
        elif event.kind == "progress" and event.progress is not None and event.job.id in self._jobs:
            done = event.progress
            left = _duration(done.seconds_left)
            self._progress.update(self._jobs[event.job.id], total=done.total or None, completed=done.units, left=left)
        elif event.job.id in self._jobs:
            self._progress.remove_task(self._jobs.pop(event.job.id))


def _progress_bars() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)


def _duration(seconds: float | None) -> str:
    """Time left in words, such as `1 h 02 min left`."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min left" if hours else f"{minutes} min {rest:02d} s left"
