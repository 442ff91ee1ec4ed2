"""The tanh-squashed Gaussian: densities, samples and gradients."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from wombet.networks import policy_backward, sample_policy


def random_head(rows: int = 64, actions: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(2 * actions, rows, generator=generator, dtype=torch.float64)
    return head, torch.randn(actions, rows, generator=generator, dtype=torch.float64)


def test_log_prob_is_that_of_a_transformed_distribution():
    head, noise = random_head()
    mean, raw = head.chunk(2)
    std = torch.exp(-5 + 3.5 * (torch.tanh(raw) + 1))
    distribution = TransformedDistribution(Independent(Normal(mean.T, std.T), 1), TanhTransform(cache_size=1))
    x = mean + std * noise
    inside = (x.abs() < 8).all(0)  # beyond, 1 - tanh(x)^2 in the oracle itself loses its digits
    assert inside.sum() > 30
    sample = sample_policy(head, noise)
    expected = distribution.log_prob(torch.tanh(x.T))
    torch.testing.assert_close(sample.log_prob[inside], expected[inside], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(sample.action, torch.tanh(x), rtol=0, atol=0)


def test_density_integrates_to_one():
    """In one dimension, the density at a = tanh(x), integrated over a, is 1."""
    a = np.linspace(-1 + 1e-6, 1 - 1e-6, 200_001)
    mean, raw = 0.3, 0.1
    std = math.exp(-5 + 3.5 * (math.tanh(raw) + 1))
    head = torch.tensor([[mean], [raw]], dtype=torch.float64).expand(2, len(a))
    noise = torch.from_numpy((np.arctanh(a) - mean) / std).unsqueeze(0)
    density = sample_policy(head, noise).log_prob.exp().numpy()
    assert np.trapezoid(density, a) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("x", [-60.0, -10.0, 10.0, 60.0])
def test_gradient_is_finite_where_tanh_is_flat(x, dtype):
    """Far out the density's slope by the mean is 2 tanh(x) times the entropy weight, and nothing overflows."""
    head = torch.tensor([[x], [-20.0]], dtype=dtype)  # a standard deviation of exp(-5)
    sample = sample_policy(head, torch.zeros(1, 1, dtype=dtype))
    d_head = policy_backward(sample, torch.ones(1, 1, dtype=dtype), torch.tensor([0.5], dtype=dtype))
    assert torch.isfinite(sample.log_prob).all()
    assert torch.isfinite(d_head).all()
    assert float(d_head[0, 0]) == pytest.approx(math.copysign(1.0, x), abs=1e-6)


@pytest.mark.parametrize(("raw", "log_std"), [(-50.0, -5.0), (0.0, -1.5), (50.0, 2.0)])
def test_log_std_stays_in_its_range(raw, log_std):
    head = torch.tensor([[0.0], [raw]], dtype=torch.float64)
    scaled = sample_policy(head, torch.ones(1, 1, dtype=torch.float64)).scaled_noise
    assert float(scaled.log()) == pytest.approx(log_std)


def test_acting_without_a_generator_is_the_mode_and_with_one_a_sample(make_learner):
    learner = make_learner()
    obs = torch.rand(6, 5, dtype=torch.float64)
    before = learner.generator.get_state()
    mode = learner.act(obs)
    assert torch.equal(mode, learner.act(obs))
    sampled = learner.act(obs, torch.Generator().manual_seed(1))
    assert torch.equal(sampled, learner.act(obs, torch.Generator().manual_seed(1)))
    assert not torch.equal(sampled, mode)
    assert sampled.abs().max() <= 1
    assert torch.equal(before, learner.generator.get_state())


def test_acting_on_one_observation_agrees_with_the_batch_and_with_itself(make_learner):
    learner = make_learner(dtype=torch.float32, hidden_width=64)
    obs = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    batch = learner.act(torch.from_numpy(obs)).numpy()
    single = np.stack([learner.act_one(row) for row in obs])
    np.testing.assert_allclose(single, batch, atol=1e-6)
    assert single.dtype == np.float32
    storage = np.zeros(40, np.float32)
    for offset in range(8):  # the same numbers at other addresses
        storage[offset : offset + 5] = obs[0]
        assert learner.act_one(storage[offset : offset + 5]).tobytes() == single[0].tobytes()
