"""`wombet check`: is the store sound, are its runs those that others stored, and do they reach published curves?"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, console, print_json

if TYPE_CHECKING:
    from suites.against import Compared
    from suites.bands import Comparison
    from suites.integrity import Finding
    from suites.store import Store, StoredRun

DAMAGE = ("damaged", "missing", "inconsistent")
"""Findings that make a store unsound; the other kinds are worth knowing."""
StoreArgument = Annotated[Path, typer.Argument(metavar="[STORE]", help="Folder that holds datasets and runs.")]


AgainstOption = Annotated[
    Path | None,
    typer.Option("--against", metavar="RESULTS", help="Compare with these: a folder in results/, or another store."),
]


def check_command(
    store: StoreArgument = DEFAULT_STORE, against: AgainstOption = None, json: JsonOption = False
) -> None:
    """Check a store's integrity, and compare its runs with published learning curves or, --against, with stored runs.

    Of native tasks a comparison with a published curve passes, fails, or is not comparable, for a reason that is given.
    With --against every finished run is held against the stored run of the same settings, row by row: identical, or
    where it differs, or why it cannot be compared; clocks and machines do not count. Exit code 1 if anything is damaged
    or failed, if a run differs, or if none is identical.
    """
    from suites.integrity import check_store
    from suites.store import Store

    opened = Store(store)
    opened.require()
    if against is not None:
        _against(opened, against, json)
        return
    findings = check_store(store)
    comparisons = _band_comparisons(opened)
    if json:
        found, compared = ([dataclasses.asdict(each) for each in rows] for rows in (findings, comparisons))
        print_json({"findings": found, "comparisons": compared})
    else:
        _print_findings(findings)
        _print(comparisons)
    if _damaged(findings) or any(each.verdict == "fail" for each in comparisons):
        raise typer.Exit(1)


def _against(store: "Store", place: Path, json: bool) -> None:
    from suites.against import compare_stores
    from suites.archive import opened
    from suites.integrity import check_store

    with opened(place) as theirs:
        compared = compare_stores(store, theirs)
    findings = check_store(store.root)
    if json:
        found, rows = ([dataclasses.asdict(each) for each in some] for some in (findings, compared))
        print_json({"findings": found, "against": rows})
    else:
        _print_findings(findings)
        _print_against(compared)
    verdicts = Counter(each.verdict for each in compared)
    if _damaged(findings) or verdicts["differs"] or not verdicts["identical"]:
        raise typer.Exit(1)


def _print_against(compared: "list[Compared]") -> None:
    out = console()
    for each in compared:
        out.print(f"{each.verdict}: {each.folder}: {each.reason}", markup=False, highlight=False, soft_wrap=True)
    counts = Counter(each.verdict for each in compared)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


def _damaged(findings: "list[Finding]") -> bool:
    return any(finding.kind in DAMAGE for finding in findings)


def _band_comparisons(store: "Store") -> "list[Comparison]":
    from suites.bands import compare_with_bands, read_bands

    runs = list(store.scan())
    return compare_with_bands(runs, read_bands(), _defaults(runs))


def _defaults(runs: "list[StoredRun]") -> dict[str, dict[str, Any]]:
    from baselines.config import config_dict
    from baselines.registry import method, method_names
    from suites.bands import comparable

    names = {run.spec["method"] for run in runs if run.spec and comparable(run)}
    return {name: config_dict(method(name).Config()) for name in sorted(names & set(method_names()))}


def _print_findings(findings: "list[Finding]") -> None:
    out = console()
    for finding in findings:
        out.print(f"{finding.kind}: {finding.where}: {finding.sentence}", markup=False, soft_wrap=True)
    if not findings:
        out.print("Every run folder and dataset is whole.")


def _print(comparisons: "list[Comparison]") -> None:
    from rich.table import Table

    out = console()
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
