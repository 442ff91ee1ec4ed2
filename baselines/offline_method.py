"""What the offline methods share: a fixed number of d3rlpy's updates on the dataset's rows."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.d3rlpy_method import D3rlpyLearner, Transitions, import_d3rlpy, transitions_of
from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.streams import Streams


@dataclass(frozen=True)
class NetworkConfig:
    """Settings that every offline method has; raises InputError for one out of range."""

    hidden_width: int = 256  # units of each hidden layer; d3rlpy's default
    hidden_layers: int = 2  # d3rlpy's default
    batch_size: int = 256  # transitions per update; d3rlpy's default

    def __post_init__(self) -> None:
        require_all(self, ("hidden_width", "hidden_layers", "batch_size"), 1)

    def encoder(self) -> Any:
        """Return d3rlpy's factory of the networks."""
        return import_d3rlpy().models.VectorEncoderFactory([self.hidden_width] * self.hidden_layers)


@dataclass(frozen=True)
class ActorCriticConfig(NetworkConfig):
    """Settings that every offline method with a critic has."""

    actor_lr: float = 3e-4  # Adam's step size
    critic_lr: float = 3e-4  # Adam's step size
    discount: float = 0.99  # per environment step
    tau: float = 0.005  # share of the critics that enters the target critics per update

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("actor_lr", "critic_lr"), 0)
        if not (0 <= self.discount <= 1 and 0 < self.tau <= 1):
            raise InputError(
                f"discount is {self.discount} and tau {self.tau}; they must be within 0 and 1, tau above 0"
            )

    def common(self) -> dict[str, Any]:
        """Return these settings by d3rlpy's names."""
        return {
            "actor_learning_rate": self.actor_lr,
            "critic_learning_rate": self.critic_lr,
            "gamma": self.discount,
            "tau": self.tau,
            "batch_size": self.batch_size,
            "actor_encoder_factory": self.encoder(),
            "critic_encoder_factory": self.encoder(),
        }


class OfflineMethod:
    """Updates of a d3rlpy algorithm on uniformly drawn rows of the dataset; no target-task interaction.

    A method says which algorithm (`algorithm`) and, if not all, which rows (`usable_rows`), batches (`batch`) or
    updates (`learn`).
    """

    capabilities: ClassVar[Capabilities]

    def __init__(self, problem: Problem, config: Any, streams: Streams, device: str) -> None:
        assert problem.dataset is not None
        self.problem, self.config, self.dataset = problem, config, problem.dataset
        task = problem.target
        self.learner = D3rlpyLearner(
            self.algorithm(config, self.dataset).create(device=device if device.startswith("cuda") else "cpu:0"),
            task.obs_dim,
            task.action_dim,
            streams.integer("learner") % 2**32,
        )
        self._rows = self.usable_rows()
        self._sampling = streams.numpy("sampling")

    def algorithm(self, config: Any, dataset: TransferDataset) -> Any:
        """Return d3rlpy's config of the algorithm."""
        raise NotImplementedError

    def usable_rows(self) -> np.ndarray:
        """Return the indices of the rows to learn from."""
        return np.arange(len(self.dataset))

    def batch(self) -> Transitions:
        """Return the next minibatch."""
        return self.real_rows(self.config.batch_size)

    def real_rows(self, n: int) -> Transitions:
        """Return n rows of the dataset, drawn with replacement."""
        return transitions_of(self.dataset, self._rows[self._sampling.integers(len(self._rows), size=n)])

    def train(self, phase: Phase, tick: Tick) -> None:
        """Make the budgeted number of updates."""
        total = self.problem.budgets.offline_updates
        for update in range(self.learner.algorithm.grad_step, total):
            if getattr(self.config, "actor_decay", False):
                self.learner.set_actor_lr(cosine(self.config.actor_lr, update, total))
            losses = self.learn()
            tick(updates=update + 1, metrics=lambda losses=losses: losses)  # type: ignore[misc]

    def learn(self) -> dict[str, float]:
        """Make the next update; returns its losses."""
        return self.learner.update_on(self.batch())

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the greedy actions."""
        return self.learner.act(obs)

    def state(self) -> Any:
        """Return the learner and the sampling stream."""
        return {"learner": self.learner.state(), "sampling": self._sampling.bit_generator.state}

    def restore(self, state: Any) -> None:
        """Take up a state."""
        self.learner.restore(state["learner"])
        self._sampling.bit_generator.state = state["sampling"]

    def policy_state(self) -> Any:
        """Return the learner alone, without what it was fed."""
        return self.learner.state()

    def restore_policy(self, state: Any) -> None:
        """Take up a learner that acts."""
        self.learner.restore(state)


def offline(source: str, *deviations: str) -> Capabilities:
    """Return the capabilities of a method that learns from the dataset alone."""
    return Capabilities(
        phases=(Phase.OFFLINE,), needs_dataset=True, kind="offline", source=source, deviations=deviations
    )


def cosine(start: float, update: int, total: int) -> float:
    """Return the step size of an update when it falls from `start` to zero over `total` along half a cosine."""
    return start * (1 + math.cos(math.pi * update / total)) / 2


def require_all(config: Any, names: tuple[str, ...], least: float) -> None:
    """Raise InputError unless the fields are finite and at least `least`."""
    for name in names:
        value = getattr(config, name)
        if not least <= value < math.inf:
            raise InputError(f"{name} is {value}; it must be at least {least}, and finite")
