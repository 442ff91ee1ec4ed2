"""Behaviour cloning, of all rows and of the best trajectories, by d3rlpy."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from baselines.d3rlpy_method import import_d3rlpy
from baselines.offline_method import OfflineMethod, offline
from wombet.dataset import TransferDataset
from wombet.errors import InputError

_DEVIATION = "batch size 256 and learning rate 3e-4 instead of d3rlpy's 100 and 1e-3"


@dataclass(frozen=True)
class BCConfig:
    """Settings of behaviour cloning."""

    hidden_width: int = 256  # units of each of the two hidden layers; d3rlpy's default
    batch_size: int = 256  # ours: d3rlpy's default of 100 is out of line with every other method here
    learning_rate: float = 3e-4  # ours, for the same reason: d3rlpy's default is 1e-3

    def __post_init__(self) -> None:
        for name in ("hidden_width", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"bc's {name} is {getattr(self, name)}; it must be at least 1")
        if not self.learning_rate > 0:
            raise InputError(f"bc's learning_rate is {self.learning_rate}; it must be above zero")


class BehaviourCloning(OfflineMethod):
    """Regress the dataset's actions on its observations; no target-task interaction."""

    Config: ClassVar[type] = BCConfig
    capabilities = offline("d3rlpy 2.8.0 (BC, deterministic policy)", _DEVIATION)

    def algorithm(self, config: BCConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's BC."""
        d3rlpy = import_d3rlpy()
        encoder = d3rlpy.models.VectorEncoderFactory([config.hidden_width] * 2)
        return d3rlpy.algos.BCConfig(
            batch_size=config.batch_size, learning_rate=config.learning_rate, encoder_factory=encoder
        )


@dataclass(frozen=True)
class BestDecileConfig(BCConfig):
    """Settings of behaviour cloning of the best trajectories."""

    best_fraction: float = 0.1  # of the trajectories, by target return; the decile of Chen et al. 2021

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.best_fraction <= 1:
            raise InputError(f"best_fraction is {self.best_fraction}; it must be above 0 and at most 1")


class BestDecile(BehaviourCloning):
    """Behaviour cloning of the trajectories of highest return under the target's reward."""

    Config = BestDecileConfig
    capabilities = offline("Chen et al. 2021 (arXiv 2106.01345, %BC); d3rlpy 2.8.0 (BC)", _DEVIATION)

    def usable_rows(self) -> np.ndarray:
        """Return the rows of the best trajectories, at least one; among equal returns the earlier come first."""
        assert self.dataset.reward_target is not None
        returns = self.dataset.episode_sums(self.dataset.reward_target)
        n_best = math.ceil(self.config.best_fraction * len(returns))
        best = np.zeros(len(returns), np.bool_)
        best[np.argsort(-returns, kind="stable")[:n_best]] = True
        trajectory = np.searchsorted(self.dataset.episode_starts, np.arange(len(self.dataset)), side="right") - 1
        return np.flatnonzero(best[trajectory])
