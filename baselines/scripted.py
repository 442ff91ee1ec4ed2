"""Policies that do not learn: the lower anchors of every table."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from wombet.streams import Streams


@dataclass(frozen=True)
class NoConfig:
    """A method without settings."""


class ZeroPolicy:
    """Always the zero action: shows what doing nothing scores, which is far from zero in some tasks."""

    Config: ClassVar[type] = NoConfig
    capabilities = Capabilities(phases=(), needs_dataset=False, kind="anchor", source="ours")

    def __init__(self, problem: Problem, config: NoConfig, streams: Streams, device: str) -> None:
        self.action_dim = problem.target.action_dim

    def train(self, phase: Phase, tick: Tick) -> None:
        """Never called: the policy has no phases."""

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return zeros (n, action_dim)."""
        return np.zeros((len(obs), self.action_dim), np.float32)

    def state(self) -> dict[str, Any]:
        """Nothing decides the future."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""


class RandomPolicy(ZeroPolicy):
    """Uniform actions: the floor that a learned policy has to clear."""

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return uniform actions (n, action_dim), drawn from the evaluator's generator."""
        return generator.uniform(-1, 1, (len(obs), self.action_dim)).astype(np.float32)
