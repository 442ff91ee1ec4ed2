"""Controls: what the source task's agent and model are worth without the method that is being judged.

A gain of transferred data over SAC from scratch says little while these are not beside it: the source policy as it is,
SAC that simply goes on from the source agent, and planning for the target's reward in the source's model.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.actor_critic import SAC, SACConfig
from baselines.api import Array, Capabilities, Left, Phase, Problem
from baselines.knowledge import continue_from_source, knowledge_of, source_agent, tools_of
from baselines.scripted import NoConfig, ZeroPolicy
from wombet.generation_tools import Planning
from wombet.streams import Streams


class SourcePolicy(ZeroPolicy):
    """The source agent's deterministic policy in the target task, as it is."""

    capabilities = Capabilities(phases=(), needs_dataset=True, kind="control", source="ours")

    @classmethod
    def asks_of_source(cls, settings: Mapping[str, Any]) -> Left | None:
        """Return the agent, whose policy it is."""
        return "agent"

    def __init__(self, problem: Problem, config: NoConfig, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        self.learner = source_agent(problem, "source-policy", device)

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the deterministic actions."""
        return self.learner.act(torch.from_numpy(obs)).cpu().numpy()


@dataclass(frozen=True)
class ContinuedSACConfig(SACConfig):
    """SAC's settings; the sizes must be the source agent's."""

    random_steps: int = 0  # ours: the policy that goes on is not a beginner's


class ContinuedSAC(SAC):
    """SAC that goes on from the source agent, without offline data."""

    Config = ContinuedSACConfig
    capabilities = Capabilities(
        phases=(Phase.ONLINE,),
        needs_dataset=True,
        kind="control",
        source="ours; actor, critics, targets, temperature and optimisers are the source agent's",
        deviations=("the target entropy and the step size of the temperature are SAC's, not the source agent's",),
    )

    @classmethod
    def asks_of_source(cls, settings: Mapping[str, Any]) -> Left | None:
        """Return the agent's networks, from which it goes on."""
        return "networks"

    def __init__(self, problem: Problem, config: ContinuedSACConfig, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        continue_from_source(self.agent, config, problem, "sac-continued", device)


@dataclass(frozen=True)
class TargetPlanningConfig:
    """Settings of planning for the target's reward."""

    terminal_value: bool = False  # ours: off, because the source agent's critic knows another reward


class TargetPlanning(ZeroPolicy):
    """The dataset's planner for the target's reward, in the source's model, without learning.

    It makes a new plan at every step from the current observation alone, because an evaluation has no history.
    """

    Config = TargetPlanningConfig
    capabilities = Capabilities(
        phases=(),
        needs_dataset=True,
        kind="control",
        source="ours; wombet's planner",
        deviations=("replans at every step, without a warm start",),
    )

    @classmethod
    def asks_of_source(cls, settings: Mapping[str, Any]) -> Left | None:
        """Return the model, in which it plans."""
        return "model"

    def __init__(self, problem: Problem, config: TargetPlanningConfig, streams: Streams, device: str) -> None:
        knowledge = knowledge_of(problem, "target-planning")
        guided = knowledge.agent_state is not None
        planner = dataclasses.replace(
            knowledge.config.planner, terminal_value=config.terminal_value and guided, replan_interval=1
        )
        settings = dataclasses.replace(knowledge.config, planner=planner)
        self.tools = tools_of(problem, dataclasses.replace(knowledge, config=settings), device)
        model = self.tools.model(knowledge.model_state)
        self.planning = Planning(model, knowledge.penalty, self.tools.guide(knowledge.agent_state))

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the first actions of plans that draw from the evaluator's generator."""
        planner = self.tools.planner(str(generator.integers(2**62)), self.planning)
        planner.reset(len(obs))
        actions = planner.plan(torch.from_numpy(obs).to(self.planning.model.device))[:, 0]
        return actions.cpu().numpy()
