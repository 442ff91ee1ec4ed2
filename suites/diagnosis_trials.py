"""Trials with what an artefact holds, in the real simulator and on a meter of their own.

Nothing here is charged to the dataset, and nothing here changes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suites.datasets import AGENT, MODEL, config_of, source_task
from suites.spec import DatasetRecipe
from wombet.collection import recorded
from wombet.dataset import TransferDataset, load_dataset, load_source
from wombet.errors import InputError
from wombet.generation_config import GenerationConfig
from wombet.generation_tools import Planning, Tools, close
from wombet.interaction import Meter, MeteredEnv
from wombet.learner import ActorCritic
from wombet.rollouts import Rollouts, Starts, executed
from wombet.serialization import load_tree
from wombet.streams import Streams
from wombet.world_model import WorldModel

ONE_STEP_ROWS = 2000
"""Rows that are checked one step at a time: a second of simulation, and quantiles to a few per cent."""
OPEN_LOOP_STEPS = 20
"""Longest open-loop replay; beyond it the replay measures how chaotic the dynamics are, not how good the model is."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trials:
    """n trajectories of at most T steps; matrices are (n, T), zero after the end of a trajectory.

    `ended` says which of them the task's rule ended; `steps` and `start_type` are (n,).
    """

    rewards: Numbers
    uncertainty: Numbers
    steps: NDArray[np.int64]
    ended: NDArray[np.bool_]
    start_type: NDArray[np.int64]
    actions: NDArray[np.float32]

    def cut(self, length: int) -> "Trials":
        """The same trajectories, watched for fewer steps."""
        return replace(
            self,
            rewards=self.rewards[:, :length],
            uncertainty=self.uncertainty[:, :length],
            steps=np.minimum(self.steps, length),
            ended=self.ended & (self.steps <= length),
            actions=self.actions[:, :length],
        )


class Laboratory:
    """A dataset artefact brought back to life: its model, agent and planner, and starts to try them from.

    `meter` counts the steps of the simulator. Raises InputError if the artefact has no model.
    """

    def __init__(self, recipe: DatasetRecipe, folder: Path, n_starts: int) -> None:
        if recipe.imported:
            raise InputError(f"dataset {recipe.id} was imported, so there is no model and no planner to diagnose")
        self.task = source_task(recipe)
        self.dataset = load_dataset(folder)
        self.meter = Meter(None, "diagnosis")
        self.recipe_config = config_of(recipe)
        self._streams = Streams(recipe.dataset_seed).child("diagnosis", recipe.family)
        self.tools = Tools(self.task, self._open_env, _bare(self.recipe_config), self._streams)
        self.model = self.tools.model(load_tree(_file(folder, MODEL)))
        self.agent_state = load_tree(_file(folder, AGENT)) if self.recipe_config.guided else None
        self.agent: ActorCritic | None = self.tools.guide(self.agent_state)
        self.source = load_source(folder) if "source" in self.dataset.card else None
        self.starts = self.tools.starts("starts", n_starts, self._visited())
        self.unit_penalty = self._unit_penalty()

    @property
    def recipe_factor(self) -> float:
        """The recipe's own penalty in units of the calibrated one."""
        return self.recipe_config.planner.penalty_scale

    @property
    def target_std(self) -> Numbers:
        """Standard deviations (obs_dim,) of what the model predicts: the unit of errors and of its uncertainty."""
        return np.asarray(self.model.state()["units"]["target_std"].numpy(), np.float64)

    @property
    def learned(self) -> TransferDataset | None:
        """The source rows that the model learned from, oldest first, or None where they are not kept.

        Those of the calibration come last and are left out, because they were collected after the last fit.
        """
        if self.source is None or self.source.sim_state is None:
            return None
        n_after = self.dataset.card["source_steps"]["by_stage"].get("calibration", 0)
        return _take(self.source, np.arange(len(self.source) - n_after))

    def generator(self, *name: str) -> np.random.Generator:
        """Return the random stream of a name."""
        return self._streams.numpy(*name)

    def planner_trials(self, factor: float, length: int, starts: Starts | None = None) -> Trials:
        """Let the planner act in the simulator, with `factor` times the calibrated penalty; closed loop, no noise."""
        starts = starts or self.starts
        return trials(self.tools.execute("planner", self._planning(factor), starts, length, _nothing), length)

    def imagined_trials(self, factor: float, length: int) -> Trials:
        """Let the same planner act in its model; a trajectory that leaves all bounds is cut there."""
        planning = self._planning(factor)
        return trials(self.tools.imagine("imagined", planning, self.starts, length, float("inf"), _nothing), length)

    def policy_trials(self, name: str, length: int, starts: Starts | None = None) -> Trials:
        """Let a policy act in the simulator: `random` (uniform), `agent` (deterministic), `agent_stochastic`."""
        starts = starts or self.starts
        envs = self.tools.open(name, min(self.tools.config.n_parallel, len(starts)))
        actor = Actor(self.model, self._policy(name))
        noise_free = self.generator(name, "noise")
        rollouts = executed(self.model, self.task, actor, starts, length, envs, noise_free, _nothing)
        close(envs)
        return trials(rollouts, length)

    def open_loop_rewards(self, imagined: Trials) -> Numbers:
        """Replay imagined actions from the same starts, looking at nothing: rewards (n, at most OPEN_LOOP_STEPS)."""
        rewards = np.zeros((len(self.starts), min(OPEN_LOOP_STEPS, imagined.rewards.shape[1])))
        env = self.tools.open("open loop", 1)[0]
        recorded(env)
        for i, state in enumerate(self.starts.sim_state):
            env.reset(options={"sim_state": state})
            for t in range(min(rewards.shape[1], int(imagined.steps[i]))):
                _, rewards[i, t], terminated, truncated, _ = env.step(imagined.actions[i, t])
                if terminated or truncated:
                    break
        env.close()
        return rewards

    def checked_rows(self) -> tuple[TransferDataset, NDArray[np.float32]]:
        """Return a sample of the accepted rows and what the simulator does in their place, next_obs (n, obs_dim).

        Executed rows hold that already. Imagined ones are set up from their observation and stepped once.
        """
        n = min(ONE_STEP_ROWS, len(self.dataset))
        rows = _take(self.dataset, np.sort(self.generator("one step").choice(len(self.dataset), n, replace=False)))
        if self.recipe_config.rollouts == "executed":
            return rows, rows.next_obs
        env, truth = self.tools.open("one step", 1)[0], np.empty_like(rows.next_obs)
        recorded(env)
        for i, state in enumerate(self.task.sim_state_from_obs(rows.obs)):
            env.reset(options={"sim_state": state})
            truth[i] = env.step(rows.action[i])[0]
        env.close()
        return rows, truth

    def _planning(self, factor: float) -> Planning:
        return Planning(self.model, factor * self.unit_penalty, self.agent)

    def _policy(self, name: str) -> Callable[[Tensor], Tensor]:
        generator, action_dim = self._streams.torch(name), self.task.action_dim
        if name == "random":
            return lambda obs: 2 * torch.rand(len(obs), action_dim, generator=generator) - 1
        if self.agent is None:
            raise InputError(f"the dataset was collected without an agent, so there is no policy {name!r} to try")
        agent, drawn_from = self.agent, generator if name == "agent_stochastic" else None
        return lambda obs: agent.act(obs, drawn_from).float()

    def _visited(self) -> TransferDataset:
        """Rows whose states count as visited: real ones, or what was generated from them if none are kept."""
        rows = self.dataset if self.source is None else self.source
        return rows if rows.sim_state is not None else replace(rows, sim_state=self.task.sim_state_from_obs(rows.obs))

    def _unit_penalty(self) -> float:
        recorded_penalty = float(self.dataset.card["planner"]["penalty"])
        if self.recipe_factor > 0:
            return recorded_penalty / self.recipe_factor
        return self.tools.penalty(self.model, self._visited())

    def _open_env(self, name: str) -> MeteredEnv:
        return MeteredEnv(self.task.make_env(), self.meter, self._streams.child("resets", name).integer)


