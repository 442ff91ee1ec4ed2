"""The controls: what is left of a dataset's making, used in the target task without the method that is judged."""

import dataclasses

import numpy as np
import pytest

from baselines.actor_critic import WOMBET, WOMBETConfig
from baselines.api import SourceKnowledge
from baselines.controls import ContinuedSAC, ContinuedSACConfig, SourcePolicy, TargetPlanning, TargetPlanningConfig
from baselines.knowledge import tools_of
from baselines.scripted import NoConfig
from suites.tasks import make_task
from tests.contract.harness import DATASET, KNOWLEDGE, Run
from wombet.errors import InputError
from wombet.serialization import dumps
from wombet.streams import Streams

OBS = DATASET.obs[[0, 7, 20, 40]]
SIZES = {"hidden_width": 16, "n_critics": 2, "target_subset": 2, "batch_size": 8, "layer_norm": False}


def problem(knowledge: SourceKnowledge | None = None, **changes: object):
    made = Run("source-policy").problem
    made.knowledge = None if knowledge is None else lambda: knowledge
    return dataclasses.replace(made, **changes)


def act(adapter) -> np.ndarray:
    return adapter.act(OBS, np.random.default_rng(0))


def source_actions() -> np.ndarray:
    knowledge = KNOWLEDGE()
    agent = tools_of(problem(knowledge), knowledge, "cpu").agent(knowledge.agent_state)
    return agent.act(OBS)


def test_the_source_policy_is_that_of_the_agent_which_guided_the_collection() -> None:
    assert np.array_equal(act(SourcePolicy(problem(KNOWLEDGE()), NoConfig(), Streams(3), "cpu")), source_actions())


def test_continued_sac_and_wombet_from_the_source_begin_as_the_source_agent() -> None:
    made = problem(KNOWLEDGE())
    sac = ContinuedSAC(made, ContinuedSACConfig(**SIZES), Streams(3), "cpu")
    wombet = WOMBET(made, WOMBETConfig(**SIZES, init="source"), Streams(3), "cpu")
    fresh = WOMBET(made, WOMBETConfig(**SIZES), Streams(3), "cpu")
    for adapter in (sac, wombet):
        assert np.array_equal(act(adapter), source_actions())
        saved = KNOWLEDGE().agent_state["learner"]
        held = adapter.agent.learner.state()
        for part in ("actor", "critics", "targets", "log_temperature", "actor_adam", "critic_adam"):
            assert dumps(held[part]) == dumps(saved[part])
        assert dumps(held["generator"]) != dumps(saved["generator"])
    assert not np.array_equal(act(fresh), source_actions())
    assert sac.agent.offline is None
    assert len(wombet.agent.offline) == len(DATASET)


def test_without_an_agent_or_without_a_build_the_sentence_says_so() -> None:
    pure = dataclasses.replace(KNOWLEDGE(), agent_state=None)
    for kind, config in ((SourcePolicy, NoConfig()), (ContinuedSAC, ContinuedSACConfig(**SIZES))):
        with pytest.raises(InputError, match="collection is pure; use guided"):
            kind(problem(pure), config, Streams(0), "cpu")
    for kind, config in ((SourcePolicy, NoConfig()), (TargetPlanning, TargetPlanningConfig())):
        with pytest.raises(InputError, match="generated here"):
            kind(problem(), config, Streams(0), "cpu")


def test_target_planning_plans_for_the_targets_reward_with_the_evaluators_samples_alone() -> None:
    close = TargetPlanning(problem(KNOWLEDGE()), TargetPlanningConfig(), Streams(0), "cpu")
    far = TargetPlanning(
        problem(KNOWLEDGE(), target=make_task("reacher", "far", horizon=15)), TargetPlanningConfig(), Streams(0), "cpu"
    )
    assert np.array_equal(act(close), act(close))
    assert not np.array_equal(act(close), act(far))
    assert not np.array_equal(act(close), close.act(OBS, np.random.default_rng(1)))


def test_target_planning_needs_an_agent_only_for_what_its_planner_asks_of_one() -> None:
    knowledge = KNOWLEDGE()
    planner = dataclasses.replace(knowledge.config.planner, n_policy_proposals=0, terminal_value=False)
    config = dataclasses.replace(knowledge.config, planner=planner)
    pure = dataclasses.replace(knowledge, agent_state=None, config=config)
    assert act(TargetPlanning(problem(pure), TargetPlanningConfig(terminal_value=True), Streams(0), "cpu")).shape == (
        4,
        2,
    )
