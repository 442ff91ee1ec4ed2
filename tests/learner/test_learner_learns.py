"""The learner finds known optima of tiny problems."""

import numpy as np
import pytest
import torch

from wombet.learner import ActorCritic, Batch, LearnerConfig
from wombet.replay import ReplayBuffer

FAST = {"hidden_width": 32, "actor_lr": 3e-3, "critic_lr": 3e-3, "temperature_lr": 3e-3, "batch_size": 64}


@pytest.mark.parametrize(
    "kind", [{}, {"n_critics": 4, "target_subset": 2, "layer_norm": True, "actor_aggregate": "mean"}]
)
def test_one_step_problem(kind):
    """Reward -(a - 0.5 s)^2, episodes of one step, random data: the policy becomes a = 0.5 s."""
    generator = np.random.default_rng(0)
    obs, action = generator.uniform(-1, 1, (2000, 1)), generator.uniform(-1, 1, (2000, 1))
    buffer = ReplayBuffer(2000, 1, 1)
    reward = -((action - 0.5 * obs) ** 2)[:, 0]
    buffer.extend({"obs": obs, "action": action, "reward": reward, "next_obs": obs, "terminated": np.ones(2000)})
    config = LearnerConfig(**{**FAST, **kind, "initial_temperature": 0.01, "temperature_lr": 0.0})
    learner = ActorCritic(1, 1, config, torch.Generator().manual_seed(0))
    for _ in range(700):
        learner.update([buffer.sample(buffer.draw_indices(64, generator))])
    grid = torch.linspace(-0.9, 0.9, 19).unsqueeze(1)
    error = (learner.act(grid) - 0.5 * grid).abs()
    assert float(error.max()) < 0.12
    assert float(error.mean()) < 0.05


@pytest.mark.parametrize(("terminated", "value"), [(0.0, 5.0), (1.0, 1.0)])
def test_reward_of_one_for_ever_or_once(terminated, value):
    """With discount 0.8 and no entropy, a reward of 1 per step is worth 5 if it goes on and 1 if the episode ends."""
    config = LearnerConfig(**{**FAST, "discount": 0.8, "tau": 0.05, "backup_entropy": False})
    learner = ActorCritic(1, 1, config, torch.Generator().manual_seed(0))
    source = torch.Generator().manual_seed(1)
    for _ in range(700):
        obs, action, next_obs = (torch.rand(64, 1, generator=source) * 2 - 1 for _ in range(3))
        ones = torch.ones(64)
        learner.update([Batch(obs, action, ones, next_obs, terminated * ones, 0 * ones)])
    obs = torch.linspace(-1, 1, 11).unsqueeze(1)
    assert learner.value(obs).numpy() == pytest.approx(value, abs=0.15)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_temperature_brings_the_entropy_to_its_target(scale):
    """Against a reward that prefers small actions, the policy's entropy settles at -scale * action_dim."""
    config = LearnerConfig(**{**FAST, "target_entropy_scale": scale, "temperature_lr": 2e-2})
    learner = ActorCritic(1, 2, config, torch.Generator().manual_seed(0))
    source = torch.Generator().manual_seed(1)
    entropies = []
    for _ in range(1500):
        obs, zeros = torch.rand(64, 1, generator=source), torch.zeros(64)
        action = torch.rand(64, 2, generator=source) * 2 - 1
        reward = -4 * action.square().sum(1)
        entropies.append(learner.update([Batch(obs, action, reward, obs, zeros + 1, zeros)])["entropy"])
    assert float(torch.stack(entropies[-200:]).mean()) == pytest.approx(-2 * scale, abs=0.2)
