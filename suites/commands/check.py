"""`wombet check`: is the store sound, and do its runs of native tasks reach what was published?"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, console, print_json

if TYPE_CHECKING:
    from suites.bands import Comparison
    from suites.integrity import Finding
    from suites.store import StoredRun

DAMAGE = ("damaged", "missing", "inconsistent")
"""Findings that make a store unsound; the other kinds are worth knowing."""
StoreArgument = Annotated[Path, typer.Argument(metavar="[STORE]", help="Folder that holds datasets and runs.")]


def check_command(store: StoreArgument = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Check a store's integrity, and compare its runs of native tasks with published learning curves.

    A comparison passes, fails, or is not comparable, for a reason that is given. Exit code 1 if anything is damaged or
    failed.
    """
    from suites.bands import compare_with_bands, read_bands
    from suites.integrity import check_store
    from suites.store import Store

    opened = Store(store)
    opened.require()
    findings = check_store(store)
    damage = [finding for finding in findings if finding.kind in DAMAGE]
    runs = list(opened.scan())
    comparisons = compare_with_bands(runs, read_bands(), _defaults(runs))
    if json:
        found, compared = ([dataclasses.asdict(each) for each in rows] for rows in (findings, comparisons))
        print_json({"findings": found, "comparisons": compared})
    else:
        _print(findings, comparisons)
    if damage or any(each.verdict == "fail" for each in comparisons):
        raise typer.Exit(1)


def _defaults(runs: "list[StoredRun]") -> dict[str, dict[str, Any]]:
    from baselines.config import config_dict
    from baselines.registry import method, method_names
    from suites.bands import comparable

    names = {run.spec["method"] for run in runs if run.spec and comparable(run)}
    return {name: config_dict(method(name).Config()) for name in sorted(names & set(method_names()))}


def _print(findings: "list[Finding]", comparisons: "list[Comparison]") -> None:
    from rich.table import Table

    out = console()
    for finding in findings:
        out.print(f"{finding.kind}: {finding.where}: {finding.sentence}", markup=False, soft_wrap=True)
    if not findings:
        out.print("Every run folder and dataset is whole.")
    if not comparisons:
        out.print("The store has no finished run of a native task, so there is nothing to compare with publications.")
        return
    table = Table("environment", "method", "steps", "seeds", "mean", "band", "verdict", "why")
    for each in comparisons:
        band = "" if each.lo is None or each.hi is None else f"{each.lo:.0f} to {each.hi:.0f}"
        mean = "" if each.mean is None else f"{each.mean:.0f}"
        steps = "" if each.steps is None else str(each.steps)
        table.add_row(each.environment, each.method, steps, str(each.seeds), mean, band, each.verdict, _why(each))
    out.print(table)
    for source in dict.fromkeys(each.source for each in comparisons if each.source):
        out.print(f"band from {source}", markup=False, soft_wrap=True)


def _why(each: "Comparison") -> str:
    settings = ", ".join(f"{name} = {value}" for name, value in each.changed.items())
    return each.reason + (f" (with {settings})" if settings else "")
