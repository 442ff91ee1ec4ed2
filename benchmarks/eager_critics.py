"""The peer of the RLPD benchmark: a list of critics as one would write it with torch.nn, autograd and torch.optim."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from wombet.learner import ActorCritic, Batch


class EagerCritics:
    """An RLPD critic update on a list of LayerNorm modules, with torch.optim.Adam and a foreach Polyak step.

    The actor is the learner's, so that both sides draw next actions in the same way and differ in the critics alone.
    """

    def __init__(self, learner: ActorCritic, **optimiser: Any) -> None:
        config, inputs = learner.config, learner.obs_dim + learner.action_dim
        self.learner = learner
        self.critics = nn.ModuleList(_critic(inputs, config.hidden_width) for _ in range(config.n_critics))
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.critics.parameters(), config.critic_lr, **optimiser)

    def step(self, batch: Batch) -> None:
        """Move the critics one Adam step and the targets one Polyak step."""
        config = self.learner.config
        with torch.no_grad():
            action, log_prob = self.learner.sample(batch.next_obs, self.learner.generator)
            pairs = torch.cat((batch.next_obs, action), -1)
            chosen = torch.randperm(config.n_critics)[: config.target_subset].tolist()
            value = torch.stack([self.targets[i](pairs).squeeze(-1) for i in chosen]).amin(0)
            value = value - self.learner.temperature * log_prob
            y = batch.reward + config.discount * (1 - batch.terminated) * value
        pairs = torch.cat((batch.obs, batch.action), -1)
        loss = torch.stack([(critic(pairs).squeeze(-1) - y).square().mean() for critic in self.critics]).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        targets: list[Tensor] = list(self.targets.parameters())
        critics: list[Tensor] = list(self.critics.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(targets, critics, config.tau)


def _critic(inputs: int, width: int) -> nn.Module:
    layers: list[nn.Module] = []
    for fan_in in (inputs, width):
        layers += [nn.Linear(fan_in, width), nn.LayerNorm(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 1))
