"""The model gate and the thresholds that rest on the same real rollouts."""

import dataclasses

import numpy as np
import pytest
import torch
from small_recipes import Bench, nothing

from wombet.gate import GateError, calibrate, check_gate, compare
from wombet.rollouts import executed, imagined
from wombet.world_model import WorldModel


def gate(bench: Bench, model: WorldModel, tolerance: float = 0.15):
    starts, steps = bench.starts(8, noise=0.1), 20
    envs = [bench.open_env(f"gate {i}") for i in range(4)]
    arguments = starts, steps
    real = executed(model, bench.task, bench.planner(model), *arguments, envs, np.random.default_rng(1), nothing)
    dream = imagined(model, bench.task, bench.planner(model), *arguments, np.inf, np.random.default_rng(2), nothing)
    return real, dream, compare(real, dream, steps, tolerance)


def test_a_fitted_model_passes_and_its_figures_are_the_returns_per_step(reacher):
    real, dream, result = gate(reacher, reacher.model)
    check_gate(result)
    assert result.real == pytest.approx(real.data.reward_source.reshape(8, 20).mean())
    assert result.imagined == pytest.approx(dream.data.reward_source.reshape(8, 20).mean())
    assert result.real > 0.5


def test_a_garbage_model_does_not_pass_and_the_error_names_both_returns(reacher):
    garbage = WorldModel(reacher.task.obs_dim, reacher.task.action_dim, reacher.model.config, torch.Generator())
    state = reacher.model.state()
    state["network"]["tensors"] = [10 * torch.randn(t.shape) for t in state["network"]["tensors"]]
    garbage.restore(state)
    result = gate(reacher, garbage)[2]
    with pytest.raises(
        GateError, match=f"imagines {result.imagined:.3f} .* gives {result.real:.3f} .*more steps.*executed"
    ):
        check_gate(result)


def test_optimism_and_pessimism_fail_alike_and_the_tolerance_decides(reacher):
    good = gate(reacher, reacher.model)[2]
    for shift in (0.2, -0.2):
        shifted = dataclasses.replace(good, imagined=good.real + shift)
        assert not shifted.passed
        assert dataclasses.replace(shifted, tolerance=0.21).passed
    assert not dataclasses.replace(good, imagined=float("nan")).passed


def test_falling_early_in_reality_alone_opens_a_gap(cartpole):
    real, dream, result = gate(cartpole, cartpole.model)
    assert result.real == pytest.approx(real.sums(real.data.reward_source).sum() / (8 * 20))
    assert result.real_steps == pytest.approx(len(real.data) / 8)
    assert result.imagined_steps == pytest.approx(len(dream.data) / 8)


def test_thresholds_are_a_multiple_of_the_mean_and_of_the_99_percent_quantile():
    values = np.arange(101, dtype=np.float32)
    assert calibrate(values, 1.5, 2.0) == (75.0, 198.0)
