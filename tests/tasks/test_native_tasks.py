"""A native task is Gymnasium's environment and nothing else, but can be stored, and refuses what needs transfer."""

import gymnasium as gym
import numpy as np
import pytest

from suites.matrix import build_matrix
from suites.spec import parse_suite
from suites.tasks.native import any_task, native_ids
from wombet.errors import InputError
from wombet.interaction import Meter, MeteredEnv
from wombet.serialization import dumps, loads

IDS = native_ids()
SUITE = {
    "name": "native",
    "title": "t",
    "description": "d",
    "seeds": 1,
    "n_datasets": 1,
    "methods": ["sac"],
    "pairs": [{"family": "native/Hopper-v5", "level": "stock"}],
    "budgets": {"target_steps": 10},
    "evaluation": {"count": 2, "episodes": 1},
}


def test_every_mujoco_environment_of_version_5_is_one() -> None:
    assert len(IDS) == 11
    assert {"HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Pusher-v5"} <= set(IDS)


@pytest.mark.parametrize("env_id", IDS)
def test_it_shows_pays_and_ends_as_the_stock_environment(env_id: str) -> None:
    task, stock = any_task(f"native/{env_id}", "stock", horizon=30), gym.make(env_id, max_episode_steps=30)
    env, generator = task.make_env(), np.random.default_rng(0)
    for seed in range(3):
        obs, theirs = env.reset(seed=seed)[0], stock.reset(seed=seed)[0]
        over = False
        while not over:
            assert obs.shape == (task.obs_dim,)
            assert np.array_equal(obs, theirs.astype(np.float32))
            action = generator.uniform(-1, 1, task.action_dim).astype(np.float32)
            obs, reward, terminated, truncated, _ = env.step(action)
            theirs, *others, _ = stock.step(stock.action_space.high * action)
            assert [reward, terminated, truncated or (terminated and others[2])] == others
            over = terminated or truncated
        assert np.array_equal(obs, theirs.astype(np.float32))


def test_actions_reach_the_whole_range_of_the_stock_environment() -> None:
    env, stock = any_task("native/Pusher-v5", "stock").make_env(), gym.make("Pusher-v5")
    env.reset(seed=0)
    stock.reset(seed=0)
    obs = env.step(np.ones(7, np.float32))[0]
    assert np.array_equal(obs, stock.step(np.full(7, 2, np.float32))[0].astype(np.float32))
    assert np.array_equal(
        env.step(np.full(7, 9.0, np.float32))[0], stock.step(np.full(7, 2, np.float32))[0].astype("f")
    )


@pytest.mark.parametrize("env_id", IDS)
def test_an_environment_stored_in_mid_episode_goes_on_byte_for_byte(env_id: str) -> None:
    task = any_task(f"native/{env_id}", "stock", horizon=20)

    def metered() -> MeteredEnv:
        return MeteredEnv(task.make_env(), Meter(100), lambda episode: 5 + episode)

    def play(env: MeteredEnv, generator: np.random.Generator, steps: int) -> list[tuple[bytes, float, bool, bool]]:
        rows = []
        for _ in range(steps):
            _ = env.observation
            obs, *rest, _ = env.step(generator.uniform(-1, 1, task.action_dim).astype(np.float32))
            rows.append((obs.tobytes(), *rest))
        return rows

    env, generator = metered(), np.random.default_rng(2)
    play(env, generator, 7)
    stored, actions = dumps(env.state()), generator.bit_generator.state
    future = play(env, generator, 40)
    busy = metered()
    play(busy, np.random.default_rng(9), 11)
    for other in (metered(), busy):
        other.restore(loads(stored))
        assert dumps(other.state()) == stored
        generator.bit_generator.state = actions
        assert play(other, generator, 40) == future


def test_a_state_of_another_task_is_refused() -> None:
    env = any_task("native/Hopper-v5", "stock").make_env()
    env.reset(seed=0)
    with pytest.raises(InputError, match="another task than native/Walker2d-v5"):
        any_task("native/Walker2d-v5", "stock").make_env().restore(env.state())


def test_it_has_its_own_time_limit_unless_told_otherwise() -> None:
    assert any_task("native/Reacher-v5", "stock").horizon == 50
    assert any_task("native/Hopper-v5", "stock").horizon == 1000
    short, whole = (any_task("native/Hopper-v5", "stock", horizon=h).fingerprint() for h in (9, None))
    assert short != whole
    assert whole != any_task("native/Walker2d-v5", "stock").fingerprint()


@pytest.mark.parametrize(
    ("family", "level", "shift", "sentence"),
    [
        ("native/HalfCheeta-v5", "stock", "both", "did you mean 'native/HalfCheetah-v5'"),
        ("native/HalfCheetah-v4", "stock", "both", "did you mean 'native/HalfCheetah-v5'"),
        ("native/CartPole-v1", "stock", "both", "there is no native task"),
        ("native/Hopper-v5", "close", "both", "did you mean 'stock'"),
        ("native/Hopper-v5", "stock", "reward", "nothing to shift"),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_sentence(family: str, level: str, shift: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        any_task(family, level, shift)


def test_nothing_can_be_relabelled() -> None:
    task = any_task("native/Hopper-v5", "stock")
    obs = np.zeros((2, 11), np.float32)
    for ask in (lambda: task.relabel(obs, obs, obs), lambda: task.reward(obs, obs, obs), lambda: task.terminated(obs)):
        with pytest.raises(InputError, match="rows of native/Hopper-v5 cannot be relabelled"):
            ask()


def test_a_suite_plans_methods_that_need_no_transfer_and_refuses_the_others() -> None:
    (run,) = build_matrix(parse_suite(SUITE, "native.toml")).runs
    assert run.folder.startswith("runs/native-Hopper-v5-stock/sac/s0-")
    assert run.pair.source_fingerprint == run.pair.target_fingerprint
    for name in ("bc", "rlpd", "source-policy"):
        with pytest.raises(InputError, match=f"native/Hopper-v5: method {name} learns from a source task"):
            build_matrix(parse_suite({**SUITE, "methods": ["sac", name]}, "native.toml"))
