"""Rewards and terminations: what the environment emits is what anybody computes from the stored rows."""

import numpy as np
import pytest
import torch

from suites.tasks import Task, families, make_task

FAMILIES = sorted(families())
LEVELS = ("source", "aligned", "close", "moderate", "far")
# Speed or place asked for at source, close, moderate and far.
SPEEDS = {"halfcheetah": (3, 4, 5, -3), "hopper": (1, 1.4, 2, -1), "walker2d": (1, 1.4, 2, -1)}
PLACES = {"cartpole": (0, 0.2, 0.5, -0.7)}
GOALS = {
    "reacher": ((0.14, 0), (0.139, 0.02), (0, 0.14), (-0.14, 0)),
    "pusher": ((0.45, -0.05), (0.45, 0.05), (0.65, -0.05), (0.25, -0.35)),
}
VELOCITIES = {
    "ant": ((1, 0), (1, 30), (1, 90), (1, 180)),
    "swimmer": ((0.25, 0), (0.25, 30), (0.25, 90), (0.25, 180)),
    "humanoid": ((0.5, 0), (1, 0), (1, 60), (1, 180)),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_relabelled_rows_equal_the_environment_bit_for_bit(family, level, recording):
    rows = recording(family, level)
    reward, terminated = make_task(family, level).relabel(rows.obs, rows.action, rows.next_obs)
    assert reward.dtype == np.float32
    assert terminated.dtype == np.bool_
    assert reward.astype(np.float64).tobytes() == rows.reward.astype(np.float64).tobytes()
    assert (terminated == rows.terminated).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_relabelling_does_not_depend_on_how_rows_are_laid_out(family, recording):
    rows, task = recording(family, "far"), make_task(family, "far")
    arrays = (rows.obs, rows.action, rows.next_obs)
    reward, _ = task.relabel(*arrays)
    by_column, _ = task.relabel(*(np.asfortranarray(array) for array in arrays))
    boxed, ends = task.relabel(*(array.reshape(6, 50, -1) for array in arrays))
    assert by_column.tobytes() == reward.tobytes()
    assert boxed.shape == ends.shape == (6, 50)
    assert boxed.tobytes() == reward.tobytes()


def test_the_last_bits_of_a_sum_do_not_depend_on_how_rows_are_laid_out(monkeypatch):
    def last_bits(task, obs, action, next_obs):
        return ((action * action).mean(-1) * 2.0**55) % 4096.0

    monkeypatch.setattr(Task, "reward", last_bits)
    task, generator = make_task("humanoid"), np.random.default_rng(0)
    action = generator.uniform(-1, 1, (500, 17)).astype(np.float32)
    obs = np.zeros((500, task.obs_dim), np.float32)
    reward, _ = task.relabel(obs, action, obs)
    assert len(np.unique(reward)) > 50
    assert task.relabel(obs, np.asfortranarray(action), obs)[0].tobytes() == reward.tobytes()
    one_by_one = [task.relabel(obs[i, None], action[i, None], obs[i, None])[0] for i in range(500)]
    assert np.concatenate(one_by_one).tobytes() == reward.tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_torch_agrees_with_numpy(family, recording):
    rows, task = recording(family, "moderate"), make_task(family, "moderate")
    arrays = (rows.obs, rows.action, rows.next_obs)
    reward, terminated = task.relabel(*arrays)
    tensors = [torch.from_numpy(array) for array in arrays]
    assert abs(task.reward(*tensors).numpy() - reward).max() < 1e-6
    assert task.terminated(tensors[2]).dtype == torch.bool
    assert (task.terminated(tensors[2]).numpy() == terminated).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_planner_shaped_batches_equal_their_rows(family):
    task, generator = make_task(family, "close"), np.random.default_rng(0)
    batch = [
        generator.normal(size=(5, 64, dim)).astype(np.float32) for dim in (task.obs_dim, task.action_dim, task.obs_dim)
    ]
    flat = [array.reshape(320, -1) for array in batch]
    expected, ends = task.reward(*flat), task.terminated(flat[2])
    tensors = [torch.from_numpy(array) for array in batch]
    for reward, terminated in (
        (task.reward(*batch), task.terminated(batch[2])),
        (task.reward(*tensors), task.terminated(tensors[2])),
    ):
        assert tuple(reward.shape) == tuple(terminated.shape) == (5, 64)
        assert np.allclose(np.asarray(reward).reshape(-1), expected, atol=1e-6)
        assert (np.asarray(terminated).reshape(-1) == ends).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rewards_are_at_most_one_and_positive_where_falling_ends_the_episode(family, level):
    task, generator = make_task(family, level), np.random.default_rng(1)
    next_obs = generator.normal(scale=3, size=(2000, task.obs_dim))
    action = generator.uniform(-1, 1, (2000, task.action_dim))
    reward = task.reward(next_obs, action, next_obs)
    assert reward.max() <= 1
    if family in ("hopper", "walker2d", "ant", "humanoid"):
        assert reward.min() > 0


@pytest.mark.parametrize("index", range(4))
def test_the_perfect_step_earns_one_at_every_level(index):
    level = ("source", "close", "moderate", "far")[index]
    for family, speeds in SPEEDS.items():
        assert _at_rest(family, level, {0: speeds[index]}) == pytest.approx(1)
    for family, wanted in VELOCITIES.items():
        speed, degrees = wanted[index]
        direction = np.deg2rad(degrees)
        velocity = {0: speed * np.cos(direction), 1: speed * np.sin(direction)}
        assert _at_rest(family, level, velocity) == pytest.approx(1)
    for family, places in PLACES.items():
        assert _at_rest(family, level, {0: places[index]}) == pytest.approx(1)
    x, y = GOALS["reacher"][index]
    assert _at_rest("reacher", level, {6: x, 7: y}) == pytest.approx(1)
    x, y = GOALS["pusher"][index]
    assert _at_rest("pusher", level, {14: x, 15: y, 16: -0.275, 17: x, 18: y}) == pytest.approx(1)


@pytest.mark.parametrize(
    ("family", "next_obs", "expected"),
    [
        ("halfcheetah", {0: 1.5}, 0.5),
        ("halfcheetah", {0: 4.5}, 0.5),
        ("halfcheetah", {0: -30.0}, -1.0),
        ("hopper", {}, 0.25),
        ("hopper", {0: 0.5}, 0.25 + 0.75 * 0.5),
        ("walker2d", {0: -5.0}, 0.25),
        ("ant", {0: 1.0, 1: 1.0}, 0.25 + 0.75 * 0.75),
        ("swimmer", {0: 0.25, 1: -0.25}, 0.75),
        ("swimmer", {0: -1.0}, -1.0),
        ("humanoid", {0: 0.25}, 0.5 + 0.5 * 0.5),
        ("cartpole", {0: 0.2}, 0.5 * 0.9 + 0.25),
        ("reacher", {6: 0.11}, 0.5 * (1 - 0.03 / 0.45) + 0.25),
        ("pusher", {14: 0.45, 15: 0.1, 16: -0.275, 17: 0.45, 18: 0.1}, 0.5),
        ("pusher", {14: 0.45, 15: -0.05, 16: 0.025, 17: 0.45, 18: -0.05}, 0.5),
        ("pusher", {14: 9.0, 17: 5.0}, -2.0),
    ],
)
def test_known_rewards_of_source_tasks(family, next_obs, expected):
    assert _at_rest(family, "source", next_obs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("family", "cost"),
    [
        ("halfcheetah", 0.1),
        ("hopper", 0.05),
        ("walker2d", 0.05),
        ("ant", 0.1),
        ("swimmer", 0.02),
        ("pusher", 0.05),
        ("humanoid", 0.1),
        ("cartpole", 0.02),
        ("reacher", 0.05),
    ],
)
def test_effort_costs_its_share_of_the_mean_squared_action(family, cost):
    task = make_task(family)
    obs, rest = np.zeros(task.obs_dim), np.zeros(task.action_dim)
    half = np.full(task.action_dim, -0.5)
    assert task.reward(obs, rest, obs) - task.reward(obs, half, obs) == pytest.approx(0.25 * cost)


@pytest.mark.parametrize(
    ("family", "ends", "goes_on"),
    [
        ("hopper", [{1: 0.7}, {1: 1.0, 2: 0.2}, {1: 1.0, 2: -0.3}], [{1: 0.71}, {1: 5.0, 2: -0.19}]),
        ("walker2d", [{1: 0.8}, {1: 2.0}, {1: 1.0, 2: -1.0}], [{1: 0.81}, {1: 1.99, 2: 0.99}]),
        ("ant", [{2: 0.19}, {2: 1.01}], [{2: 0.2}, {2: 1.0}]),
        ("humanoid", [{2: 0.99}, {2: 2.01}], [{2: 1.0}, {2: 2.0}]),
        ("cartpole", [{1: 0.21}, {1: -0.21}], [{1: 0.2}, {1: -0.2}]),
        ("halfcheetah", [], [{2: 3.0}]),
        ("swimmer", [], [{2: 9.0}]),
        ("pusher", [], [{0: 9.0}]),
        ("reacher", [], [{0: 9.0}]),
    ],
)
def test_known_terminations_are_the_same_at_every_level(family, ends, goes_on):
    for level in LEVELS:
        task = make_task(family, level)
        assert all(task.terminated(_obs(task, entries)) for entries in ends)
        assert not any(task.terminated(_obs(task, entries)) for entries in goes_on)


@pytest.mark.parametrize("family", FAMILIES)
def test_nan_terminates(family):
    task = make_task(family)
    assert task.terminated(np.full((3, task.obs_dim), np.nan)).all()
    assert task.terminated(torch.full((3, task.obs_dim), torch.nan)).all()


def _obs(task, entries):
    obs = np.zeros(task.obs_dim)
    for index, value in entries.items():
        obs[index] = value
    return obs


def _at_rest(family, level, next_obs):
    task = make_task(family, level)
    return task.reward(np.zeros(task.obs_dim), np.zeros(task.action_dim), _obs(task, next_obs))
