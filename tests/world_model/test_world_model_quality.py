"""On a linear system with Gaussian noise the model comes to what is known to be the best answer."""

import numpy as np
import torch
from linear_system import CONTROL, DYNAMICS, NOISE_STD, simulate


def test_error_is_close_to_the_noise(fitted, rows):
    changes = (rows.next_obs - rows.obs)[~np.isin(rows.episode_id, fitted.holdout_episodes)]
    floor = float(np.mean(NOISE_STD**2 / changes.var(0)))
    assert 0.85 * floor < fitted.report["ensemble_mse"] < 1.15 * floor
    assert abs(fitted.report["open_loop_rmse"]["1"] ** 2 / floor - 1) < 0.25


def test_mean_is_that_of_the_system(fitted):
    fresh = simulate(10, 50, seed=5)
    mean = fitted.predict(*fresh.tensors()).mean.mean(0).numpy()
    truth = fresh.obs @ DYNAMICS.T + fresh.action @ CONTROL.T
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.3 * NOISE_STD


def test_predicted_spread_is_that_of_the_noise(fitted):
    std = fitted.predict(*simulate(10, 50, seed=5).tensors()).std
    assert 0.85 * NOISE_STD < std.median() < 1.15 * NOISE_STD


def test_intervals_cover_what_they_say(fitted):
    assert 0.87 < fitted.report["coverage_90"] < 0.93


def test_open_loop_error_grows_with_the_noise_it_collects(fitted):
    errors = fitted.report["open_loop_rmse"]
    expected = np.zeros((2, 2))
    for _ in range(20):
        expected = DYNAMICS @ expected @ DYNAMICS.T + NOISE_STD**2 * np.eye(2)
    ratio = np.sqrt(np.trace(expected) / 2) / NOISE_STD
    assert errors["1"] < errors["5"] < errors["20"]
    assert 0.6 * ratio < errors["20"] / errors["1"] < 1.6 * ratio


def test_open_loop_error_is_none_where_no_trajectory_is_long_enough(rows, make_model):
    short = rows.of(range(10))
    short = type(short)(short.obs, short.action, short.next_obs, np.arange(500) // 10)
    report = make_model(max_steps=5).fit(*short.arguments(), np.random.default_rng(0))
    assert report["open_loop_rmse"]["20"] is None
    assert report["open_loop_rmse"]["5"] > 0


def test_uncertainty_is_small_on_the_data_and_large_far_away(fitted, rows):
    obs, action = rows.tensors()
    near, far = fitted.uncertainty(obs, action), fitted.uncertainty(10 * obs, action)
    norm = obs.norm(dim=1)
    assert far[norm > norm.median()].min() > near.median()
    assert far.median() > 5 * near.median()


def test_uncertainty_quantiles_are_those_of_the_held_out_rows(fitted, rows):
    held = rows.of(fitted.holdout_episodes)
    u = fitted.uncertainty(*held.tensors()).double().numpy()
    reported = fitted.report["uncertainty"]
    assert reported == {
        "mean": u.mean(),
        "median": np.quantile(u, 0.5),
        "q95": np.quantile(u, 0.95),
        "q99": np.quantile(u, 0.99),
    }


def test_uncertainty_ranks_the_error_of_a_model_with_little_data(make_model):
    rng = np.random.default_rng(0)
    dense, sparse = rng.normal(0, 0.3, (900, 1)), rng.normal(0, 3, (100, 1))
    obs = rng.permutation(np.concatenate([dense, sparse])).astype(np.float32)
    action = rng.uniform(-1, 1, (1000, 1)).astype(np.float32)
    next_obs = obs + np.sin(3 * obs) * action
    model = make_model(obs_dim=1, hidden_width=64, max_steps=600, min_steps=600)
    report = model.fit(obs, action, next_obs, np.arange(1000) // 10, rng)
    assert report["spearman"] > 0.5


def test_log_variance_stays_between_its_learned_bounds(fitted):
    inputs = 100 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(500, 1)
    _, logvar = fitted.predict_standardised(*inputs)
    *_, low, high = fitted.state()["network"]["tensors"]
    assert (logvar >= low).all()
    # The lower bound is applied last and softly, so the upper one may be passed by what softplus adds.
    assert (logvar <= high + torch.exp(low - high) + 1e-5).all()
    assert not torch.equal(low, torch.full_like(low, -10.0))


def test_predictions_stay_finite_however_far_away(fitted):
    prediction = fitted.predict(torch.full((3, 2), 3e38), torch.zeros(3, 1))
    assert all(part.isfinite().all() for part in (prediction.mean, prediction.std, prediction.target_mean))
