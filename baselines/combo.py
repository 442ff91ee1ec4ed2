"""COMBO: d3rlpy's CQL on real and imagined rows, conservative where the policy's actions leave the real ones."""

from dataclasses import dataclass
from typing import Any, Literal

from baselines.api import Problem
from baselines.cql import GREEDY_BACKUP, TEMPERATURE, d3rlpy_cql
from baselines.model_based import SHARED_DEVIATIONS, ModelBasedConfig, ModelBasedMethod
from baselines.offline_method import offline, require_all
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.streams import Streams


@dataclass(frozen=True)
class COMBOConfig(ModelBasedConfig):
    """COMBO's settings."""

    hidden_layers: int = 3
    actor_lr: float = 1e-4
    temperature_lr: float = 1e-4  # Adam's step size on the log temperature (OfflineRL-Kit)
    initial_temperature: float = 0.1  # in units of reward per nat (ours; 1 in the paper)
    actor_decay: bool = True  # the actor's step size falls to zero along half a cosine (OfflineRL-Kit)
    real_fraction: float = 0.5  # of every minibatch (COMBO)
    conservative_weight: float = 5.0  # OfflineRL-Kit's for data of medium and expert policies; 0.5 for replay data
    n_action_samples: int = 10  # of each of three kinds
    penalised_states: Literal["mix", "model"] = "mix"  # whose values are pressed down: all rows' or imagined rows' only

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("temperature_lr", "conservative_weight"), 0)
        require_all(self, ("initial_temperature",), 1e-8)
        require_all(self, ("n_action_samples",), 1)
        if self.n_real < 1:
            raise InputError(
                f"real_fraction is {self.real_fraction}; a batch of {self.batch_size} then has no real row"
            )


class COMBO(ModelBasedMethod):
    """CQL whose critics learn from real and imagined rows, pressed up on the real ones alone."""

    name = "combo"
    Config = COMBOConfig
    capabilities = offline(
        "Yu et al. 2021 (arXiv 2102.08363), settings of OfflineRL-Kit; d3rlpy 2.8.0 (CQL) in this project's ensemble",
        TEMPERATURE,
        GREEDY_BACKUP,
        *SHARED_DEVIATIONS,
    )
    penalty_scale = 0.0

    def __init__(self, problem: Problem, config: COMBOConfig, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        from baselines.d3rlpy_private import press_up_real_rows_only

        first = config.n_real if config.penalised_states == "model" else 0
        press_up_real_rows_only(self.learner.algorithm.impl, config.n_real, first)

    def algorithm(self, config: COMBOConfig, dataset: TransferDataset) -> Any:
        """Return d3rlpy's CQL."""
        return d3rlpy_cql(config)
