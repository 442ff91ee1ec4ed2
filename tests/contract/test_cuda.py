"""The part of the contract that is claimed for a GPU; equal bytes are claimed for the CPU alone."""

import numpy as np
import pytest
import torch

from baselines.api import Phase
from baselines.registry import method
from suites.contract.problem import BUDGETS
from tests.contract.harness import DATASET, Run, Stopped

METHODS = ("sac", "rlpd", "wombet")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use"),
    pytest.mark.parametrize("name", METHODS),
]


def test_it_spends_its_budgets_and_acts_within_bounds(name: str) -> None:
    run = Run(name, device="cuda").train()
    assert run.meters["target"].count == (
        BUDGETS.target_steps if Phase.ONLINE in method(name).capabilities.phases else 0
    )
    actions = run.adapter.act(DATASET.obs[:3], np.random.default_rng(0))
    assert actions.shape == (3, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1
    assert all(np.isfinite(value) for metrics in run.metrics for value in metrics.values())


def test_a_run_that_was_stopped_goes_on_to_the_end_there(name: str) -> None:
    stopped = Run(name, device="cuda")
    with pytest.raises(Stopped):
        stopped.train(stop_at=30)
    assert Run(name, device="cuda").restore(stopped.state()).train().ticks == Run(name).train().ticks


def test_networks_and_batches_are_on_the_gpu(name: str) -> None:
    agent = Run(name, device="cuda").train().adapter.agent  # type: ignore[attr-defined]
    assert agent.learner.critics.vector.device.type == "cuda"
    assert agent.online.last(4).obs.device.type == "cuda"
