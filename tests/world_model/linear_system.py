"""A linear system with Gaussian noise, of which everything about a model's best possible answer is known."""

from dataclasses import dataclass

import numpy as np
import torch

DYNAMICS = np.array([[0.95, 0.10], [-0.10, 0.95]])
CONTROL = np.array([[0.0], [0.3]])
NOISE_STD = 0.05


@dataclass(frozen=True)
class Rows:
    obs: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray
    episode_id: np.ndarray

    def of(self, episodes):
        chosen = np.isin(self.episode_id, episodes)
        return Rows(self.obs[chosen], self.action[chosen], self.next_obs[chosen], self.episode_id[chosen])

    def arguments(self):
        return self.obs, self.action, self.next_obs, self.episode_id

    def tensors(self):
        return torch.from_numpy(self.obs), torch.from_numpy(self.action)


def simulate(n_episodes, length, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    obs, action, next_obs = [], [], []
    for _ in range(n_episodes):
        state = scale * rng.normal(size=2)
        for _ in range(length):
            control = rng.uniform(-1, 1, 1)
            following = DYNAMICS @ state + CONTROL @ control + NOISE_STD * rng.normal(size=2)
            obs.append(state), action.append(control), next_obs.append(following)
            state = following
    columns = [np.asarray(column, np.float32) for column in (obs, action, next_obs)]
    return Rows(*columns, np.repeat(np.arange(n_episodes), length))
