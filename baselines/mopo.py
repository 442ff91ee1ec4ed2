"""MOPO: d3rlpy's SAC on model rollouts whose reward is reduced by the model's uncertainty."""

from dataclasses import dataclass
from typing import Any

from baselines.cql import TEMPERATURE
from baselines.d3rlpy_method import import_d3rlpy
from baselines.model_based import SHARED_DEVIATIONS, ModelBasedConfig, ModelBasedMethod
from baselines.offline_method import offline, require_all
from wombet.dataset import TransferDataset


@dataclass(frozen=True)
class MOPOConfig(ModelBasedConfig):
    """MOPO's settings."""

    temperature_lr: float = 3e-4  # Adam's step size on the log temperature (MOPO's code)
    initial_temperature: float = 0.1  # in units of reward per nat (ours; 1 in the paper)
    penalty_scale: float = 1.0  # c in lambda = c * mean |reward| / q95(u); 0 trusts the model (ours; see deviations)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("temperature_lr", "penalty_scale"), 0)
        require_all(self, ("initial_temperature",), 1e-8)


class MOPO(ModelBasedMethod):
    """SAC in a pessimistic model: 5 % real rows, the rest short rollouts at a price for uncertainty."""

    name = "mopo"
    Config = MOPOConfig
    capabilities = offline(
        "Yu et al. 2020 (arXiv 2005.13239); d3rlpy 2.8.0 (SAC) in this project's ensemble",
        "lambda is calibrated once from the model's uncertainty on held-out rows, where the paper tunes it per dataset",
        "target entropy -|A| instead of -3",
        TEMPERATURE,
        *SHARED_DEVIATIONS,
    )

    def algorithm(self, config: MOPOConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's SAC."""
        return import_d3rlpy().algos.SACConfig(
            **config.common(),
            temp_learning_rate=config.temperature_lr,
            initial_temperature=config.initial_temperature,
        )

    @property
    def penalty_scale(self) -> float:
        """The price of uncertainty, free of units."""
        return float(self.config.penalty_scale)
