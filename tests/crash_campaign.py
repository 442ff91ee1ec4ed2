"""`python -m tests.crash_campaign --kills 200`: kill runs and dataset builds at random moments, and compare the bytes.

Every resumable method that is registered, and the dataset builder, is carried out once undisturbed and then again and
again in processes that get SIGKILL after a random time. Whatever ends must be what the undisturbed one was, byte for
byte. The exit code is 1 if anything differs or ends otherwise.
"""

import argparse
import dataclasses
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from baselines.registry import method, method_names
from suites.claim import LOCK
from suites.datasets import config_of
from suites.spec import DatasetRecipe, RunSpec
from suites.store import Store
from suites.worker import perform, prepare
from tests.suites import cells

Case = RunSpec | DatasetRecipe
PRELOADED = ["suites.runner", "suites.datasets", "baselines.actor_critic", "tests.suites.libraries"]
CHECKPOINT_SECONDS = 0.05
ITERATIONS = 2
OFFLINE_UPDATES = 200


@dataclasses.dataclass
class Tally:
    """What became of a case: kills, those that left a checkpoint or a half-written file, endings, mismatches."""

    name: str
    kills: int = 0
    left_checkpoint: int = 0
    left_half_written: int = 0
    endings: int = 0
    mismatches: list[str] = dataclasses.field(default_factory=list)

    def line(self) -> str:
        """One line for people."""
        left = f"{self.left_checkpoint} left a checkpoint, {self.left_half_written} a half-written file"
        verdict = (
            f"{len(self.mismatches)} MISMATCHES ({sorted(set(self.mismatches))})" if self.mismatches else "no mismatch"
        )
        return f"{self.name}: {self.kills} kills ({left}), {self.endings} endings, {verdict}"


def cases(names: Sequence[str] | None = None) -> dict[str, Case]:
    """Small cases by name: every resumable method (or those named), and a pure and a guided dataset."""
    pure, guided = cells.recipe(), cells.recipe(cells.guided_generation())
    found: dict[str, Case] = {"dataset-pure": pure, "dataset-guided": guided}
    for name in method_names():
        if method(name).capabilities.resumable:
            spec = cells.cell(name, target_steps=200, evaluations=6, **_settings(name))
            budgets = spec.budgets
            if budgets.offline_updates and "pretraining_updates" not in spec.config:
                budgets = dataclasses.replace(budgets, offline_updates=OFFLINE_UPDATES)
            if method(name).capabilities.source_steps_online:
                steps = (ITERATIONS - 1) * config_of(guided).iteration_steps
                budgets = dataclasses.replace(budgets, source_steps=steps)
            found[name] = dataclasses.replace(spec, budgets=budgets, dataset=spec.dataset and guided)
    return found if names is None else {name: found[name] for name in names}


def _settings(name: str) -> dict[str, Any]:
    fields = {field.name for field in dataclasses.fields(method(name).Config)}
    wanted = {"mixing_interval": 5, "calibration_updates": 10, "pretraining_updates": 20, "iterations": ITERATIONS}
    # A method that goes on from the source agent has to be of its size.
    return {key: value for key, value in wanted.items() if key in fields}


