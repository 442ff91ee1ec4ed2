"""Runs of the mixing-signal study: four critics of one policy that differ only in how well they were fitted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from suites.tasks import Task, make_task
from wombet.agent import AgentConfig, TransferAgent
from wombet.dataset import TransferDataset
from wombet.generation import TransferDataBuilder
from wombet.interaction import Meter, MeteredEnv
from wombet.learner import ActorCritic, Batch
from wombet.mixing import SIGNALS, Mixture
from wombet.mixing_signal import SignalMeter
from wombet.networks import actor_forward, sample_policy
from wombet.profiles import profile
from wombet.replay import ReplayBuffer, draw_mixed
from wombet.streams import Streams

LEVEL = "close"
CRITICS = ("learned", "slow", "shuffled", "frozen")
SLOWNESS = 10  # environment steps between the updates of the slow critic
STEPS, RANDOM_STEPS, INTERVAL = 4000, 300, 100
CHECKPOINTS = (600, 1000, 1500, 2000, 2500, 3000, 3500, 4000)
EPISODES, TAIL = 8, 450  # held-out episodes per checkpoint; further steps that a return is summed over

CONFIG = AgentConfig(
    hidden_width=128,
    batch_size=128,
    n_critics=2,
    layer_norm=True,
    target_entropy_scale=0.5,
    actor_aggregate="subset_min",
    actor_lr=1e-3,
    critic_lr=1e-3,
    temperature_lr=1e-3,
    random_steps=RANDOM_STEPS,
    mixing="fixed",
    mixing_interval=INTERVAL,
)


@dataclass(frozen=True)
class Reading:
    """One critic at one moment: its signals, and its true error and rank agreement on held-out online states."""

    family: str
    seed: int
    step: int
    critic: str
    error: float  # mean |Q - G| / std G, with G the Monte-Carlo return of the current policy
    rank: float  # Spearman correlation of Q and G
    signals: dict[str, float]


def make_dataset(family: str) -> TransferDataset:
    """Return the family's generated data of seed 0, relabelled for the target task."""
    task = make_task(family)
    config = profile(family, "quick", "pure", "imagined" if family == "reacher" else "executed", task.horizon)
    if family == "cartpole":
        planner = replace(config.planner, population=32, iterations=2)
        config = replace(config, planner=planner, planned_episodes=4, refits=2)
        config = replace(config, n_trajectories=60, calibration_trajectories=10)
    streams, meter = Streams(0).child("data"), Meter(config.source_steps, "source")

    def open_env(name: str) -> MeteredEnv:
        return MeteredEnv(task.make_env(), meter, streams.child("resets", name).integer)

    made = TransferDataBuilder(task, open_env, meter, config, streams).run(lambda **_: None)
    return made.dataset.relabel(make_task(family, LEVEL))


class WatchedBuffer(ReplayBuffer):
    """Tells of every transition before it is stored."""

    def __init__(self, capacity: int, obs_dim: int, action_dim: int, notice: Callable[[Batch], None]) -> None:
        super().__init__(capacity, obs_dim, action_dim)
        self.notice = notice

    def add(self, *row: Any) -> None:
        """Tell of it, and store it."""
        self.notice(Batch(*(torch.as_tensor(np.asarray(x, np.float32)).unsqueeze(0) for x in row)))
        super().add(*row)


