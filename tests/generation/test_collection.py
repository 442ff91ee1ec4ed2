"""Recording of real episodes."""

import numpy as np
import pytest
from small_recipes import nothing, opener

from suites.tasks.task import make_task
from wombet.collection import joined, random_episodes, recorded
from wombet.interaction import Meter
from wombet.serialization import dumps, loads


def test_random_collection_takes_the_steps_it_was_given_in_whole_episodes():
    task, meter = make_task("cartpole"), Meter()
    env = opener(task, meter)("random")
    rows = random_episodes(env, task, 123, np.random.default_rng(0), nothing)
    assert meter.count == len(rows) == 123
    rows.validate(task)
    over = rows.terminated | rows.truncated
    assert over[-1]
    assert len(rows.episode_starts) == env.episodes == over.sum()


def test_every_other_random_episode_is_slow():
    task, meter = make_task("reacher"), Meter()
    rows = random_episodes(opener(task, meter)("random"), task, 400, np.random.default_rng(0), nothing)
    changes = np.abs(np.diff(rows.action.reshape(8, 50, 2), axis=1)).mean((1, 2))
    assert changes[1::2].max() < changes[0::2].min()


def test_recorded_rows_are_what_passed_between_agent_and_simulator_with_clipped_actions():
    task, meter = make_task("reacher", horizon=5), Meter()
    env = opener(task, meter)("any")
    recorder = recorded(env)
    assert recorded(env) is recorder
    seen = []
    for step in range(8):
        obs, state = env.observation, env.sim_state
        action = np.full(2, 0.5 * step - 2, np.float32)
        seen.append((obs, state, np.clip(action, -1, 1), *env.step(action)[:2]))
    rows = recorder.take(task)
    for column, values in zip(
        (rows.obs, rows.sim_state, rows.action, rows.next_obs), zip(*seen, strict=True), strict=False
    ):
        assert np.array_equal(column, np.stack(values))
    assert np.array_equal(rows.reward_source, np.float32([row[4] for row in seen]))
    assert np.flatnonzero(rows.truncated).tolist() == [4, 7]
    assert rows.episode_id.tolist() == [0] * 5 + [1] * 3
    with pytest.raises(ValueError, match="no step"):
        recorder.columns()


def test_an_episode_can_begin_in_a_given_state_and_cuts_the_one_before():
    task, meter = make_task("reacher"), Meter()
    env = opener(task, meter)("any")
    recorder = recorded(env)
    for _ in range(3):
        env.step(np.ones(2, np.float32))
    state = env.sim_state
    env.reset(options={"sim_state": state})
    assert np.array_equal(env.sim_state, state)
    env.step(np.ones(2, np.float32))
    rows = recorder.take(task)
    assert rows.truncated.tolist() == [False, False, True, True]
    assert np.allclose(rows.obs[3], rows.next_obs[2], atol=1e-6)
    assert np.array_equal(rows.sim_state[3], state)
    rows.validate(task)


def test_a_restored_recorder_goes_on_as_if_nothing_had_happened():
    task = make_task("reacher", horizon=6)

    def actions(first: int, last: int):
        return [np.float32([np.sin(i), np.cos(i)]) for i in range(first, last)]

    whole = opener(task, Meter())("any")
    recorder = recorded(whole)
    for action in actions(0, 20):
        _ = whole.observation
        whole.step(action)
    expected = recorder.take(task)
    first, second = (opener(task, Meter())("any") for _ in range(2))
    recorded(first)
    for action in actions(0, 8):
        _ = first.observation
        first.step(action)
    again = recorded(second)
    second.restore(loads(dumps(first.state())))
    for action in actions(8, 20):
        _ = second.observation
        second.step(action)
    assert dumps(again.take(task).columns()) == dumps(expected.columns())


def test_joined_parts_keep_their_rows_and_get_episodes_of_their_own():
    task = make_task("cartpole")
    open_env = opener(task, Meter())
    parts = [random_episodes(open_env(name), task, 40, np.random.default_rng(0), nothing) for name in "abc"]
    rows = joined(parts)
    rows.validate(task)
    assert len(rows.episode_starts) == sum(len(part.episode_starts) for part in parts)
    assert np.array_equal(rows.obs[40:80], parts[1].obs)


@pytest.mark.parametrize("steps", [19, 20, 21, 40])
def test_rows_recorded_so_far_survive_a_stop_also_between_two_episodes(steps: int):
    task = make_task("reacher", horizon=20)
    actions = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype(np.float32)
    envs = [opener(task, Meter())("same") for _ in range(3)]
    whole, stopped, resumed = envs
    recorders = [recorded(env) for env in envs]
    for action in actions:
        whole.step(action)
    for action in actions[:steps]:
        stopped.step(action)
    so_far = recorders[1].rows(task)
    so_far.validate(task)
    assert len(so_far) == steps
    resumed.restore(loads(dumps(stopped.state())))
    for action in actions[steps:]:
        resumed.step(action)
    expected, found = recorders[0].take(task), recorders[2].take(task)
    for name, column in expected.columns().items():
        assert np.array_equal(column, found.columns()[name]), name
