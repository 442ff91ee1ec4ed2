"""TD3+BC, by d3rlpy."""

from dataclasses import dataclass
from typing import Any

from baselines.d3rlpy_method import import_d3rlpy
from baselines.offline_method import ActorCriticConfig, OfflineMethod, offline, require_all
from wombet.dataset import TransferDataset

SMALLEST_STD = 1e-3
"""Added to the standard deviation of every observation entry (Fujimoto and Gu 2021)."""


@dataclass(frozen=True)
class TD3BCConfig(ActorCriticConfig):
    """TD3+BC's settings (Fujimoto and Gu 2021)."""

    alpha: float = 2.5  # weight of the critic's value against cloning, in units of its mean size
    policy_noise: float = 0.2  # of the target policy's actions
    noise_clip: float = 0.5  # bound of that noise on either side (TD3)
    actor_interval: int = 2  # critic updates per actor update

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("alpha", "policy_noise", "noise_clip"), 0)
        require_all(self, ("actor_interval",), 1)


class TD3BC(OfflineMethod):
    """TD3 with a cloning term, on observations standardised by the dataset."""

    Config = TD3BCConfig
    capabilities = offline("Fujimoto and Gu 2021 (arXiv 2106.06860); d3rlpy 2.8.0 (TD3+BC)")

    def algorithm(self, config: TD3BCConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's TD3+BC."""
        d3rlpy = import_d3rlpy()
        mean, std = dataset.obs.mean(0, dtype="float64"), dataset.obs.std(0, dtype="float64")
        scaler = d3rlpy.preprocessing.StandardObservationScaler(mean=mean, std=std, eps=SMALLEST_STD)
        return d3rlpy.algos.TD3PlusBCConfig(
            **config.common(),
            observation_scaler=scaler,
            alpha=config.alpha,
            target_smoothing_sigma=config.policy_noise,
            target_smoothing_clip=config.noise_clip,
            update_actor_interval=config.actor_interval,
        )
