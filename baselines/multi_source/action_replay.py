"""Replay of source actions: a conditional variational autoencoder p(a | condition), which a policy listens to.

The condition is whatever an encoder makes of an observation and a source's label, so that nothing here depends on the
kind of observation. After arXiv 2306.03360: reconstruction error + 0.5 KL, log std within [-4, 15], a penultimate layer
of the decoder as the policy's input, and latents within +-0.5 at use.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from baselines.multi_source.networks import Shapes, linear, mlp, mlp_shapes
from wombet.networks import Views

KL_WEIGHT = 0.5
LOG_STD_MIN, LOG_STD_MAX = -4.0, 15.0
LATENT_RANGE = 0.5
"""Latents at use are standard normal, clipped to this."""


class ActionReplay:
    """The networks of the autoencoder, by the parameters that it is given: `views` of shapes `shapes`."""

    def __init__(self, condition_dim: int, action_dim: int, width: int, feature_dim: int) -> None:
        self.action_dim, self.feature_dim = action_dim, feature_dim
        self.latent_dim = 2 * action_dim
        self.shapes: Shapes = {
            **mlp_shapes("replay.encoder", (condition_dim + action_dim, width, width, 2 * self.latent_dim)),
            **mlp_shapes("replay.decoder", (condition_dim + self.latent_dim, width, width, feature_dim)),
            **mlp_shapes("replay.action", (feature_dim, action_dim)),
        }

    @property
    def variance(self) -> float:
        """Variance of the actions' Gaussian likelihood under which the loss is a multiple of the evidence bound."""
        return KL_WEIGHT * self.action_dim / (2 * self.latent_dim)

    def features(self, views: Views, condition: Tensor, latent: Tensor) -> Tensor:
        """Return the decoder's penultimate layer (..., feature_dim), which the policy is given."""
        return functional.silu(mlp(views, "replay.decoder", torch.cat((condition, latent), -1)))

    def actions(self, views: Views, features: Tensor) -> Tensor:
        """Return the decoded actions (..., action_dim) in [-1, 1]."""
        return torch.tanh(linear(views, "replay.action.0", features))

    def bound(self, views: Views, condition: Tensor, action: Tensor, noise: Tensor) -> Tensor:
        """Return the evidence lower bound (...,) of log p(action | condition) for noise (..., latent_dim)."""
        mean, log_std = mlp(views, "replay.encoder", torch.cat((condition, action), -1)).chunk(2, -1)
        log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
        latent = mean + log_std.exp() * noise
        decoded = self.actions(views, self.features(views, condition, latent))
        return evidence_bound(action, decoded, mean, log_std, self.variance)

    def loss(self, views: Views, condition: Tensor, action: Tensor, noise: Tensor) -> Tensor:
        """Return mean squared error + 0.5 KL, each a mean over its dimensions and over the rows."""
        constant = 0.5 * self.action_dim * math.log(2 * math.pi * self.variance)
        bound = self.bound(views, condition, action, noise)
        return -(bound + constant).mean() * (2 * self.variance / self.action_dim)


def evidence_bound(action: Tensor, decoded: Tensor, mean: Tensor, log_std: Tensor, variance: float) -> Tensor:
    """Return log N(action; decoded, variance) - KL(N(mean, std^2) || N(0, 1)) of each row, in nats."""
    kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(-1)
    error = (action - decoded).square().sum(-1) / (2 * variance)
    return -error - 0.5 * action.shape[-1] * math.log(2 * math.pi * variance) - kl
