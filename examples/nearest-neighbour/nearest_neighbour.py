"""A baseline of another package: copy the action of the most similar row of the transfer dataset."""

from dataclasses import dataclass

import numpy as np

from baselines.api import Capabilities, Phase


@dataclass(frozen=True)
class NearestNeighbourConfig:
    """Every field can be set in a suite and with --set, and is part of a run's identity."""

    neighbours: int = 3  # rows whose actions are averaged


class NearestNeighbour:
    """Average the actions of the nearest rows, by distance in standardised observations."""

    Config = NearestNeighbourConfig
    capabilities = Capabilities(phases=(Phase.OFFLINE,), needs_dataset=True, kind="offline", source="an example")

    def __init__(self, problem, config, streams, device):
        self.obs, self.action, self.neighbours = problem.dataset.obs, problem.dataset.action, config.neighbours
        self.scale = None

    def train(self, phase, tick):
        """Learn the scale of every observation entry; one tick, because that is one unit of progress."""
        if self.scale is None:
            self.scale = self.obs.std(0) + 1e-6
            tick(updates=0)

    def act(self, obs, generator):
        """Return actions (n, action_dim) in [-1, 1]."""
        distance = (((obs[:, None] - self.obs[None]) / self.scale) ** 2).sum(-1)
        rows = np.argsort(distance, axis=1, kind="stable")[:, : self.neighbours]
        return self.action[rows].mean(1)

    def state(self):
        """Return everything that decides the future, so that a stopped run can continue."""
        return {"scale": self.scale}

    def restore(self, state):
        """Take up a state."""
        self.scale = state["scale"]
