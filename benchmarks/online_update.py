"""One online update of d3rlpy's fine-tuned methods at pocket size, batch assembly included, against d3rlpy's own."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from baselines.cal_ql import CalQL
from baselines.finetuned import FineTuned
from baselines.pex import PEX
from baselines.registry import method
from benchmarks.offline_update import random_dataset
from benchmarks.reacher_data import offline_problem
from benchmarks.result import Result, interleaved_medians
from wombet.dataset import TransferDataset
from wombet.process import prepare_process
from wombet.streams import Streams

METHODS = ("awac-finetune", "iql-finetune", "cql-finetune", "cal-ql", "pex")
POCKET = {"hidden_width": 128, "batch_size": 128, "n_action_samples": 4, "offline_fraction": 0.5}
ONLINE_EPISODES, EPISODE, CEILING = 2, 1000, 1.1


def run() -> list[Result]:
    """Measure in float32 on one thread on HalfCheetah's 18 observations and 6 actions, half of the rows online."""
    prepare_process(1)
    dataset = random_dataset()
    return [_measure(name, dataset) for name in METHODS]


def _measure(name: str, dataset: TransferDataset) -> Result:
    ours, library = _online(name, dataset), _library(_online(name, dataset))
    own, bare = interleaved_medians((ours.learn, library), turns=6, per_turn=8)
    samples = f", {ours.config.n_action_samples} sampled actions" if hasattr(ours.config, "n_action_samples") else ""
    return Result(
        what=f"{name} online update (128x128, batch 128{samples}, obs 18, act 6, one thread, float32, CPU time)",
        figure=own * 1e3,
        unit="ms",
        peer="d3rlpy's update() on a minibatch that is ready",
        peer_figure=bare * 1e3,
        ratio=bare / own,
        bar=f"at most {CEILING} times the peer's time",
        passed=own <= CEILING * bare,
    )


def _library(built: FineTuned) -> Callable[[], Any]:
    """Return the update that d3rlpy makes on one and the same minibatch of a method, which has its returns by then."""
    learner = built.expansion if isinstance(built, PEX) else built.learner
    batch = built.batch()
    if isinstance(built, CalQL):
        bounds = np.zeros(len(batch.obs), np.float32)
        return lambda: learner.update_on(batch, bounds)
    return lambda: learner.update_on(batch)


def _online(name: str, dataset: TransferDataset) -> FineTuned:
    """Return the method with rows of both kinds, in its online phase."""
    kind = method(name)
    fields = {field.name for field in dataclasses.fields(kind.Config)}
    config = kind.Config(**{field: value for field, value in POCKET.items() if field in fields})
    built = kind(offline_problem(dataset, 0, "halfcheetah"), config, Streams(0).child("method"), "cpu")
    assert isinstance(built, FineTuned)
    built.begin_online()
    for row in range(ONLINE_EPISODES * EPISODE):
        over = (row + 1) % EPISODE == 0
        built.store(dataset.obs[row], dataset.action[row], 0.0, dataset.next_obs[row], False, over)
    assert math.isfinite(sum(built.learn().values()))
    return built
