"""What the making of a dataset left behind beside its rows, put to use in the target task: model, planner and agent."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from baselines.api import Problem, SourceKnowledge
from wombet.agent import TransferAgent
from wombet.errors import InputError
from wombet.generation_tools import Tools
from wombet.interaction import MeteredEnv
from wombet.learner import ActorCritic, LearnerConfig
from wombet.streams import Streams

SIZES = ("hidden_width", "n_critics", "layer_norm")


def knowledge_of(problem: Problem, method: str) -> SourceKnowledge:
    """Return what the dataset's making left behind; raises InputError if the dataset was not generated here."""
    if problem.knowledge is None:
        raise InputError(f"method {method} needs a dataset that was generated here, with its model and its agent")
    return problem.knowledge()


def tools_of(problem: Problem, knowledge: SourceKnowledge, device: str) -> Tools:
    """Return the tools of the dataset's recipe, pointed at the target task; they open no environment."""
    return Tools(problem.target, _no_environment, knowledge.config, Streams(0).child("source knowledge"), device)


def source_agent(problem: Problem, method: str, device: str) -> ActorCritic:
    """Return the actor-critic that guided the collection; raises InputError if none did."""
    knowledge = knowledge_of(problem, method)
    if knowledge.agent_state is None:
        raise InputError(f"method {method} needs a source agent, and the dataset's collection is pure; use guided")
    return tools_of(problem, knowledge, device).agent(knowledge.agent_state).learner


def continue_from_source(
    agent: TransferAgent, config: LearnerConfig, problem: Problem, method: str, device: str
) -> None:
    """Give an agent that was just built the source agent's actor, critics, targets, temperature and optimisers.

    The random stream stays the agent's own. Raises InputError if the two differ in size.
    """
    learner = source_agent(problem, method, device)
    check_sizes(dataclasses.asdict(config), dataclasses.asdict(learner.config), f"method {method}")
    agent.learner.restore({**learner.state(), "generator": agent.learner.generator.get_state()})


def check_sizes(settings: Mapping[str, Any], agent: Mapping[str, Any], where: str) -> None:
    """Raise InputError if a learner that goes on from a source agent has sizes of its own; it may have none."""
    differing = [name for name in SIZES if name in settings and settings[name] != agent[name]]
    if differing:
        own = ", ".join(f"{name} = {settings[name]}" for name in differing)
        theirs = ", ".join(f"{name} = {agent[name]}" for name in differing)
        raise InputError(
            f"{where}: its settings have {own}, and the source agent that it goes on from has {theirs}; give both the "
            "same (data.generation.agent holds the agent's)"
        )


def _no_environment(name: str) -> MeteredEnv:
    raise InputError(f"the source environment {name!r} was asked for, and the target task has none")
