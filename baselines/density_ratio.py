"""How much likelier a pair of observation and action is online than in the dataset (Off2On, Lee et al. 2021)."""

from typing import Any

import torch
from torch import Tensor

from wombet.learner import Batch
from wombet.networks import FlatParameters, critic_backward, critic_forward, critic_shapes, initialise
from wombet.optimizer import Adam

EPSILON = 1e-10


class DensityRatio:
    """w(s, a) = ReLU of a network, which approaches p_online / p_offline.

    It minimises E_offline[f*(f'(w))] - E_online[f'(w)] with f of the Jensen-Shannon divergence: f'(w) = log(2 w /
    (w + 1)), f*(f'(w)) = -log(2 / (w + 1)). The last bias begins at 1, so that the ratio does. Initialisation draws
    from `generator`; nothing else is random.
    """

    def __init__(
        self, obs_dim: int, action_dim: int, width: int, lr: float, generator: torch.Generator, device: str = "cpu"
    ) -> None:
        shapes = critic_shapes(1, obs_dim + action_dim, width, layer_norm=False)
        self.network = FlatParameters(shapes, torch.float32, torch.device(device))
        initialise(self.network, generator)
        self.network.views["bias3"].fill_(1.0)
        self._gradient = self.network.zeros_like()
        self._adam = Adam(self.network.vector, lr)

    def weights(self, batch: Batch) -> Tensor:
        """Return w (n,) of a batch's pairs."""
        return critic_forward(self.network.views, batch.obs, batch.action)[0][0].relu()

    def step(self, offline: Batch, online: Batch) -> Tensor:
        """Make one Adam step on two batches; return w of their rows, the offline ones first."""
        obs, action = torch.cat((offline.obs, online.obs)), torch.cat((offline.action, online.action))
        raw, trunk = critic_forward(self.network.views, obs, action)
        w, n = raw[0].relu(), len(offline.obs)
        d_offline = 1 / (w[:n] + 1) / n
        held = w[n:]
        d_online = -(2 / (held + 1) ** 2) / (2 * held / (held + 1) + EPSILON) / len(held)
        d_raw = torch.where(w > 0, torch.cat((d_offline, d_online)), 0.0)
        critic_backward(self.network.views, trunk, d_raw.unsqueeze(0), self._gradient.views)
        self._adam.step(self._gradient.vector)
        return w

    def state(self) -> dict[str, Any]:
        """Return copies of parameters and moments."""
        return {"network": self.network.vector.cpu().clone(), "adam": self._adam.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.network.vector.copy_(state["network"])
        self._adam.restore(state["adam"])
