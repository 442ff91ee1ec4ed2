"""Offline methods by d3rlpy: its own steps on the same batch, published settings, and results on small datasets."""

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.algos.qlearning.torch.sac_impl import SACImpl

from baselines.api import Phase
from baselines.d3rlpy_method import Transitions, import_d3rlpy, minibatch
from baselines.offline_method import OfflineMethod, cosine
from baselines.registry import method
from benchmarks.__main__ import chosen
from benchmarks.offline_medium import outcome
from benchmarks.reacher_data import EXPERT, collect, mean_return, medium_dataset, offline_problem
from tests.contract.harness import DATASET
from wombet.errors import InputError
from wombet.serialization import dumps
from wombet.streams import Streams

d3rlpy = import_d3rlpy()
WIDE = [32, 32]
SMALL = {"hidden_width": 32, "batch_size": 64, "n_action_samples": 4}


def build(name: str, dataset=DATASET, updates: int = 30, **settings: Any) -> OfflineMethod:
    kind = method(name)
    known = {field.name for field in dataclasses.fields(kind.Config)}
    config = kind.Config(**{key: value for key, value in {**SMALL, **settings}.items() if key in known})
    return kind(offline_problem(dataset, updates), config, Streams(0).child("method"), "cpu")


def trained(*args: Any, **settings: Any) -> OfflineMethod:
    adapter = build(*args, **settings)
    adapter.train(Phase.OFFLINE, lambda **progress: None)
    return adapter


def published(name: str) -> Any:
    """d3rlpy's config with the figures of the papers, written out."""
    encoder = d3rlpy.models.VectorEncoderFactory(WIDE)
    networks = {"actor_encoder_factory": encoder, "critic_encoder_factory": encoder, "gamma": 0.99, "tau": 0.005}
    rates = {"actor_learning_rate": 3e-4, "critic_learning_rate": 3e-4}
    algos = d3rlpy.algos
    if name == "iql":
        settings = {"value_encoder_factory": encoder, "expectile": 0.7, "weight_temp": 3.0, "max_weight": 100.0}
        return algos.IQLConfig(**networks, **rates, **settings)
    if name == "cql":
        fixed = {"alpha_learning_rate": 0.0, "alpha_threshold": 0.0, "conservative_weight": 5.0, "n_action_samples": 4}
        rates = {"actor_learning_rate": 1e-4, "critic_learning_rate": 3e-4, "temp_learning_rate": 1e-4}
        return algos.CQLConfig(**networks, **rates, **fixed, initial_temperature=0.1)
    if name == "mopo":
        return algos.SACConfig(**networks, **rates, temp_learning_rate=3e-4, initial_temperature=0.1)
    scaler = d3rlpy.preprocessing.StandardObservationScaler(DATASET.obs.mean(0), DATASET.obs.std(0), eps=1e-3)
    noise = {"target_smoothing_sigma": 0.2, "target_smoothing_clip": 0.5, "update_actor_interval": 2}
    return algos.TD3PlusBCConfig(**networks, **rates, **noise, alpha=2.5, observation_scaler=scaler)


def assembled_by_d3rlpy(rows: np.ndarray) -> Any:
    """A minibatch as d3rlpy makes it of single transitions."""
    transitions = [
        d3rlpy.dataset.Transition(
            observation=DATASET.obs[row],
            action=DATASET.action[row],
            reward=DATASET.reward_target[[row]],
            next_observation=DATASET.next_obs[row],
            next_action=DATASET.action[row],
            terminal=float(DATASET.terminated_target[row]),
            interval=1,
            rewards_to_go=DATASET.reward_target[[row]].reshape(1, 1),
        )
        for row in rows
    ]
    return d3rlpy.dataset.TransitionMiniBatch.from_transitions(transitions)


@pytest.mark.parametrize("name", ["iql", "cql", "td3+bc", "mopo"])
def test_losses_and_steps_are_those_of_d3rlpys_own_update(name: str) -> None:
    ours = build(name, batch_size=32).learner
    theirs = published(name).create(device="cpu:0")
    theirs.create_impl((8,), 2)
    for module_name, module in theirs.impl.modules.get_torch_modules().items():
        module.load_state_dict(ours.algorithm.impl.modules.get_torch_modules()[module_name].state_dict())
    torch.set_rng_state(ours.state()["torch"])
    for i in range(6):
        rows = np.random.default_rng(i).integers(len(DATASET), size=32)
        expected = theirs.update(assembled_by_d3rlpy(rows))
        assert ours.update(DATASET, rows) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for module_name, module in theirs.impl.modules.get_torch_modules().items():
        for key, value in ours.algorithm.impl.modules.get_torch_modules()[module_name].state_dict().items():
            assert torch.allclose(value, module.state_dict()[key], rtol=1e-4, atol=1e-6), (module_name, key)


