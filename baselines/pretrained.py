"""Methods that pretrain by CQL on the dataset, then leave it and go on as SAC on what the policy meets."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from baselines.actor_critic import AgentMethod
from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.conservative import ConservativeConfig, ConservativeLearner
from wombet.agent import AgentConfig, TransferAgent
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.learner import LearnerConfig
from wombet.replay import draw_mixed
from wombet.streams import Streams

TEMPERATURE = "initial temperature 0.1 instead of 1, because rewards are at most 1 per step"
LOG_STD = "log standard deviation by a tanh within [-5, 2] (CleanRL) instead of clipped to [-20, 2]"


@dataclass(frozen=True)
class CQLToSACConfig(ConservativeConfig):
    """Settings of CQL that goes on as SAC."""

    warmup_steps: int = 256  # steps of the pretrained policy before the first update; ours: one minibatch of rows
    replay_capacity: int = 1_000_000  # online rows kept

    def __post_init__(self) -> None:
        super().__post_init__()
        check_warm_up(self.warmup_steps, self.replay_capacity)


def check_warm_up(warmup_steps: int, replay_capacity: int) -> None:
    """Raise InputError unless both are in range."""
    if warmup_steps < 0:
        raise InputError(f"warmup_steps is {warmup_steps}; it must be zero or more")
    if replay_capacity < 1:
        raise InputError(f"replay_capacity is {replay_capacity}; it must be at least 1")


class PretrainedAgent(TransferAgent):
    """The agent of `wombet/` with a conservative learner; online it draws no offline row and begins with its policy.

    What was learned goes on whole: actor, critics, targets, temperature, and the moments and counts of the optimisers.
    """

    learner: ConservativeLearner

    def __init__(
        self,
        kind: type[ConservativeLearner],
        config: CQLToSACConfig,
        sizes: tuple[int, int],
        streams: Streams,
        dataset: TransferDataset,
        device: str,
    ) -> None:
        self._kind, self._learner_config = kind, config
        shared = {field.name: getattr(config, field.name) for field in dataclasses.fields(LearnerConfig)}
        agent_config = AgentConfig(
            **shared,
            random_steps=config.warmup_steps,
            replay_capacity=config.replay_capacity,
            mixing="online_only",
            target_penalty=0.0,
        )
        super().__init__(*sizes, agent_config, streams, dataset, device)

    def pretrain(self, until: int, tick: Any) -> None:
        """Learn from the dataset by CQL until `until` updates have been made, each on a minibatch of its own."""
        self.learner.conservative = True
        while self.updates < until:
            batch = draw_mixed(self.offline, None, 1.0, self.config.batch_size, self._sampling)
            self._last_update = self.learner.update([batch])
            self.updates += 1
            tick(updates=self.updates, metrics=self.metrics)

    def finetune(self, *args: Any, **kwargs: Any) -> None:
        """Act, store and learn by SAC alone."""
        self.learner.conservative = False
        super().finetune(*args, **kwargs)

    def _new_learner(
        self, obs_dim: int, action_dim: int, generator: torch.Generator, device: str
    ) -> ConservativeLearner:
        return self._kind(obs_dim, action_dim, self._learner_config, generator, device)

    def _first_action(self, obs: Array) -> Array:
        """Return an action of the pretrained policy, which no update changes before the warm-up is over."""
        return self.learner.act_one(obs, self._exploration)


class CQLToSAC(AgentMethod):
    """CQL on the dataset, then plain SAC: the cheap lower bound of methods that care about the switch."""

    Config = CQLToSACConfig
    capabilities = Capabilities(
        phases=(Phase.OFFLINE, Phase.ONLINE),
        needs_dataset=True,
        kind="offline-to-online",
        source="ours: CQL (Kumar et al. 2020, arXiv 2006.04779), then SAC; wombet's learner core",
        deviations=(
            "a lower bound of ours: the regulariser, the dataset and nothing else are dropped at the switch, so "
            "networks, targets, temperature and optimiser moments go on",
            TEMPERATURE,
            LOG_STD,
        ),
    )
    learner_kind: ClassVar[type[ConservativeLearner]] = ConservativeLearner

    def __init__(self, problem: Problem, config: CQLToSACConfig, streams: Streams, device: str) -> None:
        assert problem.dataset is not None
        self.problem = problem
        sizes = problem.target.obs_dim, problem.target.action_dim
        self.agent = PretrainedAgent(self.learner_kind, config, sizes, streams, problem.dataset, device)

    def train(self, phase: Phase, tick: Tick) -> None:
        """Pretrain for the budget of offline updates, or fine-tune to the end of the target steps."""
        if phase is Phase.OFFLINE:
            self.agent.pretrain(self.problem.budgets.offline_updates, tick)
        else:
            self.agent.finetune(self.problem.target_env, self.problem.budgets.target_steps, tick)
