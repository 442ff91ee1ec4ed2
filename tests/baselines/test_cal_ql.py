"""Cal-QL: its bound against naive sums, at its limits, over time, and against d3rlpy's own returns-to-go."""

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest
import torch

from baselines.api import Phase
from baselines.d3rlpy_method import import_d3rlpy, transitions_of
from baselines.registry import method
from baselines.return_bounds import lower_bounds, open_ends, returns_to_go
from suites.contract.problem import HORIZON
from suites.contract.run import SmallRun
from tests.contract.harness import DATASET
from wombet.errors import InputError
from wombet.serialization import dumps

d3rlpy = import_d3rlpy()
DISCOUNT = 0.99
UNBOUNDED = {"tail": "mask", "masked_rows": 10_000}


def cal_ql(**settings: Any) -> SmallRun:
    return SmallRun("cal-ql", settings)


def naive_return(reward: np.ndarray, over: np.ndarray, tail: np.ndarray, row: int, discount: float) -> float:
    total, factor = 0.0, 1.0
    for at in range(row, len(reward)):
        total += factor * reward[at]
        factor *= discount
        if over[at]:
            return total + factor * tail[at]
    raise AssertionError("the last row ends no episode")


def made_up_rows(n: int = 60) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(1)
    over = generator.random(n) < 0.15
    over[-1] = True
    return generator.standard_normal(n), over, over & (generator.random(n) < 0.5), generator.standard_normal(n) * 9


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_returns_to_go_are_those_of_a_naive_loop(discount: float) -> None:
    reward, over, _, tail = made_up_rows()
    expected = [naive_return(reward, over, tail, row, discount) for row in range(len(reward))]
    assert returns_to_go(reward, over, tail, discount) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_tails_follow_open_ends_and_nothing_follows_a_termination() -> None:
    reward, over, terminated, tail = made_up_rows()
    assert terminated.any()
    unfinished = open_ends(over, terminated)
    expected = [naive_return(reward, over, np.where(unfinished, tail, 0), row, 0.9) for row in range(len(reward))]
    found = lower_bounds(reward, terminated, over, tail[unfinished], 0.9)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_last_rows_before_an_open_end_and_no_others_may_go_without_a_bound() -> None:
    over = np.array([0, 0, 0, 1, 0, 0, 1, 1], bool)
    terminated = np.array([0, 0, 0, 0, 0, 0, 1, 0], bool)
    found = lower_bounds(np.ones(8), terminated, over, 0.0, 1.0, masked_rows=2)
    assert found.tolist() == [4, 3, -np.inf, -np.inf, 3, 2, 1, -np.inf]
    assert np.isfinite(lower_bounds(np.ones(8), terminated, over, 0.0, 1.0)).all()


def test_without_a_bound_it_is_cql() -> None:
    ours, theirs = cal_ql(**UNBOUNDED, max_backup=False), SmallRun("cql-finetune", {})
    rates = []
    ours.adapter.train(Phase.OFFLINE, lambda updates, metrics: rates.append(metrics()["bound_rate"]))
    theirs.adapter.train(Phase.OFFLINE, lambda **progress: None)
    assert dumps(ours.adapter.learner.state()) == dumps(theirs.adapter.learner.state())
    assert set(rates) == {0.0}