def test_iqls_losses_follow_its_equations() -> None:
    learner = build("iql").learner
    modules = learner.algorithm.impl.modules
    rows = np.arange(40)
    obs, action, next_obs = (torch.from_numpy(x[rows]) for x in (DATASET.obs, DATASET.action, DATASET.next_obs))
    reward = torch.from_numpy(DATASET.reward_target[rows])[:, None]
    with torch.no_grad():
        value = modules.value_func(obs)
        target_q = torch.stack([q(obs, action).q_value for q in modules.targ_q_funcs]).amin(0)
        gap = target_q - value
        value_loss = (torch.where(gap < 0, 0.3, 0.7) * gap**2).mean()
        wanted = reward + 0.99 * modules.value_func(next_obs)
        q_loss = sum(((q(obs, action).q_value - wanted) ** 2).mean() for q in modules.q_funcs)
    losses = learner.update(DATASET, rows)
    assert losses["v_loss"] == pytest.approx(float(value_loss), rel=1e-4)
    assert losses["q_loss"] == pytest.approx(float(q_loss), rel=1e-4)


def test_iqls_weights_are_exponentials_of_the_advantage_and_end_at_a_hundred() -> None:
    learner = build("iql", critic_lr=0.0).learner
    modules, rows = learner.algorithm.impl.modules, np.arange(40)
    with torch.no_grad():
        next(reversed(list(modules.value_func.parameters()))).sub_(1.5)
    obs, action = torch.from_numpy(DATASET.obs[rows]), torch.from_numpy(DATASET.action[rows])
    mean, std = (torch.from_numpy(x) for x in learner.gaussian(DATASET.obs[rows]))
    with torch.no_grad():
        target_q = torch.stack([q(obs, action).q_value for q in modules.targ_q_funcs]).amin(0)
        weight = (3.0 * (target_q - modules.value_func(obs))).exp().clamp(max=100)[:, 0]
    assert 0 < (weight == 100).sum() < 40
    expected = -(weight * torch.distributions.Normal(mean, std).log_prob(action).sum(1)).mean()
    assert learner.update(DATASET, rows)["actor_loss"] == pytest.approx(float(expected), rel=1e-4)


