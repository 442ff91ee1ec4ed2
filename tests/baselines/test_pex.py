"""Policy expansion: a frozen policy, a new one, and a softmax of their values between them."""

import functools
from typing import Any

import numpy as np
import pytest
import torch

from baselines.api import Phase
from baselines.config import make_config
from baselines.registry import method
from suites.contract.problem import BUDGETS
from suites.contract.run import SmallRun, Stopped
from tests.contract.harness import DATASET
from wombet.errors import InputError
from wombet.serialization import dumps

OBS = DATASET.obs[:40]
INHERITED = "q_funcs", "targ_q_funcs", "value_func"


def pex(**settings: Any) -> SmallRun:
    return SmallRun("pex", settings)


def expanded(**settings: Any) -> SmallRun:
    """A run right after the switch."""
    found = pex(**settings)
    found.adapter.train(Phase.OFFLINE, lambda **progress: None)
    found.adapter.begin_online()
    return found


@functools.cache
def trained() -> SmallRun:
    """A run at its end, to look at."""
    return expanded().train()


def values_by_hand(run: SmallRun, obs: np.ndarray, action: np.ndarray) -> torch.Tensor:
    critics = run.adapter.expansion.algorithm.impl.modules.q_funcs
    with torch.no_grad():
        return torch.minimum(*(critic(torch.from_numpy(obs), torch.from_numpy(action)).q_value for critic in critics))


@pytest.mark.parametrize("scaling", ["std", "none"])
def test_the_choice_is_a_softmax_of_the_two_actions_smallest_values(scaling: str) -> None:
    found = expanded(value_scaling=scaling, choice_inverse_temperature=4.0).train()
    found.adapter._measure_scale()
    scale = values_by_hand(found, DATASET.obs, DATASET.action).std(correction=0) if scaling == "std" else 1.0
    frozen, fresh = DATASET.action[:40], DATASET.action[10:50]
    values = torch.cat([values_by_hand(found, OBS, action) for action in (frozen, fresh)], 1)
    expected = torch.softmax(4.0 * values / scale, 1).numpy()
    assert expected.std() > 0.01
    assert found.adapter.probabilities(OBS, frozen, fresh) == pytest.approx(expected, abs=1e-5)


def test_the_choice_does_not_depend_on_the_unit_of_the_rewards() -> None:
    found = expanded().train()
    adapter, actions = found.adapter, (DATASET.action[:40], DATASET.action[10:50])
    adapter._measure_scale()
    before = adapter.probabilities(OBS, *actions)
    with torch.no_grad():
        for critic in adapter.expansion.algorithm.impl.modules.q_funcs:
            for parameter in list(critic.parameters())[-2:]:
                parameter.mul_(100.0)
    adapter._measure_scale()
    assert adapter.probabilities(OBS, *actions) == pytest.approx(before, abs=1e-4)


def test_the_composite_policy_mixes_a_mode_and_samples_in_those_shares() -> None:
    adapter = trained().adapter
    obs = np.repeat(DATASET.obs[5:6], 20_000, 0)
    actions, new = adapter.composite(obs, np.random.default_rng(0), 1.0)
    assert np.array_equal(actions[~new], adapter.learner.act(obs)[~new])
    mean, std = adapter.expansion.gaussian(obs)
    generator = np.random.default_rng(0)
    samples = np.clip(mean + std * generator.standard_normal(mean.shape, np.float32), -1, 1)
    share = adapter.probabilities(obs, adapter.learner.act(obs), samples)[:, 1]
    assert 0.05 < share.mean() < 0.95
    assert new.mean() == pytest.approx(share.mean(), abs=0.015)
    assert np.array_equal(actions[new], samples[new])
    assert samples.std() > 0.1


def test_a_greedy_choice_is_the_likelier_of_the_two_modes() -> None:
    found = trained()
    adapter = found.adapter
    actions, new = adapter.composite(OBS, np.random.default_rng(0), 0.0)
    frozen, fresh = adapter.learner.act(OBS), adapter.expansion.gaussian(OBS)[0]
    better = (values_by_hand(found, OBS, fresh) > values_by_hand(found, OBS, frozen))[:, 0].numpy()
    assert np.array_equal(new, better)
    assert np.array_equal(actions, np.where(better[:, None], fresh, frozen))


