"""SAC that draws from offline and online rows without any stabiliser: Hy-Q's port, and one common buffer."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from baselines.actor_critic import SAC, SACConfig
from baselines.api import Capabilities, Phase
from baselines.pretrained import LOG_STD, TEMPERATURE


@dataclass(frozen=True)
class HyQConfig(SACConfig):
    """SAC's settings with a fixed share of offline rows."""

    offline_fraction: float = 0.5  # exact share of every minibatch under "fixed"; ours for continuous actions
    mixing: Literal["fixed", "schedule"] = "fixed"  # "schedule" falls linearly from the maximum to the minimum
    mixing_maximum: float = 0.2  # share at the first step of "schedule" (the release's image experiments)
    mixing_minimum: float = 0.01  # share at the last step of "schedule" (the release's image experiments)


class HyQ(SAC):
    """Hybrid Q-learning with SAC as its learner: half offline rows, no pessimism, no LayerNorm, two critics."""

    Config = HyQConfig
    capabilities = Capabilities(
        phases=(Phase.ONLINE,),
        needs_dataset=True,
        kind="offline-to-online",
        source="Song et al. 2023 (arXiv 2210.06718), a port of ours to continuous actions; wombet's learner core",
        deviations=(
            "SAC's updates, because the paper's fitted Q-iteration and DQN are for discrete actions",
            TEMPERATURE,
            LOG_STD,
        ),
    )
    fixed: ClassVar = {"target_penalty": 0.0}
    uses_rows: ClassVar = True


class SACOfflineBuffer(SAC):
    """SAC whose buffer holds the dataset from the first step on; a minibatch is uniform over all rows."""

    Config = SACConfig
    capabilities = Capabilities(
        phases=(Phase.ONLINE,),
        needs_dataset=True,
        kind="offline-to-online",
        source="ours: SAC (Haarnoja et al. 2018) with the dataset in its buffer; wombet's learner core",
        deviations=(
            "a lower bound of ours: the offline share of a minibatch is that of all rows, rounded up or down at random",
            TEMPERATURE,
            LOG_STD,
        ),
    )
    fixed: ClassVar = {"mixing": "append", "target_penalty": 0.0}
    uses_rows: ClassVar = True