def test_awacs_losses_follow_its_equations() -> None:
    """Targets without entropy at the policy's own actions, weights that average one; at critics that stand still."""
    learner = build("awac", critic_lr=0.0, advantage_scale=0.1).learner
    modules, rows = learner.algorithm.impl.modules, np.arange(40)
    terminated = (rows % 3 == 0).astype(np.float32)
    columns = (DATASET.obs, DATASET.action, DATASET.reward_target, DATASET.next_obs)
    transitions = Transitions(*(column[rows] for column in columns), terminated)
    obs, action, reward, next_obs, ended = (torch.from_numpy(column) for column in transitions)
    with torch.no_grad():
        for critic in modules.targ_q_funcs:
            next(reversed(list(critic.parameters()))).add_(3.0)
    torch.set_rng_state(learner.state()["torch"])

    def lowest(critics: Any, at: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        return torch.stack([critic(at, chosen).q_value for critic in critics]).amin(0)[:, 0]

    def drawn(at: np.ndarray) -> torch.Tensor:
        mean, std = (torch.from_numpy(x) for x in learner.gaussian(at))
        return torch.normal(mean, std).clamp(-1, 1)

    with torch.no_grad():
        y = reward + 0.99 * (1 - ended) * lowest(modules.targ_q_funcs, next_obs, drawn(transitions.next_obs))
        critic_loss = sum(((critic(obs, action).q_value[:, 0] - y) ** 2).mean() for critic in modules.q_funcs)
        value = lowest(modules.q_funcs, obs, drawn(transitions.obs))
        weight = torch.softmax((lowest(modules.q_funcs, obs, action) - value) / 0.1, 0) * len(rows)
    assert float(weight.mean()) == pytest.approx(1)
    mean, std = (torch.from_numpy(x) for x in learner.gaussian(transitions.obs))
    log_density = torch.distributions.Normal(mean, std).log_prob(action).sum(1)
    losses = learner.update_on(transitions)
    assert losses["critic_loss"] == pytest.approx(float(critic_loss), rel=1e-4)
    assert losses["actor_loss"] == pytest.approx(-float((weight * log_density).sum()), rel=1e-4)


def test_d3rlpys_awac_still_has_the_target_that_is_replaced() -> None:
    impl = build("awac").learner.algorithm.impl
    assert type(impl).compute_target is SACImpl.compute_target
    assert next(impl.modules.log_temp.parameters()).item() == 0.0
    assert "self.compute_target(batch)" in inspect.getsource(SACImpl.compute_critic_grad)


def test_cql_of_constant_critics_weighs_the_log_volume_of_the_sampled_actions_alone() -> None:
    learner = build("cql", n_action_samples=200).learner
    impl = learner.algorithm.impl
    with torch.no_grad():
        for critic in impl.modules.q_funcs:
            for parameter in critic.parameters():
                parameter.zero_()
    loss = learner.update(DATASET, np.arange(40))["conservative_loss"]
    # Every third of the sample estimates the volume of [-1, 1]^2, which is 4, n times: log(3 n 4), for two critics.
    assert loss == pytest.approx(2 * 5.0 * np.log(3 * 200 * 4), rel=0.02)


def test_the_actors_step_size_falls_to_zero_along_half_a_cosine() -> None:
    assert [cosine(2.0, update, 4) for update in (0, 2, 4)] == pytest.approx([2.0, 1.0, 0.0])
    rates = []
    adapter = build("iql", updates=10)
    groups = adapter.learner.algorithm.impl.modules.actor_optim.optim.param_groups
    adapter.train(Phase.OFFLINE, lambda **progress: rates.append(groups[0]["lr"]))
    assert rates == pytest.approx([cosine(3e-4, update, 10) for update in range(10)])
    constant = trained("iql", updates=10, actor_decay=False)
    assert dumps(constant.state()) != dumps(adapter.state())


def test_the_best_decile_is_that_of_the_target_returns() -> None:
    returns = DATASET.episode_sums(DATASET.reward_target)
    best = int(returns.argmax())
    assert set(DATASET.episode_id[build("bc-best-decile").usable_rows()]) == {best}
    half = build("bc-best-decile", best_fraction=0.5).usable_rows()
    assert set(DATASET.episode_id[half]) == set(np.argsort(returns)[-2:])
    assert len(build("bc-best-decile", best_fraction=1.0).usable_rows()) == len(DATASET)
    drawn = build("bc-best-decile").batch()
    assert {row.tobytes() for row in drawn.obs} <= {row.tobytes() for row in DATASET.obs[DATASET.episode_id == best]}


def test_time_limits_terminate_nothing_and_keep_their_next_observation() -> None:
    last = np.flatnonzero(DATASET.truncated)
    batch = minibatch(DATASET, last)
    assert not batch.terminals.any()
    assert np.array_equal(batch.next_observations, DATASET.next_obs[last])
    drawn = build("cql", batch_size=2000).batch()
    assert {row.tobytes() for row in DATASET.next_obs[last]} <= {row.tobytes() for row in drawn.next_obs}


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("iql", {"expectile": 1.0}, "expectile is 1.0; it must be between 0 and 1"),
        ("cql", {"n_action_samples": 0}, "n_action_samples is 0; it must be at least 1"),
        ("td3+bc", {"alpha": -1.0}, "alpha is -1.0"),
        ("awac", {"advantage_scale": 0.0}, "advantage_scale is 0.0"),
        ("bc-best-decile", {"best_fraction": 0.0}, "best_fraction is 0.0"),
        ("iql", {"critic_lr": float("nan")}, "critic_lr is nan"),
        ("cql", {"tau": 0.0}, "tau 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build(name, **settings)


def test_cloning_an_expert_reaches_nine_tenths_of_it() -> None:
    adapter = trained("bc", collect(EXPERT, 20, 0), 800, hidden_width=64, learning_rate=1e-3)
    assert mean_return(adapter.act, 10) >= 0.9 * mean_return(EXPERT.act, 10)


@pytest.mark.parametrize("name", ["iql", "td3+bc"])
def test_on_medium_data_offline_rl_reaches_at_least_the_datas_mean(name: str) -> None:
    data = medium_dataset()
    adapter = trained(name, data, 400, actor_lr=1e-3, critic_lr=1e-3, batch_size=32, n_action_samples=2)
    assert mean_return(adapter.act, 10) >= data.episode_sums(data.reward_target).mean()


def test_the_benchmark_on_medium_data_asks_for_the_datas_mean_over_seeds() -> None:
    assert chosen(["offline_medium"]) == ["offline_medium"]
    reached, missed = outcome("cql", [40.0, 20.0], 30.0), outcome("cql", [40.0, 19.0], 30.0)
    assert (reached.passed, reached.ratio, reached.peer_figure) == (True, 1.0, 30.0)
    assert reached.line().startswith("ok     cql on medium data")
    assert (missed.passed, missed.figure) == (False, 29.5)
    assert missed.line().startswith("MISSED cql on medium data")
