"""The planners that the planner's benchmarks measure: those of the halfcheetah profiles, on a model of random rows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from suites.tasks import Task, make_task
from wombet.learner import ActorCritic
from wombet.planner import Planner
from wombet.process import prepare_process
from wombet.profiles import profile
from wombet.world_model import WorldModel

ROWS = 600
GUIDED, PURE = "guided", "pure"
SETTINGS = {
    GUIDED: "guided planner, 24 candidates and 8 proposals, 2 iterations, H 4",
    PURE: "pure planner, 64 candidates, 3 iterations, H 15",
}
MODEL = "5 x 3x128, halfcheetah, one thread, CPU time"


class CountingModel(WorldModel):
    """Counts the rows that its elites evaluate for a planner."""

    rows = 0

    def step(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Predict, and count."""
        self.rows += len(obs)
        return super().step(obs, action)

    def flops_per_row(self) -> int:
        """Return the operations of one row's matrix products over all elites, means alone."""
        return sum(2 * weight.numel() for weight, _ in self._elite_mean_layers)


class Bench:
    """One model, and planners of it; speed does not depend on what was learnt."""

    def __init__(self, mode: str, inference_dtype: str = "float32") -> None:
        prepare_process(1)
        self.task: Task = make_task("halfcheetah")
        self.settings = profile("halfcheetah", "cpu", mode, "imagined", self.task.horizon)
        if mode == GUIDED:
            self.settings = replace(self.settings, planner=replace(self.settings.planner, horizon=4))
        config = replace(self.settings.world_model, max_steps=1, min_steps=0, inference_dtype=inference_dtype)
        generator = np.random.default_rng(0)
        obs, noise = generator.standard_normal((2, ROWS, self.task.obs_dim), np.float32)
        action = generator.uniform(-1, 1, (ROWS, self.task.action_dim)).astype(np.float32)
        self.model = CountingModel(
            self.task.obs_dim,
            self.task.action_dim,
            config,
            torch.Generator().manual_seed(0),
            n_rates=self.task.n_rates,
            angle_indices=self.task.angle_indices,
        )
        self.model.fit(obs, action, obs + np.float32(0.1) * noise, np.arange(ROWS) // 50, generator)
        self.obs = torch.from_numpy(obs)

    def planner(self, n_episodes: int, seed: int = 0) -> Planner:
        """Return a planner of so many episodes, with a guide of random weights where one is needed."""
        generator = torch.Generator().manual_seed(seed)
        dims = self.task.obs_dim, self.task.action_dim
        guide = None
        if self.settings.planner.needs_guide:
            guide = ActorCritic(*dims, self.settings.agent, torch.Generator().manual_seed(1))
        planner = Planner(self.model, self.task, self.settings.planner, 0.1, generator, guide)
        planner.reset(n_episodes)
        return planner

    def plan(self, n_episodes: int) -> Callable[[], Tensor]:
        """Return the work of planning once for so many episodes together."""
        planner, obs = self.planner(n_episodes), self.obs[:n_episodes]
        return lambda: planner.plan(obs)
