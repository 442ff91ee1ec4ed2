"""`python -m benchmarks.full_size_cost [SUITE ...]`: what suites cost on a cluster, by rates that are measured now.

Every method of the suites is trained for a moment with its own settings, on rows of random numbers in HalfCheetah's
sizes for all families, because observations hardly change an update. Seconds are CPU time of one thread.
"""

import argparse
import json
import sys
from pathlib import Path

from baselines.d3rlpy_method import import_d3rlpy
from baselines.quiet import silence_gym
from baselines.sb3_method import import_sb3
from benchmarks.full_size_cost import check, keep, table
from benchmarks.full_size_cost.apart import apart, libraries_mb
from benchmarks.full_size_cost.predict import Rates, suite_cost
from benchmarks.page import replaced
from suites.matrix import build_matrix
from suites.spec import RunSpec, load_suite, suite_names
from suites.spending import Spending
from wombet.errors import InputError
from wombet.files import write_atomically
from wombet.process import prepare_process


def full_suites() -> list[str]:
    """Return the suites of the catalogue whose datasets are of full size."""
    return [name for name in suite_names() if load_suite(name).data.profile == "full"]


def main(arguments: list[str] | None = None) -> int:
    """Print the prediction: 0 all well, 2 an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_size_cost", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="all full-size ones, if none are named")
    parser.add_argument("--json", action="store_true", help="everything that was measured, too")
    parser.add_argument("--page", type=Path, help="also replace the table between the markers of a page")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds per phase of each method")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="keep rates there, and measure only what it lacks")
    parser.add_argument("--against", type=Path, metavar="STORE", help="predict what is finished in a store instead")
    options = parser.parse_args(arguments)
    prepare_process(1)
    silence_gym()
    try:
        suites = [] if options.against else [load_suite(name) for name in options.suites or full_suites()]
        matrices = {suite.name: build_matrix(suite).runs for suite in suites}
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    import_d3rlpy()
    import_sb3()
    rates = Rates(options.seconds, lambda text: _measuring(text, rates, options.rates))
    try:
        keep.load(rates, options.rates)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    rates.base_mb = apart(lambda: float(Spending("cpu").to_json()["peak_memory_mb"]))
    rates.libraries_mb = libraries_mb()
    if options.against is None:
        _tell(matrices, rates, options)
        return 0
    print(check.HEAD)
    for compared in check.compare(options.against, rates):
        print(compared.line(), flush=True)
    return 0


def _measuring(text: str, rates: Rates, path: Path | None) -> None:
    keep.save(rates, path)
    print(f"measuring: {text}", file=sys.stderr, flush=True)


def _tell(matrices: dict[str, list[RunSpec]], rates: Rates, options: argparse.Namespace) -> None:
    costs = [suite_cost(name, runs, rates) for name, runs in matrices.items()]
    if len(costs) > 1:
        costs.append(suite_cost(table.TOTAL, [run for runs in matrices.values() for run in runs], rates))
    keep.save(rates, options.rates)
    text = table.markdown(costs)
    print(json.dumps(table.as_json(costs, rates), indent=1) if options.json else text)
    if options.page is not None:
        write_atomically(options.page, replaced(options.page.read_text(encoding="utf-8"), text))


if __name__ == "__main__":
    sys.exit(main())
