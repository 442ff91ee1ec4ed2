"""WSRL: pretrain by CQL, drop the data, warm up with the frozen policy, then SAC with many updates per step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from baselines.api import Capabilities, Phase
from baselines.conservative import ConservativeLearner
from baselines.pretrained import LOG_STD, TEMPERATURE, CQLToSAC, CQLToSACConfig
from wombet.errors import InputError
from wombet.learner import Batch
from wombet.networks import actor_shapes


@dataclass(frozen=True)
class WSRLConfig(CQLToSACConfig):
    """WSRL's settings on locomotion."""

    n_critics: int = 10
    target_subset: int = 2
    layer_norm: bool = True
    actor_layer_norm: bool = True  # LayerNorm in the actor's hidden layers
    head_bound: float = 1e-2  # the last layers of actor and critics begin uniform within this
    utd: int = 4  # online; pretraining makes one critic and one actor update per minibatch
    backup_entropy: bool = False
    max_target_backup: bool = True
    warmup_steps: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.head_bound < math.inf:
            raise InputError(f"head_bound is {self.head_bound}; it must be above zero, and finite")


class WSRLLearner(ConservativeLearner):
    """The conservative learner with LayerNorm in the actor too, small first outputs, and an actor fed all rows."""

    config: WSRLConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # torch's rule, which the core follows, draws within 1 / sqrt(width).
        scale = self.config.head_bound * math.sqrt(self.config.hidden_width)
        for stack in (self.actor, self.critics):
            stack.views["weight3"].mul_(scale)
            stack.views["bias3"].mul_(scale)
        self.targets.vector.copy_(self.critics.vector)

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
            LOG_STD,
            "the two target critics are two different ones; the release draws them with repetition",
            "hidden layers begin as torch's Linear does",
        ),
    )
    learner_kind: ClassVar[type[ConservativeLearner]] = WSRLLearner
