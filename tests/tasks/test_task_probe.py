"""What is wrong with a task family of another package is said before any work, in one sentence."""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from suites.commands.options import open_matrix
from suites.tasks import Family, InitialStates, JointObservation, Level, make_task, registry
from suites.tasks.probe import check_families
from wombet.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "examples" / "double-pendulum" / "double_pendulum.py"


def example() -> Family:
    """The family that docs/adding-a-task.md prints."""
    spec = importlib.util.spec_from_file_location("double_pendulum", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.family()  # type: ignore[no-any-return]


GOOD = example()
INF = float("inf")
Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Register the example's family with other fields."""

    def put(**changes: Any) -> None:
        monkeypatch.setitem(registry._families, GOOD.name, dataclasses.replace(GOOD, **changes))

    return put


def level(initial: InitialStates, **reward: Any) -> dict[str, Level]:
    return {**GOOD.levels, "far": Level(initial, {"place": 0.0, **reward})}


def of_all_rows(obs: Any, action: Any, next_obs: Any, *, place: float, effort_cost: float) -> Any:
    return next_obs[..., 0] - place - effort_cost * (action * action).mean()


def in_a_column(obs: Any, action: Any, next_obs: Any, *, place: float, effort_cost: float) -> Any:
    return next_obs[..., :1]


def of_numpy_alone(obs: Any, action: Any, next_obs: Any, *, place: float, effort_cost: float) -> Any:
    return next_obs[..., 0].astype(next_obs.dtype)


def leaning(next_obs: Any, *, max_angle: float) -> Any:
    return 1.0 * (abs(next_obs[..., 1]) > max_angle)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no such environment": ({"env_id": "DoublePendulum-v9"}, "env_id 'DoublePendulum-v9' with .*DoublePendulum"),
    "no simulator": ({"env_id": "CartPole-v1"}, "there is no MuJoCo environment of env_id 'CartPole-v1'"),
    "bad kwargs": ({"kwargs": {"frame_skipp": 2}}, "env_id 'InvertedDoublePendulum-v5' with its kwargs .*frame_skipp"),
    "too many actions": ({"action_dim": 2}, "level 'source': action_dim is 2; the simulator takes 1"),
    "short observation": ({"observation": JointObservation(nq=2, nv=3)}, "observation has 6 entries, not 5"),
    "misspelt parameter": (
        {"levels": level(InitialStates(), plaze=1.0)},
        "level 'far': its reward fails on two rows of numpy .*unexpected keyword argument 'plaze'",
    ),
    "missing parameter": ({"reward_parameters": {}}, "its reward fails .*missing 1 required .* 'effort_cost'"),
    "reward of all rows": ({"reward": of_all_rows}, "its reward of a row depends on the other rows of the batch"),
    "reward in a column": ({"reward": in_a_column}, r"its reward of two rows of numpy has shape \(2, 1\); it must be"),
    "reward of numpy": ({"reward": of_numpy_alone}, "its reward fails on two rows of torch"),
    "infinite reward": ({"reward": lambda obs, action, next_obs, **_: next_obs[..., 0] + INF}, "not a finite number"),
    "numbers as ends": ({"terminated": leaning}, "its terminated gives float64 with numpy; it must give booleans"),
    "index of qpos": ({"levels": level(InitialStates(qpos={3: (0, 1)}))}, r"'far': .* qpos\[3\], and there are 3"),
    "index of qvel": ({"levels": level(InitialStates(qvel={-1: (0, 1)}))}, r"name qvel\[-1\], and there are 3"),
    "parameter of no value": ({"levels": level(InitialStates(), place=object())}, "'far': it cannot be described"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_familys_fault_is_said_in_one_sentence(register: Register, name: str) -> None:
    changes, sentence = FAULTS[name]
    register(**changes)
    with pytest.raises(InputError, match=sentence) as caught:
        check_families([GOOD.name])
    assert str(caught.value).startswith("task family 'double_pendulum', level ")
    assert "\n" not in str(caught.value)


def test_a_sound_family_is_tried_in_every_level_and_nothing_is_said(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = [], gym.make
    monkeypatch.setattr(gym, "make", lambda *args, **options: made.append(args) or make(*args, **options))
    register()
    check_families([GOOD.name, GOOD.name])
    assert len(made) == len(GOOD.levels)


def test_the_projects_own_families_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "make", None)
    check_families(["reacher", "humanoid"])


def test_a_suite_with_a_broken_family_is_refused_before_its_cells_are_resolved(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = str(EXAMPLE.with_name("suite.toml"))
    register()
    assert {run.pair.id for run in open_matrix(suite, None).runs} == {"double_pendulum-close"}
    register(action_dim=2)
    monkeypatch.setattr("suites.matrix.build_matrix", None)
    with pytest.raises(InputError, match="action_dim is 2; the simulator takes 1"):
        open_matrix(suite, None)


def test_a_state_of_another_length_is_named(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    monkeypatch.setattr(JointObservation, "sim_state", lambda self, obs: np.zeros(5))
    with pytest.raises(InputError, match=r"sim_state has shape \(5,\); \(qpos, qvel\) has \(6,\)"):
        check_families([GOOD.name])


def test_the_examples_rows_are_relabelled_bit_for_bit(register: Register) -> None:
    register()
    task, other = make_task(GOOD.name, "far"), make_task(GOOD.name, "source")
    env, generator, rows = task.make_env(), np.random.default_rng(1), []
    obs, _ = env.reset(seed=2)
    for _ in range(200):
        action = generator.uniform(-1, 1, 1).astype(np.float32)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, next_obs, reward, terminated))
        obs = env.reset()[0] if terminated or truncated else next_obs
    obs, action, next_obs, reward, terminated = map(np.array, zip(*rows, strict=True))
    labels, ends = task.relabel(obs, action, next_obs)
    assert labels.astype(np.float64).tobytes() == reward.tobytes()
    assert np.array_equal(ends, terminated)
    assert terminated.any()
    assert not np.array_equal(other.relabel(obs, action, next_obs)[0], labels)
