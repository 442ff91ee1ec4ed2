"""MOPO and COMBO: rollouts, penalties, batches, both kinds of dynamics, and d3rlpy's private names."""

import dataclasses
import functools
import inspect
from typing import Any

import numpy as np
import pytest
import torch

from baselines.api import Phase
from baselines.combo import COMBO, COMBOConfig
from baselines.d3rlpy_method import import_d3rlpy
from baselines.d3rlpy_private import press_up_real_rows_only
from baselines.model_rollouts import RecentRounds, Rollouts
from baselines.mopo import MOPO, MOPOConfig
from suites.tasks import make_task
from tests.contract.harness import DATASET, KNOWLEDGE, SMALL, Run
from wombet.errors import InputError
from wombet.serialization import dumps, loads
from wombet.streams import Streams
from wombet.world_model import WorldModel
from wombet.world_model_config import WorldModelConfig

d3rlpy = import_d3rlpy()
KINDS = {"mopo": (MOPO, MOPOConfig), "combo": (COMBO, COMBOConfig)}
OBS = DATASET.obs[[0, 7, 20, 40]]


def build(name: str, **settings: Any):
    kind, config = KINDS[name]
    known = {field.name for field in dataclasses.fields(config)}
    small = {key: value for key, value in SMALL.items() if key in known}
    return kind(Run(name).problem, config(**{**small, **settings}), Streams(0).child("method"), "cpu")


def trained(name: str, **settings: Any):
    adapter = build(name, **settings)
    adapter.train(Phase.OFFLINE, lambda **progress: None)
    return adapter


@functools.cache
def model() -> WorldModel:
    task = make_task("reacher")
    config = WorldModelConfig(
        n_members=4,
        n_elites=3,
        hidden_width=16,
        hidden_layers=2,
        max_steps=60,
        min_steps=60,
        uncertainty="max_aleatoric",
    )
    made = WorldModel(task.obs_dim, task.action_dim, config, torch.Generator().manual_seed(0))
    made.fit(DATASET.obs, DATASET.action, DATASET.next_obs, DATASET.episode_id, np.random.default_rng(0))
    return made


def zero(obs: np.ndarray) -> np.ndarray:
    return np.zeros((len(obs), 2), np.float32)


def test_rollouts_chain_and_pay_the_tasks_reward_less_the_price_of_uncertainty() -> None:
    task, n = make_task("reacher", "far"), len(OBS)
    free = Rollouts(model(), task, 3, 0.0).run(OBS, zero, np.random.default_rng(1))
    paid = Rollouts(model(), task, 3, 0.5).run(OBS, zero, np.random.default_rng(1))
    assert len(free.obs) == 3 * n
    assert np.array_equal(free.obs[n:], free.next_obs[:-n])
    assert np.array_equal(free.next_obs, paid.next_obs)
    assert np.array_equal(free.reward, task.relabel(free.obs, free.action, free.next_obs)[0])
    uncertainty = model().uncertainty(torch.from_numpy(free.obs), torch.from_numpy(free.action), "max_aleatoric")
    assert np.allclose(free.reward - paid.reward, 0.5 * uncertainty.numpy(), atol=1e-5)


def test_steps_are_drawn_from_the_elites_means_and_noise() -> None:
    rollouts = Rollouts(model(), make_task("reacher"), 1, 0.0)
    drawn = rollouts.run(np.repeat(OBS[:1], 20_000, 0), zero, np.random.default_rng(2)).next_obs
    predicted = model().predict(torch.from_numpy(OBS[:1]), torch.zeros(1, 2))
    mean, std = predicted.mean[:, 0].numpy(), predicted.std[:, 0].numpy()
    spread = np.sqrt((std**2).mean(0) + mean.var(0))
    assert np.abs(drawn.mean(0) - mean.mean(0)).max() < 0.05 * spread.max()
    assert drawn.std(0) == pytest.approx(spread, rel=0.05)


