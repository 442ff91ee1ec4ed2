"""Training inside the harness, with its ticks, meters, records, heartbeats and checkpoints, against the bare loop."""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from baselines.api import Budgets
from baselines.config import config_dict, make_config
from baselines.registry import method
from benchmarks.result import Result
from suites.adapters import build_adapter
from suites.evaluate import Evaluation
from suites.pacing import Pace
from suites.problem import open_phase, total_units
from suites.spec import PairSpec, RunSpec
from suites.spending import Spending
from suites.store import Store
from suites.tasks import make_task
from suites.training import Training
from wombet.process import prepare_process

STEPS, TURNS, LIMIT = 700, 7, 1.03


def run() -> list[Result]:
    """Measure the CPU seconds of the process, threads included, of the same SAC run with and without the harness.

    Both train the same adapter on the same environment with the same seed. Evaluations are left out of both: they are
    work that a bare loop would have to do too.
    """
    prepare_process(1)
    spec, inside, bare = _spec(), [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS + 1):
            within = _inside(spec, Store(Path(folder)), Path(folder) / f"turn-{turn}")
            alone = _bare(spec, Store(Path(folder)))
            if turn:
                inside.append(within)
                bare.append(alone)
    ratio = median(within / alone for within, alone in zip(inside, bare, strict=True))
    return [
        Result(
            what=f"{STEPS} SAC steps inside the harness (128x128, batch 128, CPU time)",
            figure=median(inside),
            unit="s",
            peer="the same adapter in a bare loop",
            peer_figure=median(bare),
            ratio=1 / ratio,
            bar=f"at most {LIMIT - 1:.0%} slower",
            passed=ratio <= LIMIT,
        )
    ]


class _NoEvaluation:
    """Stands where the evaluator does, and does nothing."""

    def evaluate(self, act: object, index: int) -> Evaluation:
        """Return no episodes."""
        return Evaluation([], [])


def _spec() -> RunSpec:
    source, target = make_task("halfcheetah", "source"), make_task("halfcheetah", "close")
    pair = PairSpec(
        "halfcheetah-close",
        "halfcheetah",
        "close",
        "both",
        target.horizon,
        source.fingerprint(),
        target.fingerprint(),
    )
    kind = method("sac")
    config: Any = make_config(kind.Config, {"hidden_width": 128, "batch_size": 128, "random_steps": 50}, "sac")
    budgets, evaluation = Budgets(target_steps=STEPS), {"count": 2, "episodes": 1}
    return RunSpec(pair, "sac", kind.capabilities.version, config_dict(config), 0, budgets, evaluation, None)


def _inside(spec: RunSpec, store: Store, folder: Path) -> float:
    folder.mkdir()
    adapter, problem = build_adapter(spec, store, "cpu")
    pace = Pace(folder, total_units(spec.budgets), checkpoint_seconds=1.0)
    pace.spending = Spending("cpu")
    training = Training(spec, folder, problem, adapter, _NoEvaluation(), pace, 0)  # type: ignore[arg-type]
    began = time.process_time()
    training.run()
    taken = time.process_time() - began
    training.checkpoints.clear()
    return taken


def _bare(spec: RunSpec, store: Store) -> float:
    adapter, problem = build_adapter(spec, store, "cpu")
    phase = adapter.capabilities.phases[0]
    open_phase(problem, phase)
    began = time.process_time()
    adapter.train(phase, lambda *, updates, metrics=None: None)
    return time.process_time() - began
