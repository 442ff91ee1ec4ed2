"""Actor-critics that act as one: the pessimistic Q-ensemble of Off2On (Lee et al. 2021, section 4.2)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines.conservative import ConservativeConfig, ConservativeLearner
from wombet.learner import Batch
from wombet.networks import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    Trunk,
    actor_backward,
    actor_forward,
    critic_action_gradient,
    critic_backward,
    critic_forward,
)
from wombet.optimizer import Adam

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Member(ConservativeLearner):
    """One actor with its critics; online, its target and the gradient of its actor come from the whole ensemble."""

    @property
    def wide(self) -> torch.dtype:
        """The precision of the wide matrix products of updates."""
        return self._wide

    def begin_anew(self) -> None:
        """Begin with new optimisers, and with target critics that are copies of the critics."""
        self.targets.vector.copy_(self.critics.vector)
        self._actor_adam = Adam(self.actor.vector, self.config.actor_lr)
        self._critic_adam = Adam(self.critics.vector, self.config.critic_lr)

    def fit(self, batch: Batch, y: Tensor) -> tuple[Tensor, Tensor]:
        """Move the critics one Adam step towards y (n,), the targets one Polyak step; return loss and mean Q."""
        q, trunk = critic_forward(self.critics.views, batch.obs, batch.action, self._wide)
        error = q - y
        critic_backward(self.critics.views, trunk, error * (2 / error.numel()), self._critic_gradient.views)
        self._critic_adam.step(self._critic_gradient.vector)
        self.targets.vector.lerp_(self.critics.vector, self.config.tau)
        return error.square().mean(), q.mean()

    def move_actor(self, trunk: Trunk, d_head: Tensor) -> None:
        """Move the actor one Adam step against the loss's gradient by its head (2 action_dim, n)."""
        actor_backward(self.actor.views, trunk, d_head, self._actor_gradient.views)
        self._actor_adam.step(self._actor_gradient.vector)


class JointSample(NamedTuple):
    """Actions (action_dim, n) in (-1, 1) of the joint policy and their log densities (n,)."""

    action: Tensor
    log_prob: Tensor


