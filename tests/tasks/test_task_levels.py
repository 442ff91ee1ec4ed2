"""Levels of a family: the same dynamics, another reward, other initial states, and each half of a shift by itself."""

import mujoco
import numpy as np
import pytest

from suites.tasks import families, make_task

FAMILIES = sorted(families())
TARGETS = ("close", "moderate", "far")


@pytest.mark.parametrize("family", FAMILIES)
def test_all_levels_compile_to_the_same_model(family):
    models = {_saved(make_task(family, level).make_env().model) for level in ("source", "aligned", *TARGETS)}
    assert len(models) == 1


def _saved(model):
    size = mujoco.mj_sizeModel(model)
    buffer = np.empty(size, np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_state_and_action_lead_to_the_same_state_at_every_level(family):
    envs = [make_task(family, level).make_env() for level in ("source", *TARGETS)]
    generator = np.random.default_rng(0)
    for seed in range(5):
        state = envs[2].reset(seed=seed)[1]["sim_state"]
        action = generator.uniform(-1, 1, envs[0].task.action_dim)
        for env in envs:
            env.set_sim_state(state)
        assert len({env.step(action)[4]["sim_state"].tobytes() for env in envs}) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_aligned_equals_source_in_all_but_name(family, recording):
    source, aligned = make_task(family), make_task(family, "aligned")
    assert (source.id, aligned.id) == (f"{family}/source", f"{family}/aligned")
    assert source.fingerprint() == aligned.fingerprint()
    ours, theirs = recording(family, "source"), recording(family, "aligned")
    for field in ("obs", "next_obs", "reward", "terminated", "sim_state"):
        assert getattr(ours, field).tobytes() == getattr(theirs, field).tobytes()


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_half_of_a_shift_stands_alone(family, level, recording):
    source, both = make_task(family), make_task(family, level)
    by_reward, by_init = make_task(family, level, "reward"), make_task(family, level, "init")
    rows = recording(family, level)
    arrays = (rows.obs, rows.action, rows.next_obs)
    assert by_reward.relabel(*arrays)[0].tobytes() == both.relabel(*arrays)[0].tobytes()
    assert by_init.relabel(*arrays)[0].tobytes() == source.relabel(*arrays)[0].tobytes()
    assert both.relabel(*arrays)[0].tobytes() != source.relabel(*arrays)[0].tobytes()
    assert _first_states(by_reward) == _first_states(source)
    assert _first_states(by_init) == _first_states(both) != _first_states(source)
    assert (by_reward.id, by_init.id) == (f"{both.id}:reward", f"{both.id}:init")
    assert len({task.fingerprint() for task in (source, both, by_reward, by_init)}) == 4


def _first_states(task):
    env = task.make_env()
    return [env.reset(seed=seed)[1]["sim_state"].tobytes() for seed in range(3)]


@pytest.mark.parametrize(
    ("family", "level", "entry", "low", "high"),
    [
        ("halfcheetah", "far", 2, -1.6, 1.6),
        ("hopper", "moderate", 3, -0.32, 0.02),
        ("walker2d", "close", 9, -0.02, 0.52),
        ("swimmer", "far", 3, -1.3, 1.3),
        ("pusher", "source", 7, -0.30, -0.17),
        ("cartpole", "far", 0, -0.01, 0.71),
        ("reacher", "moderate", 1, -0.9, 0.9),
        ("humanoid", "close", 24, -0.01, 0.51),
    ],
)
def test_initial_states_fill_their_range(family, level, entry, low, high):
    env = make_task(family, level).make_env()
    drawn = np.array([env.reset(seed=seed)[1]["sim_state"][entry] for seed in range(300)])
    margin = 0.1 * (high - low)
    assert low <= drawn.min() < low + margin
    assert high - margin < drawn.max() <= high


@pytest.mark.parametrize(
    ("family", "level", "yaw", "tilt"),
    [("ant", "moderate", 60, 10), ("ant", "far", 180, 20), ("humanoid", "moderate", 45, 0)],
)
def test_free_bodies_are_turned_as_far_as_told_and_stay_unit_quaternions(family, level, yaw, tilt):
    env = make_task(family, level).make_env()
    turns = np.array([env.reset(seed=seed)[1]["sim_state"][3:7] for seed in range(300)])
    assert np.allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-12)
    w, x, y, z = turns.T
    yaws = np.rad2deg(2 * np.arctan2(z, w))
    yaws = (yaws + 180) % 360 - 180
    tilts = np.rad2deg(2 * np.arctan2(np.hypot(x, y), np.hypot(w, z)))
    # Entry-wise noise adds some degrees of its own.
    noise = {"ant": 20.0, "humanoid": 4.0}[family]
    assert 0.9 * yaw < abs(yaws).max() <= yaw + noise
    assert 0.8 * tilt < tilts.max() <= tilt + noise


def test_noise_is_normal_or_uniform_as_the_family_says():
    for family, deviation in (("halfcheetah", 0.1), ("swimmer", 0.1 / np.sqrt(3))):
        env = make_task(family).make_env()
        nv = env.model.nv
        speeds = np.array([env.reset(seed=seed)[1]["sim_state"][-nv:] for seed in range(300)])
        assert speeds.std() == pytest.approx(deviation, rel=0.1)
        assert (abs(speeds).max() > 0.25) == (family == "halfcheetah")
