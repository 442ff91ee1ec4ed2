"""Policy expansion: the offline policy stays as it is, a new one learns beside it, and their values decide who acts."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from baselines.api import Array, Problem
from baselines.d3rlpy_method import D3rlpyLearner
from baselines.finetuned import FineTuned, OnlineConfig, offline_to_online
from baselines.iql import IQL, TOGETHER, IQLConfig
from baselines.offline_method import require_all
from wombet.errors import InputError
from wombet.streams import Streams

INHERITED = ("q_funcs", "targ_q_funcs", "value_func")
"""What the online half takes over at the switch; its policy and its optimisers are new."""
SCALE_ROWS = 1024
"""Rows of the dataset, spread evenly, over which the spread of the values is taken."""
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True)
class PEXConfig(IQLConfig, OnlineConfig):
    """PEX's settings on locomotion (its release)."""

    expectile: float = 0.9  # of the value's regression
    inverse_temperature: float = 10.0  # of the regression on advantages
    mixing: Literal["append", "fixed"] = "fixed"  # share of the dataset's rows in a minibatch
    collection_steps: int = 5000  # target steps before the first online update
    choice_inverse_temperature: float = 10.0  # of the choice between the two policies' actions
    value_scaling: Literal["std", "none"] = "std"  # what values are divided by in the choice: their spread (ours), or 1
    scale_interval: int = 1000  # online updates between measurements of that spread; ours
    evaluation_sampling: float = 0.1  # share of evaluation's choices and new actions that are drawn, not greedy

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("choice_inverse_temperature",), 0)
        require_all(self, ("scale_interval",), 1)
        if not 0 <= self.evaluation_sampling <= 1:
            raise InputError(f"evaluation_sampling is {self.evaluation_sampling}; it must be between 0 and 1")


class PEX(FineTuned, IQL):
    """IQL on the dataset; online, actions of its frozen policy and of a new one, chosen by their values.

    Until the switch it acts by the offline policy alone.
    """

    Config = PEXConfig
    capabilities = offline_to_online(
        "Zhang et al. 2023 (arXiv 2302.00935); d3rlpy 2.8.0 (IQL)",
        "values are divided by their standard deviation over rows of the dataset before the choice, which else is an "
        "argmax where they are large",
        "the new policy regresses on the minibatch's actions, as IQL does; the release regresses on new ones of both",
        TOGETHER,
    )

    def __init__(self, problem: Problem, config: PEXConfig, streams: Streams, device: str) -> None:
        super().__init__(problem, config, streams, device)
        task = problem.target
        self.expansion = D3rlpyLearner(
            self.algorithm(config, self.dataset).create(device=device if device.startswith("cuda") else "cpu:0"),
            task.obs_dim,
            task.action_dim,
            streams.integer("expansion") % 2**32,
        )
        self.expanded = False
        self.value_scale = 1.0
        self.new_policy_share = 0.0
        self._choosing = streams.numpy("choosing")

    @property
    def updates(self) -> int:
        """Updates made in both phases."""
        return self.learner.algorithm.grad_step + self.expansion.algorithm.grad_step

    def begin_online(self) -> None:
        """Expand the policy set, once: critics and value go on, a policy and optimisers begin."""
        if not self.expanded:
            self.expansion.take_parts(self.learner.parts(*INHERITED))
            self.expanded = True
            self._measure_scale()

    def learn(self) -> dict[str, float]:
        """Make the next update: of the offline half before the switch, of the other one after it."""
        if not self.expanded:
            return super().learn()
        losses = self.expansion.update_on(self.batch())
        if self.expansion.algorithm.grad_step % self.config.scale_interval == 0:
            self._measure_scale()
        return {**losses, "new_policy_share": self.new_policy_share, "value_scale": self.value_scale}

    def explore(self, obs: Array) -> Array:
        """Return an action of the composite policy."""
        actions, new = self.composite(obs, self._choosing, 1.0)
        self.new_policy_share += 0.01 * (float(new.mean()) - self.new_policy_share)
        return actions

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the composite policy's actions, mostly greedy; before the switch, the offline policy's."""
        if not self.expanded:
            return super().act(obs, generator)
        return self.composite(obs, generator, self.config.evaluation_sampling)[0]

    def composite(self, obs: Array, generator: np.random.Generator, sampling: float) -> tuple[Array, NDArray[np.bool_]]:
        """Return actions (n, action_dim) and which of them are the new policy's.

        The offline policy offers its mode. `sampling` is the share of the new policy's actions, and of the choices,
        that are drawn; the others are the likeliest.
        """
        n = len(obs)
        frozen = self.learner.act(obs)
        mean, std = self.expansion.gaussian(obs)
        drawn = np.clip(mean + std * generator.standard_normal(mean.shape, np.float32), -1, 1)
        fresh = np.where(generator.random((n, 1)) < sampling, drawn, mean)
        share = self.probabilities(obs, frozen, fresh)[:, 1]
        chosen = np.where(generator.random(n) < sampling, generator.random(n) < share, share > 0.5)
        return np.where(chosen[:, None], fresh, frozen), chosen

    def probabilities(self, obs: Array, frozen: Array, fresh: Array) -> NDArray[np.float64]:
        """Return the probabilities (n, 2) with which either action is chosen: a softmax of their smallest values."""
        values = np.stack([self.expansion.smallest_q(obs, action) for action in (frozen, fresh)], 1)
        logits = self.config.choice_inverse_temperature * values.astype(np.float64) / self.value_scale
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)

    def _measure_scale(self) -> None:
        if self.config.value_scaling == "none":
            return
        rows = np.linspace(0, len(self.dataset) - 1, min(SCALE_ROWS, len(self.dataset))).astype(np.int64)
        values = self.expansion.smallest_q(self.dataset.obs[rows], self.dataset.action[rows])
        self.value_scale = max(float(values.std(dtype=np.float64)), SMALLEST_SCALE)

    def state(self) -> Any:
        """Return both halves, the streams, the online rows and the counts."""
        return {
            **super().state(),
            "expansion": self.expansion.state(),
            "expanded": self.expanded,
            "value_scale": self.value_scale,
            "new_policy_share": self.new_policy_share,
            "choosing": self._choosing.bit_generator.state,
        }

    def restore(self, state: Any) -> None:
        """Take up a state."""
        super().restore(state)
        self.expansion.restore(state["expansion"])
        self.expanded, self.value_scale = state["expanded"], state["value_scale"]
        self.new_policy_share = state["new_policy_share"]
        self._choosing.bit_generator.state = state["choosing"]

    def policy_state(self) -> Any:
        """Return both policies, the critics between them, and the scale of their values."""
        return {
            "frozen": super().policy_state(),
            "expansion": self.expansion.parts("policy", "q_funcs"),
            "expanded": self.expanded,
            "value_scale": self.value_scale,
        }

    def restore_policy(self, state: Any) -> None:
        """Take up a `policy_state`."""
        super().restore_policy(state["frozen"])
        self.expansion.take_parts(state["expansion"])
        self.expanded, self.value_scale = state["expanded"], state["value_scale"]
