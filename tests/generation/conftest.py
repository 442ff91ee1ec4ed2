"""Fixtures: two tasks with models of them, fitted once."""

import pytest
import torch
from small_recipes import SMALL_MODEL, SMALL_PLANNER, Bench

from wombet.planner import PlannerConfig
from wombet.world_model import WorldModelConfig


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def reacher() -> Bench:
    """Reacher with a model good enough to plan with."""
    model = WorldModelConfig(
        n_members=4, n_elites=4, hidden_width=96, hidden_layers=2, max_steps=900, min_steps=900, learning_rate=2e-3
    )
    return Bench("reacher", 500, model, PlannerConfig(horizon=8, population=24, iterations=2, noise_beta=2.0))


@pytest.fixture(scope="session")
def cartpole() -> Bench:
    """Cartpole, whose episodes terminate, with a rough model."""
    return Bench("cartpole", 300, SMALL_MODEL, SMALL_PLANNER)
