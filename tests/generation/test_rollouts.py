"""Imagined and executed trajectories against the task, the model and the simulator."""

import numpy as np
import torch
from small_recipes import Bench, nothing

from wombet.rollouts import executed, imagined, model_uncertainty


def imagine(bench: Bench, n: int, steps: int, hard_stop: float = np.inf, noise: float = 0.1):
    generator = np.random.default_rng(5)
    starts = bench.starts(n, noise)
    return starts, imagined(bench.model, bench.task, bench.planner(), starts, steps, hard_stop, generator, nothing)


def execute(bench: Bench, n: int, steps: int, parallel: int, noise: float = 0.1):
    starts, envs = bench.starts(n, noise), [bench.open_env(f"env {i}") for i in range(parallel)]
    generator = np.random.default_rng(5)
    return starts, executed(bench.model, bench.task, bench.planner(), starts, steps, envs, generator, nothing)


def test_imagined_rows_are_labelled_by_the_task_bit_for_bit(reacher, cartpole):
    for bench in (reacher, cartpole):
        data = imagine(bench, 8, 10)[1].data
        reward, terminated = bench.task.relabel(data.obs, data.action, data.next_obs)
        assert np.array_equal(reward, data.reward_source)
        assert np.array_equal(terminated, data.terminated)
        data.validate(bench.task)


def test_imagined_trajectories_begin_at_their_starts_and_follow_one_elite_each(reacher):
    starts, rollouts = imagine(reacher, 8, 6)
    data = rollouts.data
    assert np.array_equal(data.obs[data.episode_starts], starts.obs)
    mean, uncertainty = reacher.model.step(torch.from_numpy(data.obs), torch.from_numpy(data.action))
    gaps = np.abs(mean.numpy() - data.next_obs).max(-1)
    by_trajectory = gaps.reshape(len(mean), 8, 6).max(-1)
    assert (by_trajectory.min(0) < 1e-5).all()
    assert len(set(by_trajectory.argmin(0))) > 1
    assert np.allclose(uncertainty.numpy(), data.uncertainty, atol=1e-6)


def test_imagined_trajectories_are_truncated_at_their_length(reacher):
    rollouts = imagine(reacher, 6, 7)[1]
    assert (rollouts.steps == 7).all()
    ends = rollouts.data.truncated.reshape(6, 7)
    assert ends[:, -1].all()
    assert not ends[:, :-1].any()


def test_a_termination_ends_a_trajectory_and_the_others_go_on(cartpole):
    rollouts = imagine(cartpole, 12, 60, noise=1.0)[1]
    data = rollouts.data
    last = np.append(np.diff(data.episode_id) != 0, True)
    assert data.terminated.any()
    assert not data.terminated[~last].any()
    assert len(set(rollouts.steps)) > 2
    assert (data.terminated[last] | (rollouts.steps == 60)).all()
    assert not (data.terminated & data.truncated).any()


def test_a_hard_stop_ends_a_trajectory_before_the_uncertain_row(cartpole):
    free = imagine(cartpole, 12, 20, noise=1.0)[1]
    bound = float(np.quantile(free.data.uncertainty, 0.6))
    stopped = imagine(cartpole, 12, 20, hard_stop=bound, noise=1.0)[1]
    assert stopped.data.uncertainty.max() <= bound
    beyond = np.array([(free.data.uncertainty[free.data.episode_id == i] > bound).argmax() for i in range(12)])
    crosses = np.array([(free.data.uncertainty[free.data.episode_id == i] > bound).any() for i in range(12)])
    assert crosses.any()
    assert np.array_equal(stopped.steps, np.where(crosses, beyond, free.steps))
    stopped.data.validate(cartpole.task)


def test_a_trajectory_that_is_stopped_at_once_has_no_rows_and_is_still_counted(cartpole):
    first = imagine(cartpole, 12, 1)[1].data.uncertainty
    rollouts = imagine(cartpole, 12, 5, hard_stop=float(np.median(first)))[1]
    empty = rollouts.steps == 0
    assert 0 < empty.sum() < 12
    assert not np.isin(np.flatnonzero(empty), rollouts.data.episode_id).any()
    assert rollouts.candidates().returns[empty].tolist() == [0] * empty.sum()
    accepted = np.arange(12) % 2 == 0
    kept = rollouts.select(accepted)
    assert len(kept) == rollouts.steps[accepted].sum()
    assert np.array_equal(np.unique(kept.episode_id), np.arange((accepted & ~empty).sum()))


def test_executed_rows_are_those_of_a_fresh_simulator_from_the_same_starts(reacher):
    starts, rollouts = execute(reacher, 5, 9, parallel=2)
    env = reacher.task.make_env()
    env.reset(seed=99)
    for i in range(5):
        rows = np.flatnonzero(rollouts.data.episode_id == i)
        obs = env.set_sim_state(starts.sim_state[i])
        for row in rows:
            assert np.array_equal(rollouts.data.obs[row], obs)
            obs, reward, *_ = env.step(rollouts.data.action[row])
            assert np.array_equal(rollouts.data.next_obs[row], obs)
            assert rollouts.data.reward_source[row] == np.float32(reward)
    rollouts.data.validate(reacher.task)


def test_executed_rows_carry_the_models_uncertainty_and_the_simulator_state_before_the_step(reacher):
    data = execute(reacher, 3, 6, parallel=3)[1].data
    assert np.array_equal(data.uncertainty, model_uncertainty(reacher.model, data.obs, data.action))
    env = reacher.task.make_env()
    env.reset(seed=0)
    for row in range(len(data)):
        env.set_sim_state(data.sim_state[row])
        assert np.allclose(env.step(data.action[row])[0], data.next_obs[row], atol=1e-6)


def test_every_executed_step_is_charged_and_terminated_trajectories_cost_nothing_more(cartpole):
    before = cartpole.meter.count
    rollouts = execute(cartpole, 6, 40, parallel=4, noise=1.0)[1]
    assert cartpole.meter.count - before == len(rollouts.data) == rollouts.steps.sum()
    assert rollouts.data.terminated.any()
    rollouts.data.validate(cartpole.task)


def test_noise_disturbs_the_actions_of_the_trajectories_that_ask_for_it(reacher):
    starts, calm = execute(reacher, 4, 5, parallel=4, noise=0.0)
    starts.noise[2] = 0.5
    envs = [reacher.open_env(f"again {i}") for i in range(4)]
    generator = np.random.default_rng(5)
    noisy = executed(reacher.model, reacher.task, reacher.planner(), starts, 5, envs, generator, nothing)
    same = [np.array_equal(calm.data.action[i * 5 : i * 5 + 5], noisy.data.action[i * 5 : i * 5 + 5]) for i in range(4)]
    assert same == [True, True, False, True]
    assert np.abs(noisy.data.action).max() <= 1
