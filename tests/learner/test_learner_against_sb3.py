"""Steps of Stable-Baselines3's SAC equal ours: same weights, batches and noise, in float64.

Their policy is given our range of log standard deviations and its exact density; everything else is their `train`.
"""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import configure
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import nn

from wombet.networks import FlatParameters

WIDTH = 16


class Spaces(gym.Env):
    """Nothing but the spaces; it is never stepped."""

    observation_space = gym.spaces.Box(-1, 1, (5,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (3,), np.float64)


class TanhRescale(nn.Module):
    """Our range of log standard deviations; inside it the clamp of Stable-Baselines3 does nothing."""

    def forward(self, raw):
        return -5 + 3.5 * (torch.tanh(raw) + 1)


@pytest.fixture
def sb3(monkeypatch):
    """Return Stable-Baselines3's SAC in double precision, and the list its noise is taken from."""
    noises: list[torch.Tensor] = []
    monkeypatch.setattr("stable_baselines3.common.policies.preprocess_obs", lambda obs, *args, **kwargs: obs)
    monkeypatch.setattr(torch.distributions.Normal, "rsample", lambda self: self.loc + self.scale * noises.pop(0))

    def make(ent_coef):
        with torch.random.fork_rng():
            model = SAC("MlpPolicy", Spaces(), policy_kwargs={"net_arch": [WIDTH, WIDTH]}, ent_coef=ent_coef)
        model.policy.double()
        if model.ent_coef_optimizer is None:
            model.ent_coef_tensor = torch.tensor(0.1, dtype=torch.float64)
        else:
            model.log_ent_coef.data = torch.tensor([np.log(0.1)])
        model.set_logger(configure(None, []))
        model.actor.log_std = nn.Sequential(model.actor.log_std, TanhRescale())
        model.actor.action_dist.epsilon = 0.0  # its density then is exact, as ours is
        return model

    return make, noises


def load(model: SAC, learner) -> None:
    """Copy our weights into theirs."""
    for ours, theirs in parts(model, learner):
        with torch.no_grad():
            theirs.copy_(ours)


def parts(model: SAC, learner):
    """Yield our parameters, in their shape, with theirs."""
    yield from trunk(learner.actor, 0, model.actor.latent_pi)
    for rows, head in ((slice(0, 3), model.actor.mu), (slice(3, 6), model.actor.log_std[0])):
        yield learner.actor.views["weight3"][0, rows], head.weight
        yield learner.actor.views["bias3"][0, rows, 0], head.bias
    for flat, networks in ((learner.critics, model.critic), (learner.targets, model.critic_target)):
        for i, network in enumerate(networks.q_networks):
            yield from trunk(flat, i, network)
            yield flat.views["weight3"][i], network[4].weight
            yield flat.views["bias3"][i, 0], network[4].bias


def trunk(flat: FlatParameters, i: int, network: nn.Sequential):
    for layer, module in (("1", network[0]), ("2", network[2])):
        yield flat.views["weight" + layer][i].T, module.weight
        yield flat.views["bias" + layer][i, 0], module.bias


def give_batch(model: SAC, batch) -> None:
    """Let their replay buffer return our batch (penalty-free), in place of a sample."""
    column = {name: getattr(batch, name).unsqueeze(1) for name in ("reward", "terminated")}
    samples = ReplayBufferSamples(batch.obs, batch.action, batch.next_obs, column["terminated"], column["reward"])
    model.replay_buffer.sample = lambda *args, **kwargs: samples


def train_both(model, learner, noises, batch) -> None:
    """Make one update of each on the same batch and noise; theirs draws the actor's noise first."""
    source = torch.Generator()
    source.set_state(learner.generator.get_state())
    critic_noise, actor_noise = (torch.randn(3, 16, generator=source, dtype=torch.float64) for _ in range(2))
    noises[:] = [actor_noise.T, critic_noise.T]
    give_batch(model, batch)
    losses = learner.update([batch])
    model.train(1, 16)
    assert not noises
    assert model.logger.name_to_value["train/critic_loss"] == pytest.approx(float(losses["critic_loss"]), rel=1e-10)


def assert_equal(model: SAC, learner, tolerance: float) -> None:
    for ours, theirs in parts(model, learner):
        torch.testing.assert_close(ours, theirs.detach(), rtol=tolerance, atol=tolerance)


def test_a_step_with_learned_temperature_equals_theirs(sb3, make_learner, make_batch):
    """Critic loss, critics, targets, actor and temperature. Adam's first step does not depend on a gradient's scale,
    so that their temperature loss, which is ours divided by the temperature, gives the same step."""
    make, noises = sb3
    learner, model = make_learner(hidden_width=WIDTH), make("auto_0.1")
    load(model, learner)
    batch = make_batch()._replace(penalty=torch.zeros(16, dtype=torch.float64))
    train_both(model, learner, noises, batch)
    assert_equal(model, learner, 1e-9)
    torch.testing.assert_close(learner.log_temperature, model.log_ent_coef.detach(), rtol=0, atol=1e-7)
    assert float(learner.log_temperature) != pytest.approx(np.log(0.1), abs=1e-6)


def test_twenty_steps_at_a_fixed_temperature_equal_theirs(sb3, make_learner, make_batch):
    make, noises = sb3
    learner, model = make_learner(hidden_width=WIDTH, temperature_lr=0.0), make(0.1)
    load(model, learner)
    before = learner.critics.vector.clone()
    for step in range(20):
        batch = make_batch(seed=step)._replace(penalty=torch.zeros(16, dtype=torch.float64))
        train_both(model, learner, noises, batch)
    assert_equal(model, learner, 1e-9)
    assert (learner.critics.vector - before).abs().max() > 1e-3
