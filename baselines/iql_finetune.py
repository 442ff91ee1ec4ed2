"""Implicit Q-learning that goes on in the target task."""

from dataclasses import dataclass
from typing import Any

from baselines.finetuned import FineTuned, OnlineConfig, offline_to_online
from baselines.iql import TOGETHER, UNSCALED, IQLSettings, d3rlpy_iql
from wombet.dataset import TransferDataset


@dataclass(frozen=True)
class IQLFinetuneConfig(IQLSettings, OnlineConfig):
    """IQL's settings in both phases (Kostrikov et al. 2021): one buffer, one update per step, constant step sizes."""


class IQLFinetune(FineTuned):
    """IQL on the dataset, continued on the dataset and target-task rows of sampled actions."""

    Config = IQLFinetuneConfig
    capabilities = offline_to_online(
        "Kostrikov et al. 2021 (arXiv 2110.06169), settings of its fine-tuning; d3rlpy 2.8.0 (IQL)",
        UNSCALED,
        TOGETHER,
        "the share of a minibatch's rows that the dataset has in all rows is kept exact and not left to chance",
    )

    def algorithm(self, config: IQLFinetuneConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's IQL."""
        return d3rlpy_iql(config)
