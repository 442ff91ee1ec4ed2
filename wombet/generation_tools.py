"""What the stages of generation work with: a recipe's agent, model and planner, starts, rollouts, and the filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wombet import generation_work as work
from wombet.agent import TransferAgent
from wombet.collection import Progress
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.filtering import (
    START_TYPES,
    Candidates,
    Mask,
    Thresholds,
    check_acceptance,
    matched_mask,
    return_thresholds,
    threshold_mask,
    venn_counts,
)
from wombet.gate import calibrate, check_gate, compare
from wombet.generation_config import GenerationConfig
from wombet.interaction import MeteredEnv
from wombet.learner import ActorCritic
from wombet.planner import Guide, Planner, calibrated_penalty
from wombet.rollouts import OpenEnv, Rollouts, Starts, executed, imagined
from wombet.stages import Products, Stage, StageRun
from wombet.streams import Streams
from wombet.task import Task
from wombet.world_model import WorldModel


@dataclass(frozen=True, eq=False)
class Planning:
    """What plans: a model, the price of its uncertainty, and, where an agent guides, the agent's actor-critic."""

    model: WorldModel
    penalty: float
    guide: Guide | None


@dataclass(frozen=True, eq=False)
class Tools:
    """A recipe's source task, settings and random streams, and what they make.

    `open_env(name)` opens a metered source environment whose resets are seeded by the name. Everything that is random
    takes a name, and draws from the streams of that name alone.
    """

    task: Task
    open_env: OpenEnv
    config: GenerationConfig
    streams: Streams
    device: str = "cpu"

    def agent(self, state: Mapping[str, Any] | None = None) -> TransferAgent:
        """Return the source agent: as it begins, or as `state` (a `TransferAgent.state()`) says."""
        streams = self.streams.child("source agent")
        agent = TransferAgent(
            self.task.obs_dim, self.task.action_dim, self.config.agent, streams, dataset=None, device=self.device
        )
        if state is not None:
            agent.restore(dict(state))
        return agent

    def guide(self, state: Mapping[str, Any] | None) -> ActorCritic | None:
        """Return the actor-critic of an agent's state, or None where there was no agent."""
        return None if state is None else self.agent(state).learner

    def model(self, state: dict[str, Any] | None = None, name: str = "world model") -> WorldModel:
        """Return the world model: unfitted, or as `state` (a `WorldModel.state()`) says."""
        model = WorldModel(
            self.task.obs_dim,
            self.task.action_dim,
            self.config.world_model,
            self.streams.torch(name),
            n_rates=self.task.n_rates,
            angle_indices=self.task.angle_indices,
            device=self.device,
        )
        if state is not None:
            model.restore(state)
        return model

    def penalty(self, model: WorldModel, rows: TransferDataset) -> float:
        """Return lambda, calibrated to the rewards of source `rows` and the model's held-out uncertainty."""
        mean_reward = float(np.abs(rows.reward_source).mean(dtype=np.float64))
        return calibrated_penalty(self.config.planner.penalty_scale, mean_reward, model.report["uncertainty"]["q95"])

    def planner(self, name: str, planning: Planning) -> Planner:
        """Return a planner at the beginning of its random stream."""
        generator = self.streams.torch(name, "planner")
        return Planner(planning.model, self.task, self.config.planner, planning.penalty, generator, planning.guide)

    def open(self, name: str, n: int) -> list[MeteredEnv]:
        """Open n environments."""
        return [self.open_env(f"{name} {i}") for i in range(n)]

    def starts(self, name: str, n: int, rows: TransferDataset) -> Starts:
        """Draw n starts: first the share from the task's initial states, then states of `rows`, with rates of zero."""
        generator = self.streams.numpy(name)
        n_initial = round(self.config.initial_fraction * n)
        env = self.open_env(name)
        drawn = [(env.reset()[0], env.sim_state) for _ in range(n_initial)]
        env.close()
        visited = generator.integers(0, len(rows), n - n_initial)
        assert rows.sim_state is not None
        obs = np.concatenate([np.reshape([o for o, _ in drawn], (n_initial, self.task.obs_dim)), rows.obs[visited]])
        obs[:, : self.task.n_rates] = 0
        states = np.reshape([s for _, s in drawn], (n_initial, rows.sim_state.shape[1]))
        noise = generator.uniform(0, self.config.action_noise, n).astype(np.float32)
        kinds = np.repeat(np.array([0, 1]), [n_initial, n - n_initial])
        return Starts(obs.astype(np.float32), np.concatenate([states, rows.sim_state[visited]]), kinds, noise)

    def execute(self, name: str, planning: Planning, starts: Starts, length: int, progress: Progress) -> Rollouts:
        """Run the planner in the simulator; the rows' uncertainty is that of the planner's model."""
        envs = self.open(name, min(self.config.n_parallel, len(starts)))
        planner, generator = self.planner(name, planning), self.streams.numpy(name)
        rollouts = executed(planning.model, self.task, planner, starts, length, envs, generator, progress)
        close(envs)
        return rollouts

    def imagine(
        self, name: str, planning: Planning, starts: Starts, length: int, hard_stop: float, progress: Progress
    ) -> Rollouts:
        """Run the planner in its own model."""
        planner, generator = self.planner(name, planning), self.streams.numpy(name)
        return imagined(planning.model, self.task, planner, starts, length, hard_stop, generator, progress)

    def judge(
        self, name: str, candidates: Candidates, uncertainty: float, source_returns: tuple[float, float]
    ) -> tuple[Mask, Thresholds, dict[str, int]]:
        """Return which candidates the recipe's filter accepts, its thresholds, and the counts of the two rules.

        Raises AcceptanceError if too few are.
        """
        config = self.config
        least = min(config.min_return_steps, config.trajectory_steps)
        thresholds = Thresholds(uncertainty, return_thresholds(candidates, source_returns), least)
        venn = venn_counts(candidates, thresholds)
        if config.selection == "matched":
            count = round(config.matched_fraction * len(candidates))
            accepted = matched_mask(candidates, config.filter_rule, count, self.streams.numpy(name))
        else:
            accepted = threshold_mask(candidates, config.filter_rule, thresholds)
        check_acceptance(accepted, config.minimum_acceptance, venn)
        return accepted, thresholds, venn


