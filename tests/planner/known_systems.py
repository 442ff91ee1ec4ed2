"""Small systems whose best plans and values are known in closed form."""

import torch

from wombet.world_model import Prediction, WorldModel, WorldModelConfig

STEP = 0.1


class PointTask:
    """A point that moves by STEP times the action; reward and termination are given as functions."""

    id = "point/source"
    horizon = 50
    n_rates = 0
    angle_indices = ()

    def __init__(self, reward, terminated=None, dim=2):
        self._reward, self._terminated = reward, terminated
        self.obs_dim = self.action_dim = dim

    def reward(self, obs, action, next_obs):
        return self._reward(obs, action, next_obs)

    def terminated(self, next_obs):
        if self._terminated is None:
            return torch.zeros(next_obs.shape[:-1], dtype=torch.bool)
        return self._terminated(next_obs)


class KnownModel(WorldModel):
    """The point's own dynamics as every elite's mean, with a given uncertainty and no noise."""

    def __init__(self, uncertainty=None, dim=2, n_elites=3):
        config = WorldModelConfig(n_members=n_elites, n_elites=n_elites, hidden_layers=1, hidden_width=2)
        super().__init__(dim, dim, config, torch.Generator().manual_seed(0))
        self._uncertainty = uncertainty

    def step(self, obs, action):
        mean = (obs + STEP * action).expand(self.n_elites, *obs.shape)
        return mean, torch.zeros(len(obs)) if self._uncertainty is None else self._uncertainty(obs, action)


class DriftingModel(WorldModel):
    """Elite k moves the state by k times the drift, so that a path shows which elites it followed."""

    def __init__(self, n_elites=3, drift=1.0, std=0.0):
        config = WorldModelConfig(n_members=n_elites, n_elites=n_elites, hidden_layers=1, hidden_width=2)
        super().__init__(1, 1, config, torch.Generator().manual_seed(0))
        self._drift, self._std = drift * torch.arange(float(n_elites))[:, None, None], std

    def predict(self, obs, action):
        mean = obs + self._drift
        return Prediction(mean, torch.full_like(mean, self._std), self._drift.expand_as(mean))


class Pull:
    """A guide that moves towards the origin and values a state by minus its distance."""

    def act(self, obs):
        return (-2 * obs).clamp(-1, 1)

    def value(self, obs):
        return -obs.norm(dim=-1)


def action_target(goal):
    """Reward of a task whose best action is `goal` at every step."""
    return lambda obs, action, next_obs: -(action - torch.tensor(goal)).square().sum(-1)
