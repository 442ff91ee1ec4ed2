"""CPU seconds of the parts of generation, and what a recipe's counts make of them."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from baselines.config import config_dict
from benchmarks.phase_rates import FAMILY, Watch, measured_problem
from suites.spending import Spending
from suites.tasks import make_task
from wombet.agent import TransferAgent
from wombet.dataset import TransferDataset
from wombet.ensemble_training import STEPS_PER_TICK
from wombet.errors import InputError
from wombet.files import canonical_json
from wombet.generation_config import GenerationConfig
from wombet.generation_tools import Planning, Tools
from wombet.interaction import MeteredEnv
from wombet.streams import Streams
from wombet.world_model import WorldModel
from wombet.world_model_config import WorldModelConfig

FEW, MANY = 16, 32
"""Trajectories that are planned for together, to see what each more costs: both fill the model's block of rows."""
FITTED_ROWS = 2000
"""Rows that a model is fitted to where only its size matters."""


@dataclass(frozen=True)
class PlanningCost:
    """CPU seconds and peak memory in MB per trajectory of one decision of the planner."""

    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class GenerationCost:
    """CPU seconds of a step of the source agent with its updates, of a gradient step of the model, and of planning."""

    agent_step: float
    fit_step: float
    planning: PlanningCost


def keys_of(config: GenerationConfig) -> tuple[str, str, str]:
    """Return what recipes have in common whose agent, model and planner take the same time."""
    agent = {name: value for name, value in config_dict(config.agent).items() if name != "replay_capacity"}
    model = config_dict(config.world_model)
    fit = {name: value for name, value in model.items() if name not in ("uncertainty", "inference_dtype")}
    planner = {
        name: value
        for name, value in config_dict(config.planner).items()
        if name not in ("penalty_scale", "noise_beta", "replan_interval")
    }
    return canonical_json(agent), canonical_json(fit), canonical_json([planner, model])


def agent_step(config: GenerationConfig, seconds: float, dataset: TransferDataset) -> float:
    """Measure a step of the source agent: the simulator's and its updates'."""
    from baselines.api import Phase

    problem = measured_problem(dataset, config.max_episode_steps)
    settings = replace(config.agent, random_steps=50)
    sizes = problem.source.obs_dim, problem.source.action_dim
    watch = Watch(problem, seconds)
    agent = TransferAgent(*sizes, settings, Streams(0).child("source agent"))

    class Collecting:
        """Stands where an adapter does."""

        def train(self, phase: Phase, tick: object) -> None:
            agent.finetune(problem.source_env, 10**7, tick)  # type: ignore[arg-type]

    found = watch.measure(Collecting(), Phase.SOURCE)
    assert found is not None
    return found.seconds / found.units


def fit_step(config: WorldModelConfig, dataset: TransferDataset) -> float:
    """Measure a gradient step of the ensemble."""
    times: list[float] = []
    fitted(config, dataset, 2 * STEPS_PER_TICK, lambda: times.append(time.thread_time()))
    return (times[-1] - times[0]) / (STEPS_PER_TICK * (len(times) - 1))


def planning(config: GenerationConfig, dataset: TransferDataset) -> PlanningCost:
    """Measure a decision of the planner for one trajectory among many."""
    made = tools(config)
    model = fitted(config.world_model, dataset)
    guide = made.guide(made.agent().state()) if config.guided else None
    planner = made.planner("measured", Planning(model, 0.1, guide))
    peaks = []
    for n in (FEW, MANY):
        spending = Spending("cpu")
        planner.reset(n)
        begun = time.thread_time()
        planner.plan(torch.from_numpy(dataset.obs[:n].copy()))
        taken = time.thread_time() - begun
        peaks.append(spending.to_json()["peak_memory_mb"])
    return PlanningCost(taken / MANY, max(0.0, peaks[1] - peaks[0]) / (MANY - FEW))


def tools(config: GenerationConfig) -> Tools:
    """Return the tools of a recipe in the measured family; they open no environment."""
    return Tools(make_task(FAMILY), _no_environment, config, Streams(0))


def fitted(config: WorldModelConfig, dataset: TransferDataset, steps: int = 1, progress: object = None) -> WorldModel:
    """Return an ensemble after so many gradient steps."""
    task = make_task(FAMILY)
    small = replace(config, max_steps=steps, min_steps=steps)
    model = WorldModel(
        task.obs_dim,
        task.action_dim,
        small,
        torch.Generator().manual_seed(0),
        n_rates=task.n_rates,
        angle_indices=task.angle_indices,
    )
    obs, action, next_obs = (part[:FITTED_ROWS] for part in (dataset.obs, dataset.action, dataset.next_obs))
    episodes = np.arange(len(obs)) // 50
    model.fit(obs, action, next_obs, episodes, np.random.default_rng(0), progress=progress)  # type: ignore[arg-type]
    return model


def iteration_seconds(config: GenerationConfig, cost: GenerationCost) -> float:
    """Predict what a further iteration takes: a fit with all its steps, calibration, gate, and new trajectories."""
    both = 2 if config.rollouts == "imagined" else 1
    tried = both * config.calibration_trajectories * config.calibrated_steps
    steps = tried + config.n_trajectories * config.trajectory_steps
    return config.world_model.max_steps * cost.fit_step + _planned(config, steps, cost)


def dataset_seconds(config: GenerationConfig, cost: GenerationCost) -> float:
    """Predict what a build takes: the agent, all fits with all their steps, and all decisions of the planner.

    What random actions, the policy's rollouts and the uncertainty of real rows take is left out, below a hundredth.
    """
    agent = config.agent_steps * cost.agent_step if config.guided else 0.0
    rounds = config.refits if config.planned_episodes else 0
    more_fits = rounds + (1 if config.early_fraction else 0)
    collected = rounds * config.planned_episodes * config.max_episode_steps
    fits = more_fits * config.world_model.max_steps * cost.fit_step
    return agent + fits + _planned(config, collected, cost) + iteration_seconds(config, cost)


def planned_together(config: GenerationConfig) -> int:
    """Return the most trajectories that are planned for at a time; of those in the model others wait for their turn."""
    if config.rollouts == "executed":
        return min(config.n_parallel, config.n_trajectories)
    early = round(config.early_fraction * config.n_trajectories)
    return min(config.planner.episodes_at_once, max(early, config.n_trajectories - early))


def _planned(config: GenerationConfig, steps: int, cost: GenerationCost) -> float:
    return steps / config.planner.replan_interval * cost.planning.seconds


def _no_environment(name: str) -> MeteredEnv:
    raise InputError(f"the environment {name!r} was asked for, and planning in the model needs none")
