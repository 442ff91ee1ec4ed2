"""The online half: an actor-critic that learns from a transfer dataset and from the target task at once.

SAC, RLPD and WOMBET are configurations of this one loop, so that their rows differ by what their papers differ in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.interaction import MeteredEnv
from wombet.learner import ActorCritic, LearnerConfig
from wombet.mixing import MixingConfig, Mixture, check_mixing
from wombet.replay import ReplayBuffer, draw_mixed
from wombet.streams import Streams

Array = NDArray[np.float32]
SIGNAL_ROWS = 1024


class Tick(Protocol):
    """Called after every unit of progress, with the agent's state whole."""

    def __call__(self, *, updates: int, metrics: Callable[[], Mapping[str, float]] | None = None) -> None: ...


@dataclass(frozen=True)
class AgentConfig(MixingConfig, LearnerConfig):
    """Everything that defines the online half; the defaults are WOMBET's."""

    random_steps: int = 5000  # uniform actions before the first update (RLPD)
    target_penalty: float = 0.1  # c_Q of eq. (7): penalty per step = c_Q mean|r| u / q95(u); ours, 0 switches it off
    replay_capacity: int = 1_000_000  # online rows kept

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self)
        if self.random_steps < 0:
            raise InputError(f"random_steps is {self.random_steps}; it must be zero or more")
        if self.target_penalty < 0:
            raise InputError(f"target_penalty is {self.target_penalty}; it must be zero or more")
        if self.replay_capacity < 1:
            raise InputError(f"replay_capacity is {self.replay_capacity}; it must be at least 1")


class TransferAgent:
    """An actor-critic with an offline buffer that never loses a row, an online ring buffer, and a mixture of the two.

    `dataset` carries the target's labels (see `TransferDataset.relabel`), or is None for learning from scratch.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: AgentConfig,
        streams: Streams,
        dataset: TransferDataset | None = None,
        device: str = "cpu",
    ) -> None:
        self.config = config
        self.learner = ActorCritic(obs_dim, action_dim, config, streams.torch("learner", device=device), device)
        self.mixture = Mixture(config)
        self.offline = offline_buffer(dataset, config.target_penalty, device) if dataset is not None else None
        self.online = ReplayBuffer(config.replay_capacity, obs_dim, action_dim, device)
        self.steps = 0
        self.updates = 0
        self.online_updates = 0
        self._last_update: Mapping[str, Any] = {}
        self._warm_up = streams.numpy("warm-up")
        self._sampling = streams.numpy("sampling")
        self._exploration = streams.torch("exploration", device=device)
        self._signal = streams.torch("signal", device=device)

    def pretrain(self, until: int, tick: Tick) -> None:
        """Learn from the dataset alone until `until` critic updates have been made."""
        if self.offline is None:
            raise InputError("pretraining needs a dataset")
        while self.updates < until:
            self._learn(1.0)
            tick(updates=self.updates, metrics=self.metrics)

    def transfer(self, dataset: TransferDataset) -> None:
        """Go on with another dataset, which carries the target's labels, in place of the one there was."""
        self.offline = offline_buffer(dataset, self.config.target_penalty, str(self.online.device))

    def finetune(self, env: MeteredEnv, until: int, tick: Tick, total: int | None = None) -> None:
        """Act, store and learn, until `until` environment steps have been taken by this agent.

        `total` is where the whole online phase ends, of which this may be a part; by default it ends here.
        """
        while self.steps < until:
            self._interact(env)
            if self.steps > self.config.random_steps:
                self.mixture.advance(self.steps / (total or until), self._offline_share())
                self._learn(self.mixture.fraction)
                self.online_updates += self.config.utd
                self._adapt_mixture()
            tick(updates=self.updates, metrics=self.metrics)

    def act(self, obs: Array) -> Array:
        """Return the deterministic actions (n, action_dim) for obs (n, obs_dim)."""
        return self.learner.act(torch.from_numpy(obs)).cpu().numpy()

    def metrics(self) -> dict[str, float]:
        """Return what the last update showed, and where the mixture stands."""
        found = {name: float(value) for name, value in self._last_update.items()}
        found["offline_fraction"] = self.mixture.fraction
        if self.mixture.signal is not None:
            found["mixing_signal"] = self.mixture.signal
        return found

    def _offline_share(self) -> float:
        offline = 0 if self.offline is None else len(self.offline)
        return offline / (offline + len(self.online))

    def _interact(self, env: MeteredEnv) -> None:
        obs = env.observation
        if self.steps < self.config.random_steps:
            action = self._warm_up.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        else:
            action = self.learner.act_one(obs, self._exploration)
        next_obs, reward, terminated, _, _ = env.step(action)
        self.online.add(obs, action, reward, next_obs, terminated)
        self.steps += 1

    def _learn(self, offline_fraction: float) -> None:
        size = self.config.batch_size
        minibatches = [
            draw_mixed(self.offline, self.online, offline_fraction, size, self._sampling)
            for _ in range(self.config.utd)
        ]
        self._last_update = self.learner.update(minibatches)
        self.updates += len(minibatches)

    def _adapt_mixture(self) -> None:
        if not self.mixture.measures or self.steps % self.config.mixing_interval:
            return
        errors, targets = self.learner.td_error(self.online.last(SIGNAL_ROWS), self._signal)
        self.mixture.observe(float(errors.mean()), float(targets.std(correction=0)), self.online_updates)

    def state(self) -> dict[str, Any]:
        """Return everything that decides the future but the dataset, as a tree for `wombet.serialization`."""
        return {
            "learner": self.learner.state(),
            "mixture": self.mixture.state(),
            "online": self.online.state(),
            "steps": self.steps,
            "updates": self.updates,
            "online_updates": self.online_updates,
            "last_update": {name: float(value) for name, value in self._last_update.items()},
            "numpy": [stream.bit_generator.state for stream in (self._warm_up, self._sampling)],
            "torch": [stream.get_state() for stream in (self._exploration, self._signal)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of an agent that was built alike."""
        self.learner.restore(state["learner"])
        self.mixture.restore(state["mixture"])
        self.online.restore(state["online"])
        self.steps, self.updates, self.online_updates = state["steps"], state["updates"], state["online_updates"]
        self._last_update = state["last_update"]
        for stream, saved in zip((self._warm_up, self._sampling), state["numpy"], strict=True):
            stream.bit_generator.state = saved
        for generator, saved in zip((self._exploration, self._signal), state["torch"], strict=True):
            generator.set_state(saved)


def offline_buffer(dataset: TransferDataset, target_penalty: float, device: str) -> ReplayBuffer:
    """Return the dataset's rows with target labels and the per-row penalty lambda_Q u of eq. (7)."""
    if dataset.reward_target is None or dataset.terminated_target is None:
        raise InputError("the dataset has no target labels; relabel it with the target task first")
    penalty = np.zeros(len(dataset), np.float32)
    if target_penalty > 0:
        scale = float(np.quantile(dataset.uncertainty, 0.95))
        mean_reward = float(np.abs(dataset.reward_target).mean(dtype=np.float64))
        penalty = np.float32(target_penalty * mean_reward / max(scale, 1e-12)) * dataset.uncertainty
    buffer = ReplayBuffer(len(dataset), dataset.obs.shape[1], dataset.action.shape[1], device)
    buffer.extend(
        {
            "obs": dataset.obs,
            "action": dataset.action,
            "reward": dataset.reward_target,
            "next_obs": dataset.next_obs,
            "terminated": dataset.terminated_target,
            "penalty": penalty,
        }
    )
    return buffer
