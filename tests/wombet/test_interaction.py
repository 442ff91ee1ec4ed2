"""Metered interaction: charged to the step, seeded by episode, resumable in the middle of an episode."""

import numpy as np
import pytest

from suites.tasks import make_task
from wombet.errors import InputError
from wombet.interaction import BudgetExhausted, Meter, MeteredEnv
from wombet.serialization import dumps, loads


def open_env(budget: int | None = None) -> MeteredEnv:
    return MeteredEnv(
        make_task("hopper", horizon=20).make_env(), Meter(budget, "target"), lambda episode: 100 + episode
    )


def actions(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, 3)).astype(np.float32)


def test_every_step_is_charged_and_the_budget_cannot_be_overrun() -> None:
    env = open_env(budget=30)
    for action in actions(30):
        env.step(action)
    before = env.observation.copy()
    with pytest.raises(BudgetExhausted, match="30 target steps"):
        env.step(actions(1)[0])
    assert env.meter.count == 30
    assert np.array_equal(env.observation, before)


def test_environments_may_share_a_meter() -> None:
    meter = Meter(5)
    first, second = (MeteredEnv(make_task("reacher").make_env(), meter, lambda i: i) for _ in range(2))
    for env in (first, second, first, second, first):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(BudgetExhausted):
        second.step(np.zeros(2, np.float32))


def test_an_episode_begins_from_the_seed_of_its_index_whatever_the_caller_says() -> None:
    env = open_env()
    plain = make_task("hopper", horizon=20).make_env()
    for episode in range(3):
        assert np.array_equal(env.reset(seed=7)[0], plain.reset(seed=100 + episode)[0])


def test_reading_the_observation_begins_the_next_episode_when_the_last_is_over() -> None:
    env = open_env()
    first = env.observation
    over = False
    while not over:
        last, _, terminated, truncated, _ = env.step(actions(1)[0])
        over = terminated or truncated
    assert env.episodes == 1
    assert not np.array_equal(env.observation, last)
    assert not np.array_equal(env.observation, first)
    assert env.episodes == 2
    assert env.episode_steps == 0


@pytest.mark.parametrize("stop", [0, 7, 20, 33])
def test_restored_anywhere_it_goes_on_as_if_never_stopped(stop: int) -> None:
    whole, stopped = open_env(), open_env()
    trace = []
    for i, action in enumerate(actions(60)):
        if i == stop:
            state = loads(dumps(stopped.state()))
            stopped = open_env()
            stopped.restore(state)
        expected, found = whole.step(action), stopped.step(action)
        assert expected[0].tobytes() == found[0].tobytes()
        assert expected[1:4] == found[1:4]
        trace.append(expected[2] or expected[3])
    assert any(trace[:40])


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        Meter(-1)