def conservative_gradient(bound: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradients of the conservative term at one bound for all rows, and of minus the weighted values of the data."""
    found = cal_ql(n_action_samples=4)
    impl = found.adapter.learner.algorithm.impl
    critics = list(impl.modules.q_funcs.parameters())
    obs, action, next_obs = (torch.from_numpy(x[:30]) for x in (DATASET.obs, DATASET.action, DATASET.next_obs))
    torch.manual_seed(0)
    term = impl._compute_conservative_loss(obs, action, next_obs, torch.full((30, 1), bound)).sum()
    data = sum(critic(obs, action).q_value.mean() for critic in impl.modules.q_funcs)
    weight = found.adapter.config.conservative_weight
    return list(torch.autograd.grad(term, critics)), list(torch.autograd.grad(-weight * data, critics))


def test_under_a_bound_out_of_reach_no_action_of_the_policy_is_pressed_down() -> None:
    for own, data in zip(*conservative_gradient(1e6), strict=True):
        assert torch.allclose(own, data, atol=1e-5)
    differences = [(own - data).abs().max() for own, data in zip(*conservative_gradient(-np.inf), strict=True)]
    assert max(differences) > 0.1


def test_the_bound_rate_is_the_share_of_the_policys_values_that_are_lifted() -> None:
    adapter = cal_ql(n_action_samples=5, batch_size=16).adapter
    with torch.no_grad():
        for parameter in adapter.learner.algorithm.impl.modules.q_funcs.parameters():
            parameter.zero_()
    rows = np.arange(16)
    adapter._refresh_bounds = lambda: None
    adapter._bounds[rows] = np.where(rows < 4, 1.0, -1.0)
    adapter.draw = lambda: (rows, np.zeros(0, np.int64))
    assert adapter.learn()["bound_rate"] == pytest.approx(0.25)
    assert adapter._lifted == []


def test_an_update_is_d3rlpys_own_with_the_returns_that_it_sums_itself() -> None:
    ours, theirs = cal_ql(tail="none").adapter.learner, cal_ql(tail="none").adapter.learner
    rows = np.array([0, 3, HORIZON - 1, HORIZON, 40])
    ends = {row: HORIZON * (row // HORIZON + 1) for row in rows}
    transitions = [
        d3rlpy.dataset.Transition(
            observation=DATASET.obs[row],
            action=DATASET.action[row],
            reward=DATASET.reward_target[[row]],
            next_observation=DATASET.next_obs[row],
            next_action=DATASET.action[row],
            terminal=0.0,
            interval=1,
            rewards_to_go=DATASET.reward_target[row : ends[row], None],
        )
        for row in rows
    ]
    over = DATASET.truncated
    returns = lower_bounds(DATASET.reward_target, np.zeros_like(over), over, 0.0, DISCOUNT)[rows]
    with theirs._own_stream():
        expected = theirs.algorithm.update(d3rlpy.dataset.TransitionMiniBatch.from_transitions(transitions))
    assert ours.update_on(transitions_of(DATASET, rows), returns) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    parts = zip(*(learner.algorithm.impl.modules.q_funcs.parameters() for learner in (ours, theirs)), strict=True)
    assert all(torch.allclose(own, other, atol=1e-6) for own, other in parts)
    assert ours.algorithm.grad_step == theirs.algorithm.grad_step == 1


def target_values(run: SmallRun, next_obs: np.ndarray) -> np.ndarray:
    """Smallest value of the target critics at the policy's mode, by the networks themselves."""
    modules = run.adapter.learner.algorithm.impl.modules
    obs = torch.from_numpy(next_obs)
    with torch.no_grad():
        mode = torch.tanh(modules.policy(obs).mu)
        values = [critic(obs, mode).q_value[:, 0] for critic in modules.targ_q_funcs]
    return torch.minimum(*values).numpy()


def naive_bounds(reward: np.ndarray, end_values: np.ndarray, scale: float = 1.0) -> list[float]:
    over = np.arange(1, len(reward) + 1) % HORIZON == 0
    tail = np.zeros(len(reward))
    tail[over] = end_values
    return [naive_return(scale * reward, over, tail, row, DISCOUNT) for row in range(len(reward))]


def test_tails_are_the_target_critics_values_taken_anew_at_every_interval() -> None:
    found, seen = cal_ql(bound_interval=10, reward_scale=2.0), []
    ends = DATASET.next_obs[HORIZON - 1 :: HORIZON]

    def watch(*, updates: int, metrics: Any) -> None:
        seen.append((found.adapter._bounds.copy(), target_values(found, ends)))

    found.adapter.train(Phase.OFFLINE, watch)
    changed = [i for i in range(1, len(seen)) if not np.array_equal(seen[i][0], seen[i - 1][0])]
    assert changed == [10, 20]
    for i in changed:
        expected = naive_bounds(DATASET.reward_target, seen[i - 1][1], scale=2.0)
        assert seen[i][0] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_an_episode_ends_where_the_target_task_ends_it_and_nowhere_else() -> None:
    found = cal_ql()
    ended, source_ended = 5, HORIZON - 1
    terminated = np.arange(len(DATASET)) == ended
    found.adapter.dataset = dataclasses.replace(
        DATASET,
        terminated_target=terminated,
        terminated=np.arange(len(DATASET)) == source_ended,
        truncated=DATASET.truncated & (np.arange(len(DATASET)) != source_ended),
    )
    found.adapter._refresh_bounds()
    reward, bounds = DATASET.reward_target, found.adapter._bounds
    assert bounds[ended] == pytest.approx(reward[ended])
    assert bounds[ended - 1] == pytest.approx(reward[ended - 1] + DISCOUNT * reward[ended])
    value = target_values(found, DATASET.next_obs[[source_ended]])[0]
    assert bounds[source_ended] == pytest.approx(reward[source_ended] + DISCOUNT * value, abs=1e-6)
    assert abs(value) > 1e-3


def test_online_rows_are_learned_from_once_their_episode_is_over_and_with_its_return() -> None:
    found, sizes = cal_ql(bound_interval=10**6, utd=1), []
    found.train(in_tick=lambda run: sizes.append((run.meters["target"].count, len(run.adapter.online))))
    assert all(n == steps // HORIZON * HORIZON for steps, n in sizes)
    rows = found.adapter.online.last(1000)
    bounds = found.adapter._online_bounds[: len(rows.obs)]
    following = bounds[:-1] - rows.reward.numpy()[:-1] - DISCOUNT * bounds[1:]
    inner = np.arange(1, len(bounds)) % HORIZON != 0
    assert np.abs(following[inner]).max() < 1e-5
    assert np.abs(following[~inner]).min() > 1e-3


def test_calibration_stays_on_online_in_a_ring_that_has_gone_round() -> None:
    found = cal_ql(replay_capacity=HORIZON + 7, bound_interval=10**6, utd=1).train()
    adapter = found.adapter
    adapter._refresh_bounds()
    kept = adapter.online.last(1000)
    assert len(kept.obs) == HORIZON + 7
    over = np.zeros(len(kept.obs), bool)
    over[[6, -1]] = True
    tail = np.zeros(len(over))
    tail[over] = target_values(found, kept.next_obs.numpy()[over])
    expected = [naive_return(kept.reward.numpy(), over, tail, row, DISCOUNT) for row in range(len(over))]
    places = (60 - len(over) + np.arange(len(over))) % (HORIZON + 7)
    assert adapter._online_bounds[places] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    offline, online = np.array([3]), places[[0, 5, -1]]
    captured: list[np.ndarray] = []
    adapter.draw = lambda: (offline, online)
    whole = adapter.learner.update_on
    adapter.learner.update_on = lambda batch, bounds: (captured.append(bounds), whole(batch, bounds))[1]
    adapter.learn()
    wanted = [adapter._bounds[3], *(adapter._online_bounds[online])]
    assert captured[0].tolist() == wanted
    assert captured[0][1:] == pytest.approx([expected[0], expected[5], expected[-1]], rel=1e-4, abs=1e-5)


def test_a_buffer_that_cannot_hold_an_episode_is_refused() -> None:
    with pytest.raises(InputError, match=f"replay_capacity is 9; it must be at least the horizon, {HORIZON}"):
        cal_ql(replay_capacity=9)


@pytest.mark.parametrize("backup", [True, False])
def test_the_backup_is_the_one_that_was_chosen(backup: bool) -> None:
    assert cal_ql(max_backup=backup).adapter.learner.algorithm.config.max_q_backup is backup


def test_the_private_parts_of_d3rlpy_are_as_they_were() -> None:
    from d3rlpy.algos.qlearning.torch.cal_ql_impl import CalQLImpl
    from d3rlpy.algos.qlearning.torch.cql_impl import CQLImpl

    assert d3rlpy.__version__ == "2.8.0"
    parameters = inspect.signature(CalQLImpl._compute_policy_is_values).parameters
    assert list(parameters) == ["self", "policy_obs", "value_obs", "returns_to_go"]
    assert inspect.getsource(CQLImpl._compute_conservative_loss).count("self._compute_policy_is_values(") == 2
    assert method("cal-ql").capabilities.kind == "offline-to-online"
