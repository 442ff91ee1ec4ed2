"""A suite's results as a folder to keep with the code: the packed store, the report built from it, tables to read."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.commands.report import DEFAULT_RESAMPLES
from analysis.panels import suite_figure, suite_form
from analysis.readme import FIGURE, has_figure, missing_cells, results_readme
from analysis.report import build_report
from suites.archive import ARCHIVE, INDEX, is_published, pack, unpack, write_index
from suites.store import Store
from wombet.errors import InputError
from wombet.files import write_atomically

if TYPE_CHECKING:
    from analysis.load import SuiteResults

LARGEST_PAGE = 1_500_000
"""Bytes of a report.html that is still published; a larger one is built again from the archive."""


@dataclass(frozen=True)
class Publication:
    """What was published: the folder, its index, the missing cells in words, and the bytes of every file by name."""

    folder: Path
    index: dict[str, Any]
    missing: list[str]
    sizes: dict[str, int]


def publish(store: Store, suite: str, to: Path) -> Publication:
    """Publish what a store holds of a suite in a folder of its name under `to`, and return what was written.

    The report is built from the packed results, so that whoever unpacks them gets the same bytes. Cells that are
    missing are named. Raises InputError if the store does not know the suite or the folder holds something else.
    """
    folder = to / suite
    store.manifest(suite)
    if folder.exists() and not is_published(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something else than published results; name another folder with --to")
    with tempfile.TemporaryDirectory(prefix="wombet-") as temporary:
        made = Path(temporary)
        index = pack(store, suite, made / ARCHIVE, _place(folder))
        write_index(made, index)
        unpack(made, made / "store")
        results, contents = _contents(Store(made / "store"), suite, index)
        contents[ARCHIVE] = (made / ARCHIVE).read_bytes()
    for name, data in contents.items():
        write_atomically(folder / name, data)
    write_index(folder, index)
    for path in folder.iterdir():
        if path.name not in (*contents, INDEX):
            path.unlink()
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return Publication(folder, index, missing_cells(results), sizes)


def _place(folder: Path) -> str:
    """How texts name the folder: by its last two names, whatever machine it is on."""
    return "/".join(folder.resolve().parts[-2:])


def _contents(store: Store, suite: str, index: dict[str, Any]) -> "tuple[SuiteResults, dict[str, bytes]]":
    """The suite's results in a store that was unpacked, and the files that are published beside the archive."""
    report = build_report(store, suite, store.root / "reports" / suite, resamples=DEFAULT_RESAMPLES)
    results = report.results
    contents = {"results.csv": (report.folder / "tables" / "results.csv").read_bytes()}
    page = report.page.read_bytes()
    if len(page) <= LARGEST_PAGE:
        contents["report.html"] = page
    if has_figure(results):
        contents[FIGURE] = suite_figure(results, suite_form(results), "ci", "target", ("svg",))["svg"]
    readme = results_readme(results, report.tables, store.published["place"], index, sorted(contents))
    return results, contents | {"README.md": readme.encode()}
