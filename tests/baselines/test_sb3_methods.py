"""The adapters over Stable-Baselines3 make the library's own steps: its `learn`, on the same transitions and noise."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger

from baselines.api import Budgets, Phase, Problem
from baselines.registry import method
from baselines.sb3_ppo import make_ppo, normalised
from baselines.torch_state import OwnGlobals
from suites.tasks import make_task
from wombet.errors import InputError
from wombet.interaction import Meter, MeteredEnv
from wombet.streams import Streams

STREAMS = Streams(3).child("method")
# Reacher's episodes end at the time limit and cartpole's by falling; between them both are met.
FAMILIES = ["reacher", "cartpole"]


def problem(family: str, steps: int) -> Problem:
    """Twelve-step episodes of a source task, as target."""
    task = make_task(family, horizon=12)
    envs = [MeteredEnv(task.make_env(), Meter(budget, "test"), Streams(1).integer) for budget in (0, steps)]
    return Problem(task, task, None, Budgets(target_steps=steps), *envs)


def trained(name: str, family: str, steps: int, **settings: Any) -> Any:
    """A method at the end of its online phase."""
    kind = method(name)
    adapter = kind(problem(family, steps), kind.Config(**settings), STREAMS, "cpu")
    adapter.train(Phase.ONLINE, lambda **progress: None)
    return adapter


def assert_same_weights(model: Any, other: Any) -> None:
    ours, theirs = model.policy.state_dict(), other.policy.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_ppo_ends_with_the_bits_of_the_librarys_own_learn(family: str) -> None:
    settings = {"rollout_steps": 24, "minibatch_size": 8, "epochs": 2, "hidden_width": 16}
    adapter = trained("ppo", family, 96, **settings)
    own = OwnGlobals(STREAMS.integer("learner"))
    with own.swapped_in(numpy=True):
        env = normalised(problem(family, 96).target_env, 0.99)
        model = make_ppo(method("ppo").Config(**settings), env, "cpu")
        before = {name: value.clone() for name, value in model.policy.state_dict().items()}
        model.set_logger(Logger(None, []))
        model.learn(96)
    assert_same_weights(adapter.model, model)
    assert any(not torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    for ours, theirs in ((adapter.env.obs_rms, env.obs_rms), (adapter.env.ret_rms, env.ret_rms)):
        assert np.array_equal(ours.mean, theirs.mean)
        assert np.array_equal(ours.var, theirs.var)


class SameIndices(ReplayBuffer):
    """Their buffer, which draws its indices from the stream that ours draws from."""

    stream = np.random.default_rng()

    def sample(self, batch_size: int, env: Any = None) -> Any:
        return self._get_samples(self.stream.integers(self.size(), size=batch_size), env=env)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "algorithm"), [("sac-sb3", SAC), ("td3", TD3)])
def test_sac_and_td3_end_with_the_weights_of_the_librarys_own_learn(name: str, algorithm: Any, family: str) -> None:
    adapter = trained(name, family, 60, random_steps=20, batch_size=16, hidden_width=16)
    actions = iter(adapter.rows.buffer.sample(np.arange(60)).action.numpy())
    SameIndices.stream = STREAMS.numpy("sampling")
    own = OwnGlobals(STREAMS.integer("learner"))
    with own.swapped_in(numpy=True):
        model = algorithm(
            "MlpPolicy",
            problem(family, 60).target_env,
            learning_rate=adapter.config.learning_rate,
            learning_starts=20,
            batch_size=16,
            buffer_size=60,
            replay_buffer_class=SameIndices,
            policy_kwargs={"net_arch": [16, 16]},
            device="cpu",
        )
        model.set_logger(Logger(None, []))
        # What to do is taken from the adapter's run; everything that follows from it is theirs.
        model._sample_action = lambda *args, **kwargs: (action := next(actions)[None], action)
        model.learn(60)
    assert model._n_updates == adapter.updates == 40
    for (key, ours), theirs in zip(
        adapter.model.policy.state_dict().items(), model.policy.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6, msg=key)
    if name == "sac-sb3":
        torch.testing.assert_close(adapter.model.log_ent_coef, model.log_ent_coef, rtol=0, atol=1e-6)


def test_a_last_rollout_that_is_cut_is_learned_from() -> None:
    settings = {"rollout_steps": 24, "minibatch_size": 8, "epochs": 2, "hidden_width": 16}
    adapter = trained("ppo", "reacher", 34, **settings)
    assert adapter.problem.target_env.meter.count == 34
    assert adapter.updates == 2 * (3 + 2)
    whole = trained("ppo", "reacher", 24, **settings)
    assert not torch.equal(adapter.model.policy.log_std, whole.model.policy.log_std)


def test_ppo_acts_on_observations_as_training_normalised_them() -> None:
    adapter = trained("ppo", "reacher", 48, rollout_steps=24, minibatch_size=8, hidden_width=16)
    obs = np.float32([[0.3, -0.2, 0.5, 0.1, 1.0, -1.0, 0.1, 0.2]])
    rms = adapter.env.obs_rms
    scaled = np.clip((obs - rms.mean) / np.sqrt(rms.var + 1e-8), -10, 10)
    expected = adapter.model.policy.get_distribution(torch.tensor(scaled, dtype=torch.float32)).distribution.mean
    acted = adapter.act(obs, np.random.default_rng(0))
    np.testing.assert_allclose(acted, np.clip(expected.detach().numpy(), -1, 1), atol=1e-6)
    plain = adapter.model.policy.get_distribution(torch.tensor(obs)).distribution.mean.detach().numpy()
    assert np.abs(acted - plain).max() > 1e-3


def test_exploration_is_what_the_papers_say() -> None:
    sac, td3 = (method(name) for name in ("sac-sb3", "td3"))
    obs, generator = torch.zeros(1, 8), np.random.default_rng(0)
    agent = td3(problem("reacher", 5), td3.Config(), STREAMS, "cpu")
    with torch.no_grad():
        drawn = np.stack([agent.explore(obs, generator) for _ in range(2000)])
        greedy = agent.act(np.zeros((1, 8), np.float32), generator)[0]
        assert np.abs(drawn - greedy).std() == pytest.approx(0.0603, abs=0.003)
        np.testing.assert_allclose(drawn.mean(0), greedy, atol=0.01)
        agent = sac(problem("reacher", 5), sac.Config(), STREAMS, "cpu")
        drawn = np.stack([agent.explore(obs, generator) for _ in range(4000)])
        theirs = agent.model.actor(obs.repeat(4000, 1)).numpy()
    np.testing.assert_allclose(drawn.mean(0), theirs.mean(0), atol=0.05)
    np.testing.assert_allclose(drawn.std(0), theirs.std(0), atol=0.03)


def test_the_defaults_are_those_of_the_library() -> None:
    for name, own in (("sac-sb3", SAC), ("td3", TD3)):
        kind = method(name)
        model = kind(problem("reacher", 5), kind.Config(), STREAMS, "cpu").model
        theirs = own("MlpPolicy", make_task("reacher").make_env(), device="cpu")
        for field in ("learning_rate", "gamma", "tau", "batch_size"):
            assert getattr(model, field) == getattr(theirs, field), field
        assert str(model.policy) == str(theirs.policy)


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("ppo", {"rollout_steps": 1}, "rollout_steps is 1"),
        ("ppo", {"gae_lambda": 1.5}, "gae_lambda is 1.5"),
        ("td3", {"policy_delay": 0}, "policy_delay is 0"),
        ("td3", {"learning_rate": 0.0}, "learning_rate is 0.0"),
        ("sac-sb3", {"initial_temperature": 0.0}, "initial_temperature is 0.0"),
        ("sac-sb3", {"random_steps": -1}, "random_steps is -1"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, Any], sentence: str) -> None:
    config = method(name).Config
    assert dataclasses.is_dataclass(config)
    with pytest.raises(InputError, match=sentence):
        config(**settings)
