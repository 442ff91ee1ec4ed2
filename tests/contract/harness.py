"""A small transfer problem, and a run of any method on it without the runner."""

import dataclasses
import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from baselines.api import Budgets, Phase, Problem, SourceKnowledge
from baselines.config import make_config
from baselines.registry import method
from suites.tasks import make_task
from wombet.dataset import TransferDataset
from wombet.generation import TransferDataBuilder
from wombet.interaction import Meter, MeteredEnv
from wombet.profiles import profile
from wombet.serialization import dumps, loads
from wombet.streams import Streams

SMALL = {"hidden_width": 16, "batch_size": 8, "n_critics": 2, "target_subset": 2, "utd": 2, "random_steps": 10}
SMALL |= {"mixing_interval": 5, "calibration_updates": 20, "iterations": 2}
SMALL |= {"rollout_steps": 24, "minibatch_size": 8, "replay_capacity": 1000}
SMALL |= {"model_members": 3, "model_elites": 2, "model_width": 16, "model_layers": 2, "model_steps": 40}
SMALL |= {"rollout_starts": 20, "rollout_length": 2, "rollout_interval": 8, "retained_rounds": 2, "n_action_samples": 2}
BUDGETS = Budgets(target_steps=60, offline_updates=25, source_steps=40)


class Stopped(Exception):
    """The run was stopped in a tick."""


def small_dataset() -> TransferDataset:
    """Four episodes of random actions in reacher's source task, with a made-up uncertainty."""
    task = make_task("reacher", horizon=15)
    env = task.make_env()
    generator = np.random.default_rng(5)
    obs, action, next_obs, truncated, episode_id = [], [], [], [], []
    for episode in range(4):
        current, _ = env.reset(seed=episode)
        for _ in range(15):
            chosen = generator.uniform(-1, 1, 2).astype(np.float32)
            following, _, _, over, _ = env.step(chosen)
            for column, value in zip(
                (obs, action, next_obs, truncated, episode_id), (current, chosen, following, over, episode), strict=True
            ):
                column.append(value)
            current = following
    rows = [np.stack(column) for column in (obs, action, next_obs)]
    reward, terminated = task.relabel(*rows)
    uncertainty = generator.random(len(reward)).astype(np.float32)
    return TransferDataset(
        *rows, reward, terminated, np.array(truncated), np.array(episode_id, np.int32), uncertainty
    ).relabel(make_task("reacher", "close", horizon=15))


def small_build() -> tuple[TransferDataset, SourceKnowledge]:
    """A tiny guided build of the same source task, with an agent of the size of SMALL: its data, and what it leaves."""
    task = make_task("reacher", horizon=15)
    config = profile("reacher", "smoke", "guided", "imagined", 15)
    agent = dataclasses.replace(config.agent, hidden_width=16, batch_size=8, layer_norm=False, random_steps=10)
    config = dataclasses.replace(config, agent=agent)
    streams, meter = Streams(7), Meter(config.source_steps, "source")

    def open_env(name: str) -> MeteredEnv:
        return MeteredEnv(task.make_env(), meter, streams.child("resets", name).integer)

    made = TransferDataBuilder(task, open_env, meter, config, streams).run(lambda **progress: None)
    knowledge = SourceKnowledge(
        config, made.model_state, made.agent_state, made.card["planner"]["penalty"], made.source
    )
    return made.dataset.relabel(make_task("reacher", "close", horizon=15)), knowledge


DATASET = small_dataset()
BUILD = functools.cache(small_build)


def KNOWLEDGE() -> SourceKnowledge:
    """What the tiny build leaves behind."""
    return BUILD()[1]


class Run:
    """One method on the small problem; everything that a checkpoint needs is in `state`."""

    def __init__(self, name: str, seed: int = 0, device: str = "cpu") -> None:
        self.kind = method(name)
        fields = {field.name for field in dataclasses.fields(self.kind.Config)}
        config = make_config(self.kind.Config, {key: value for key, value in SMALL.items() if key in fields}, name)
        resets, needs_dataset = Streams(seed).child("resets"), self.kind.capabilities.needs_dataset
        dataset = DATASET if needs_dataset else None
        if self.kind.capabilities.source_steps_online:
            dataset = BUILD()[0]
        source, target = make_task("reacher", horizon=15), make_task("reacher", "close", horizon=15)
        self.meters = {"source": Meter(0, "source"), "target": Meter(0, "target")}
        self.problem = Problem(
            source=source,
            target=target,
            dataset=dataset,
            budgets=BUDGETS,
            source_env=MeteredEnv(source.make_env(), self.meters["source"], lambda i: resets.integer("source", i)),
            target_env=MeteredEnv(target.make_env(), self.meters["target"], lambda i: resets.integer("target", i)),
            knowledge=KNOWLEDGE if needs_dataset else None,
            open_source=lambda name: MeteredEnv(
                source.make_env(), self.meters["source"], lambda i: resets.integer("source", name, i)
            ),
        )
        self.adapter = self.kind(self.problem, config, Streams(seed).child("method"), device)
        self.ticks = 0
        self.updates = 0
        self.phase_index = 0
        self.metrics: list[dict[str, float]] = []

    def train(self, stop_at: int | None = None, in_tick: Callable[["Run"], Any] | None = None) -> "Run":
        """Run all remaining phases; with `stop_at`, raise Stopped in that tick."""

        def tick(*, updates: int, metrics: Any = None) -> None:
            assert updates >= self.updates, "the count of updates fell"
            self.updates = updates
            self.ticks += 1
            if metrics is not None:
                self.metrics.append(dict(metrics()))
            if in_tick is not None:
                in_tick(self)
            if self.ticks == stop_at:
                raise Stopped

        phases = self.kind.capabilities.phases
        while self.phase_index < len(phases):
            phase = phases[self.phase_index]
            if phase is Phase.SOURCE or (phase is Phase.ONLINE and self.kind.capabilities.source_steps_online):
                self.meters["source"].budget = BUDGETS.source_steps
            if phase is Phase.ONLINE:
                self.meters["target"].budget = BUDGETS.target_steps
            self.adapter.train(phase, tick)
            self.phase_index += 1
        return self

    def state(self) -> bytes:
        """Everything that decides the future of the run; ticks do not, since work that was stopped may begin again."""
        return dumps(
            {
                "adapter": self.adapter.state(),
                "meters": {name: meter.count for name, meter in self.meters.items()},
                "envs": [self.problem.source_env.state(), self.problem.target_env.state()],
                "phase_index": self.phase_index,
                "updates": self.updates,
            }
        )

    def restore(self, data: bytes) -> "Run":
        """Take up a state."""
        state = loads(data)
        self.adapter.restore(state["adapter"])
        for name, count in state["meters"].items():
            self.meters[name].count = count
        self.problem.source_env.restore(state["envs"][0])
        self.problem.target_env.restore(state["envs"][1])
        self.phase_index, self.updates = state["phase_index"], state["updates"]
        return self


def global_random_states() -> bytes:
    """The states of the process's global generators."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return repr((random.getstate(), numpy_state[1].tobytes(), numpy_state[2:])).encode() + bytes(
        torch.get_rng_state().numpy()
    )