def test_evaluation_follows_the_acting_rule_and_draws_as_often_as_it_is_told() -> None:
    found = expanded(evaluation_sampling=1.0).train()
    acting, _ = found.adapter.composite(OBS, np.random.default_rng(7), 1.0)
    assert np.array_equal(found.adapter.act(OBS, np.random.default_rng(7)), acting)
    found.adapter._choosing = np.random.default_rng(7)
    assert np.array_equal(found.adapter.explore(OBS), acting)
    mostly_greedy = trained().adapter
    obs = np.repeat(OBS[:1], 4000, 0)
    actions = mostly_greedy.act(obs, np.random.default_rng(1))
    greedy, _ = mostly_greedy.composite(obs[:1], np.random.default_rng(1), 0.0)
    assert 0.85 < np.isclose(actions, greedy, atol=1e-5).all(1).mean() < 1


def test_before_the_switch_it_is_the_offline_policy() -> None:
    found = pex()
    found.adapter.train(Phase.OFFLINE, lambda **progress: None)
    assert np.array_equal(found.adapter.act(OBS, np.random.default_rng(0)), found.adapter.learner.act(OBS))


def test_critics_and_value_go_on_and_a_policy_and_optimisers_begin_at_the_switch() -> None:
    found = expanded(collection_steps=59, utd=1)
    old, new = found.adapter.learner, found.adapter.expansion
    assert dumps(old.parts(*INHERITED)) == dumps(new.parts(*INHERITED))
    assert dumps(new.parts("policy")) == dumps(pex().adapter.expansion.parts("policy"))
    assert dumps(new.parts("policy")) != dumps(pex().adapter.learner.parts("policy"))
    for name in ("actor_optim", "critic_optim"):
        assert dict(new.parts(name)[name]["items"])["state"] == {"items": []}
    found.phase_index, found.updates = 1, BUDGETS.offline_updates
    found.train()
    for name in ("actor_optim", "critic_optim"):
        held = dict(new.parts(name)[name]["items"])["state"]["items"]
        assert {float(dict(entry["items"])["step"]) for _, entry in held} == {1.0}
        assert {group["lr"] for group in getattr(new.algorithm.impl.modules, name).optim.param_groups} == {3e-4}


def test_the_frozen_policy_never_changes_and_the_rest_learns() -> None:
    found = expanded()
    frozen, begun = dumps(found.adapter.learner.state()), found.adapter.expansion.state()["parts"]
    found.phase_index, found.updates = 1, BUDGETS.offline_updates
    found.train()
    assert dumps(found.adapter.learner.state()) == frozen
    for name in ("policy", *INHERITED):
        assert dumps(found.adapter.expansion.parts(name)) != dumps({name: begun[name]})


def test_the_spread_of_values_is_measured_at_every_interval() -> None:
    found, scales = expanded(scale_interval=10, collection_steps=0, utd=1), []
    found.phase_index, found.updates = 1, BUDGETS.offline_updates
    found.train(in_tick=lambda run: scales.append(run.adapter.value_scale))
    assert [i + 1 for i in range(1, 60) if scales[i] != scales[i - 1]] == [10, 20, 30, 40, 50, 60]
    assert found.metrics[-1]["value_scale"] == scales[-1]


def test_resumed_at_the_switch_it_expands_once() -> None:
    whole, stopped = pex(collection_steps=0), pex(collection_steps=0)
    with pytest.raises(Stopped):
        stopped.train(stop_at=BUDGETS.offline_updates + 3)
    assert pex(collection_steps=0).restore(stopped.state()).train().state() == whole.train().state()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("evaluation_sampling", 1.5, "evaluation_sampling is 1.5; it must be between 0 and 1"),
        ("choice_inverse_temperature", -1.0, "choice_inverse_temperature is -1.0"),
        ("scale_interval", 0, "scale_interval is 0"),
        ("value_scaling", "range", "value_scaling is 'range'"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_config(method("pex").Config, {field: value}, "here")