class Ending:
    """A task in which a positive first observation entry ends the episode."""

    def relabel(self, obs: np.ndarray, action: np.ndarray, next_obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(len(obs), np.float32), next_obs[:, 0] > 0


def test_a_rollout_ends_where_the_task_does() -> None:
    rows = Rollouts(model(), Ending(), 4, 0.0).run(DATASET.obs, zero, np.random.default_rng(3))  # type: ignore[arg-type]
    assert np.array_equal(rows.terminated, (rows.next_obs[:, 0] > 0).astype(np.float32))
    goes_on = int((rows.terminated[: len(DATASET)] == 0).sum())
    assert 0 < goes_on < len(DATASET)
    second = rows.obs[len(DATASET) : len(DATASET) + goes_on]
    assert np.array_equal(second, rows.next_obs[: len(DATASET)][rows.terminated[: len(DATASET)] == 0])


def test_a_step_out_of_bounds_leaves_no_row() -> None:
    starts = OBS.copy()
    starts[0, 6], starts[1, 6] = 101.0, np.nan
    assert len(Rollouts(model(), make_task("reacher"), 1, 0.0).run(starts, zero, np.random.default_rng(0)).obs) == 2
    empty = RecentRounds(2)
    empty.add(Rollouts(model(), make_task("reacher"), 1, 0.0).run(starts[:2], zero, np.random.default_rng(0)))
    with pytest.raises(RuntimeError, match="every rollout left"):
        empty.sample(3, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["mopo", "combo"])
def test_batches_hold_real_rows_first_and_then_rows_of_the_last_rounds(name: str) -> None:
    adapter = build(name, batch_size=40, real_fraction=0.25, rollout_interval=1, retained_rounds=2)
    real = {row.tobytes() for row in DATASET.obs}
    real_next = {row.tobytes() for row in DATASET.next_obs}
    batches = [adapter.batch() for _ in range(4)]
    for batch in batches:
        inside = [row.tobytes() in real_next for row in batch.next_obs]
        assert inside == [True] * 10 + [False] * 30
        assert {row.tobytes() for row in batch.obs[:10]} <= real
    assert len(adapter._imagined) == 2 * 20 * 2  # rounds, starts, steps
    assert {row.tobytes() for row in batches[3].next_obs[10:]}.isdisjoint(
        {row.tobytes() for row in batches[0].next_obs[10:]}
    )


def test_the_policy_is_rolled_out_anew_at_every_interval() -> None:
    adapter, sizes = build("mopo", rollout_interval=10, retained_rounds=9), []
    adapter.train(Phase.OFFLINE, lambda **progress: sizes.append(len(adapter._imagined)))
    assert sizes == [40] * 10 + [80] * 10 + [120] * 5


def test_lambda_makes_the_uncertainty_of_held_out_rows_cost_a_mean_reward() -> None:
    adapter = build("mopo", penalty_scale=2.0)
    rollouts = adapter.rollouts()
    held = np.isin(DATASET.episode_id, rollouts.model.holdout_episodes)
    assert 0 < held.sum() < len(DATASET)
    rows = torch.from_numpy(DATASET.obs[held]), torch.from_numpy(DATASET.action[held])
    q95 = np.quantile(rollouts.model.uncertainty(*rows, "max_aleatoric").numpy(), 0.95)
    assert rollouts.penalty == pytest.approx(2 * np.abs(DATASET.reward_target).mean() / q95, rel=1e-5)
    assert build("mopo", penalty_scale=0.0).rollouts().penalty == 0
    assert build("combo").rollouts().penalty == 0


@pytest.mark.parametrize("name", ["mopo", "combo"])
def test_fair_dynamics_are_those_fitted_to_the_real_source_transitions(name: str) -> None:
    adapter = trained(name, dynamics="source")
    held, known = adapter.rollouts().model.state(), KNOWLEDGE().model_state
    assert dumps(held["network"]) == dumps(known["network"])
    assert adapter.rollouts().model.config.uncertainty == "max_aleatoric"
    assert adapter.state()["model"] is None
    learned = trained(name)
    assert dumps(learned.rollouts().model.state()["network"]) != dumps(known["network"])
    assert dumps(learned.state()["learner"]) != dumps(adapter.state()["learner"])
    for settings, made in (({"dynamics": "source"}, adapter), ({}, learned)):
        again = build(name, **settings)
        again.restore(loads(dumps(made.state())))
        assert dumps(again.state()) == dumps(made.state())
        assert dumps(again.rollouts().model.state()) == dumps(made.rollouts().model.state())


def test_fair_dynamics_without_a_build_are_refused_before_any_work() -> None:
    problem = dataclasses.replace(Run("mopo").problem, knowledge=None)
    with pytest.raises(InputError, match="mopo with dynamics = 'source' needs a dataset that was generated here"):
        MOPO(problem, MOPOConfig(dynamics="source"), Streams(0), "cpu")


def cql(seed: int = 0, samples: int = 3) -> Any:
    encoder = d3rlpy.models.VectorEncoderFactory([16, 16])
    config = d3rlpy.algos.CQLConfig(
        actor_encoder_factory=encoder,
        critic_encoder_factory=encoder,
        n_action_samples=samples,
        alpha_learning_rate=0.0,
        alpha_threshold=0.0,
    )
    torch.manual_seed(seed)
    made = config.create(device="cpu:0")
    made.create_impl((8,), 2)
    return made.impl


def conservative(impl: Any, seed: int = 1) -> torch.Tensor:
    rows = np.arange(12)
    obs, action, next_obs = (torch.from_numpy(x[rows]) for x in (DATASET.obs, DATASET.action, DATASET.next_obs))
    torch.manual_seed(seed)
    return impl._compute_conservative_loss(obs, action, next_obs, None)


def test_with_real_rows_alone_combos_term_is_cqls() -> None:
    plain, ours = cql(), cql()
    press_up_real_rows_only(ours, 12, 0)
    assert torch.allclose(conservative(plain), conservative(ours), atol=1e-6)


@pytest.mark.parametrize(("n_real", "first"), [(5, 0), (5, 5), (1, 1)])
def test_combos_term_presses_down_on_the_chosen_states_and_up_on_real_rows(n_real: int, first: int) -> None:
    impl = cql()
    press_up_real_rows_only(impl, n_real, first)
    obs = torch.from_numpy(DATASET.obs[:12])
    with torch.no_grad():
        # Critics that look at the state alone: the term is then the difference of two means of values,
        for critic in impl.modules.q_funcs:
            next(critic.parameters())[:, 8:] = 0
        values = torch.stack([critic(obs, torch.zeros(12, 2)).q_value for critic in impl.modules.q_funcs])[..., 0]
        found = conservative(impl)
        for critic in impl.modules.q_funcs:
            for parameter in critic.parameters():
                parameter.zero_()
        # and what the sampled actions' densities add, which critics of zero show by themselves.
        found = found - conservative(impl)
    expected = 5.0 * (values[:, first:].mean(1) - values[:, :n_real].mean(1))
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("penalised_states", "first"), [("mix", 0), ("model", 4)])
def test_combo_learns_with_that_term(penalised_states: str, first: int) -> None:
    adapter = build("combo", batch_size=8, hidden_layers=2, penalised_states=penalised_states)
    expected = cql()
    expected.modules.q_funcs.load_state_dict(adapter.learner.algorithm.impl.modules.q_funcs.state_dict())
    expected.modules.policy.load_state_dict(adapter.learner.algorithm.impl.modules.policy.state_dict())
    expected._n_action_samples = 2
    press_up_real_rows_only(expected, 4, first)
    assert torch.allclose(conservative(adapter.learner.algorithm.impl), conservative(expected), atol=1e-5)


