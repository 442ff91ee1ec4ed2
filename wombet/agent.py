"""The online half: an actor-critic that learns from a transfer dataset and from the target task at once.

SAC, RLPD and WOMBET are configurations of this one loop, so that their rows differ by what their papers differ in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from wombet.dataset import TransferDataset
from wombet.errors import InputError
from wombet.interaction import MeteredEnv
from wombet.learner import ActorCritic, Batch, LearnerConfig
from wombet.mixing import MixingConfig, Mixture, check_mixing
from wombet.mixing_signal import SignalMeter
from wombet.replay import ReplayBuffer, draw_mixed
from wombet.streams import Streams
from wombet.world_model import WorldModel

Array = NDArray[np.float32]
PenalisedRows = Literal["offline", "all", "none"]
BOUND_ROWS = 256
"""Rows on which the metrics hold the critics' values against their LayerNorm bound."""


class Tick(Protocol):
    """Called after every unit of progress, with the agent's state whole."""

    def __call__(self, *, updates: int, metrics: Callable[[], Mapping[str, float]] | None = None) -> None: ...


@dataclass(frozen=True)
class AgentConfig(MixingConfig, LearnerConfig):
    """Everything that defines the online half; the defaults are WOMBET's."""

    random_steps: int = 5000  # uniform actions before the first update (RLPD)
    target_penalty: float = 0.1  # c_Q of eq. (7): penalty per step = c_Q mean|r| u / q95(u); ours, 0 switches it off
    penalised_rows: PenalisedRows = "offline"  # m of eq. (7); the text calls the online phase unpenalised, model-free
    replay_capacity: int = 1_000_000  # online rows kept

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self)
        if self.random_steps < 0:
            raise InputError(f"random_steps is {self.random_steps}; it must be zero or more")
        if self.target_penalty < 0:
            raise InputError(f"target_penalty is {self.target_penalty}; it must be zero or more")
        if self.penalised_rows not in get_args(PenalisedRows):
            known = ", ".join(get_args(PenalisedRows))
            raise InputError(f"penalised_rows is {self.penalised_rows!r}; it must be one of {known}")
        if self.replay_capacity < 1:
            raise InputError(f"replay_capacity is {self.replay_capacity}; it must be at least 1")


