"""Conservative Q-learning that goes on, as conservative as before, in the target task."""

from dataclasses import dataclass
from typing import Literal

from baselines.cql import CQL, CQLConfig
from baselines.finetuned import FineTuned, OnlineConfig, offline_to_online


@dataclass(frozen=True)
class CQLFinetuneConfig(CQLConfig, OnlineConfig):
    """CQL's settings in both phases; those of the online phase are Cal-QL's (Nakamoto et al. 2023)."""

    mixing: Literal["append", "fixed"] = "fixed"  # share of the dataset's rows in a minibatch


class CQLFinetune(FineTuned, CQL):
    """CQL on the dataset, continued on half dataset and half target-task rows of sampled actions."""

    Config = CQLFinetuneConfig
    capabilities = offline_to_online(
        "Kumar et al. 2020 (arXiv 2006.04779), fine-tuned as in Nakamoto et al. 2023 (arXiv 2303.05479); "
        "d3rlpy 2.8.0 (CQL)",
        *CQL.capabilities.deviations,
        "an update after every step instead of as many after every episode",
    )
