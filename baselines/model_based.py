"""What MOPO and COMBO share: an ensemble, rollouts of the policy in it, and batches of real and imagined rows."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from baselines.api import Left, Problem
from baselines.d3rlpy_method import Transitions, joined
from baselines.knowledge import knowledge_of, tools_of
from baselines.model_rollouts import RecentRounds, Rollouts
from baselines.offline_method import ActorCriticConfig, OfflineMethod, require_all
from wombet.errors import InputError
from wombet.planner import calibrated_penalty
from wombet.rollouts import model_uncertainty
from wombet.streams import Streams
from wombet.world_model import WorldModel
from wombet.world_model_config import WorldModelConfig

MEASURE = "max_aleatoric"
"""MOPO's estimate of the model's error: the largest norm of a member's learned standard deviation, in raw units."""

SHARED_DEVIATIONS = (
    "rewards and terminations of imagined rows are the target task's known functions, not learned",
    "the ensemble is this project's: known angles, standardised targets, trajectories held out whole",
)


@dataclass(frozen=True)
class ModelBasedConfig(ActorCriticConfig):
    """Settings of the model and its rollouts (MOPO's; COMBO's are the same)."""

    dynamics: Literal["dataset", "source"] = "dataset"  # what the ensemble is learned from
    # "dataset": learned on the dataset, as the paper's comparison does, so a model of a model's samples if the rows are
    # imagined; "source": the ensemble that was fitted to the real source transitions when the dataset was made
    real_fraction: float = 0.05  # of every minibatch
    rollout_length: int = 5  # imagined steps per start (MOPO)
    rollout_starts: int = 50_000  # rows of the dataset from which each round begins
    rollout_interval: int = 1000  # updates from one round to the next
    retained_rounds: int = 5  # rounds whose imagined rows are kept (MOPO)
    model_members: int = 7  # networks of the ensemble (MOPO)
    model_elites: int = 5  # those of least held-out error, which alone predict (MOPO)
    model_width: int = 200  # units of each hidden layer (MOPO)
    model_layers: int = 4  # hidden layers (MOPO)
    model_steps: int = 20_000  # of training, at most; it stops early after half of them

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("rollout_length", "rollout_starts", "rollout_interval", "retained_rounds", "model_steps")
        require_all(self, counts, 1)
        if not 0 <= self.real_fraction < 1:
            raise InputError(f"real_fraction is {self.real_fraction}; it must be at least 0 and below 1")
        self.world_model()

    @property
    def n_real(self) -> int:
        """Real rows of a minibatch."""
        return int(self.real_fraction * self.batch_size)

    def world_model(self) -> WorldModelConfig:
        """Return the settings of the ensemble; raises InputError for one out of range."""
        return WorldModelConfig(
            n_members=self.model_members,
            n_elites=self.model_elites,
            hidden_width=self.model_width,
            hidden_layers=self.model_layers,
            max_steps=self.model_steps,
            min_steps=self.model_steps // 2,
            uncertainty=MEASURE,
        )


class ModelBasedMethod(OfflineMethod):
    """d3rlpy's updates on batches of real and imagined rows, real ones first.

    The model is fitted, or taken from the dataset's making, before the first update. `penalty_scale` is the price of
    uncertainty: c in lambda = c * mean |reward| / q95(u), with u over rows that the model was not trained on.
    """

    name: str
    config: Any

    def __init__(self, problem: Problem, config: Any, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        if config.dynamics == "source":
            knowledge_of(problem, f"{self.name} with dynamics = 'source'")
        self._streams, self._device = streams, device
        self._model_state: Any = None
        self._rollouts: Rollouts | None = None
        self._imagined = RecentRounds(config.retained_rounds)
        self._imagination = streams.numpy("rollouts")

    @classmethod
    def asks_of_source(cls, settings: Mapping[str, Any]) -> Left | None:
        """Return the model, if it is not learned on the dataset."""
        return "model" if settings["dynamics"] == "source" else None

    @property
    def penalty_scale(self) -> float:
        """The price of uncertainty, free of units."""
        raise NotImplementedError

    def batch(self) -> Transitions:
        """Return the next minibatch; every `rollout_interval` updates the policy is rolled out anew."""
        if self.learner.algorithm.grad_step % self.config.rollout_interval == 0:
            starts = self.real_rows(self.config.rollout_starts).obs
            self._imagined.add(self.rollouts().run(starts, self.learner.sample, self._imagination))
        n_real = self.config.n_real
        imagined = self._imagined.sample(self.config.batch_size - n_real, self._imagination)
        return joined([self.real_rows(n_real), imagined])

    def rollouts(self) -> Rollouts:
        """Return the rollouts in the model, which is fitted or read when it is first asked for."""
        if self._rollouts is None:
            model = self._source_model() if self.config.dynamics == "source" else self._dataset_model()
            penalty = calibrated_penalty(self.penalty_scale, *self._scales(model))
            self._rollouts = Rollouts(model, self.problem.target, self.config.rollout_length, penalty)
        return self._rollouts

    def _dataset_model(self) -> WorldModel:
        task, data = self.problem.target, self.dataset
        model = WorldModel(
            task.obs_dim,
            task.action_dim,
            self.config.world_model(),
            self._streams.torch("model"),
            n_rates=task.n_rates,
            angle_indices=task.angle_indices,
            device=self._device,
        )
        if self._model_state is None:
            model.fit(data.obs, data.action, data.next_obs, data.episode_id, self._streams.numpy("model fit"))
            self._model_state = model.state()
        else:
            model.restore(self._model_state)
        return model

    def _source_model(self) -> WorldModel:
        knowledge = knowledge_of(self.problem, self.name)
        settings = dataclasses.replace(
            knowledge.config, world_model=dataclasses.replace(knowledge.config.world_model, uncertainty=MEASURE)
        )
        tools = tools_of(self.problem, dataclasses.replace(knowledge, config=settings), self._device)
        return tools.model(knowledge.model_state)

    def _scales(self, model: WorldModel) -> tuple[float, float]:
        """Return the mean size of a reward, and the uncertainty of rows that were not trained on."""
        assert self.dataset.reward_target is not None
        rows = np.ones(len(self.dataset), np.bool_)
        if self.config.dynamics == "dataset":
            rows = np.isin(self.dataset.episode_id, model.holdout_episodes)
        uncertainty = model_uncertainty(model, self.dataset.obs[rows], self.dataset.action[rows])
        mean_reward = float(np.abs(self.dataset.reward_target).mean(dtype=np.float64))
        return mean_reward, float(np.quantile(uncertainty, 0.95))

    def state(self) -> Any:
        """Return learner, streams, the fitted model and the rounds of rollouts that are kept."""
        return {
            **super().state(),
            "model": self._model_state,
            "imagined": self._imagined.state(),
            "imagination": self._imagination.bit_generator.state,
        }

    def restore(self, state: Any) -> None:
        """Take up a state."""
        super().restore(state)
        self._model_state, self._rollouts = state["model"], None
        self._imagined.restore(state["imagined"])
        self._imagination.bit_generator.state = state["imagination"]
