"""The written-out gradients and updates equal those of plain modules, autograd and torch.optim, in float64."""

import copy

import pytest
import torch
from torch import nn

from wombet.learner import ActorCritic, LearnerConfig
from wombet.networks import FlatParameters

SETTINGS = [
    {"n_critics": n, "target_subset": subset, "layer_norm": layer_norm, "actor_aggregate": aggregate}
    for n, subset in ((2, 2), (2, 1), (5, 2), (5, 5))
    for layer_norm in (False, True)
    for aggregate in ("min", "mean", "subset_min")
]


def describe(settings: dict) -> str:
    return "-".join(str(value) for value in settings.values())


class PlainLearner:
    """SAC with an ensemble as one would write it with torch.nn; starts from the parameters of an ActorCritic."""

    def __init__(self, learner: ActorCritic) -> None:
        config = self.config = learner.config
        inputs, width = learner.obs_dim + learner.action_dim, config.hidden_width
        self.target_entropy = learner.target_entropy
        self.actor = mlp(learner.obs_dim, width, 2 * learner.action_dim, False).double()
        self.critics = nn.ModuleList(mlp(inputs, width, 1, config.layer_norm) for _ in range(config.n_critics)).double()
        load(self.actor, learner.actor, 0)
        for i, critic in enumerate(self.critics):
            load(critic, learner.critics, i)
        self.targets = copy.deepcopy(self.critics)
        self.log_temperature = nn.Parameter(learner.log_temperature.clone())
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), config.actor_lr)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), config.critic_lr)
        self.temperature_optimizer = torch.optim.Adam([self.log_temperature], config.temperature_lr)

    def policy(self, obs, noise):
        mean, raw = self.actor(obs).chunk(2, -1)
        noise = noise.T
        std = torch.exp(-5 + 0.5 * 7 * (torch.tanh(raw) + 1))
        x = mean + std * noise
        log_prob = torch.distributions.Normal(mean, std).log_prob(x) - torch.log(1 - torch.tanh(x) ** 2)
        return torch.tanh(x), log_prob.sum(-1)

    def critic_loss(self, batch, noise, subset):
        config = self.config
        with torch.no_grad():
            action, log_prob = self.policy(batch.next_obs, noise)
            chosen = range(config.n_critics) if subset is None else subset.tolist()
            value = torch.stack([q_of(self.targets[i], batch.next_obs, action) for i in chosen]).min(0).values
            if config.backup_entropy:
                value = value - self.log_temperature.exp() * log_prob
            y = batch.reward + config.discount * (1 - batch.terminated) * value - batch.penalty
        losses = [((q_of(critic, batch.obs, batch.action) - y) ** 2).mean() for critic in self.critics]
        return sum(losses) / len(losses)

    def actor_losses(self, batch, noise, subset):
        action, log_prob = self.policy(batch.obs, noise)
        chosen = range(self.config.n_critics) if subset is None else subset.tolist()
        q = torch.stack([q_of(self.critics[i], batch.obs, action) for i in chosen])
        q = q.mean(0) if self.config.actor_aggregate == "mean" else q.min(0).values
        temperature = self.log_temperature.exp()
        actor_loss = (temperature.detach() * log_prob - q).mean()
        temperature_loss = (temperature * (-log_prob.detach() - self.target_entropy)).mean()
        return actor_loss, temperature_loss

    def critic_step(self, batch, noise, subset) -> None:
        self.critic_optimizer.zero_grad()
        self.critic_loss(batch, noise, subset).backward()
        self.critic_optimizer.step()
        with torch.no_grad():
            for target, parameter in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.copy_(self.config.tau * parameter + (1 - self.config.tau) * target)

    def actor_step(self, batch, noise, subset) -> None:
        actor_loss, temperature_loss = self.actor_losses(batch, noise, subset)
        self.actor_optimizer.zero_grad()
        self.temperature_optimizer.zero_grad()
        actor_loss.backward()
        temperature_loss.backward()
        self.actor_optimizer.step()
        self.temperature_optimizer.step()


