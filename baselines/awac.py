"""Advantage-weighted actor-critic, by d3rlpy, on the dataset alone."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.api import Problem
from baselines.d3rlpy_method import import_d3rlpy
from baselines.d3rlpy_private import back_up_the_policys_own_actions
from baselines.offline_method import ActorCriticConfig, OfflineMethod, offline, require_all
from wombet.dataset import TransferDataset
from wombet.streams import Streams


@dataclass(frozen=True)
class AWACConfig(ActorCriticConfig):
    """AWAC's settings (Nair et al. 2020)."""

    batch_size: int = 1024
    advantage_scale: float = 1.0  # the paper's lambda: weights are a softmax over the batch of advantage / lambda

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("advantage_scale",), 1e-8)


class AWAC(OfflineMethod):
    """Critic of the policy's own value, and a policy that clones by the advantage."""

    Config: ClassVar[type[AWACConfig]] = AWACConfig
    capabilities = dataclasses.replace(
        offline(
            "Nair et al. 2020 (arXiv 2006.09359); d3rlpy 2.8.0 (AWAC) without its entropy term",
            "two hidden layers for the policy instead of four, and no weight decay, as in d3rlpy",
            "the weighted log-likelihood is summed over the batch and not averaged, which Adam makes immaterial",
        ),
        version=2,
    )

    def __init__(self, problem: Problem, config: AWACConfig, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        back_up_the_policys_own_actions(self.learner.algorithm.impl)

    def algorithm(self, config: AWACConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's AWAC."""
        return import_d3rlpy().algos.AWACConfig(**config.common(), lam=config.advantage_scale)