class Actor:
    """Stands where a planner does, and acts by a function of the observation."""

    def __init__(self, model: WorldModel, act: Callable[[Tensor], Tensor]) -> None:
        self.model, self._act = model, act

    def reset(self, n: int) -> None:
        """Begin episodes: nothing is kept of them."""

    def drop(self, keep: Tensor) -> None:
        """Go on with some episodes."""

    def plan(self, obs: Tensor) -> Tensor:
        """Return one action (n, 1, action_dim) each for obs (n, obs_dim)."""
        return self._act(obs)[:, None]


def trials(rollouts: Rollouts, length: int) -> Trials:
    """Return rollouts as matrices of `length` steps."""
    data, n = rollouts.data, len(rollouts.steps)
    first = np.repeat(data.episode_starts, np.diff([*data.episode_starts, len(data)]))
    place = data.episode_id, np.arange(len(data)) - first
    rewards, uncertainty = np.zeros((n, length)), np.zeros((n, length))
    actions = np.zeros((n, length, data.action.shape[1]), np.float32)
    rewards[place], uncertainty[place], actions[place] = data.reward_source, data.uncertainty, data.action
    ended = np.zeros(n, np.bool_)
    ended[data.episode_id[data.terminated]] = True
    return Trials(rewards, uncertainty, rollouts.steps, ended, rollouts.start_type, actions)


def _bare(config: GenerationConfig) -> GenerationConfig:
    """The recipe's settings with half the starts initial, no noise on actions, and penalties in calibrated units."""
    planner = replace(config.planner, penalty_scale=1.0)
    return replace(config, initial_fraction=0.5, action_noise=0.0, planner=planner)


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(f"{folder} has no {name}, so there is nothing to diagnose but its rows; build it again")
    return path


def _take(data: TransferDataset, rows: NDArray[Any]) -> TransferDataset:
    columns: Mapping[str, Any] = {name: column[rows] for name, column in data.columns().items()}
    return TransferDataset(**columns)


def _nothing() -> None:
    """Progress that nobody watches."""
