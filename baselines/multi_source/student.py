"""The student: a model of the target task whose features are drawn towards those of similar source tasks."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.multi_source.networks import Trainable, linear, mlp, mlp_shapes
from baselines.multi_source.similarity import Similarity, row_weights
from baselines.multi_source.teacher import Scales
from wombet.learner import Batch
from wombet.networks import Views


class Student:
    """Encoder, dynamics and reward heads, the map D from teacher's to student's features, and the similarity unit.

    Everything is measured in `scales`, those of the source data. The unit begins at zero, where it favours no source.
    """

    def __init__(
        self,
        scales: Scales,
        action_dim: int,
        width: int,
        feature_dim: int,
        learning_rate: float,
        generator: torch.Generator,
        device: str,
    ) -> None:
        obs_dim = len(scales.obs_mean)
        self.scales, self.feature_dim = scales, feature_dim
        shapes = {
            **mlp_shapes("encoder", (obs_dim, width, width, feature_dim)),
            **mlp_shapes("dynamics", (feature_dim + action_dim, width, obs_dim)),
            **mlp_shapes("reward", (feature_dim + action_dim, width, 1)),
            **mlp_shapes("map", (feature_dim, feature_dim)),
            **mlp_shapes("unit", (2 * feature_dim, 1)),
        }
        self.network = Trainable(shapes, learning_rate, generator, device)
        for name in ("unit.0.weight", "unit.0.bias"):
            self.network.views[name].zero_()

    @torch.no_grad()
    def features(self, obs: Tensor) -> Tensor:
        """Return the features (n, feature_dim) of observations, without gradients."""
        return mlp(self.network.views, "encoder", self.scales.standardised(obs))

    @torch.no_grad()
    def learned_logits(self, taught: Tensor, obs: Tensor) -> Tensor:
        """Return the similarity unit's logits (K, n) for the teacher's features (K, n, feature_dim)."""
        return _unit(self.network.views, taught, self.features(obs))

    def update(
        self, batch: Batch, taught: Tensor, similarity: Similarity, coefficient: float, floor: float
    ) -> dict[str, Tensor]:
        """Take one step on rows of the target task: predict changes and rewards, and be like the similar sources.

        The distillation loss is coefficient * sum over k of max(floor, w_k) |D h_T(s; k) - h_S(s)|^2 / feature_dim;
        its gradient reaches student, D and the similarity unit, and never the teacher. Returns the losses.
        """
        losses: dict[str, Tensor] = {}
        state, change = self.scales.standardised(batch.obs), self.scales.change(batch.obs, batch.next_obs)

        def loss(views: Views) -> Tensor:
            own = mlp(views, "encoder", state)
            head = torch.cat((own, batch.action), -1)
            error = functional.mse_loss(mlp(views, "reward", head)[:, 0], batch.reward)
            losses["student_dynamics_loss"] = functional.mse_loss(mlp(views, "dynamics", head), change)
            losses["student_reward_loss"] = error / self.scales.reward_variance
            total = losses["student_dynamics_loss"] + losses["student_reward_loss"]
            if coefficient > 0:
                weights = row_weights(_unit(views, taught, own), similarity.measured, similarity.signals)
                distances = (linear(views, "map.0", taught) - own).square().mean(-1)
                losses["distillation_loss"] = selected(distances, weights, floor)
                total = total + coefficient * losses["distillation_loss"]
            return total

        self.network.minimise(loss)
        return {name: value.detach() for name, value in losses.items()}

    def state(self) -> dict[str, Any]:
        """Return parameters and optimiser."""
        return self.network.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.network.restore(state)


def selected(distances: Tensor, weights: Tensor, floor: float) -> Tensor:
    """Return the mean over rows of sum over k of max(floor, w_k) times the distances, both (K, n)."""
    return (weights.clamp(min=floor) * distances).sum(0).mean()


def _unit(views: Views, taught: Tensor, own: Tensor) -> Tensor:
    return linear(views, "unit.0", torch.cat((taught, own.expand_as(taught)), -1)).squeeze(-1)
