"""WSRL: pretrain by CQL, drop the data, warm up with the frozen policy, then SAC with many updates per step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from baselines.api import Capabilities, Phase
from baselines.conservative import ConservativeLearner
from baselines.pretrained import TEMPERATURE, CQLToSAC, CQLToSACConfig
from wombet.learner import Batch
from wombet.networks import actor_shapes


@dataclass(frozen=True)
class WSRLConfig(CQLToSACConfig):
    """WSRL's settings on locomotion."""

    n_critics: int = 10
    target_subset: int = 2
    layer_norm: bool = True
    actor_layer_norm: bool = True  # LayerNorm in the actor's hidden layers
    utd: int = 4  # online; pretraining makes one critic and one actor update per minibatch
    backup_entropy: bool = False
    max_target_backup: bool = True
    warmup_steps: int = 5000


class WSRLLearner(ConservativeLearner):
    """The conservative learner with LayerNorm in the actor too, and an actor fed all rows of an environment step."""

    config: WSRLConfig

    def actor_layout(self) -> dict[str, tuple[int, ...]]:
        """Return the named shapes of the actor's parameters."""
        config: Any = self.config
        return actor_shapes(self.actor_dim, config.hidden_width, self.action_dim, config.actor_layer_norm)

    def actor_batch(self, minibatches: Sequence[Batch]) -> Batch:
        """Return all rows of an environment step."""
        if len(minibatches) == 1:
            return minibatches[0]
        return Batch(*(torch.cat(column) for column in zip(*minibatches, strict=True)))


class WSRL(CQLToSAC):
    """Warm-start RL: the online buffer begins empty and is filled by the frozen policy before the first update."""

    Config = WSRLConfig
    capabilities = Capabilities(
        phases=(Phase.OFFLINE, Phase.ONLINE),
        needs_dataset=True,
        kind="offline-to-online",
        source="Zhou et al. 2024 (arXiv 2412.07762), with CQL as in its locomotion runs; wombet's learner core",
        deviations=(
            TEMPERATURE,
            "log standard deviation by a tanh within [-5, 2] (CleanRL); the release clips the deviation to [1e-5, 10]",
            "the two target critics are two different ones; the release draws them with repetition",
            "pretraining presses down the values of all critics; the release those of two, drawn per update",
            "layers begin as torch's Linear does; the release's are orthogonal, and the second hidden one is scaled by "
            "0.01 in front of its LayerNorm",
        ),
        version=2,
    )
    learner_kind: ClassVar[type[ConservativeLearner]] = WSRLLearner
