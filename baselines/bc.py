"""Behaviour cloning, by d3rlpy."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.d3rlpy_method import D3rlpyLearner, import_d3rlpy
from wombet.errors import InputError
from wombet.streams import Streams


@dataclass(frozen=True)
class BCConfig:
    """Settings of behaviour cloning."""

    hidden_width: int = 256  # units of each of the two hidden layers; d3rlpy's default
    batch_size: int = 256  # ours: d3rlpy's default of 100 is out of line with every other method here
    learning_rate: float = 3e-4  # ours, for the same reason: d3rlpy's default is 1e-3

    def __post_init__(self) -> None:
        for name in ("hidden_width", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"bc's {name} is {getattr(self, name)}; it must be at least 1")
        if not self.learning_rate > 0:
            raise InputError(f"bc's learning_rate is {self.learning_rate}; it must be above zero")


class BehaviourCloning:
    """Regress the dataset's actions on its observations; no target-task interaction."""

    Config = BCConfig
    capabilities = Capabilities(
        phases=(Phase.OFFLINE,),
        needs_dataset=True,
        kind="offline",
        source="d3rlpy 2.8.0 (BC, deterministic policy)",
        deviations=("batch size 256 and learning rate 3e-4 instead of d3rlpy's 100 and 1e-3",),
    )

    def __init__(self, problem: Problem, config: BCConfig, streams: Streams, device: str) -> None:
        assert problem.dataset is not None
        d3rlpy = import_d3rlpy()
        encoder = d3rlpy.models.VectorEncoderFactory([config.hidden_width] * 2)
        settings = d3rlpy.algos.BCConfig(
            batch_size=config.batch_size, learning_rate=config.learning_rate, encoder_factory=encoder
        )
        task = problem.target
        self.learner = D3rlpyLearner(
            settings.create(device=device if device.startswith("cuda") else "cpu:0"),
            task.obs_dim,
            task.action_dim,
            streams.integer("learner") % 2**32,
        )
        self.problem, self.config, self.dataset = problem, config, problem.dataset
        self._sampling = streams.numpy("sampling")

    def train(self, phase: Phase, tick: Tick) -> None:
        """Make the budgeted number of updates on the dataset."""
        for update in range(self.learner.algorithm.grad_step, self.problem.budgets.offline_updates):
            rows = self._sampling.integers(len(self.dataset), size=self.config.batch_size)
            losses = self.learner.update(self.dataset, rows)
            tick(updates=update + 1, metrics=lambda losses=losses: losses)  # type: ignore[misc]

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the cloned actions."""
        return self.learner.act(obs)

    def state(self) -> Any:
        """Return the learner and the sampling stream."""
        return {"learner": self.learner.state(), "sampling": self._sampling.bit_generator.state}

    def restore(self, state: Any) -> None:
        """Take up a state."""
        self.learner.restore(state["learner"])
        self._sampling.bit_generator.state = state["sampling"]
