"""A task's environment that is stored in mid-episode goes on, byte for byte, as if it had not been."""

import numpy as np
import pytest

from suites.tasks import families, make_task
from wombet.errors import InputError
from wombet.interaction import Meter, MeteredEnv
from wombet.serialization import dumps, loads

FAMILIES = sorted(families())


def _act(env, generator):
    return env.step(generator.uniform(-1, 1, env.action_space.shape).astype(np.float32))


def _future(env, generator, steps=60):
    """Everything the environment shows over several episodes, as bytes."""
    seen = []
    for _ in range(steps):
        obs, reward, terminated, truncated, info = _act(env, generator)
        seen.append((obs.tobytes(), reward, terminated, truncated, info["native_reward"], info["sim_state"].tobytes()))
        if terminated or truncated:
            obs, info = env.reset()
            seen.append((obs.tobytes(), info["sim_state"].tobytes()))
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_a_restored_environment_has_the_same_future(family):
    task = make_task(family, "moderate", horizon=25)
    env, generator = task.make_env(), np.random.default_rng(0)
    env.reset(seed=2)
    for _ in range(4):
        _act(env, generator)
    stored, actions = dumps(env.state()), generator.bit_generator.state
    future = _future(env, generator)

    def again(other):
        generator.bit_generator.state = actions
        other.restore(loads(stored))
        assert dumps(other.state()) == stored
        return _future(other, generator)

    assert again(env) == future
    assert again(task.make_env()) == future
    busy = task.make_env()
    busy.reset(seed=77)
    _future(busy, np.random.default_rng(8))
    assert again(busy) == future


def test_taking_the_state_changes_nothing():
    futures = []
    for look in (False, True):
        env, generator = make_task("humanoid").make_env(), np.random.default_rng(0)
        env.reset(seed=0)
        for _ in range(10):
            _act(env, generator)
            if look:
                env.state()
        futures.append(_future(env, generator, 20))
    assert futures[0] == futures[1]


def test_a_state_is_a_copy():
    env = make_task("reacher").make_env()
    env.reset(seed=0)
    state = env.state()
    before = dumps(state)
    _future(env, np.random.default_rng(0))
    assert dumps(state) == before


def test_a_metered_environment_goes_on_in_mid_episode():
    def metered():
        return MeteredEnv(make_task("walker2d", "close").make_env(), Meter(100), lambda episode: 10 + episode)

    def run(env, generator, steps):
        return [_act(env, generator)[0].tobytes() for _ in range(steps)]

    whole, generator = metered(), np.random.default_rng(1)
    run(whole, generator, 7)
    stored, actions = dumps(whole.state()), generator.bit_generator.state
    future = run(whole, generator, 50)
    resumed = metered()
    resumed.restore(loads(stored))
    generator.bit_generator.state = actions
    assert run(resumed, generator, 50) == future


def test_a_state_of_another_task_is_refused():
    env, other = make_task("reacher", "close").make_env(), make_task("reacher", "far").make_env()
    env.reset(seed=0)
    with pytest.raises(InputError, match="another task than reacher/far"):
        other.restore(env.state())
