"""Conservative Q-learning on the learner core, for methods that pretrain with it and go on as SAC (Kumar et al. 2020).

The critics' loss is SAC's temporal-difference error, without the entropy term in its target, and

    weight * E_s[ logsumexp over sampled a of (Q(s, a) - log density(a)) - Q(s, recorded action) ]

per critic, with as many actions from each of three laws: uniform, the policy at s, and the policy at the following
observation (valued at s). Fixed weight, no Lagrange multiplier. Equal to d3rlpy's CQL on the same actions and targets.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wombet.errors import InputError
from wombet.learner import ActorCritic, Batch, LearnerConfig
from wombet.networks import actor_forward, critic_backward, critic_forward, sample_policy, select


@dataclass(frozen=True)
class ConservativeConfig(LearnerConfig):
    """Settings of a learner that is pretrained conservatively; raises InputError for one out of range."""

    actor_lr: float = 1e-4  # Adam's step size (CQL on locomotion, WSRL)
    temperature_lr: float = 1e-4  # Adam's step size on the log temperature (CQL on locomotion, WSRL)
    conservative_weight: float = 5.0  # weight of the regulariser while pretraining (CQL, WSRL)
    n_action_samples: int = 10  # of each of three kinds; the update's cost is nearly proportional to it (CQL)
    max_target_backup: bool = False  # pretraining targets take the best of n_action_samples next actions (WSRL)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.conservative_weight < math.inf:
            raise InputError(f"conservative_weight is {self.conservative_weight}; it must be zero or more, and finite")
        if self.n_action_samples < 1:
            raise InputError(f"n_action_samples is {self.n_action_samples}; it must be at least 1")


class ConservativeLearner(ActorCritic):
    """The actor-critic core whose critic step is CQL's while `conservative` is true, and SAC's while it is not.

    Parameters, targets, temperature and optimiser moments are the same ones in both.
    """

    config: ConservativeConfig

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: ConservativeConfig,
        generator: torch.Generator,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(obs_dim, action_dim, config, generator, device, dtype)
        self.conservative = False

    def critic_step(self, batch: Batch) -> dict[str, Tensor]:
        """Move the critics one Adam step, and the targets one Polyak step."""
        if not self.conservative:
            return super().critic_step(batch)
        subset = self._draw_subset(self.generator)
        y = self.conservative_target(batch, subset)
        metrics = self.conservative_gradient(batch, y, *self.sampled_actions(batch))
        self._critic_adam.step(self._critic_gradient.vector)
        self.targets.vector.lerp_(self.critics.vector, self.config.tau)
        return metrics

    def conservative_target(self, batch: Batch, subset: Tensor | None = None) -> Tensor:
        """Return CQL's target (n,): SAC's without entropy, at one next action or the best of n_action_samples."""
        count = self.config.n_action_samples if self.config.max_target_backup else 1
        action, _ = self._drawn(batch.next_obs, count)
        views = self.targets.views if subset is None else select(self.targets.views, subset)
        next_obs = batch.next_obs.repeat_interleave(count, 0)
        value = critic_forward(views, next_obs, action.flatten(0, 1), self._wide)[0].amin(0)
        best = value.view(len(batch.obs), count).amax(1)
        return batch.reward + self.config.discount * (1 - batch.terminated) * best - batch.penalty

    def sampled_actions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the actions (n, 3 N, action_dim) that are pressed down in each state, and log densities (n, 3 N).

        N = n_action_samples; the first N are uniform, the next of the policy at obs, the last of that at next_obs.
        """
        n, count = len(batch.obs), self.config.n_action_samples
        shape = n, count, self.action_dim
        uniform = torch.rand(shape, generator=self.generator, dtype=self.dtype, device=self.device) * 2 - 1
        flat = torch.full((n, count), -self.action_dim * math.log(2), dtype=self.dtype, device=self.device)
        here, here_density = self._drawn(batch.obs, count)
        following, following_density = self._drawn(batch.next_obs, count)
        return torch.cat((uniform, here, following), 1), torch.cat((flat, here_density, following_density), 1)

    def conservative_gradient(self, batch: Batch, y: Tensor, actions: Tensor, log_density: Tensor) -> dict[str, Tensor]:
        """Write the gradient of the mean over critics of CQL's loss; return the two parts of the loss and the mean Q.

        `y` (n,) is the target, `actions` (n, K, action_dim) and `log_density` (n, K) are those of `sampled_actions`.
        """
        n, count = log_density.shape
        obs = torch.cat((batch.obs, batch.obs.repeat_interleave(count, 0)))
        q, trunk = critic_forward(self.critics.views, obs, torch.cat((batch.action, actions.flatten(0, 1))), self._wide)
        recorded, sampled = q[:, :n], q[:, n:].unflatten(1, (n, count)) - log_density
        error, share = recorded - y, self.config.conservative_weight / recorded.numel()
        d_recorded = error * (2 / recorded.numel()) - share
        d_sampled = torch.softmax(sampled, 2) * share
        d_q = torch.cat((d_recorded, d_sampled.flatten(1)), 1)
        critic_backward(self.critics.views, trunk, d_q, self._critic_gradient.views)
        gap = (torch.logsumexp(sampled, 2) - recorded).mean()
        return {"critic_loss": error.square().mean(), "conservative_gap": gap, "q_mean": recorded.mean()}

    def _drawn(self, obs: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return `count` actions of the policy for each of n observations (n, count, action_dim), and log densities."""
        head: Any = actor_forward(self.actor.views, obs, self._wide)[0].repeat_interleave(count, 1)
        noise = torch.randn(
            (self.action_dim, head.shape[1]), generator=self.generator, dtype=self.dtype, device=self.device
        )
        sample = sample_policy(head, noise)
        return sample.action.T.unflatten(0, (len(obs), count)), sample.log_prob.view(len(obs), count)
