"""Small models, and one that was fitted well to the linear system."""

import numpy as np
import pytest
import torch
from linear_system import simulate

from wombet.world_model import WorldModel, WorldModelConfig


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def rows():
    return simulate(60, 50, seed=0)


@pytest.fixture(scope="session")
def make_model():
    def make(seed=0, obs_dim=2, action_dim=1, n_rates=0, angle_indices=(), **settings):
        small = {
            "n_members": 4,
            "n_elites": 3,
            "hidden_width": 32,
            "hidden_layers": 2,
            "max_steps": 100,
            "min_steps": 0,
        }
        config = WorldModelConfig(**{**small, **settings})
        generator = torch.Generator().manual_seed(seed)
        return WorldModel(obs_dim, action_dim, config, generator, n_rates=n_rates, angle_indices=angle_indices)

    return make


@pytest.fixture(scope="session")
def fitted(rows, make_model):
    torch.set_num_threads(1)
    model = make_model(hidden_width=64, max_steps=1500, min_steps=1500)
    model.fit(*rows.arguments(), np.random.default_rng(1))
    return model
