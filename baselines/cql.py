"""Conservative Q-learning, by d3rlpy."""

from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.d3rlpy_method import import_d3rlpy
from baselines.offline_method import ActorCriticConfig, OfflineMethod, offline, require_all
from wombet.dataset import TransferDataset

TEMPERATURE = "initial temperature 0.1 instead of 1, because rewards are at most 1 per step"
GREEDY_BACKUP = "the backup takes the policy's mode instead of a sample, as d3rlpy does without an entropy term"


@dataclass(frozen=True)
class CQLConfig(ActorCriticConfig):
    """CQL's settings on locomotion: its fixed-weight form."""

    actor_lr: float = 1e-4
    temperature_lr: float = 1e-4  # Adam's step size on the log temperature (CQL's code)
    initial_temperature: float = 0.1  # in units of reward per nat (ours; 1 in the paper)
    conservative_weight: float = 5.0  # of CQL's term, fixed (CQL's code for locomotion; d3rlpy's default too)
    n_action_samples: int = 10  # of each of three kinds; the update's cost is nearly proportional to it

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("temperature_lr", "conservative_weight"), 0)
        require_all(self, ("initial_temperature",), 1e-8)
        require_all(self, ("n_action_samples",), 1)


def d3rlpy_cql(config: Any, kind: str = "CQLConfig", **further: Any) -> Any:
    """Return d3rlpy's CQL, or an algorithm with its settings and more, with a fixed weight.

    There is no step size for the weight, and so no threshold to reach.
    """
    return getattr(import_d3rlpy().algos, kind)(
        **config.common(),
        temp_learning_rate=config.temperature_lr,
        initial_temperature=config.initial_temperature,
        alpha_learning_rate=0.0,
        initial_alpha=1.0,
        alpha_threshold=0.0,
        conservative_weight=config.conservative_weight,
        n_action_samples=config.n_action_samples,
        **further,
    )


class CQL(OfflineMethod):
    """Actor-critic whose critics are pressed down on the policy's actions and up on the data's."""

    Config: ClassVar[type[CQLConfig]] = CQLConfig
    capabilities = offline(
        "Kumar et al. 2020 (arXiv 2006.04779); d3rlpy 2.8.0 (CQL)",
        "two hidden layers, d3rlpy's default, instead of three",
        TEMPERATURE,
        GREEDY_BACKUP,
    )

    def algorithm(self, config: CQLConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's CQL."""
        return d3rlpy_cql(config)
