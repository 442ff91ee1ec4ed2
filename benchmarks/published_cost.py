"""`python -m benchmarks.published_cost [RESULTS]`: what the published runs and their datasets took, suite by suite.

Core-hours are the recorded CPU time of all attempts, those that were killed included. What several suites share counts
in each of them, and once in the last row. Diagnoses of datasets keep no costs and are not in the figures.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import block, replaced
from suites.archive import INDEX, dataset_ids, opened, read_index
from suites.rates import spent_on
from suites.store import Store
from wombet.errors import InputError
from wombet.files import write_atomically

COMMAND = "python -m benchmarks.published_cost"
TOTAL = "all, each run once"


@dataclass(frozen=True)
class Published:
    """Task pairs, runs planned, and CPU seconds of each finished run and each dataset fed to one, by folder."""

    pairs: int
    planned: int
    runs: Mapping[str, float]
    datasets: Mapping[str, float]


def read_published(folder: Path) -> Published:
    """Read a folder of published results; raises InputError if it holds none or a finished run kept no costs."""
    with opened(folder) as store:
        manifest = store.manifest(read_index(folder)["suite"])
        cells = [cell for cell in manifest["cells"] if store.read_run(store.run_folder(cell["folder"])).state == "done"]
        return Published(
            pairs=len({cell["pair"] for cell in cells}),
            planned=len(manifest["cells"]),
            runs={cell["folder"]: _cpu_s(store, store.run_folder(cell["folder"])) for cell in cells},
            datasets={name: _cpu_s(store, store.dataset_folder(name)) for name in dataset_ids({"cells": cells})},
        )


def table(suites: Mapping[str, Published]) -> str:
    """Return the suites as a Markdown table, the last row with everything once."""
    lines = ["| suite | task pairs | runs finished | planned | datasets | core-hours |", f"|{' --- |' * 6}"]
    for name, suite in suites.items():
        lines.append(_row(f"[{name}]({name}/README.md)", [suite], str(suite.pairs), f"{suite.planned:,}"))
    return block(COMMAND, [*lines, _row(TOTAL, list(suites.values()), "", "")])


def read_all(results: Path) -> dict[str, Published]:
    """Read every suite in a folder of published results, by name; raises InputError if there is none."""
    folders = sorted(path.parent for path in results.glob(f"*/{INDEX}"))
    if not folders:
        raise InputError(f"{results} holds no published results; name the folder that `wombet publish` writes to")
    return {folder.name: read_published(folder) for folder in folders}


def main(arguments: list[str] | None = None) -> int:
    """Print the table: 0 all well, 2 no published results."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"), metavar="RESULTS")
    parser.add_argument("--page", type=Path, help="also replace the table between the markers of a page")
    options = parser.parse_args(arguments)
    try:
        text = table(read_all(options.results))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(text)
    if options.page is not None:
        write_atomically(options.page, replaced(options.page.read_text(encoding="utf-8"), text))
    return 0


def _row(name: str, suites: Sequence[Published], pairs: str, planned: str) -> str:
    runs = {folder: cpu_s for suite in suites for folder, cpu_s in suite.runs.items()}
    datasets = {folder: cpu_s for suite in suites for folder, cpu_s in suite.datasets.items()}
    hours = (sum(runs.values()) + sum(datasets.values())) / 3600
    return f"| {name} | {pairs} | {len(runs):,} | {planned} | {len(datasets)} | {hours:.1f} |"


def _cpu_s(store: Store, folder: Path) -> float:
    spent = spent_on(folder)
    if spent is None:
        raise InputError(f"{folder.relative_to(store.root)} kept no costs, so that the total cannot be told")
    return spent[0]


if __name__ == "__main__":
    sys.exit(main())