def close(envs: Sequence[MeteredEnv]) -> None:
    """Free the simulators."""
    for env in envs:
        env.close()


def source_returns(rows: TransferDataset, early_steps: int, n_rows: int | None = None) -> tuple[float, float]:
    """Mean reward per step of (the first `n_rows`) rows: in the first `early_steps` steps of episodes, and anywhere."""
    starts = rows.episode_starts
    age = (np.arange(len(rows)) - np.repeat(starts, np.diff([*starts, len(rows)])))[:n_rows]
    reward = rows.reward_source[:n_rows].astype(np.float64)
    return float(reward[age < early_steps].mean()), float(reward.mean())


def rollout_tree(rollouts: Rollouts) -> dict[str, Any]:
    """Return rollouts as a tree for `wombet.serialization`."""
    return {"columns": rollouts.data.columns(), "steps": rollouts.steps, "start_type": rollouts.start_type}


def rollouts_of(tree: Mapping[str, Any]) -> Rollouts:
    """Return the rollouts of a tree."""
    return Rollouts(TransferDataset(**tree["columns"]), tree["steps"], tree["start_type"])


def check_horizon(config: GenerationConfig, task: Task) -> None:
    """Raise InputError unless the recipe is for episodes as long as the task's."""
    if config.max_episode_steps != task.horizon:
        raise InputError(
            f"the recipe is for episodes of {config.max_episode_steps} steps and those of {task.id} have "
            f"{task.horizon}; use a profile of that horizon"
        )


def early_candidates(start_type: NDArray[np.int64], fraction: float) -> Mask:
    """Return which candidates an early model plans: of each start type the first ones, as many as their share."""
    early = np.zeros(len(start_type), np.bool_)
    for kind in range(len(START_TYPES)):
        of_kind = np.flatnonzero(start_type == kind)
        early[of_kind[: round(fraction * len(of_kind))]] = True
    return early


def calibration_of(config: GenerationConfig, rollouts: Rollouts) -> Products:
    """Return real rollouts that the model has not seen, and the thresholds on uncertainty that follow from them."""
    factors = config.uncertainty_factor, config.hard_stop_factor
    threshold, hard_stop = calibrate(rollouts.data.uncertainty, *factors)
    limits = {"uncertainty": threshold, "hard_stop": hard_stop}
    return {"calibration": rollout_tree(rollouts), "thresholds": limits}


def gate_of(config: GenerationConfig, real: Rollouts, imagined: Rollouts) -> Products:
    """Return the gate's result; raises GateError if it was not passed."""
    result = compare(real, imagined, config.calibrated_steps, config.gate_tolerance)
    check_gate(result)
    return {"gate": vars(result)}


def generation_stages(config: GenerationConfig, task: Task, prefix: str, runs: Sequence[StageRun]) -> list[Stage]:
    """Return the stages calibration, gate (of imagined rollouts) and generation, which `runs` run, in that order."""
    parallel = min(config.n_parallel, config.calibration_trajectories)
    rounds = -(-config.calibration_trajectories // parallel)
    steps, length = config.calibrated_steps, config.trajectory_steps
    tried = work.planned_step(config, task, parallel)
    stages = [Stage(f"{prefix}calibration", runs[0], rounds * steps, tried)]
    if config.rollouts == "imagined":
        gate = work.planned_step(config, task, config.calibration_trajectories)
        groups = 2 if config.early_fraction else 1
        batch = work.planned_step(config, task, config.n_trajectories) / groups
        stages += [Stage(f"{prefix}gate", runs[1], steps, gate)]
        return [*stages, Stage(f"{prefix}generation", runs[2], groups * length, batch)]
    rounds = -(-config.n_trajectories // config.n_parallel)
    batch = work.planned_step(config, task, min(config.n_parallel, config.n_trajectories))
    return [*stages, Stage(f"{prefix}generation", runs[2], rounds * length, batch)]