def test_the_private_names_of_d3rlpy_are_what_they_were() -> None:
    from d3rlpy.algos.qlearning.torch.cql_impl import CQLImpl

    def names(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)

    assert d3rlpy.__version__ == "2.8.0"
    assert names(CQLImpl._compute_conservative_loss) == ["self", "obs_t", "act_t", "obs_tp1", "returns_to_go"]
    assert names(CQLImpl._compute_policy_is_values) == ["self", "policy_obs", "value_obs", "returns_to_go"]
    assert names(CQLImpl._compute_random_is_values) == ["self", "obs"]
    assert "self._compute_conservative_loss(" in inspect.getsource(CQLImpl.compute_critic_loss)
    impl = cql(samples=3)
    values, densities = impl._compute_policy_is_values(torch.zeros(5, 8), torch.zeros(5, 8), None)
    assert (values.shape, densities.shape) == ((2, 5, 3), (1, 5, 3))
    assert impl._compute_random_is_values(torch.zeros(5, 8))[0].shape == (2, 5, 3)
    assert impl._q_func_forwarder.compute_expected_q(torch.zeros(5, 8), torch.zeros(5, 2), "none").shape == (2, 5, 1)
    assert impl._conservative_weight == 5.0


def test_no_other_file_of_the_baselines_uses_them() -> None:
    import ast
    from pathlib import Path

    for file in Path(inspect.getfile(MOPO)).parent.glob("*.py"):
        found = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        private = {"_compute_conservative_loss", "_compute_policy_is_values", "_q_func_forwarder", "_impl", "_modules"}
        assert not found & private or file.name == "d3rlpy_private.py", file


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("mopo", {"real_fraction": 1.0}, "real_fraction is 1.0; it must be at least 0 and below 1"),
        ("combo", {"real_fraction": 0.0}, "a batch of 8 then has no real row"),
        ("mopo", {"model_elites": 4}, "n_elites is 4; it must be at most n_members"),
        ("mopo", {"rollout_interval": 0}, "rollout_interval is 0"),
        ("mopo", {"penalty_scale": -1.0}, "penalty_scale is -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build(name, **settings)
