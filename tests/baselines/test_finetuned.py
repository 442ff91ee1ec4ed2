"""Offline methods that go on online: the same learner, exact mixtures, sampled actions, rewards scaled alike."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from baselines.api import Phase
from baselines.config import make_config
from baselines.registry import method
from suites.contract.problem import BUDGETS, HORIZON
from suites.contract.run import SmallRun, Stopped
from tests.contract.harness import DATASET
from wombet.errors import InputError
from wombet.serialization import dumps

CONTINUED = ["awac-finetune", "iql-finetune", "cql-finetune", "cal-ql"]
METHODS = [*CONTINUED, "pex"]


def run(name: str, **settings: Any) -> SmallRun:
    return SmallRun(name, settings)


def after_offline(name: str, **settings: Any) -> SmallRun:
    """A run at the switch: nothing was done online."""
    found = run(name, **settings)
    found.adapter.train(Phase.OFFLINE, lambda **progress: None)
    found.phase_index, found.updates = 1, BUDGETS.offline_updates
    found.meters["target"].budget = BUDGETS.target_steps
    return found


def recorded_batches(found: SmallRun) -> list[tuple[Any, int]]:
    """Train to the end; every minibatch with the number of its rows that are the dataset's."""
    seen, whole = [], found.adapter.transitions

    def transitions(offline: np.ndarray, online: np.ndarray) -> Any:
        seen.append((whole(offline, online), len(offline)))
        return seen[-1][0]

    found.adapter.transitions = transitions
    found.train()
    return seen


@pytest.mark.parametrize(("name", "offline", "settings"), [
    ("awac-finetune", "awac", {}), ("iql-finetune", "iql", {"actor_decay": False}), ("cql-finetune", "cql", {}),
    ("pex", "iql", {"expectile": 0.9, "inverse_temperature": 10.0}),
])  # fmt: skip
def test_its_offline_phase_is_the_offline_method(name: str, offline: str, settings: dict) -> None:
    alone = run(offline, **settings)
    alone.adapter.train(Phase.OFFLINE, lambda **progress: None)
    assert dumps(after_offline(name).adapter.learner.state()) == dumps(alone.adapter.learner.state())


@pytest.mark.parametrize("name", CONTINUED)
def test_networks_targets_temperature_and_optimisers_go_on_at_the_switch(name: str) -> None:
    found = after_offline(name, collection_steps=45, utd=1)
    at_the_switch = dumps(found.adapter.learner.state()["parts"])
    with pytest.raises(Stopped):
        found.train(stop_at=45)
    assert dumps(found.adapter.learner.state()["parts"]) == at_the_switch
    found.ticks = 0
    with pytest.raises(Stopped):
        found.train(stop_at=1)
    adam = dict(found.adapter.learner.parts("actor_optim")["actor_optim"]["items"])
    steps = [dict(entry["items"])["step"] for _, entry in adam["state"]["items"]]
    assert {float(step) for step in steps} == {BUDGETS.offline_updates + 1}


@pytest.mark.parametrize("name", METHODS)
def test_updates_begin_after_the_collection_steps_and_keep_their_ratio(name: str) -> None:
    found, counts = run(name, collection_steps=50, utd=3), []
    found.train(in_tick=lambda run: counts.append((run.phase, run.meters["target"].count, run.updates)))
    online = [(steps, updates) for phase, steps, updates in counts if phase is Phase.ONLINE]
    assert online == [
        (steps, BUDGETS.offline_updates + 3 * max(0, steps - 50)) for steps in range(1, BUDGETS.target_steps + 1)
    ]


@pytest.mark.parametrize(
    ("name", "fraction", "rows"),
    [("cal-ql", 0.5, 4), ("pex", 0.25, 2), *(("cql-finetune", share, int(8 * share)) for share in (0, 0.25, 0.5, 1))],
)
def test_a_fixed_share_is_exact_in_every_minibatch(name: str, fraction: float, rows: int) -> None:
    found = run(name, offline_fraction=fraction, collection_steps=HORIZON, utd=1)
    batches = recorded_batches(found)
    offline = BUDGETS.offline_updates
    assert [n for _, n in batches[:offline]] == [8] * offline
    assert {n for _, n in batches[offline:]} == {rows}
    assert {len(batch.obs) for batch, _ in batches} == {8}


@pytest.mark.parametrize("name", ["awac-finetune", "iql-finetune"])
def test_one_buffer_means_the_datasets_share_of_all_rows(name: str) -> None:
    found = after_offline(name, batch_size=30, collection_steps=60)
    found.train()
    share = len(DATASET) / (len(DATASET) + 60)
    assert found.adapter.offline_share == share == 0.5
    found = after_offline(name, batch_size=7, collection_steps=60)
    found.train()
    drawn = [found.adapter.draw() for _ in range(2000)]
    counts = [len(offline) for offline, _ in drawn]
    assert set(counts) == {3, 4}
    assert np.mean(counts) == pytest.approx(3.5, abs=0.06)
    assert {row for offline, _ in drawn for row in offline} == set(range(len(DATASET)))
    assert {row for _, online in drawn for row in online} == set(range(60))