def moments(heads: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (action_dim, n) of the equal mixture of Gaussians with `heads` (J, 2 A, n).

    That is mean(mu) and sqrt(mean(mu^2 + sigma^2) - mean(mu)^2), before the tanh.
    """
    mu, raw = heads.chunk(2, 1)
    log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(raw) + 1)
    mean = mu.mean(0)
    return mean, ((2 * log_std).exp().mean(0) + (mu - mean).square().mean(0)).sqrt()


def joint_sample(heads: Tensor, noise: Tensor) -> JointSample:
    """Return tanh of a draw from the moment-matched Gaussian, for standard normal noise (action_dim, n)."""
    mean, std = moments(heads)
    x = mean + std * noise
    log_normal = -0.5 * noise * noise - std.log() - HALF_LOG_2PI
    log_slope = 2 * (math.log(2) - x - torch.nn.functional.softplus(-2 * x))
    return JointSample(torch.tanh(x), (log_normal - log_slope).sum(0))


class PolicyEnsemble:
    """Members with one policy, the moment-matched Gaussian of theirs, and one temperature.

    Member j's target is the minimum of its own target critics less the entropy term; the joint policy maximises the
    mean over members of the minimum of each one's critics. Noise comes from `generator`.
    """

    def __init__(self, members: Sequence[Member], config: ConservativeConfig, generator: torch.Generator) -> None:
        self.members, self.config, self.generator = members, config, generator
        self.log_temperature = torch.full((1,), math.log(config.initial_temperature), device=members[0].device)
        self._temperature_adam = Adam(self.log_temperature, config.temperature_lr)
        self._target_entropy = -config.target_entropy_scale * members[0].action_dim

    def heads(self, obs: Tensor, wide: torch.dtype | None = None) -> tuple[Tensor, list[Trunk]]:
        """Return the members' policy heads (J, 2 action_dim, n), and what their backward passes need.

        `wide` is the precision of the wide products, by default the parameters'.
        """
        passes = [actor_forward(member.actor.views, obs, wide) for member in self.members]
        return torch.stack([head for head, _ in passes]), [trunk for _, trunk in passes]

    def act(self, obs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return actions (n, action_dim): tanh of the mean, or a sample if a generator is given."""
        heads, _ = self.heads(obs)
        if generator is None:
            return torch.tanh(moments(heads)[0]).T.contiguous()
        return joint_sample(heads, self._noise(obs, generator)).action.T.contiguous()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Move all critics, all actors and the temperature one step; return scalar tensors as the learner does."""
        with torch.no_grad():
            metrics = self.critic_step(batch)
            return metrics | self.actor_step(batch, self._noise(batch.obs, self.generator))

    def critic_step(self, batch: Batch) -> dict[str, Tensor]:
        """Move every member's critics towards its own target."""
        sample = joint_sample(
            self.heads(batch.next_obs, self.members[0].wide)[0], self._noise(batch.next_obs, self.generator)
        )
        fits = [member.fit(batch, self.target(member, batch, sample)) for member in self.members]
        losses, means = zip(*fits, strict=True)
        return {"critic_loss": torch.stack(losses).mean(), "q_mean": torch.stack(means).mean()}

    def target(self, member: Member, batch: Batch, sample: JointSample) -> Tensor:
        """Return a member's target (n,) at the joint policy's actions at next_obs."""
        value = critic_forward(member.targets.views, batch.next_obs, sample.action.T, member.wide)[0].amin(0)
        if self.config.backup_entropy:
            value = value - self.log_temperature.exp() * sample.log_prob
        return batch.reward + self.config.discount * (1 - batch.terminated) * value

    def actor_step(self, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
        """Move every actor against mean(temperature log prob - mean_j min Q_j), then the temperature."""
        d_heads, trunks, sample = self.actor_gradient(batch, noise)
        for member, trunk, d_head in zip(self.members, trunks, d_heads, strict=True):
            member.move_actor(trunk, d_head)
        temperature, entropy = self.log_temperature.exp(), -sample.log_prob.mean()
        self._temperature_adam.step(temperature * (entropy - self._target_entropy))
        return {"temperature": temperature[0], "entropy": entropy}

    def actor_gradient(self, batch: Batch, noise: Tensor) -> tuple[Tensor, list[Trunk], JointSample]:
        """Return the loss's gradient by the members' heads (J, 2 action_dim, n), their trunks, and the sample."""
        heads, trunks = self.heads(batch.obs, self.members[0].wide)
        with torch.enable_grad():
            variable = heads.detach().requires_grad_()
            live = joint_sample(variable, noise)
        action = live.action.detach()
        parts = [self._value_gradient(member, batch.obs, action) for member in self.members]
        d_action = torch.stack(parts).sum(0)
        d_log_prob = (self.log_temperature.exp() / len(batch.obs)).expand(len(batch.obs))
        (d_heads,) = torch.autograd.grad((live.action, live.log_prob), variable, (-d_action, d_log_prob))
        return d_heads, trunks, JointSample(action, live.log_prob.detach())

    def _value_gradient(self, member: Member, obs: Tensor, action: Tensor) -> Tensor:
        """Return the gradient by the actions of a member's part in mean over rows and members of min Q."""
        q, trunk = critic_forward(member.critics.views, obs, action.T, member.wide)
        chosen = torch.zeros_like(q).scatter_(0, q.min(0, keepdim=True).indices, 1 / (len(obs) * len(self.members)))
        return critic_action_gradient(member.critics.views, trunk, chosen, action.shape[0])

    def state(self) -> dict[str, Any]:
        """Return copies of all that decides the ensemble's future."""
        return {
            "members": [member.state() for member in self.members],
            "log_temperature": self.log_temperature.cpu().clone(),
            "temperature_adam": self._temperature_adam.state(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        for member, saved in zip(self.members, state["members"], strict=True):
            member.restore(saved)
        self.log_temperature.copy_(state["log_temperature"])
        self._temperature_adam.restore(state["temperature_adam"])
        self.generator.set_state(state["generator"])

    def _noise(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn((self.members[0].action_dim, len(obs)), generator=generator, device=obs.device)
