"""What a task says of itself: names, shapes, JSON, fingerprints, and the state an observation stands for."""

import dataclasses
import json
import pickle

import mujoco
import numpy as np
import pytest

from suites.tasks import Task, families, make_task, registry
from wombet.errors import InputError

FAMILIES = sorted(families())


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_and_angles_are_those_of_the_simulator(family):
    task = make_task(family)
    env = task.make_env()
    model, definition = env.model, task.definition
    assert env.reset(seed=0)[0].shape == env.observation_space.shape == (task.obs_dim,)
    assert env.action_space.shape == (task.action_dim,) == (model.nu,)
    assert task.horizon == definition.horizon
    shown = {}
    if hasattr(definition.observation, "n_omitted"):
        omitted = definition.observation.n_omitted
        shown = {address: task.n_rates + address - omitted for address in range(omitted, model.nq)}
    endless = [
        shown[address]
        for address, kind, limited in zip(model.jnt_qposadr, model.jnt_type, model.jnt_limited, strict=True)
        if kind == mujoco.mjtJoint.mjJNT_HINGE and not limited and address in shown
    ]
    assert task.angle_indices == tuple(endless)


@pytest.mark.parametrize("level", ["source", "far"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_observation_gives_back_its_state(family, level, recording):
    task, rows = make_task(family, level), recording(family, level)
    states = task.sim_state_from_obs(rows.next_obs)
    truth = rows.next_sim_state.copy()
    hidden, at_rest = _hidden(task)
    truth[:, hidden] = at_rest
    if family == "reacher":
        truth[:, :2] = (truth[:, :2] + np.pi) % (2 * np.pi) - np.pi
    assert states.dtype == np.float64
    assert np.allclose(states, truth, rtol=1e-6, atol=2e-6)
    assert task.sim_state_from_obs(rows.next_obs.reshape(3, 100, -1)).tobytes() == states.tobytes()
    assert task.sim_state_from_obs(rows.next_obs[7]).tobytes() == states[7].tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_from_an_observation_shows_as_that_observation(family, recording):
    task, rows = make_task(family, "far"), recording(family, "far")
    env = task.make_env()
    for obs in rows.obs[::25]:
        shown = env.set_sim_state(task.sim_state_from_obs(obs))
        assert np.allclose(shown[task.n_rates :], obs[task.n_rates :], rtol=1e-6, atol=2e-6)


def _hidden(task):
    """Entries of (qpos, qvel) that the observation omits, and where they rest."""
    if task.family == "reacher":
        return [2, 3, 6, 7], [0.1, -0.1, 0, 0]
    if task.family == "pusher":
        return [9, 10, 20, 21], [0, 0, 0, 0]
    omitted = task.definition.observation.n_omitted
    return list(range(omitted)), [0] * omitted


def test_an_observation_of_wrong_length_is_refused():
    with pytest.raises(InputError, match="8 entries"):
        make_task("reacher").sim_state_from_obs(np.zeros((2, 9)))


def test_a_task_is_a_value():
    task = make_task("ant", "moderate", "reward", 200)
    assert task.id == "ant/moderate:reward"
    assert {task: 1}[Task("ant", "moderate", "reward", 200)] == 1
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task
    assert pickle.loads(pickle.dumps(task)) == task
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.level = "far"


def test_ids_and_fingerprints_tell_tasks_apart():
    tasks = [make_task(family, level) for family in FAMILIES for level in ("source", "close", "moderate", "far")]
    assert len({task.id for task in tasks}) == len({task.fingerprint() for task in tasks}) == 36
    assert make_task("hopper").fingerprint() != make_task("hopper", horizon=200).fingerprint()
    assert make_task("hopper").fingerprint() == make_task("hopper", horizon=1000).fingerprint()


def test_a_new_version_of_a_family_makes_other_tasks_of_all_its_levels(monkeypatch):
    levels = ("source", "close", "far")
    first = {make_task("reacher", level).fingerprint() for level in levels}
    assert "23c6625d9c4e" in first, "the first version has the name from before there were versions"
    for version in (2, 3):
        newer = dataclasses.replace(registry.family("reacher"), version=version)
        monkeypatch.setitem(registry._families, "reacher", newer)
        first |= {make_task("reacher", level).fingerprint() for level in levels}
    assert len(first) == 3 * len(levels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hoper",), "no task family 'hoper'; did you mean 'hopper'"),
        (("half_cheetah",), "did you mean 'halfcheetah'"),
        (("reacher", "modrate"), "no level of family reacher 'modrate'; did you mean 'moderate'"),
        (("reacher", "close", "rewards"), "no shift 'rewards'; did you mean 'reward'"),
        (("reacher", "close", "both", 0), "horizon of task reacher/close is 0"),
        (("reacher", "close", "both", 2.5), "horizon of task reacher/close is 2.5"),
    ],
)
def test_a_typo_is_named_with_the_nearest_name(arguments, message):
    with pytest.raises(InputError, match=message):
        make_task(*arguments)


def test_a_task_of_other_fields_is_refused():
    with pytest.raises(InputError, match="fields family, level, shift, horizon"):
        Task.from_json({"family": "reacher", "level": "far"})
