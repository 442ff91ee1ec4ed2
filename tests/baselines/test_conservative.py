"""CQL on the learner core: equal to d3rlpy's on the same actions, and right where a closed form is known."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.torch_utility import TorchMiniBatch

from baselines.conservative import ConservativeConfig, ConservativeLearner
from baselines.cql import CQLConfig, d3rlpy_cql
from baselines.d3rlpy_method import Transitions, as_minibatch
from wombet.errors import InputError
from wombet.learner import Batch
from wombet.networks import actor_forward, critic_forward

OBS, ACTION, WIDTH, ROWS = 5, 3, 16, 12
CONFIG = ConservativeConfig(hidden_width=WIDTH, n_action_samples=4)


def made(config: ConservativeConfig = CONFIG, dtype: torch.dtype = torch.float32) -> ConservativeLearner:
    learner = ConservativeLearner(OBS, ACTION, config, torch.Generator().manual_seed(3), dtype=dtype)
    learner.conservative = True
    learner.targets.vector.mul_(0.9)
    return learner


def batch_of(dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(5)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1

    ended = (uniform(ROWS) > 0.5).to(dtype)
    return Batch(uniform(ROWS, OBS), uniform(ROWS, ACTION), uniform(ROWS), uniform(ROWS, OBS), ended, torch.zeros(ROWS))


def d3rlpy_twin(learner: ConservativeLearner) -> Any:
    """d3rlpy's CQL with the learner's critics."""
    small = CQLConfig(hidden_width=WIDTH, batch_size=ROWS, n_action_samples=4)
    algorithm = d3rlpy_cql(small).create(device="cpu:0")
    with torch.random.fork_rng(devices=[]):
        algorithm.create_impl((OBS,), ACTION)
    views = learner.critics.views
    with torch.no_grad():
        for i, network in enumerate(algorithm.impl.modules.q_funcs):
            pairs = zip(network.parameters(), ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3"), strict=True)
            for theirs, name in pairs:
                ours = views[name][i]
                theirs.copy_(ours.T if name in ("weight1", "weight2") else ours.reshape(theirs.shape))
    return algorithm.impl


def test_loss_and_gradient_are_d3rlpys_on_the_same_weights_rows_targets_and_actions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner, batch = made(), batch_of()
    actions, log_density = learner.sampled_actions(batch)
    y = learner.conservative_target(batch)
    found = learner.conservative_gradient(batch, y, actions, log_density)
    impl = d3rlpy_twin(learner)
    parts = iter([actions[:, 4:8], actions[:, 8:]]), iter([log_density[:, 4:8], log_density[:, 8:]])

    def values(obs: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        flat = obs.repeat_interleave(4, 0), chosen.flatten(0, 1)
        return impl._q_func_forwarder.compute_expected_q(*flat, "none").view(2, ROWS, 4)

    # Their actions are drawn inside; they are given ours, and do the rest of their update themselves.
    monkeypatch.setattr(
        impl,
        "_compute_policy_is_values",
        lambda policy_obs, value_obs, returns_to_go: (values(value_obs, next(parts[0])), next(parts[1])),
    )
    monkeypatch.setattr(
        impl, "_compute_random_is_values", lambda obs: (values(obs, actions[:, :4]), math.log(0.5**ACTION))
    )
    # Terminated rows whose reward is y: then y is their target, too.
    columns = (batch.obs, batch.action, y, batch.next_obs, torch.ones(ROWS))
    theirs = as_minibatch(Transitions(*(np.asarray(column) for column in columns)))
    rows = TorchMiniBatch.from_batch(theirs, gamma=0.99, compute_returns_to_go=False, device="cpu:0")
    loss = impl.compute_critic_loss(rows, torch.zeros(ROWS, 1))
    loss.critic_loss.backward()
    # Their loss is the sum over the two critics of what ours is the mean of.
    ours = found["critic_loss"] + 5.0 * found["conservative_gap"]
    assert float(loss.critic_loss.detach()) == pytest.approx(2 * float(ours), rel=1e-5)
    for i, network in enumerate(impl.modules.q_funcs):
        for theirs_p, name in zip(
            network.parameters(), ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3"), strict=True
        ):
            mine = learner._critic_gradient.views[name][i]
            mine = mine.T if name in ("weight1", "weight2") else mine.reshape(theirs_p.shape)
            torch.testing.assert_close(2 * mine, theirs_p.grad, rtol=1e-4, atol=1e-6)


def test_of_a_constant_value_the_gap_is_the_log_of_volume_and_count() -> None:
    learner, batch = made(), batch_of()
    learner.critics.vector.zero_()
    learner.critics.views["bias3"].fill_(7.0)
    actions, _ = learner.sampled_actions(batch)
    uniform = torch.full(actions.shape[:2], -ACTION * math.log(2))
    found = learner.conservative_gradient(batch, torch.zeros(ROWS), actions, uniform)
    assert float(found["conservative_gap"]) == pytest.approx(ACTION * math.log(2) + math.log(12), rel=1e-5)
    assert float(found["critic_loss"]) == pytest.approx(49.0)


def test_with_weight_zero_the_gradient_is_that_of_the_temporal_difference() -> None:
    learner, batch = made(replace(CONFIG, conservative_weight=0.0), torch.float64), batch_of(torch.float64)
    y = learner.conservative_target(batch)
    learner.conservative_gradient(batch, y, *learner.sampled_actions(batch))
    written = learner._critic_gradient.vector.clone()
    learner.target = lambda *_: y  # type: ignore[method-assign]
    learner.critic_gradient(batch, torch.zeros(ACTION, ROWS))
    torch.testing.assert_close(written, learner._critic_gradient.vector)


def test_actions_are_uniform_then_of_the_policy_at_either_observation_with_their_densities() -> None:
    config = replace(CONFIG, n_action_samples=3000)
    learner, batch = made(config, torch.float64), batch_of(torch.float64)
    batch = batch._replace(next_obs=batch.next_obs + 3.0)
    actions, density = learner.sampled_actions(batch)
    uniform, here, following = actions.split(3000, 1)
    assert uniform.abs().max() <= 1
    torch.testing.assert_close(uniform.mean((0, 1)), torch.zeros(ACTION, dtype=torch.float64), atol=0.02, rtol=0)
    torch.testing.assert_close(
        uniform.square().mean((0, 1)), torch.full((ACTION,), 1 / 3, dtype=torch.float64), atol=0.01, rtol=0
    )
    torch.testing.assert_close(density[:, :3000], torch.full((ROWS, 3000), math.log(0.5**ACTION), dtype=torch.float64))
    for drawn, log_density, obs in (
        (here, density[:, 3000:6000], batch.obs),
        (following, density[:, 6000:], batch.next_obs),
    ):
        mean, raw = actor_forward(learner.actor.views, obs)[0].T.chunk(2, 1)
        law = torch.distributions.Normal(mean.unsqueeze(1), (-5 + 3.5 * (torch.tanh(raw) + 1)).exp().unsqueeze(1))
        inside = drawn.clamp(-1 + 1e-9, 1 - 1e-9)
        x = torch.atanh(inside)
        expected = (law.log_prob(x) - torch.log1p(-inside.square())).sum(-1)
        usual = drawn.abs().amax(-1) < 0.9999
        torch.testing.assert_close(log_density[usual], expected[usual], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(x.mean(1), mean, atol=0.15, rtol=0)


@pytest.mark.parametrize("best", [False, True])
def test_the_target_leaves_out_entropy_and_termination_and_takes_the_best_action_if_asked(best: bool) -> None:
    learner, batch = made(replace(CONFIG, max_target_backup=best)), batch_of()
    start = learner.generator.get_state()
    y = learner.conservative_target(batch)
    learner.generator.set_state(start)
    count = 4 if best else 1
    action, _ = learner._drawn(batch.next_obs, count)
    each = torch.stack(
        [critic_forward(learner.targets.views, batch.next_obs, action[:, i])[0].amin(0) for i in range(count)]
    )
    torch.testing.assert_close(y, batch.reward + 0.99 * (1 - batch.terminated) * each.amax(0))


def test_the_regulariser_acts_while_pretraining_only() -> None:
    cold, warm, plain = made(), made(), made(replace(CONFIG, conservative_weight=0.0))
    cold.conservative = False
    metrics = [learner.update([batch_of()]) for learner in (cold, warm, plain)]
    assert ["conservative_gap" in found for found in metrics] == [False, True, True]
    assert not torch.equal(warm.critics.vector, plain.critics.vector)


@pytest.mark.parametrize(("field", "value"), [("conservative_weight", -1.0), ("n_action_samples", 0)])
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        ConservativeConfig(**{field: value})  # type: ignore[arg-type]
