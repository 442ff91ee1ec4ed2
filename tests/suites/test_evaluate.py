"""The evaluator: paired, independent of training, and equal to playing the episodes one by one."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from suites.evaluate import Evaluator
from suites.problem import MethodError
from suites.runner import run_cell
from suites.store import Store, read_rows
from suites.tasks import make_task
from tests.suites import cells
from wombet.streams import Streams

TASK = make_task("reacher", "close", "both", 15)


def linear(obs: Any, generator: np.random.Generator) -> Any:
    return np.tanh(obs[:, :2] * 0.3 - obs[:, 2:4]).astype(np.float32)


def noisy(obs: Any, generator: np.random.Generator) -> Any:
    return generator.uniform(-1, 1, (len(obs), 2)).astype(np.float32)


def test_lock_step_equals_episodes_played_one_by_one() -> None:
    result = Evaluator(TASK, 4, seed=3, method="linear").evaluate(linear, 0)
    env = TASK.make_env()
    for episode in range(4):
        obs, _ = env.reset(seed=Streams(3).child("evaluation").integer("reset", episode))
        total, steps, over = 0.0, 0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(linear(obs[None], np.random.default_rng(0))[0])
            total, steps, over = total + reward, steps + 1, terminated or truncated
        assert result.returns[episode] == total
        assert result.lengths[episode] == steps == 15
    assert len(set(result.returns)) == 4


class Critic:
    """Believes that the return is ten times the first action, plus one."""

    discount = 0.9

    def estimate_return(self, obs: Any, action: Any) -> Any:
        return (10 * action[:, 0] + 1).astype(np.float32)


def test_a_critics_estimate_is_held_against_the_rewards_that_come() -> None:
    result = Evaluator(TASK, 2, seed=3, method="linear").evaluate(linear, 0, Critic())
    assert result.returns == Evaluator(TASK, 2, seed=3, method="linear").evaluate(linear, 0).returns
    env = TASK.make_env()
    for episode in range(2):
        obs, _ = env.reset(seed=Streams(3).child("evaluation").integer("reset", episode))
        actions, rewards = [linear(obs[None], np.random.default_rng(0))], []
        for _ in range(15):
            obs, reward, *_ = env.step(actions[-1][0])
            rewards.append(reward)
            actions.append(linear(obs[None], np.random.default_rng(0)))
        assert result.estimated_returns is not None
        assert result.discounted_returns is not None
        assert result.estimated_returns[episode] == pytest.approx(10 * actions[0][0, 0] + 1)
        tail = 0.9**15 * (10 * actions[-1][0, 0] + 1)
        assert result.discounted_returns[episode] == pytest.approx(np.polyval(rewards[::-1], 0.9) + tail)


def test_nothing_is_believed_of_what_comes_after_an_episodes_true_end() -> None:
    task = make_task("hopper", "source", "both", 100)
    critic = Critic()
    critic.estimate_return = lambda obs, action: np.full(len(obs), 1e6, np.float32)  # type: ignore[method-assign]
    evaluator = Evaluator(task, 2, seed=0, method="random")
    result = evaluator.evaluate(lambda obs, g: g.uniform(-1, 1, (len(obs), 3)).astype(np.float32), 0, critic)
    assert max(result.lengths) < 100
    assert result.discounted_returns is not None
    assert max(result.discounted_returns) < 100


def test_a_run_records_what_its_critics_believed(store: Store) -> None:
    spec = cells.cell("sac")
    assert run_cell(spec, store).ending == "done"
    for row in read_rows(store.run_folder(spec.folder) / "evals.jsonl"):
        assert len(row["estimated_returns"]) == len(row["discounted_returns"]) == len(row["returns"])


def test_episodes_that_end_early_are_counted_to_their_end() -> None:
    task = make_task("hopper", "source", "both", 100)
    evaluator = Evaluator(task, 3, seed=0, method="random")
    result = evaluator.evaluate(lambda obs, g: g.uniform(-1, 1, (len(obs), task.action_dim)).astype(np.float32), 0)
    assert all(0 < length < 100 for length in result.lengths)
    assert len(set(result.lengths)) > 1


def test_initial_states_are_the_same_at_every_evaluation_and_noise_is_not() -> None:
    evaluator = Evaluator(TASK, 3, seed=0, method="probe")
    assert evaluator.evaluate(linear, 0) == evaluator.evaluate(linear, 7)
    assert evaluator.evaluate(noisy, 0) != evaluator.evaluate(noisy, 1)
    assert evaluator.evaluate(noisy, 1) == Evaluator(TASK, 3, seed=0, method="other").evaluate(noisy, 1)
    assert evaluator.evaluate(linear, 0) != Evaluator(TASK, 3, seed=1, method="probe").evaluate(linear, 0)


def test_a_return_that_is_not_finite_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = Evaluator(TASK, 2, seed=0, method="linear")
    evaluator.evaluate(linear, 0)
    env = evaluator._envs[1]
    real = env.step
    monkeypatch.setattr(env, "step", lambda action: (real(action)[0], float("nan"), False, True, {}))
    with pytest.raises(MethodError, match="method linear led to a return of nan in episode 1 of evaluation 2"):
        evaluator.evaluate(linear, 2)


@pytest.mark.parametrize("name", ["sac", "wombet"])
def test_evaluating_more_often_changes_nothing_in_training(store: Store, name: str) -> None:
    sparse = cells.cell(name, evaluations=3)
    dense = dataclasses.replace(sparse, evaluation={"count": 13, "episodes": 5})
    hashes, rows = [], []
    for spec in (sparse, dense):
        assert run_cell(spec, store).ending == "done"
        folder = store.run_folder(spec.folder)
        hashes.append(json.loads((folder / "done.json").read_text())["state_sha256"])
        rows.append({row["target_steps"]: row["returns"][:2] for row in read_rows(folder / "evals.jsonl")})
    assert hashes[0] == hashes[1]
    assert len(rows[1]) == 13
    for step, returns in rows[0].items():
        assert returns == pytest.approx(rows[1][step], abs=1e-4)