class TransferAgent:
    """An actor-critic with an offline buffer that never loses a row, an online ring buffer, and a mixture of the two.

    `dataset` carries the target's labels (see `TransferDataset.relabel`), or is None for learning from scratch.
    `world_model` is the frozen model that scores online rows as they are stored; only penalised_rows "all" needs one.
    Raises InputError if that has none, or no dataset to scale its penalty by. `learner` takes the place of the
    actor-critic that the agent would make.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: AgentConfig,
        streams: Streams,
        dataset: TransferDataset | None = None,
        device: str = "cpu",
        world_model: WorldModel | None = None,
        learner: ActorCritic | None = None,
    ) -> None:
        self.config = config
        if penalises_online_rows(config) and (world_model is None or dataset is None):
            raise InputError('penalised_rows "all" needs a dataset and its world model; choose "offline" or "none"')
        self.world_model = world_model
        generator = streams.torch("learner", device=device)
        self.learner = learner or self._new_learner(obs_dim, action_dim, generator, device)
        self.mixture = Mixture(config)
        self.penalty_scale = penalty_scale(dataset, config.target_penalty) if dataset is not None else 0.0
        self.offline = self._offline_rows(dataset, device) if dataset is not None else None
        self.online = ReplayBuffer(config.replay_capacity, obs_dim, action_dim, device)
        self.steps = 0
        self.updates = 0
        self.online_updates = 0
        self._last_update: Mapping[str, Any] = {}
        self._warm_up = streams.numpy("warm-up")
        self._sampling = streams.numpy("sampling")
        self._exploration = streams.torch("exploration", device=device)
        self._meter: SignalMeter | None = None
        if self.mixture.measures and self.offline is not None:
            generator = streams.torch("signal", device=device)
            self._meter = SignalMeter(config.mixing_signal, self.learner, self.online, self.offline, generator)

    def pretrain(self, until: int, tick: Tick) -> None:
        """Learn from the dataset alone until `until` critic updates have been made."""
        if self.offline is None:
            raise InputError("pretraining needs a dataset")
        while self.updates < until:
            self._learn(1.0)
            tick(updates=self.updates, metrics=self.metrics)

    def transfer(self, dataset: TransferDataset) -> None:
        """Go on with another dataset, which carries the target's labels, in place of the one there was."""
        self.penalty_scale = penalty_scale(dataset, self.config.target_penalty)
        self.offline = self._offline_rows(dataset, str(self.online.device))
        if self._meter is not None:
            self._meter.offline = self.offline

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

    def estimate_return(self, obs: Array, action: Array) -> Array:
        """Return the mean of the critics' values (n,) of pairs, with the entropy bonus if they learn with one."""
        values = self.learner.values(torch.from_numpy(obs), torch.from_numpy(action))
        return values.mean(0).float().cpu().numpy()

    def metrics(self) -> dict[str, float]:
        """Return what the last update showed, where the mixture stands (alpha_t and z_t), and how near the critics are
        to their LayerNorm bound.

        Calling it changes nothing. `offline_fraction` is alpha_t; `mixing_signal` is z_t, from the first measurement
        on; `q_bound` is the smallest bound (8) of a critic and `q_bound_rate` the largest |Q| / bound on recent rows.
        """
        found = {name: float(value) for name, value in self._last_update.items()}
        found["offline_fraction"] = self.mixture.fraction
        if self.mixture.signal is not None:
            found["mixing_signal"] = self.mixture.signal
        recent = self.online if len(self.online) else self.offline
        if self.config.layer_norm and recent:
            bound = self.learner.value_bound()
            rows = recent.last(BOUND_ROWS)
            q = self.learner.values(rows.obs, rows.action)
            found["q_bound"] = float(bound.min())
            found["q_bound_rate"] = float((q.abs() / bound.unsqueeze(1)).max())
        return found

    def _offline_share(self) -> float:
        offline = 0 if self.offline is None else len(self.offline)
        return offline / (offline + len(self.online))

    def _interact(self, env: MeteredEnv) -> None:
        obs = env.observation
        warming_up = self.steps < self.config.random_steps
        action = self._first_action(obs) if warming_up else self.learner.act_one(obs, self._exploration)
        next_obs, reward, terminated, _, _ = env.step(action)
        penalty = self._online_penalty(obs, action)
        if self._meter is not None and not warming_up:
            self._meter.note(self._row(obs, action, reward, next_obs, terminated, penalty))
        self.online.add(obs, action, reward, next_obs, terminated, penalty)
        self.steps += 1

    def _new_learner(self, obs_dim: int, action_dim: int, generator: torch.Generator, device: str) -> ActorCritic:
        return ActorCritic(obs_dim, action_dim, self.config, generator, device)

    def _first_action(self, obs: Array) -> Array:
        """Return the action for an observation before the first update online: uniform."""
        return self._warm_up.uniform(-1, 1, self.learner.action_dim).astype(np.float32)

    def _online_penalty(self, obs: Array, action: Array) -> float:
        if not penalises_online_rows(self.config) or self.world_model is None:
            return 0.0
        device = self.world_model.device
        state, chosen = (torch.from_numpy(np.asarray(x, np.float32)).unsqueeze(0).to(device) for x in (obs, action))
        return self.penalty_scale * float(self.world_model.uncertainty(state, chosen))

    def _row(self, *values: Any) -> Batch:
        device = self.learner.device
        return Batch(*(torch.as_tensor(np.asarray(x, np.float32)).unsqueeze(0).to(device) for x in values))

    def _offline_rows(self, dataset: TransferDataset, device: str) -> ReplayBuffer:
        scale = 0.0 if self.config.penalised_rows == "none" else self.penalty_scale
        return offline_buffer(dataset, scale, device)

    def _learn(self, offline_fraction: float) -> None:
        size = self.config.batch_size
        minibatches = [
            draw_mixed(self.offline, self.online, offline_fraction, size, self._sampling)
            for _ in range(self.config.utd)
        ]
        self._last_update = self._update(minibatches)
        self.updates += len(minibatches)

    def _update(self, minibatches: Sequence[Batch]) -> Mapping[str, Any]:
        """Learn from an environment step's minibatches and return what the update showed."""
        return self.learner.update(minibatches)

    def _adapt_mixture(self) -> None:
        if self._meter is None or self.steps % self.config.mixing_interval:
            return
        self.mixture.observe(*self._meter.measure(), self.online_updates)

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
            "exploration": self._exploration.get_state(),
            "signal": None if self._meter is None else self._meter.state(),
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
        self._exploration.set_state(state["exploration"])
        if self._meter is not None:
            self._meter.restore(state["signal"])


def penalises_online_rows(config: AgentConfig) -> bool:
    """Whether rows of the target task carry a penalty, which asks for a world model to score them with."""
    return config.penalised_rows == "all" and config.target_penalty > 0


def penalty_scale(dataset: TransferDataset, target_penalty: float) -> float:
    """Return lambda_Q of eq. (7), c_Q mean|r| / q95(u) over the dataset's rows, in reward per unit of uncertainty."""
    if dataset.reward_target is None or dataset.terminated_target is None:
        raise InputError("the dataset has no target labels; relabel it with the target task first")
    mean_reward = float(np.abs(dataset.reward_target).mean(dtype=np.float64))
    return target_penalty * mean_reward / max(float(np.quantile(dataset.uncertainty, 0.95)), 1e-12)


def offline_buffer(dataset: TransferDataset, scale: float, device: str) -> ReplayBuffer:
    """Return the dataset's rows with target labels and the per-row penalty `scale` * u of eq. (7)."""
    penalty = np.float32(scale) * dataset.uncertainty
    buffer = ReplayBuffer(len(dataset), dataset.obs.shape[1], dataset.action.shape[1], device)
    buffer.extend(
        {
            "obs": dataset.obs,
            "action": dataset.action,
            "reward": np.asarray(dataset.reward_target),
            "next_obs": dataset.next_obs,
            "terminated": np.asarray(dataset.terminated_target),
            "penalty": penalty,
        }
    )
    return buffer