def campaign(chosen: dict[str, Case], kills: int, seed: int, root: Path) -> list[Tally]:
    """Kill about `kills` times, evenly over the cases; the moments come from `seed`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    generator, tallies = random.Random(seed), []
    whole = Store(root / "whole")
    # The first process waits for the imports, which no later one does.
    warm_up = context.Process(target=_nothing)
    warm_up.start()
    warm_up.join()
    for name, case in chosen.items():
        for recipe in case.recipes if isinstance(case, RunSpec) else ():
            _finish(recipe, whole, context)
        seconds = _finish(case, whole, context)
        share = -(-(kills - sum(tally.kills for tally in tallies)) // (len(chosen) - len(tallies)))
        tally = Tally(name)
        _harass(case, whole, Store(root / name), share, seconds, generator, context, tally)
        tallies.append(tally)
        print(tally.line(), flush=True)
    return tallies


def _harass(
    case: Case,
    whole: Store,
    broken: Store,
    kills: int,
    seconds: float,
    generator: random.Random,
    context: ForkServerContext,
    tally: Tally,
) -> None:
    """Kill and continue a case, from the beginning whenever it has come to its end."""
    while tally.kills < kills:
        _begin_again(case, whole, broken)
        while tally.kills < kills and _killed(case, broken, generator.uniform(0, seconds), context):
            tally.kills += 1
            tally.left_checkpoint += bool(list(broken.root.rglob("checkpoint/*.safetensors")))
            tally.left_half_written += bool(list(broken.root.rglob(".*.tmp")))
        tally.endings += 1
        try:
            _finish(case, broken, context)
        except RuntimeError as error:
            tally.mismatches.append(str(error))
            continue
        expected, found = results(case, whole), results(case, broken)
        tally.mismatches += sorted(key for key in expected | found if expected.get(key) != found.get(key))


def _begin_again(case: Case, whole: Store, broken: Store) -> None:
    shutil.rmtree(broken.root, ignore_errors=True)
    broken.prepare()
    if isinstance(case, RunSpec):
        (broken.root / "datasets").symlink_to((whole.root / "datasets").resolve())


def _killed(case: Case, store: Store, after: float, context: ForkServerContext) -> bool:
    """Whether the case had not come to its end when its process was killed."""
    process = _start(case, store, context)
    process.join(after)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode != 0


def _finish(case: Case, store: Store, context: ForkServerContext) -> float:
    """Go on to the end; returns how long that took, and raises RuntimeError if it does not end well."""
    began = time.monotonic()
    process = _start(case, store, context)
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{case_name(case)} ended with {process.exitcode}")
    return time.monotonic() - began


def _start(case: Case, store: Store, context: ForkServerContext) -> Any:
    process = context.Process(target=_work, args=(case, str(store.root)))
    process.start()
    return process


def _nothing() -> None:
    """What a process does that is started for its imports alone."""


def _work(case: Case, root: str) -> None:
    """Carry out a case with checkpoints as often as they can be written; ends with 0 if it is finished."""
    import suites.pacing

    prepare(1)
    suites.pacing.CHECKPOINT_SHARE = 1.0
    kind, content = ("run", case.to_json()) if isinstance(case, RunSpec) else ("dataset", dataclasses.asdict(case))
    options = {"checkpoint_seconds": CHECKPOINT_SECONDS}
    outcome = perform({"kind": kind, "content": content, "store": root, "options": options})
    if outcome.ending not in ("done", "skipped"):
        print(outcome, file=sys.stderr)
        sys.exit(1)


def results(case: Case, store: Store) -> dict[str, bytes]:
    """The bytes of everything that must not depend on when and where a case was carried out, by file."""
    folder = store.run_folder(case.folder) if isinstance(case, RunSpec) else store.dataset_folder(case.id)
    others = {"provenance.json", "status.json", "costs.jsonl", LOCK}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in others]
    files = [path for path in files if not path.name.startswith(".")]
    return {f"{case_name(case)}/{path.relative_to(folder)}": path.read_bytes() for path in files}


def case_name(case: Case) -> str:
    """How a case is named to people."""
    return case.method if isinstance(case, RunSpec) else f"dataset-{case.collection}"


def main(arguments: list[str] | None = None) -> int:
    """Carry out a campaign and tell what came of it: 0 if every ending was as undisturbed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash_campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", metavar="CASE", help="a method, dataset-pure or dataset-guided")
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--json", action="store_true", help="end with one JSON list")
    options = parser.parse_args(arguments)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        tallies = campaign(cases(options.only), options.kills, options.seed, Path(folder))
    if options.json:
        print(json.dumps([dataclasses.asdict(tally) for tally in tallies], indent=2))
    kills, wrong = sum(tally.kills for tally in tallies), sum(len(tally.mismatches) for tally in tallies)
    endings = sum(tally.endings for tally in tallies)
    print(f"{kills} kills over {len(tallies)} cases, {endings} endings compared, {wrong} mismatches")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
