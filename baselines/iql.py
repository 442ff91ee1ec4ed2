"""Implicit Q-learning, by d3rlpy."""

from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.d3rlpy_method import import_d3rlpy
from baselines.offline_method import ActorCriticConfig, OfflineMethod, offline, require_all
from wombet.dataset import TransferDataset
from wombet.errors import InputError

UNSCALED = (
    "rewards are not rescaled by the range of the data's returns, which filtering has made small; "
    "they are at most 1 per step, which is what that rescaling aims at"
)
TOGETHER = "the value and the critics step together, before the actor"


@dataclass(frozen=True)
class IQLSettings(ActorCriticConfig):
    """IQL's settings on locomotion, offline and online (Kostrikov et al. 2021)."""

    expectile: float = 0.7  # of the value's regression
    inverse_temperature: float = 3.0  # the paper's beta: weights are exp(beta * advantage)
    largest_weight: float = 100.0  # at which those weights are clipped

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("inverse_temperature", "largest_weight"), 0)
        if not 0 < self.expectile < 1:
            raise InputError(f"expectile is {self.expectile}; it must be between 0 and 1")


@dataclass(frozen=True)
class IQLConfig(IQLSettings):
    """IQL's settings on the dataset alone."""

    actor_decay: bool = True  # the actor's step size falls to zero along half a cosine


def d3rlpy_iql(config: IQLSettings) -> Any:
    """Return d3rlpy's IQL."""
    return import_d3rlpy().algos.IQLConfig(
        **config.common(),
        value_encoder_factory=config.encoder(),
        expectile=config.expectile,
        weight_temp=config.inverse_temperature,
        max_weight=config.largest_weight,
    )


class IQL(OfflineMethod):
    """Expectile value regression and advantage-weighted cloning."""

    Config: ClassVar[type[IQLConfig]] = IQLConfig
    capabilities = offline(
        "Kostrikov et al. 2021 (arXiv 2110.06169); d3rlpy 2.8.0 (IQL)",
        UNSCALED,
        TOGETHER,
    )

    def algorithm(self, config: IQLConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's IQL."""
        return d3rlpy_iql(config)
