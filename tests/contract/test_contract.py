"""What every registered method must keep, whoever wrote it."""

import dataclasses
import time

import numpy as np
import pytest
import torch

from baselines.api import Phase
from baselines.registry import method, method_names
from tests.contract.harness import BUDGETS, DATASET, Run, Stopped, global_random_states

pytestmark = pytest.mark.parametrize("name", method_names())
OBS = np.stack([DATASET.obs[i] for i in (0, 7, 20)])


def test_it_says_what_it_is(name: str) -> None:
    kind = method(name)
    assert kind.capabilities.kind
    assert kind.capabilities.source
    assert dataclasses.is_dataclass(kind.Config)
    assert kind.Config.__dataclass_params__.frozen
    assert kind.Config() == kind.Config()
    assert len(set(kind.capabilities.phases)) == len(kind.capabilities.phases)


def test_actions_are_a_batch_of_float32_within_bounds_and_acting_changes_nothing(name: str) -> None:
    run = Run(name).train()
    before = run.state()
    actions = run.adapter.act(OBS, np.random.default_rng(0))
    assert actions.shape == (3, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1
    assert np.array_equal(actions, run.adapter.act(OBS, np.random.default_rng(0)))
    assert run.state() == before


def test_it_spends_its_budgets_to_the_step(name: str) -> None:
    capabilities = method(name).capabilities
    phases, visits = capabilities.phases, Phase.SOURCE in capabilities.phases or capabilities.source_steps_online
    run = Run(name).train()
    assert run.meters["target"].count == (BUDGETS.target_steps if Phase.ONLINE in phases else 0)
    assert run.meters["source"].count == (BUDGETS.source_steps if visits else 0)
    if phases == (Phase.OFFLINE,):
        assert run.updates == BUDGETS.offline_updates


def test_it_takes_no_step_of_a_task_outside_its_phases(name: str) -> None:
    def check(run: Run) -> None:
        phase = method(name).capabilities.phases[run.phase_index]
        assert phase is Phase.ONLINE or run.meters["target"].count == 0
        if Phase.SOURCE not in method(name).capabilities.phases and phase is not Phase.ONLINE:
            assert run.meters["source"].count == 0

    Run(name).train(in_tick=check)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name: str) -> None:
    first = Run(name).train().state()
    assert first == Run(name).train().state()
    if method(name).capabilities.phases:
        assert first != Run(name, seed=1).train().state()


def test_it_neither_reads_nor_moves_a_global_generator_or_a_clock(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Run(name).train().state()
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    before = global_random_states()
    for clock in ("time", "perf_counter", "monotonic"):
        monkeypatch.setattr(time, clock, lambda: 0.0)
    assert Run(name).train().state() == expected
    assert global_random_states() == before


def test_evaluating_in_every_tick_changes_nothing(name: str) -> None:
    generator = np.random.default_rng(3)
    watched = Run(name).train(in_tick=lambda run: run.adapter.act(OBS, generator))
    assert watched.state() == Run(name).train().state()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_stopped_in_any_tick_and_resumed_it_equals_the_run_that_was_never_stopped(name: str, share: float) -> None:
    if not method(name).capabilities.resumable:
        pytest.skip("declared not resumable")
    whole = Run(name).train()
    if whole.ticks == 0:
        assert Run(name).restore(Run(name).state()).train().state() == whole.state()
        return
    stopped = Run(name)
    with pytest.raises(Stopped):
        stopped.train(stop_at=1 + int(share * (whole.ticks - 1)))
    saved = stopped.state()
    assert Run(name).restore(saved).train().state() == whole.state()


def test_metrics_are_finite_numbers(name: str) -> None:
    for metrics in Run(name).train().metrics:
        assert all(np.isfinite(value) for value in metrics.values()), metrics
