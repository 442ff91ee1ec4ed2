"""A transfer problem small enough that any method goes through it in seconds, with data and a fitted model."""

import dataclasses
import functools

import numpy as np

from baselines.api import Budgets, Capabilities, NamedSource, Problem, SourceKnowledge
from suites.tasks import Task, make_task
from suites.tasks.custom import custom_task
from wombet.dataset import TransferDataset
from wombet.generation import TransferDataBuilder
from wombet.interaction import Meter, MeteredEnv
from wombet.profiles import profile
from wombet.streams import Streams

BUDGETS = Budgets(target_steps=60, offline_updates=25, source_steps=40)
HORIZON = 15
EPISODES = 4


def target_task() -> Task:
    """Return the task that the problem asks for."""
    return make_task("reacher", "close", horizon=HORIZON)


@functools.cache
def dataset() -> TransferDataset:
    """Return episodes of random actions in reacher's source task, labelled for a target, with a made-up uncertainty."""
    task = make_task("reacher", horizon=HORIZON)
    env = task.make_env()
    generator = np.random.default_rng(5)
    rows = []
    for episode in range(EPISODES):
        current, _ = env.reset(seed=episode)
        for _ in range(HORIZON):
            action = generator.uniform(-1, 1, task.action_dim).astype(np.float32)
            following, _, _, over, _ = env.step(action)
            rows.append((current, action, following, over, np.int32(episode)))
            current = following
    env.close()
    obs, action, next_obs, truncated, episode_id = (np.stack(column) for column in zip(*rows, strict=True))
    reward, terminated = task.relabel(obs, action, next_obs)
    uncertainty = generator.random(len(reward)).astype(np.float32)
    made = TransferDataset(obs, action, next_obs, reward, terminated, truncated, episode_id, uncertainty)
    return made.relabel(target_task())


@functools.cache
def build() -> tuple[TransferDataset, SourceKnowledge]:
    """Return the data of a tiny guided build of the same source task, labelled for a target, and what it leaves."""
    task = make_task("reacher", horizon=HORIZON)
    config = profile("reacher", "smoke", "guided", "imagined", HORIZON)
    agent = dataclasses.replace(config.agent, hidden_width=16, batch_size=8, layer_norm=False, random_steps=10)
    config = dataclasses.replace(config, agent=agent)
    streams, meter = Streams(7), Meter(config.source_steps, "source")

    def open_env(name: str) -> MeteredEnv:
        return MeteredEnv(task.make_env(), meter, streams.child("resets", name).integer)

    made = TransferDataBuilder(task, open_env, meter, config, streams).run(lambda **progress: None)
    penalty = made.card["planner"]["penalty"]
    left = SourceKnowledge(config, made.model_state, made.agent_state, penalty, made.source)
    return made.dataset.relabel(target_task()), left


def knowledge() -> SourceKnowledge:
    """Return what the tiny build leaves behind."""
    return build()[1]


def sources() -> tuple[NamedSource, ...]:
    """Return the same rows as datasets of three source tasks, with each one's own rewards."""
    tasks = {
        "source": make_task("reacher", horizon=HORIZON),
        "moderate": make_task("reacher", "moderate", horizon=HORIZON),
        "elsewhere": custom_task("reacher", "source", {"goal": (-0.1, -0.1)}, HORIZON),
    }
    found = []
    for name, task in tasks.items():
        rows = dataset()
        reward, terminated = task.relabel(rows.obs, rows.action, rows.next_obs)
        found.append(NamedSource(name, task, dataclasses.replace(rows, reward_source=reward, terminated=terminated)))
    return tuple(found)


def small_problem(capabilities: Capabilities, seed: int) -> tuple[Problem, dict[str, Meter]]:
    """Return the problem, its environments closed until a phase opens them, and their meters.

    A method that goes back to the source task is given data that were generated there.
    """
    resets = Streams(seed).child("resets")
    source, target = make_task("reacher", horizon=HORIZON), target_task()
    meters = {"source": Meter(0, "source"), "target": Meter(0, "target")}
    data = build()[0] if capabilities.source_steps_online else dataset()
    problem = Problem(
        source=source,
        target=target,
        dataset=data if capabilities.needs_dataset else None,
        budgets=BUDGETS,
        source_env=MeteredEnv(source.make_env(), meters["source"], lambda i: resets.integer("source", i)),
        target_env=MeteredEnv(target.make_env(), meters["target"], lambda i: resets.integer("target", i)),
        knowledge=knowledge if capabilities.needs_dataset else None,
        open_source=lambda name: MeteredEnv(
            source.make_env(), meters["source"], lambda i: resets.integer("source", name, i)
        ),
        sources=sources() if capabilities.needs_sources else (),
    )
    return problem, meters
