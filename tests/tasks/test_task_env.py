"""The environment of a task: the Gymnasium interface, resets, time limit, and the stock simulation beneath."""

import warnings

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from suites.tasks import families, make_task
from wombet.errors import InputError

FAMILIES = sorted(families())
LEVELS = ("source", "close", "moderate", "far")


@pytest.mark.parametrize("family", FAMILIES)
def test_gymnasium_finds_no_fault(family):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Observations are unbounded on purpose.
        warnings.filterwarnings("ignore", message=r".*Box observation space (minimum|maximum) value is -?infinity.*")
        check_env(make_task(family, "moderate").make_env(), skip_render_check=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_spec_survives_json_and_makes_the_same_environment(family):
    task = make_task(family, "far", "init", 7)
    env = task.make_env()
    twin = EnvSpec.from_json(env.spec.to_json()).make()
    assert twin.unwrapped.task == task
    assert env.reset(seed=4)[0].tobytes() == twin.reset(seed=4)[0].tobytes()
    action = np.full(task.action_dim, 0.3, np.float32)
    mine, theirs = env.step(action), twin.step(action)
    assert mine[0].tobytes() == theirs[0].tobytes()
    assert mine[1:4] == theirs[1:4]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_episode_begins_over_and_none_is_over_after_resting_one_step(family, level):
    task = make_task(family, level)
    env = task.make_env()
    firsts = np.stack([env.reset(seed=seed)[0] for seed in range(200)])
    assert not task.terminated(firsts).any()
    assert (firsts[:, : task.n_rates] == 0).all()
    assert len(np.unique(firsts, axis=0)) == 200
    for seed in range(20):
        env.reset(seed=seed)
        assert not env.step(np.zeros(task.action_dim))[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_resets_depend_on_the_seed_alone(family):
    task = make_task(family, "moderate")
    env, other = task.make_env(), task.make_env()
    first = env.reset(seed=11)
    for _ in range(3):
        other.reset(seed=5)
        other.step(np.ones(task.action_dim))
    again = other.reset(seed=11)
    assert again[0].tobytes() == first[0].tobytes()
    assert again[1]["sim_state"].tobytes() == first[1]["sim_state"].tobytes()
    # Without a seed the generator goes on.
    assert env.reset()[0].tobytes() == other.reset()[0].tobytes() != first[0].tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_native_rewards_are_those_of_the_stock_environment(family):
    task = make_task(family, "far")
    env, definition = task.make_env(), task.definition
    stock = gym.make(definition.env_id, **definition.kwargs).unwrapped
    stock.reset(seed=0)
    state = env.reset(seed=2)[1]["sim_state"]
    mujoco.mj_resetData(stock.model, stock.data)
    stock.set_state(state[: stock.model.nq], state[stock.model.nq :])
    generator = np.random.default_rng(3)
    for _ in range(20):
        action = generator.uniform(-1, 1, task.action_dim).astype(np.float32)
        info = env.step(action)[4]
        native = stock.step(action * stock.action_space.high.astype(np.float64))[1]
        assert info["sim_state"].tobytes() == np.concatenate([stock.data.qpos, stock.data.qvel]).tobytes()
        assert info["native_reward"] == native


@pytest.mark.parametrize("family", FAMILIES)
def test_actions_beyond_the_bounds_are_clipped(family):
    task = make_task(family)
    env = task.make_env()
    signs = np.where(np.arange(task.action_dim) % 2, -1.0, 1.0)
    results = []
    for size in (1.0, 40.0):
        env.reset(seed=1)
        results.append(env.step(size * signs))
    assert results[0][0].tobytes() == results[1][0].tobytes()
    assert results[0][1] == results[1][1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_shows_the_state_it_led_to(family, recording):
    task, rows = make_task(family, "far"), recording(family, "far")
    env = task.make_env()
    for state, seen in zip(rows.next_sim_state[::10], rows.next_obs[::10], strict=True):
        assert env.set_sim_state(state)[task.n_rates :].tobytes() == seen[task.n_rates :].tobytes()


def test_a_reachers_tip_is_where_its_angles_put_it(recording):
    rows = recording("reacher", "moderate")
    first, both = rows.next_sim_state[:, 0], rows.next_sim_state[:, 0] + rows.next_sim_state[:, 1]
    tip = 0.1 * np.array([np.cos(first), np.sin(first)]) + 0.11 * np.array([np.cos(both), np.sin(both)])
    assert np.allclose(rows.next_obs[:, 6:8], tip.T, atol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_leading_rates_are_the_displacement_over_the_step(family, recording):
    rows, task = recording(family, "moderate"), make_task(family, "moderate")
    if family == "swimmer":
        before, after = (_centres_of_mass(task, states) for states in (rows.sim_state, rows.next_sim_state))
    else:
        before, after = (states[:, : task.n_rates] for states in (rows.sim_state, rows.next_sim_state))
    assert np.allclose(rows.next_obs[:, : task.n_rates], (after - before) / rows.dt, atol=1e-6, rtol=1e-6)


def _centres_of_mass(task, states):
    model = task.make_env().model
    data, found = mujoco.MjData(model), []
    for state in states:
        data.qpos[:] = state[: model.nq]
        mujoco.mj_forward(model, data)
        found.append(model.body_mass @ data.xipos / model.body_mass.sum())
    return np.array(found)[:, :2]


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_episode_is_truncated_at_the_horizon_and_not_before(family, horizon):
    task = make_task(family, horizon=horizon)
    env = task.make_env()
    for seed in range(2):
        env.reset(seed=seed)
        flags = [env.step(np.zeros(task.action_dim))[2:4] for _ in range(horizon)]
        assert flags == [(False, False)] * (horizon - 1) + [(False, True)]


def test_an_episode_that_falls_at_its_last_step_is_terminated_and_not_truncated():
    def flags(horizon):
        env, seen = make_task("cartpole", horizon=horizon).make_env(), []
        env.reset(seed=0)
        while not seen or not any(seen[-1]):
            seen.append(env.step([1.0])[2:4])
        return seen

    fall = len(flags(200))
    assert fall < 200
    assert flags(fall)[-1] == (True, False)
    assert flags(fall + 1)[-1] == (True, False)
    assert flags(fall - 1)[-1] == (False, True)


def test_setting_a_state_begins_an_episode():
    task = make_task("hopper", horizon=4)
    env = task.make_env()
    obs, info = env.reset(seed=0)
    for _ in range(3):
        env.step(np.zeros(3))
    assert env.set_sim_state(info["sim_state"]).tobytes() == obs.tobytes()
    assert [env.step(np.zeros(3))[3] for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_has_one_future_whatever_came_before(family):
    task = make_task(family, "moderate")
    env, fresh = task.make_env(), task.make_env()
    state = fresh.reset(seed=9)[1]["sim_state"]
    env.reset(seed=1)
    for _ in range(5):
        env.step(np.ones(task.action_dim))
    env.set_sim_state(state)
    fresh.set_sim_state(state)
    action = np.full(task.action_dim, -0.4)
    for _ in range(5):
        assert env.step(action)[0].tobytes() == fresh.step(action)[0].tobytes()


def test_wrong_use_is_named():
    task = make_task("reacher")
    env = task.make_env()
    with pytest.raises(gym.error.ResetNeeded, match="reacher/source"):
        env.step([0.0, 0.0])
    env.reset(seed=0)
    for action in ([0.0], [0.0, np.nan], [[0.0, 0.0]]):
        with pytest.raises(InputError, match="2 numbers"):
            env.step(action)
    for state in (np.zeros(7), np.full(8, np.inf)):
        with pytest.raises(InputError, match="8 finite numbers"):
            env.set_sim_state(state)
