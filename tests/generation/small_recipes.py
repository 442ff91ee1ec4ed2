"""Small recipes and the environments they run in."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from suites.tasks.task import Task, make_task
from wombet.collection import random_episodes
from wombet.dataset import TransferDataset
from wombet.generation import GenerationConfig, TransferDataBuilder
from wombet.interaction import Meter, MeteredEnv
from wombet.planner import Planner, PlannerConfig
from wombet.profiles import profile
from wombet.rollouts import Starts
from wombet.streams import Streams
from wombet.world_model import WorldModel, WorldModelConfig

SMALL_PLANNER = PlannerConfig(horizon=4, population=12, iterations=2, n_elites=4)
SMALL_MODEL = WorldModelConfig(
    n_members=3, n_elites=2, hidden_width=32, hidden_layers=2, max_steps=150, min_steps=150, batch_size=64
)


def nothing() -> None:
    """Progress that nobody watches."""


def opener(task: Task, meter: Meter, seed: int = 0) -> Callable[[str], MeteredEnv]:
    """Open environments the way a harness does: the name decides the resets."""

    def open_env(name: str) -> MeteredEnv:
        streams = Streams(seed, "resets", name)
        return MeteredEnv(task.make_env(), meter, lambda episode: streams.integer(episode) % 2**31)

    return open_env


def small_config(rollouts: str = "imagined", **changes: object) -> GenerationConfig:
    """A recipe for reacher with episodes of 20 steps that takes about a second and lets nearly anything pass."""
    config = GenerationConfig(
        max_episode_steps=20,
        source_steps=1000,
        collection="pure",
        rollouts=rollouts,  # type: ignore[arg-type]
        random_steps=100,
        refits=1,
        planned_episodes=3,
        n_trajectories=12,
        trajectory_steps=8,
        calibration_trajectories=5,
        calibration_steps=6,
        n_parallel=5,
        gate_tolerance=5.0,
        filter_rule="return",
        world_model=SMALL_MODEL,
        planner=SMALL_PLANNER,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def guided_config(**changes: object) -> GenerationConfig:
    """The same with a source agent of a few hundred steps that collects and guides."""
    agent = dataclasses.replace(
        profile("reacher", "quick", "guided", "imagined", 50).agent, hidden_width=16, batch_size=16, random_steps=50
    )
    planner = dataclasses.replace(SMALL_PLANNER, n_policy_proposals=3, terminal_value=True)
    return small_config(collection="guided", agent_steps=150, agent=agent, planner=planner, **changes)


def builder(config: GenerationConfig, seed: int = 0) -> TransferDataBuilder:
    """A builder for reacher whose meter holds exactly the recipe's budget."""
    task = make_task("reacher", horizon=config.max_episode_steps)
    meter = Meter(config.source_steps, "source")
    return TransferDataBuilder(task, opener(task, meter, seed), meter, config, Streams(seed, "generation"))


def fitted(task: Task, rows: TransferDataset, config: WorldModelConfig) -> WorldModel:
    """A model of rows."""
    model = WorldModel(
        task.obs_dim,
        task.action_dim,
        config,
        torch.Generator().manual_seed(0),
        n_rates=task.n_rates,
        angle_indices=task.angle_indices,
    )
    model.fit(rows.obs, rows.action, rows.next_obs, rows.episode_id, np.random.default_rng(0))
    return model


class Bench:
    """A task with random rows, a model of them, starts, and a planner."""

    def __init__(self, family: str, steps: int, model: WorldModelConfig, planner: PlannerConfig) -> None:
        self.task = make_task(family)
        self.meter = Meter()
        self.open_env = opener(self.task, self.meter)
        env = self.open_env("random")
        self.rows = random_episodes(env, self.task, steps, np.random.default_rng(0), nothing)
        self.model = fitted(self.task, self.rows, model)
        self.planner_config = planner

    def planner(self, model: WorldModel | None = None) -> Planner:
        """A planner at the beginning of its random stream."""
        generator = torch.Generator().manual_seed(1)
        return Planner(model or self.model, self.task, self.planner_config, 0.1, generator)

    def starts(self, n: int, noise: float = 0.0) -> Starts:
        """Initial states of the task."""
        env = self.open_env("starts")
        drawn = [(env.reset()[0], env.sim_state) for _ in range(n)]
        obs, states = (np.stack(column) for column in zip(*drawn, strict=True))
        return Starts(obs, states, np.arange(n) % 2, np.full(n, noise, np.float32))
