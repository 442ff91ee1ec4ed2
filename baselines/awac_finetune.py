"""AWAC that goes on in the target task, as it was made for."""

import dataclasses
from dataclasses import dataclass

from baselines.awac import AWAC, AWACConfig
from baselines.finetuned import FineTuned, OnlineConfig, offline_to_online


@dataclass(frozen=True)
class AWACFinetuneConfig(AWACConfig, OnlineConfig):
    """AWAC's settings in both phases (Nair et al. 2020): one buffer, one update per step."""


class AWACFinetune(FineTuned, AWAC):
    """AWAC on the dataset, continued on the dataset and target-task rows of sampled actions."""

    Config = AWACFinetuneConfig
    capabilities = dataclasses.replace(
        offline_to_online(
            AWAC.capabilities.source,
            *AWAC.capabilities.deviations,
            "the share of a minibatch's rows that the dataset has in all rows is kept exact and not left to chance",
        ),
        version=AWAC.capabilities.version,
    )