class StudyRun:
    """One agent in the target task, and beside its own critics ("learned") others of the same policy.

    The others are given the same minibatches: all of them with the rewards permuted ("shuffled"), one in ten ("slow")
    or none ("frozen"). The actor and the temperature are the agent's at every moment.
    """

    def __init__(self, family: str, seed: int, dataset: TransferDataset) -> None:
        self.family, self.seed = family, seed
        self.task = make_task(family, LEVEL)
        self.streams = Streams(seed).child("signal study", family)
        self.agent = TransferAgent(self.task.obs_dim, self.task.action_dim, CONFIG, self.streams, dataset)
        self.agent.online = WatchedBuffer(STEPS, self.task.obs_dim, self.task.action_dim, self._notice)
        self.learners = {"learned": self.agent.learner}
        for name in CRITICS[1:]:
            generator = self.streams.torch(name)
            self.learners[name] = ActorCritic(self.task.obs_dim, self.task.action_dim, CONFIG, generator)
        self._sampling = self.streams.numpy("minibatches of the others")
        assert self.agent.offline is not None
        self.meters: dict[tuple[str, str], SignalMeter] = {
            (name, signal): SignalMeter(
                signal, learner, self.agent.online, self.agent.offline, self.streams.torch("signal", name, signal)
            )
            for name, learner in self.learners.items()
            for signal in SIGNALS
        }
        self.mixtures = {key: Mixture(replace(CONFIG, mixing="proportional")) for key in self.meters}

    def run(self) -> list[Reading]:
        """Train to the last checkpoint and return the readings of all critics at all of them."""
        env = MeteredEnv(self.task.make_env(), Meter(STEPS, "target"), self.streams.child("resets").integer)
        readings: list[Reading] = []

        def tick(**_: Any) -> None:
            self._follow()
            if self.agent.steps > RANDOM_STEPS and self.agent.steps % INTERVAL == 0:
                for key, meter in self.meters.items():
                    self.mixtures[key].observe(*meter.measure(), self.agent.online_updates)
            if self.agent.steps in CHECKPOINTS:
                readings.extend(self._read())

        self.agent.finetune(env, STEPS, tick)
        env.close()
        return readings

    def _notice(self, row: Batch) -> None:
        if self.agent.steps >= RANDOM_STEPS:
            for meter in self.meters.values():
                meter.note(row)

    def _follow(self) -> None:
        """Train the other critics towards the agent's present policy."""
        own = self.agent.learner
        for name, learner in self.learners.items():
            learner.actor.vector.copy_(own.actor.vector)
            learner.log_temperature.copy_(own.log_temperature)
            due = {"learned": False, "slow": self.agent.steps % SLOWNESS == 0, "shuffled": True, "frozen": False}[name]
            if due and self.agent.steps > RANDOM_STEPS:
                batch = draw_mixed(self.agent.offline, self.agent.online, 0.5, CONFIG.batch_size, self._sampling)
                if name == "shuffled":
                    order = torch.from_numpy(self._sampling.permutation(len(batch.reward)))
                    batch = batch._replace(reward=batch.reward[order])
                with torch.inference_mode():
                    learner.critic_step(batch)

    def _read(self) -> list[Reading]:
        obs, action, returns = held_out_returns(self.task, self.agent.learner, self.streams, self.agent.steps)
        readings = []
        for name, learner in self.learners.items():
            batch = Batch(obs, action, *(torch.zeros(len(obs)) for _ in range(4)))
            q = learner.values(batch.obs, batch.action).mean(0).double().numpy()
            error = float(np.abs(q - returns).mean() / max(returns.std(), 1e-9))
            signals = {signal: self._signal(name, signal) for signal in SIGNALS}
            place = self.family, self.seed, self.agent.steps
            readings.append(Reading(*place, name, error, rank_correlation(q, returns), signals))
        return readings

    def _signal(self, name: str, signal: str) -> float:
        value = self.mixtures[name, signal].signal
        assert value is not None
        return value


def held_out_returns(
    task: Task, learner: ActorCritic, streams: Streams, step: int
) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
    """Return obs (n, obs_dim), action (n, action_dim) and soft discounted returns (n,) of the present policy.

    The states are those of fresh episodes of the task's own length; every return is summed over at least TAIL further
    steps of an environment without that time limit, so that nothing is bootstrapped. The entropy of later actions
    counts with the present temperature, as in the critics' target.
    """
    generator = streams.torch("held out", step)
    rows: list[Tensor] = []
    actions: list[Tensor] = []
    returns: list[NDArray[np.float64]] = []
    temperature = float(learner.temperature)
    envs = [replace(task, horizon=task.horizon + TAIL).make_env() for _ in range(EPISODES)]
    steps = task.horizon + TAIL
    obs = np.stack([env.reset(seed=streams.integer("held out", step, i))[0] for i, env in enumerate(envs)])
    alive, reward = np.ones((steps + 1, EPISODES), bool), np.zeros((steps, EPISODES))
    log_prob = np.zeros((steps + 1, EPISODES))
    for t in range(steps):
        current = torch.from_numpy(obs.astype(np.float32))
        noise = torch.randn(learner.action_dim, EPISODES, generator=generator)
        sample = sample_policy(actor_forward(learner.actor.views, current)[0], noise)
        log_prob[t] = sample.log_prob.numpy()
        chosen = sample.action.T.contiguous()
        if t < task.horizon:
            rows.append(current)
            actions.append(chosen)
        alive[t + 1] = alive[t]
        for i in np.flatnonzero(alive[t]):
            obs[i], reward[t, i], terminated, _, _ = envs[i].step(chosen[i].numpy())
            alive[t + 1, i] = not terminated
    for env in envs:
        env.close()
    discount = learner.config.discount
    value = np.zeros(EPISODES)
    for t in reversed(range(steps)):
        value = np.where(alive[t], reward[t] + discount * alive[t + 1] * (value - temperature * log_prob[t + 1]), 0.0)
        returns.append(value)
    kept = alive[: task.horizon].reshape(-1)
    summed = np.stack(returns[::-1][: task.horizon]).reshape(-1)
    return torch.cat(rows)[kept], torch.cat(actions)[kept], summed[kept]


def rank_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return Spearman's correlation."""
    return float(spearmanr(x, y).statistic)
