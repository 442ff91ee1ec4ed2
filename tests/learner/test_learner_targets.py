"""The critics' target, the random subset, and the temporal-difference error."""

import pytest
import torch

from wombet.networks import actor_forward, critic_forward, sample_policy


def noise_for(rows: int = 16) -> torch.Tensor:
    return torch.randn(3, rows, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def next_values(learner, batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all target critics' values (E, n) at the sampled next action, and its log probability."""
    sample = sample_policy(actor_forward(learner.actor.views, batch.next_obs)[0], noise_for())
    return critic_forward(learner.targets.views, batch.next_obs, sample.action.T)[0], sample.log_prob


def test_target_of_a_terminated_row_is_reward_minus_penalty(make_learner, make_batch):
    """Neither value nor entropy enters past a true termination."""
    batch = make_batch()
    batch = batch._replace(terminated=torch.ones_like(batch.terminated))
    y = make_learner().target(batch, noise_for())
    assert torch.equal(y, batch.reward - batch.penalty)


@pytest.mark.parametrize("backup_entropy", [True, False])
def test_target_of_a_truncated_row_bootstraps(make_learner, make_batch, backup_entropy):
    """At a time limit terminated is 0, and the next observation's soft value counts in full."""
    batch = make_batch()
    batch = batch._replace(terminated=torch.zeros_like(batch.terminated))
    learner = make_learner(discount=0.9, backup_entropy=backup_entropy)
    q, log_prob = next_values(learner, batch)
    bonus = -0.1 * log_prob if backup_entropy else 0.0
    expected = batch.reward - batch.penalty + 0.9 * (torch.minimum(q[0], q[1]) + bonus)
    torch.testing.assert_close(learner.target(batch, noise_for()), expected)


def test_target_uses_the_minimum_of_the_subset_only(make_learner, make_batch):
    batch = make_batch()
    learner = make_learner(n_critics=5, target_subset=2, discount=1.0, backup_entropy=False)
    q, _ = next_values(learner, batch)
    y = learner.target(batch, noise_for(), torch.tensor([3, 1]))
    expected = batch.reward - batch.penalty + (1 - batch.terminated) * torch.minimum(q[3], q[1])
    torch.testing.assert_close(y, expected)


def test_subset_is_without_repetition_and_fresh(make_learner):
    learner = make_learner(n_critics=5, target_subset=2)
    drawn = [learner._draw_subset(learner.generator).tolist() for _ in range(2000)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    counts = {pair: [tuple(sorted(d)) for d in drawn].count(pair) for pair in {tuple(sorted(d)) for d in drawn}}
    assert len(counts) == 10
    assert min(counts.values()) > 140  # 200 expected each, standard deviation 13


def test_every_critic_step_draws_a_subset(make_learner, make_batch, monkeypatch):
    learner = make_learner(n_critics=5, target_subset=2)
    used: list[torch.Tensor] = []
    target = learner.target
    monkeypatch.setattr(learner, "target", lambda b, n, subset: used.append(subset) or target(b, n, subset))
    learner.update([make_batch(seed=i) for i in range(12)])
    assert len({tuple(sorted(subset.tolist())) for subset in used}) > 3


def test_subset_of_all_is_the_full_minimum_and_draws_nothing(make_learner, make_batch):
    batch = make_batch()
    learner = make_learner(n_critics=5, target_subset=5)
    before = learner.generator.get_state()
    assert learner._draw_subset(learner.generator) is None
    assert torch.equal(before, learner.generator.get_state())
    everything = learner.target(batch, noise_for(), torch.tensor([4, 2, 0, 1, 3]))
    torch.testing.assert_close(learner.target(batch, noise_for()), everything, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_the_target_is_the_minimum_of_exactly_the_drawn_critics_for_every_size(size, make_learner, make_batch):
    batch = make_batch()
    learner = make_learner(n_critics=5, target_subset=size)
    values, log_prob = next_values(learner, batch)
    drawn = learner._draw_subset(torch.Generator().manual_seed(1))
    members = range(5) if drawn is None else drawn.tolist()
    assert len(set(members)) == size
    lowest = torch.stack([values[i] for i in members]).min(0).values
    soft = lowest - 0.1 * log_prob
    expected = batch.reward + 0.99 * (1 - batch.terminated) * soft - batch.penalty
    torch.testing.assert_close(learner.target(batch, noise_for(), drawn), expected, rtol=1e-12, atol=1e-12)


def test_td_error_is_the_mean_distance_to_the_target_and_leaves_training_alone(make_learner, make_batch):
    batch = make_batch()
    learner = make_learner(n_critics=5, target_subset=2)
    before = learner.state()
    error, y = learner.td_error(batch, torch.Generator().manual_seed(9))
    q = critic_forward(learner.critics.views, batch.obs, batch.action)[0]
    torch.testing.assert_close(error, sum((y - q[i]).abs() for i in range(5)) / 5)
    replayed = torch.Generator().manual_seed(9)
    subset = torch.randperm(5, generator=replayed)[:2]
    noise = torch.randn(3, 16, generator=replayed, dtype=torch.float64)
    assert torch.equal(y, learner.target(batch, noise, subset))
    assert torch.equal(before["generator"], learner.state()["generator"])
    assert torch.equal(before["critics"], learner.state()["critics"])


def test_value_is_the_minimum_of_the_targets_at_the_mode(make_learner):
    learner = make_learner(n_critics=5, target_subset=2)
    learner.targets.vector.mul_(0.5)
    obs = torch.rand(9, 5, dtype=torch.float64)
    q = critic_forward(learner.targets.views, obs, learner.act(obs))[0]
    assert torch.equal(learner.value(obs), q.min(0).values)
    assert learner.value(obs).shape == (9,)
