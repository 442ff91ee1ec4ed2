"""The teacher: one network for all source tasks, conditioned on the source, learned offline and then frozen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from baselines.multi_source.action_replay import ActionReplay
from baselines.multi_source.networks import Trainable, mlp, mlp_shapes
from wombet.dataset import TransferDataset
from wombet.networks import Views
from wombet.streams import Streams


class SourceTeacher(Protocol):
    """What the student, the similarity and the policy ask of a teacher, whatever its encoder takes as observations.

    K sources, n rows; all of it without gradients.
    """

    n_sources: int
    replay: ActionReplay

    def features(self, obs: Tensor) -> Tensor:
        """Return each source's features (K, n, feature_dim) of n observations."""

    def rewards(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return each source's predicted rewards (K, n)."""

    def log_density(self, obs: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return bounds (K, n) of the log densities of the actions in each source's data, in nats per action entry."""

    def replayed(self, obs: Tensor, share: Tensor, latent: Tensor) -> Tensor:
        """Return the replay's features (n, replay feature_dim), averaged over the sources with shares (K,)."""


@dataclass(frozen=True)
class Scales:
    """What observations, their changes and rewards are measured in: statistics of the source data alone."""

    obs_mean: Tensor
    obs_std: Tensor
    change_std: Tensor
    reward_variance: float

    @classmethod
    def of(cls, datasets: Sequence[TransferDataset], device: str) -> "Scales":
        """Return the statistics of all sources' rows together; what never varies has a deviation of 1."""
        obs = np.concatenate([data.obs for data in datasets]).astype(np.float64)
        change = np.concatenate([data.next_obs for data in datasets]) - obs
        reward = np.concatenate([data.reward_source for data in datasets]).astype(np.float64)

        def tensor(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        def deviation(values: Any) -> Tensor:
            std = values.std(0)
            return tensor(np.where(std < 1e-6, 1.0, std))

        return cls(tensor(obs.mean(0)), deviation(obs), deviation(change), max(float(reward.var()), 1e-6))

    def standardised(self, obs: Tensor) -> Tensor:
        """Return observations in units of the source data's deviations."""
        return (obs - self.obs_mean) / self.obs_std

    def change(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        """Return the changes of observations in units of the source data's deviations."""
        return (next_obs - obs) / self.change_std


class StateTeacher:
    """The teacher for observations that are vectors: MLPs on the standardised state and a one-hot label.

    Learns, from minibatches with equally many rows of each source, to predict changes of state and rewards, and to
    reconstruct actions. All randomness comes from `streams`.
    """

    def __init__(
        self,
        datasets: Sequence[TransferDataset],
        width: int,
        feature_dim: int,
        replay_dim: int,
        learning_rate: float,
        streams: Streams,
        device: str,
    ) -> None:
        obs_dim, action_dim = datasets[0].obs.shape[1], datasets[0].action.shape[1]
        self.n_sources, self.updates = len(datasets), 0
        self.scales = Scales.of(datasets, device)
        self._labels = torch.eye(self.n_sources, device=device)
        self.replay = ActionReplay(obs_dim + self.n_sources, action_dim, width, replay_dim)
        head = feature_dim + action_dim + self.n_sources
        shapes = {
            **mlp_shapes("encoder", (obs_dim + self.n_sources, width, width, feature_dim)),
            **mlp_shapes("dynamics", (head, width, obs_dim)),
            **mlp_shapes("reward", (head, width, 1)),
            **self.replay.shapes,
        }
        self._network = Trainable(shapes, learning_rate, streams.torch("weights", device=device), device)
        self._rows = [_rows(data, device) for data in datasets]
        self._sampling = streams.numpy("rows")
        self._noise = streams.torch("latents", device=device)
        self._last: dict[str, float] = {}

    @property
    def vector(self) -> Tensor:
        """All parameters."""
        return self._network.parameters.vector

    def update(self, batch_size: int) -> None:
        """Take one step on a minibatch of as many rows of each source (to within one)."""
        obs, action, next_obs, reward, source = self._draw(batch_size)
        label = self._labels[source]
        noise = torch.randn(len(obs), self.replay.latent_dim, generator=self._noise, device=obs.device)
        state, change = self.scales.standardised(obs), self.scales.change(obs, next_obs)
        losses: dict[str, Tensor] = {}

        def loss(views: Views) -> Tensor:
            condition = torch.cat((state, label), -1)
            head = torch.cat((mlp(views, "encoder", condition), action, label), -1)
            error = functional.mse_loss(mlp(views, "reward", head)[:, 0], reward)
            losses["teacher_dynamics_loss"] = functional.mse_loss(mlp(views, "dynamics", head), change)
            losses["teacher_reward_loss"] = error / self.scales.reward_variance
            losses["teacher_replay_loss"] = self.replay.loss(views, condition, action, noise)
            return torch.stack(list(losses.values())).sum()

        self._network.minimise(loss)
        self.updates += 1
        self._last = {name: float(value.detach()) for name, value in losses.items()}

    def metrics(self) -> dict[str, float]:
        """Return the losses of the last update."""
        return dict(self._last)

    @torch.no_grad()
    def features(self, obs: Tensor) -> Tensor:
        """Return each source's features (K, n, feature_dim) of n observations."""
        return mlp(self._network.views, "encoder", self._conditions(obs))

    @torch.no_grad()
    def rewards(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return each source's predicted rewards (K, n)."""
        labels = self._labels.unsqueeze(1).expand(-1, len(obs), -1)
        head = torch.cat((self.features(obs), action.expand(self.n_sources, -1, -1), labels), -1)
        return mlp(self._network.views, "reward", head).squeeze(-1)

    @torch.no_grad()
    def log_density(self, obs: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return bounds (K, n) of the log densities of the actions in each source's data, in nats per action entry."""
        shape = (self.n_sources, len(obs), self.replay.latent_dim)
        noise = torch.randn(shape[1:], generator=generator, device=obs.device).expand(shape)
        actions = action.expand(self.n_sources, -1, -1)
        bound = self.replay.bound(self._network.views, self._conditions(obs), actions, noise)
        return bound / self.replay.action_dim

    @torch.no_grad()
    def replayed(self, obs: Tensor, share: Tensor, latent: Tensor) -> Tensor:
        """Return the replay's features (n, replay feature_dim), averaged over the sources with shares (K,)."""
        result = obs.new_zeros(len(obs), self.replay.feature_dim)
        state = self.scales.standardised(obs)
        for k in share.nonzero()[:, 0].tolist():
            condition = torch.cat((state, self._labels[k].expand(len(obs), -1)), -1)
            result += share[k] * self.replay.features(self._network.views, condition, latent)
        return result

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the teacher's learning, and what it knows."""
        return {
            "network": self._network.state(),
            "updates": self.updates,
            "last": self._last,
            "sampling": self._sampling.bit_generator.state,
            "noise": self._noise.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state of a teacher that was built alike."""
        self._network.restore(state["network"])
        self.updates, self._last = state["updates"], state["last"]
        self._sampling.bit_generator.state = state["sampling"]
        self._noise.set_state(state["noise"])

    def _conditions(self, obs: Tensor) -> Tensor:
        labels = self._labels.unsqueeze(1).expand(-1, len(obs), -1)
        return torch.cat((self.scales.standardised(obs).expand(self.n_sources, -1, -1), labels), -1)

    def _draw(self, batch_size: int) -> tuple[Tensor, ...]:
        counts = [batch_size // self.n_sources + int(k < batch_size % self.n_sources) for k in range(self.n_sources)]
        parts = []
        for k, (rows, count) in enumerate(zip(self._rows, counts, strict=True)):
            chosen = torch.from_numpy(self._sampling.integers(len(rows[0]), size=count)).to(rows[0].device)
            parts.append([*(column[chosen] for column in rows), torch.full_like(chosen, k)])
        return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def _rows(data: TransferDataset, device: str) -> list[Tensor]:
    columns = (data.obs, data.action, data.next_obs, data.reward_source)
    return [torch.from_numpy(np.ascontiguousarray(column)).to(device) for column in columns]
