"""What a prediction means: recomputed from the stored weights in numpy, and by the symmetries of its inputs."""

import numpy as np
import pytest
import torch

from wombet.errors import InputError
from wombet.world_model import MEASURES


@pytest.fixture(scope="module")
def robot(make_model):
    """A fitted model of three rates-free entries, one rate and one angle: observations (rate, angle, speed)."""
    rng = np.random.default_rng(0)
    n = 600
    obs = rng.normal(size=(n, 3)).astype(np.float32)
    action = rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    speed = obs[:, 2] + 0.3 * action[:, 0] - 0.2 * np.sin(obs[:, 1])
    next_obs = np.stack([speed * np.cos(obs[:, 1]), obs[:, 1] + 0.1 * speed, speed], 1).astype(np.float32)
    model = make_model(obs_dim=3, action_dim=2, n_rates=1, angle_indices=(1,), n_members=4, n_elites=2, max_steps=200)
    model.fit(obs, action, next_obs, np.arange(n) // 20, rng)
    return model, torch.from_numpy(obs), torch.from_numpy(action)


def by_hand(model, obs, action):
    """All members' standardised means and stds, in float64 from the stored arrays."""
    state = model.state()
    *layers, low, high = [tensor.double().numpy() for tensor in state["network"]["tensors"]]
    units = {name: unit.double().numpy() for name, unit in state["units"].items()}
    obs, action = obs.double().numpy(), action.double().numpy()
    inputs = np.concatenate([obs[:, 2:3], np.sin(obs[:, 1:2]), np.cos(obs[:, 1:2]), action], 1)
    hidden = np.clip((inputs - units["input_mean"]) / units["input_std"], -10, 10)[None]
    for weight, bias in zip(layers[0:-2:2], layers[1:-2:2], strict=True):
        hidden = hidden @ weight + bias
        hidden = hidden / (1 + np.exp(-hidden))
    mean, raw = np.split(hidden @ layers[-2] + layers[-1], 2, -1)
    raw = high - np.log1p(np.exp(high - raw))
    logvar = low + np.log1p(np.exp(raw - low))
    return mean, np.exp(logvar / 2), units


def test_prediction_equals_the_formula(robot):
    model, obs, action = robot
    mean, std, units = by_hand(model, obs, action)
    target = mean * units["target_std"] + units["target_mean"]
    expected = np.concatenate([target[..., :1], target[..., 1:] + obs.numpy()[:, 1:]], -1)
    elites = list(model.elites)
    prediction = model.predict(obs, action)
    np.testing.assert_allclose(prediction.mean, expected[elites], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(prediction.std, (std * units["target_std"])[elites], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(prediction.target_mean, mean[elites], rtol=1e-3, atol=1e-4)


def test_uncertainty_measures_equal_their_formulas(robot):
    model, obs, action = robot
    mean, std, units = by_hand(model, obs, action)
    raw, elites = mean * units["target_std"], list(model.elites)
    pairs = [np.linalg.norm(raw[i] - raw[j], axis=-1) for i in range(4) for j in range(i)]
    expected = {
        "elite_std": np.sqrt(mean[elites].var(0).mean(-1)),
        "max_aleatoric": np.linalg.norm(std * units["target_std"], axis=-1).max(0),
        "max_deviation": np.linalg.norm(raw - raw.mean(0), axis=-1).max(0),
        "ensemble_std": np.sqrt(raw.var(0).mean(-1)),
        "pairwise": np.max(pairs, 0),
    }
    assert set(expected) == set(MEASURES)
    for measure, values in expected.items():
        np.testing.assert_allclose(model.uncertainty(obs, action, measure), values, rtol=2e-3, atol=1e-4)


def test_step_is_the_cheap_half_of_predict(robot):
    model, obs, action = robot
    mean, uncertainty = model.step(obs, action)
    torch.testing.assert_close(mean, model.predict(obs, action).mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(uncertainty, model.uncertainty(obs, action), rtol=1e-4, atol=1e-6)


def test_step_uses_the_configured_measure(rows, make_model):
    model = make_model(uncertainty="pairwise", max_steps=30)
    report = model.fit(*rows.arguments(), np.random.default_rng(0))
    obs, action = rows.tensors()
    assert torch.equal(model.step(obs, action)[1], model.uncertainty(obs, action, "pairwise"))
    held = np.isin(rows.episode_id, model.holdout_episodes)
    assert report["uncertainty"]["mean"] == pytest.approx(float(model.uncertainty(obs[held], action[held]).mean()))


def test_one_state_for_all_elites_or_one_for_each(robot):
    model, obs, action = robot
    together = model.predict(obs, action).mean
    own = torch.stack([obs, obs.flip(0)])
    apart = model.predict(own, torch.stack([action, action.flip(0)])).mean
    torch.testing.assert_close(apart[0], together[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(apart[1], together[1].flip(0), rtol=1e-5, atol=1e-5)


def test_large_batches_equal_small_ones(robot):
    model, obs, action = robot
    many = model.step(obs.repeat(5, 1), action.repeat(5, 1))[0]
    torch.testing.assert_close(many, model.step(obs, action)[0].repeat(1, 5, 1), rtol=1e-5, atol=1e-5)


def test_rates_are_hidden_from_the_input_and_predicted_as_they_are(robot):
    model, obs, action = robot
    other = obs.clone()
    other[:, 0] = 1000.0
    assert torch.equal(model.predict(obs, action).mean, model.predict(other, action).mean)


def test_rates_are_hidden_without_angles_too(rows, make_model):
    model = make_model(n_rates=1, max_steps=30)
    model.fit(*rows.arguments(), np.random.default_rng(0))
    obs, action = rows.tensors()
    assert torch.equal(model.predict(obs, action).mean, model.predict(obs + torch.tensor([9.0, 0.0]), action).mean)


def test_a_full_turn_of_an_angle_changes_nothing_else(robot):
    model, obs, action = robot
    turn = torch.tensor([0.0, 2 * np.pi, 0.0])
    turned = model.predict(obs + turn, action).mean
    torch.testing.assert_close(turned, model.predict(obs, action).mean + turn, rtol=1e-4, atol=1e-4)


def test_unknown_measure_and_unfitted_model_are_refused(robot, make_model):
    model, obs, action = robot
    with pytest.raises(InputError, match="elite_std, max_aleatoric"):
        model.uncertainty(obs, action, "entropy")
    with pytest.raises(InputError, match="each elite has a state of its own"):
        model.uncertainty(obs.expand(2, -1, -1), action.expand(2, -1, -1), "pairwise")
    with pytest.raises(InputError, match="before it was fitted"):
        make_model().predict(torch.zeros(1, 2), torch.zeros(1, 1))