def mlp(inputs: int, width: int, outputs: int, layer_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in in (inputs, width):
        layers += [nn.Linear(fan_in, width), *([nn.LayerNorm(width)] if layer_norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def q_of(critic: nn.Module, obs, action):
    return critic(torch.cat((obs, action), -1)).squeeze(-1)


def named_parameters(network: nn.Sequential) -> dict[str, nn.Parameter]:
    """Name a plain network's parameters as FlatParameters names them."""
    names, layer = {}, 0
    for module in network:
        if isinstance(module, nn.Linear):
            layer += 1
            names |= {f"weight{layer}": module.weight, f"bias{layer}": module.bias}
        elif isinstance(module, nn.LayerNorm):
            names |= {f"gain{layer}": module.weight, f"shift{layer}": module.bias}
    return names


def pairs(flat: FlatParameters, network: nn.Sequential, i: int):
    """Yield (name, our view in torch.nn's shape, the plain parameter) for network i of a stack."""
    for name, parameter in named_parameters(network).items():
        view = flat.views[name][i]
        yield name, (view.T if name in ("weight1", "weight2") else view.reshape(parameter.shape)), parameter


def load(network: nn.Sequential, flat: FlatParameters, i: int) -> None:
    with torch.no_grad():
        for _, view, parameter in pairs(flat, network, i):
            parameter.copy_(view)


def assert_equal(flat: FlatParameters, networks, tolerance: float, gradient: bool = False) -> None:
    for i, network in enumerate(networks):
        for name, view, parameter in pairs(flat, network, i):
            expected = parameter.grad if gradient else parameter.detach()
            torch.testing.assert_close(
                view, expected, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
            )


def draws(learner: ActorCritic, seed: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return noise for 16 rows and a subset, None if all critics are meant."""
    generator = torch.Generator().manual_seed(seed)
    config = learner.config
    noise = torch.randn(learner.action_dim, 16, generator=generator, dtype=torch.float64)
    subset = torch.randperm(config.n_critics, generator=generator)[: config.target_subset]
    return noise, None if config.target_subset == config.n_critics else subset


@pytest.mark.parametrize("settings", SETTINGS, ids=describe)
def test_critic_gradient_is_that_of_autograd(settings, make_learner, make_batch):
    learner, batch = make_learner(**settings), make_batch()
    learner.targets.vector.mul_(0.7)  # targets that differ from the critics
    plain = PlainLearner(learner)
    for i, target in enumerate(plain.targets):
        load(target, learner.targets, i)
    noise, subset = draws(learner, 3)
    metrics = learner.critic_gradient(batch, noise, subset)
    loss = plain.critic_loss(batch, noise, subset)
    loss.backward()
    torch.testing.assert_close(metrics["critic_loss"], loss.detach(), rtol=1e-12, atol=1e-12)
    assert_equal(learner._critic_gradient, plain.critics, 1e-11, gradient=True)


@pytest.mark.parametrize("settings", SETTINGS, ids=describe)
def test_actor_and_temperature_gradients_are_those_of_autograd(settings, make_learner, make_batch):
    learner, batch = make_learner(**settings), make_batch()
    plain = PlainLearner(learner)
    noise, subset = draws(learner, 4)
    subset = subset if settings["actor_aggregate"] == "subset_min" else None
    metrics, d_log_temperature = learner.actor_gradient(batch, noise, subset)
    actor_loss, temperature_loss = plain.actor_losses(batch, noise, subset)
    actor_loss.backward()
    temperature_loss.backward()
    assert_equal(learner._actor_gradient, [plain.actor], 1e-11, gradient=True)
    torch.testing.assert_close(d_log_temperature, plain.log_temperature.grad, rtol=1e-11, atol=1e-11)
    assert float(metrics["temperature"]) == pytest.approx(0.1)


@pytest.mark.parametrize("utd", [1, 3])
@pytest.mark.parametrize(
    "settings", [*SETTINGS[::5], {"n_critics": 3, "target_subset": 2, "backup_entropy": False}], ids=describe
)
def test_environment_steps_equal_a_plain_implementation(settings, utd, make_learner, make_batch):
    """Ten environment steps: critics, targets, actor and temperature agree with the plain learner to 1e-9."""
    rates = {"tau": 0.1, "actor_lr": 1e-2, "critic_lr": 2e-2, "temperature_lr": 3e-2}
    learner = make_learner(**settings, **rates)
    plain = PlainLearner(learner)
    noise_source = torch.Generator()
    noise_source.set_state(learner.generator.get_state())

    def next_draws(needs_subset: bool):
        """Draw in the documented order: the subset, if there is a choice, then the noise."""
        config = learner.config
        subset = None
        if needs_subset and config.target_subset < config.n_critics:
            subset = torch.randperm(config.n_critics, generator=noise_source)[: config.target_subset]
        return torch.randn(learner.action_dim, 16, generator=noise_source, dtype=torch.float64), subset

    for step in range(10):
        minibatches = [make_batch(seed=100 * step + i) for i in range(utd)]
        learner.update(minibatches)
        for batch in minibatches:
            plain.critic_step(batch, *next_draws(True))
        plain.actor_step(minibatches[-1], *next_draws(settings.get("actor_aggregate") == "subset_min"))
    assert_equal(learner.critics, plain.critics, 1e-9)
    assert_equal(learner.targets, plain.targets, 1e-9)
    assert_equal(learner.actor, [plain.actor], 1e-9)
    torch.testing.assert_close(learner.log_temperature, plain.log_temperature.detach(), rtol=1e-9, atol=1e-9)
    assert abs(float(learner.log_temperature.detach().exp()) - LearnerConfig().initial_temperature) > 1e-3


def test_initialisation_follows_linear(make_learner):
    """Weights and biases are uniform in ±1/sqrt(fan in), as torch.nn.Linear draws them; gains 1 and shifts 0."""
    learner = make_learner(hidden_width=256, n_critics=3, layer_norm=True)
    for name, fan_in in {"weight1": 8, "bias1": 8, "weight2": 256, "bias2": 256, "weight3": 256}.items():
        values = learner.critics.views[name]
        assert 0.97 / fan_in**0.5 < values.abs().max() <= 1 / fan_in**0.5
        assert values.std() == pytest.approx((1 / fan_in / 3) ** 0.5, rel=0.1)
    assert (learner.critics.views["gain1"] == 1).all()
    assert (learner.critics.views["shift2"] == 0).all()
    assert torch.equal(learner.targets.vector, learner.critics.vector)
