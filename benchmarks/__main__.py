"""`python -m benchmarks [--json] [--only NAME]`: run every benchmark; exit code 1 if a bar is missed."""

import argparse
import dataclasses
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches

import benchmarks
from baselines.quiet import silence_gym
from benchmarks.result import Result
from wombet.errors import InputError

Run = Callable[[], list[Result]]


def benchmark_names() -> list[str]:
    """Return the names of the modules of this package that hold a benchmark, in alphabetical order."""
    helpers = {"__main__", "result", "peers", "planner_setup", "signal_runs", "eager_critics", "reacher_data"}
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in helpers)


def load(names: list[str]) -> Iterator[Run]:
    """Yield the `run` of each named module, imported when its turn comes; modules without one are passed over."""
    for name in names:
        run = getattr(importlib.import_module(f"benchmarks.{name}"), "run", None)
        if run is not None:
            yield run


def chosen(only: list[str] | None) -> list[str]:
    """Return the benchmarks to run; raises InputError for a name that is none."""
    known = benchmark_names()
    for name in only or []:
        if name not in known:
            near = (get_close_matches(name, known, 1, 0) or known)[0]
            raise InputError(f"there is no benchmark {name!r}; did you mean {near!r}? ({', '.join(known)})")
    return only or known


def report(runs: Iterator[Run], as_json: bool) -> int:
    """Print the results, a line each as they come or one JSON list, and return the exit code."""
    results: list[Result] = []
    for run in runs:
        for result in run():
            results.append(result)
            if not as_json:
                print(result.line(), flush=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    return 0 if all(result.passed for result in results) else 1


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that the command line names: 0 all bars reached, 1 one missed, 2 an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed against peers in the same run.")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a line per result")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this one alone; may be given repeatedly")
    options = parser.parse_args(arguments)
    try:
        names = chosen(options.only)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    silence_gym()
    return report(load(names), options.json)


if __name__ == "__main__":
    sys.exit(main())
