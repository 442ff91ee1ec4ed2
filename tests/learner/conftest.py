"""Random transitions and small learners that the tests of the learner share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wombet.learner import ActorCritic, Batch, LearnerConfig

OBS_DIM, ACTION_DIM = 5, 3


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Return a function that draws n transitions, about a third of them terminated, half of them penalised."""

    def make(n: int = 16, seed: int = 1, dtype: torch.dtype = torch.float64, obs_dim: int = OBS_DIM) -> Batch:
        generator = torch.Generator().manual_seed(seed)

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1

        return Batch(
            obs=uniform(n, obs_dim),
            action=uniform(n, ACTION_DIM),
            reward=uniform(n),
            next_obs=uniform(n, obs_dim),
            terminated=(uniform(n) > 0.3).to(dtype),
            penalty=uniform(n).clamp(min=0),
        )

    return make


@pytest.fixture
def make_learner() -> Callable[..., ActorCritic]:
    """Return a function that builds a small learner; keywords are the config's, beside seed and dtype."""

    def make(seed: int = 0, dtype: torch.dtype = torch.float64, **settings: Any) -> ActorCritic:
        config = LearnerConfig(**{"hidden_width": 8, **settings})
        return ActorCritic(OBS_DIM, ACTION_DIM, config, torch.Generator().manual_seed(seed), dtype=dtype)

    return make