@pytest.mark.parametrize("name", METHODS)
def test_rewards_of_both_phases_and_both_kinds_of_rows_are_scaled_alike(name: str) -> None:
    found = run(name, reward_scale=3.0, collection_steps=2 * HORIZON, offline_fraction=0.5, utd=1)
    kinds = set()
    for batch, n_offline in recorded_batches(found):
        reward, terminated = found.problem.target.relabel(batch.obs, batch.action, batch.next_obs)
        assert np.allclose(batch.reward, 3 * reward, atol=1e-6)
        assert np.array_equal(batch.terminated, terminated.astype(np.float32))
        kinds.add(n_offline)
    assert 8 in kinds
    assert kinds != {8}


def test_iqls_actor_keeps_its_step_size_through_both_phases() -> None:
    found, rates = run("iql-finetune"), []
    groups = found.adapter.learner.algorithm.impl.modules.actor_optim.optim.param_groups
    found.train(in_tick=lambda run: rates.append((run.phase, groups[0]["lr"])))
    assert set(rates) == {(Phase.OFFLINE, 3e-4), (Phase.ONLINE, 3e-4)}
    with pytest.raises(InputError, match="no field 'actor_decay'"):
        make_config(method("iql-finetune").Config, {"actor_decay": True}, "here")


@pytest.mark.parametrize("name", CONTINUED)
def test_it_explores_by_samples_of_its_policy_and_is_evaluated_without(name: str) -> None:
    found = after_offline(name)
    obs = np.repeat(DATASET.obs[:1], 4000, 0)
    drawn = found.adapter.explore(obs)
    greedy = found.adapter.act(obs[:2], np.random.default_rng(0))
    assert np.array_equal(greedy[0], greedy[1])
    assert np.array_equal(greedy, found.adapter.learner.act(obs[:2]))
    assert (drawn.std(0) > 0.05).all()
    assert np.abs(np.median(drawn, 0) - greedy[0]).max() < 0.1
    assert np.abs(drawn).max() <= 1


@pytest.mark.parametrize("name", METHODS)
def test_the_online_buffer_holds_what_happened_and_a_time_limit_terminates_nothing(name: str) -> None:
    found = after_offline(name, collection_steps=BUDGETS.target_steps).train()
    rows = found.adapter.online.last(1000)
    assert len(rows.obs) == BUDGETS.target_steps
    assert not rows.terminated.any()
    follows = (rows.next_obs[:-1] == rows.obs[1:]).all(1).numpy()
    assert np.array_equal(np.flatnonzero(~follows) % HORIZON, [HORIZON - 1] * (BUDGETS.target_steps // HORIZON - 1))


def test_a_full_online_buffer_forgets_its_own_rows_and_none_of_the_dataset() -> None:
    found = run("iql-finetune", replay_capacity=12, utd=1).train()
    assert len(found.adapter.online) == 12
    drawn = np.concatenate([found.adapter.draw()[0] for _ in range(300)])
    assert set(drawn) == set(range(len(DATASET)))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("offline_fraction", 1.5, "offline_fraction is 1.5; it must be between 0 and 1"),
        ("utd", 0, "utd is 0; it must be at least 1"),
        ("collection_steps", -1, "collection_steps is -1"),
        ("reward_scale", 0.0, "reward_scale is 0.0"),
        ("replay_capacity", 0, "replay_capacity is 0"),
        ("mixing", "half", "mixing is 'half'"),
        ("critic_lr", -1.0, "critic_lr is -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, field: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_config(method(name).Config, {field: value}, "here")


def test_published_settings_are_the_defaults() -> None:
    def settings(name: str, *fields: str) -> tuple:
        values = dataclasses.asdict(method(name).Config())
        return tuple(values[field] for field in fields)

    shared = ("mixing", "utd", "collection_steps", "batch_size")
    assert settings("awac-finetune", *shared, "advantage_scale") == ("append", 1, 0, 1024, 1.0)
    assert settings("iql-finetune", *shared, "expectile", "inverse_temperature") == ("append", 1, 0, 256, 0.7, 3.0)
    assert settings("cql-finetune", *shared, "offline_fraction", "actor_lr") == ("fixed", 1, 0, 256, 0.5, 1e-4)
    assert settings("cal-ql", *shared, "conservative_weight", "max_backup") == ("fixed", 1, 0, 256, 5.0, True)
    assert settings("pex", *shared, "expectile", "inverse_temperature") == ("fixed", 1, 5000, 256, 0.9, 10.0)
