"""Pretraining by CQL, the switch, and what goes on from there: WSRL and the lower bound of CQL then SAC."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from baselines.api import Phase
from baselines.pretrained import CQLToSACConfig
from baselines.wsrl import WSRLConfig, WSRLLearner
from suites.contract.run import SmallRun, Stopped
from wombet.errors import InputError
from wombet.learner import Batch
from wombet.networks import sample_policy

METHODS = ("wsrl", "cql-sac")
WARM_UP = 10


def at_the_switch(name: str, **settings: Any) -> SmallRun:
    """A run whose offline phase is over."""
    run = SmallRun(name, settings)
    run.adapter.train(Phase.OFFLINE, lambda **_: None)
    run.phase_index = 1
    return run


def online(run: SmallRun, in_tick: Any) -> None:
    run.train(in_tick=in_tick)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_learned_in_the_warm_up_and_its_steps_are_the_pretrained_policys(name: str) -> None:
    run = at_the_switch(name)
    agent: Any = run.adapter.agent  # type: ignore[attr-defined]
    frozen = agent.learner.state()
    exploration = torch.Generator().set_state(agent._exploration.get_state())
    updates: dict[int, int] = {}

    def watch(live: SmallRun) -> None:
        updates[agent.steps] = agent.updates
        if agent.steps <= WARM_UP:
            for part in ("actor", "critics", "targets", "log_temperature", "generator"):
                assert torch.equal(agent.learner.state()[part], frozen[part])

    online(run, watch)
    assert {updates[step] for step in range(1, WARM_UP + 1)} == {25}
    assert updates[WARM_UP + 1] == 25 + agent.config.utd
    rows = agent.online.last(60)
    policy = type(agent.learner)(8, 2, agent.learner.config, torch.Generator())
    policy.restore(frozen)
    for i in range(WARM_UP):
        drawn = policy.act_one(rows.obs[i].numpy(), exploration)
        np.testing.assert_array_equal(rows.action[i].numpy(), drawn)
    assert not np.array_equal(policy.act_one(rows.obs[WARM_UP + 5].numpy(), exploration), rows.action[WARM_UP + 5])


@pytest.mark.parametrize("name", METHODS)
def test_the_online_buffer_is_empty_at_the_switch_and_no_dataset_row_is_drawn_after_it(name: str) -> None:
    run = at_the_switch(name)
    agent: Any = run.adapter.agent  # type: ignore[attr-defined]
    assert len(agent.online) == 0
    drawn: list[torch.Tensor] = []
    update = agent.learner.update
    agent.learner.update = lambda batches: (drawn.extend(batch.obs for batch in batches), update(batches))[1]
    online(run, None)
    met = {row.tobytes() for row in agent.online.last(1000).obs.numpy()}
    assert len(drawn) == (60 - WARM_UP) * agent.config.utd
    assert all(row.tobytes() in met for batch in drawn for row in batch.numpy())


@pytest.mark.parametrize("name", METHODS)
def test_networks_temperature_and_optimiser_moments_go_on_at_the_switch(name: str) -> None:
    run = at_the_switch(name)
    learner = run.adapter.agent.learner  # type: ignore[attr-defined]
    before = learner.state()
    with pytest.raises(Stopped):
        run.train(stop_at=1)
    after = learner.state()
    assert before["actor_adam"]["steps"] == before["critic_adam"]["steps"] == 25
    assert float(before["log_temperature"]) != pytest.approx(math.log(0.1), abs=1e-6)
    for part in before:
        if part.endswith("_adam"):
            assert after[part]["steps"] == before[part]["steps"]
            assert torch.equal(after[part]["first_moment"], before[part]["first_moment"])
            assert torch.equal(after[part]["second_moment"], before[part]["second_moment"])
        else:
            assert torch.equal(after[part], before[part])


@pytest.mark.parametrize("name", METHODS)
def test_the_regulariser_is_on_offline_and_off_online(name: str) -> None:
    run = SmallRun(name, {})
    found: list[tuple[Phase, bool]] = []
    run.train(in_tick=lambda live: found.append((live.phase, "conservative_gap" in live.metrics[-1])))
    assert all(on for phase, on in found if phase is Phase.OFFLINE)
    assert not any(on for phase, on in found[25 + WARM_UP :])


def test_wsrl_moves_the_actor_once_a_step_on_all_rows_and_the_critics_on_each_part() -> None:
    run = at_the_switch("wsrl", utd=3)
    learner = run.adapter.agent.learner  # type: ignore[attr-defined]
    sizes: dict[str, list[int]] = {"critic": [], "actor": []}
    critic_step, actor_step = learner.critic_step, learner.actor_step
    learner.critic_step = lambda batch: (sizes["critic"].append(len(batch.obs)), critic_step(batch))[1]
    learner.actor_step = lambda batch: (sizes["actor"].append(len(batch.obs)), actor_step(batch))[1]
    online(run, None)
    assert sizes["actor"] == [24] * (60 - WARM_UP)
    assert sizes["critic"] == [8] * (60 - WARM_UP) * 3


def test_wsrls_networks_have_layer_norm_and_heads_of_the_usual_scale() -> None:
    """The release's 0.01 is the scale of the layer in front of the second LayerNorm, not that of the heads."""
    learner = WSRLLearner(8, 2, WSRLConfig(), torch.Generator().manual_seed(0))
    for stack in (learner.actor, learner.critics):
        assert 0.05 < float(stack.views["weight3"].abs().max()) <= 1 / 16
        assert {"gain1", "gain2"} <= stack.views.keys()
    assert torch.equal(learner.targets.vector, learner.critics.vector)


def test_the_gradient_of_an_actor_with_layer_norm_is_autograds() -> None:
    config = WSRLConfig(hidden_width=16, n_critics=3, n_action_samples=2)
    generator = torch.Generator().manual_seed(0)
    learner = WSRLLearner(5, 3, config, generator, dtype=torch.float64)
    obs, noise = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((12, 5), (3, 12)))
    batch = Batch(obs, noise.T, noise[0], obs, noise[0], noise[0])
    learner.actor_gradient(batch, noise)
    vector = learner.actor.vector.clone().requires_grad_()
    parts = vector.split([math.prod(shape) for shape in learner.actor.shapes.values()])
    w = {k: p.view(s)[0] for p, (k, s) in zip(parts, learner.actor.shapes.items(), strict=True)}
    x = obs
    for layer in "12":
        x = torch.nn.functional.layer_norm(x @ w["weight" + layer] + w["bias" + layer], (16,))
        x = torch.relu(x * w["gain" + layer] + w["shift" + layer])
    sample = sample_policy(w["weight3"] @ x.T + w["bias3"], noise)
    critics = learner.critics.views
    z = torch.cat((obs, sample.action.T), 1).expand(3, 12, 8)
    for layer in "12":
        z = torch.nn.functional.layer_norm(z @ critics["weight" + layer] + critics["bias" + layer], (16,))
        z = torch.relu(z * critics["gain" + layer] + critics["shift" + layer])
    q = (z @ critics["weight3"].transpose(1, 2) + critics["bias3"]).squeeze(2)
    (learner.temperature * sample.log_prob - q.amin(0)).mean().backward()
    torch.testing.assert_close(learner._actor_gradient.vector, vector.grad)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(CQLToSACConfig, "warmup_steps", -1), (CQLToSACConfig, "replay_capacity", 0)],
)
def test_settings_out_of_range_are_refused(kind: Any, field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        kind(**{field: value})
