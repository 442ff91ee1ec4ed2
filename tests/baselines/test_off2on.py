"""Off2On: the density ratio, priorities, the ensemble as one policy, the burst and the switch."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from baselines.api import Phase
from baselines.density_ratio import DensityRatio
from baselines.off2on import Off2OnConfig
from baselines.policy_ensemble import Member, PolicyEnsemble, joint_sample, moments
from baselines.priority_replay import BalancedReplay, SumTree
from suites.contract.run import SmallRun
from tests.contract.harness import DATASET
from wombet.agent import offline_buffer
from wombet.errors import InputError
from wombet.learner import Batch
from wombet.networks import critic_forward


def pairs(obs: torch.Tensor) -> Batch:
    n = len(obs)
    return Batch(obs, torch.zeros(n, 1), torch.zeros(n), obs, torch.zeros(n), torch.zeros(n))


def test_the_density_ratio_of_two_gaussians_is_that_of_their_densities() -> None:
    generator = torch.Generator().manual_seed(0)
    ratio = DensityRatio(1, 1, 32, 3e-3, generator)
    offline, online = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.0, 0.8)
    for _ in range(1500):
        noise = torch.randn(2, 256, 1, generator=generator)
        ratio.step(pairs(noise[0]), pairs(1.0 + 0.8 * noise[1]))
    x = torch.linspace(-1.0, 2.0, 13).unsqueeze(1)
    expected = (online.log_prob(x) - offline.log_prob(x)).exp()[:, 0]
    torch.testing.assert_close(ratio.weights(pairs(x)), expected, rtol=0.25, atol=0.12)


def test_the_density_ratios_step_is_adams_on_autograds_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    ratio = DensityRatio(2, 1, 16, 1e-3, generator)
    assert float(ratio.network.views["bias3"]) == 1.0
    before = ratio.network.vector.clone()
    w = {name: view.clone().requires_grad_() for name, view in ratio.network.views.items()}
    offline, online = (pairs(torch.randn(9, 2, generator=generator)) for _ in range(2))

    def weights(batch: Batch) -> torch.Tensor:
        x = torch.relu(torch.cat((batch.obs, batch.action), 1) @ w["weight1"][0] + w["bias1"][0])
        x = torch.relu(x @ w["weight2"][0] + w["bias2"][0])
        return torch.relu(x @ w["weight3"][0].T + w["bias3"][0])[:, 0]

    a, b = weights(offline), weights(online)
    (-torch.log(2 / (a + 1)).mean() - torch.log(2 * b / (b + 1) + 1e-10).mean()).backward()
    ratio.step(offline, online)
    gradient = torch.cat([w[name].grad.flatten() for name in ratio.network.views])  # type: ignore[union-attr]
    torch.testing.assert_close(ratio._gradient.vector, gradient)
    moved = (ratio.network.vector - before).sign()
    assert (moved[gradient.abs() > 1e-6] == -gradient.sign()[gradient.abs() > 1e-6]).all()


def test_the_tree_finds_what_a_running_sum_finds() -> None:
    generator = np.random.default_rng(0)
    tree, values = SumTree(37), generator.random(37)
    values[[0, 5, 36]] = 0.0
    tree.set(np.arange(37), values)
    tree.set(np.array([3, 9, 3]), np.array([2.5, 0.25, 2.5]))
    values[[3, 9]] = 2.5, 0.25
    assert tree.total == pytest.approx(values.sum())
    masses = generator.random(2000) * tree.total
    np.testing.assert_array_equal(tree.find(masses), np.searchsorted(np.cumsum(values), masses, side="right"))
    assert values[tree.find(np.array([0.0, tree.total, 2 * tree.total]))].all()


def replay(share: float = 0.5, first: int = 40, capacity: int = 100) -> BalancedReplay:
    return BalancedReplay(offline_buffer(DATASET, 0.0, "cpu"), capacity, share, first)


def filled(made: BalancedReplay, rows: int) -> BalancedReplay:
    for i in range(rows):
        made.add(np.full(8, i), np.zeros(2), float(i), np.full(8, i), False)
    return made


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_first_batches_are_online_by_the_chosen_share(share: float) -> None:
    made = filled(replay(share), 40)
    generator = np.random.default_rng(0)
    drawn = np.concatenate([made.draw(64, generator)[1] for _ in range(20)])
    assert (drawn >= len(DATASET)).mean() == pytest.approx(share, abs=0.005)


def test_draws_are_stratified_and_give_the_rows_of_their_indices() -> None:
    made = filled(replay(), 40)
    batch, indices = made.draw(40, np.random.default_rng(1))
    assert (np.diff(indices) >= 0).all()
    for row, index in enumerate(indices):
        n = len(DATASET)
        expected = DATASET.obs[index] if index < n else np.full(8, index - n, np.float32)
        np.testing.assert_array_equal(batch.obs[row].numpy(), expected)


def test_new_rows_enter_at_the_highest_priority_there_has_been_which_never_falls() -> None:
    made = filled(replay(), 10)
    start = made.highest
    assert start == pytest.approx(len(DATASET) / 40)
    seen = [start]
    for priority in (0.01, 7.0, 0.5):
        made.set_priorities(np.array([0, len(DATASET)]), np.array([priority, priority]))
        seen.append(made.highest)
    assert seen == [start, start, 7.0, 7.0]
    filled(made, 1)
    assert made.tree.read(len(DATASET) + 10, len(DATASET) + 11) == 7.0


def test_a_full_ring_overwrites_the_oldest_row_with_its_priority() -> None:
    made = filled(replay(capacity=16), 16)
    made.set_priorities(np.array([len(DATASET)]), np.array([1e-3]))
    filled(made, 1)
    assert made.tree.read(len(DATASET), len(DATASET) + 1) == made.highest
    assert made.tree.total == pytest.approx(len(DATASET) + 16 * made.highest)
    again = replay(capacity=16)
    again.restore(made.state())
    np.testing.assert_array_equal(again.tree.nodes, made.tree.nodes)


CONFIG = Off2OnConfig(hidden_width=16, n_members=3)


def ensemble() -> PolicyEnsemble:
    members = [Member(5, 3, CONFIG, torch.Generator().manual_seed(i)) for i in range(3)]
    for member in members:
        member.critics.vector.mul_(1.5)
    return PolicyEnsemble(members, CONFIG, torch.Generator().manual_seed(9))


def batch_of(n: int = 12) -> Batch:
    generator = torch.Generator().manual_seed(2)
    obs, next_obs = torch.randn(n, 5, generator=generator), torch.randn(n, 5, generator=generator)
    action = torch.rand(n, 3, generator=generator) * 2 - 1
    return Batch(obs, action, action[:, 0], next_obs, (action[:, 1] > 0).float(), torch.zeros(n))


def test_the_joint_policy_has_the_mixtures_moments_and_its_own_density() -> None:
    made, batch = ensemble(), batch_of()
    heads, _ = made.heads(batch.obs)
    mean, std = moments(heads)
    mu, raw = heads.chunk(2, 1)
    sigma = (-5 + 3.5 * (torch.tanh(raw) + 1)).exp()
    torch.testing.assert_close(mean, mu.mean(0))
    torch.testing.assert_close(std.square(), (mu**2 + sigma**2).mean(0) - mu.mean(0) ** 2, rtol=1e-4, atol=1e-6)
    noise = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    sample = joint_sample(heads, noise)
    law = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, std), torch.distributions.TanhTransform(cache_size=1)
    )
    torch.testing.assert_close(sample.log_prob, law.log_prob(sample.action).sum(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(made.act(batch.obs), torch.tanh(mean).T)


def test_a_members_target_is_the_minimum_of_its_own_twins() -> None:
    made, batch = ensemble(), batch_of()
    sample = joint_sample(made.heads(batch.next_obs)[0], torch.zeros(3, 12))
    each = [critic_forward(member.targets.views, batch.next_obs, sample.action.T)[0] for member in made.members]
    lowest = torch.stack([q.amin(0) for q in each])
    assert (lowest.argmin(0) != 1).any()  # so that the minimum over all would differ from member 1's own
    entropy = 0.1 * sample.log_prob
    expected = batch.reward + 0.99 * (1 - batch.terminated) * (lowest[1] - entropy)
    torch.testing.assert_close(made.target(made.members[1], batch, sample), expected)


def test_all_actors_climb_the_mean_over_members_of_the_minimum_of_twins() -> None:
    made, batch = ensemble(), batch_of()
    noise = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    d_heads, _, _ = made.actor_gradient(batch, noise)
    heads = made.heads(batch.obs)[0].clone().requires_grad_()
    sample = joint_sample(heads, noise)
    q = torch.stack([_plain_values(member, batch.obs, sample.action.T).amin(0) for member in made.members]).mean(0)
    (0.1 * sample.log_prob - q).mean().backward()
    torch.testing.assert_close(d_heads, heads.grad, rtol=1e-4, atol=1e-6)


def _plain_values(member: Member, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    w = member.critics.views
    x = torch.cat((obs, action), 1).expand(2, -1, -1)
    for layer in "12":
        x = torch.relu(x @ w["weight" + layer] + w["bias" + layer])
    return (x @ w["weight3"].transpose(1, 2) + w["bias3"])[..., 0]


def at_the_switch(**settings: Any) -> SmallRun:
    run = SmallRun("off2on", {"n_members": 3, **settings})
    run.adapter.train(Phase.OFFLINE, lambda **_: None)
    run.phase_index = 1
    return run


def _recorded(update: Any, rows: list[bytes]) -> Any:
    def recorded(batches: Any) -> Any:
        rows.append(batches[0].obs.numpy().tobytes())
        return update(batches)

    return recorded


def test_members_differ_from_the_start_and_are_pretrained_on_rows_of_their_own() -> None:
    begun = SmallRun("off2on", {"n_members": 3}).adapter.ensemble.members  # type: ignore[attr-defined]
    run = SmallRun("off2on", {"n_members": 3})
    drawn: list[list[bytes]] = []
    for member in run.adapter.ensemble.members:  # type: ignore[attr-defined]
        rows: list[bytes] = []
        drawn.append(rows)
        member.update = _recorded(member.update, rows)
    run.adapter.train(Phase.OFFLINE, lambda **_: None)
    trained = run.adapter.ensemble.members  # type: ignore[attr-defined]
    for members in (begun, trained):
        for i in range(3):
            for j in range(i):
                assert (members[i].actor.vector - members[j].actor.vector).abs().mean() > 1e-2
                assert (members[i].critics.vector - members[j].critics.vector).abs().mean() > 1e-2
    assert [len(rows) for rows in drawn] == [25, 25, 25]
    assert len({tuple(rows) for rows in drawn}) == 3
    assert all(member.conservative for member in trained)


def test_the_first_updates_are_a_burst_after_a_warm_up_without_any() -> None:
    run = at_the_switch(first_burst=3, utd=1)
    adapter: Any = run.adapter
    counts: list[tuple[int, int]] = []
    actors = adapter.policy_state()["actors"]

    def watch(live: SmallRun) -> None:
        counts.append((adapter.steps, adapter.updates - 25))
        if adapter.steps < 10:
            assert all(torch.equal(a, b) for a, b in zip(actors, adapter.policy_state()["actors"], strict=True))

    run.train(in_tick=watch)
    assert counts[:10] == [(step, 0) for step in range(1, 11)]
    assert counts[10:40] == [(10, update) for update in range(1, 31)]
    assert counts[40:] == [(10 + more, 30 + more) for more in range(1, 51)]


def test_optimisers_temperature_and_targets_begin_anew_at_the_switch_and_networks_go_on() -> None:
    run = at_the_switch()
    adapter: Any = run.adapter
    before = adapter.ensemble.state()["members"]
    assert all(member["actor_adam"]["steps"] == 25 for member in before)
    states: list[Any] = []
    run.train(in_tick=lambda live: states.append(adapter.ensemble.state()))
    for old, new in zip(before, states[0]["members"], strict=True):
        for part in ("actor", "critics"):
            assert torch.equal(old[part], new[part])
        assert torch.equal(old["critics"], new["targets"])
        assert not torch.equal(old["targets"], new["targets"])
        for part in ("actor_adam", "critic_adam"):
            assert new[part]["steps"] == 0
            assert not new[part]["first_moment"].any()
    assert float(states[0]["log_temperature"]) == pytest.approx(math.log(0.1))
    made = adapter.updates - 25
    assert states[-1]["members"][0]["actor_adam"]["steps"] == made
    assert states[-1]["temperature_adam"]["steps"] == made


def test_priorities_of_drawn_rows_follow_the_ratio_relative_to_the_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    run = at_the_switch(batch_size=64)
    adapter: Any = run.adapter
    ratios = torch.cat((torch.full((64,), 32.0), torch.ones(64)))
    monkeypatch.setattr(adapter.ratio, "step", lambda offline, online: ratios)
    monkeypatch.setattr(adapter.ratio, "weights", lambda batch: torch.linspace(0, 64, 64))
    given: list[tuple[np.ndarray, np.ndarray]] = []
    monkeypatch.setattr(adapter.replay, "set_priorities", lambda *update: given.append(update))
    run.train()
    indices, priorities = given[0]
    assert len(indices) == 64
    expected = np.clip((np.linspace(0, 64, 64) / 32) ** 0.2, 1e-3, 1e3)
    np.testing.assert_allclose(priorities, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_members", 0), ("first_burst", 0), ("warmup_steps", 0), ("online_share", 1.0), ("ratio_temperature", 0.0)],
)
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        Off2OnConfig(**{field: value})  # type: ignore[arg-type]
