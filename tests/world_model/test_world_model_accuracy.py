"""What is said of rows of another policy: the same figures as of the held-out rows, beside them."""

import numpy as np
import pytest
import torch
from linear_system import simulate
from scipy.stats import spearmanr

from wombet import model_report, serialization
from wombet.ensemble_training import Fit
from wombet.errors import InputError

KEYS = {"n", "mse", "nll", "ensemble_mse", "uncertainty", "spearman", "coverage_90"}


def tensors_of(rows):
    return tuple(torch.from_numpy(column) for column in (rows.obs, rows.action, rows.next_obs))


@pytest.fixture(scope="module")
def held(fitted, rows):
    return rows.of(fitted.holdout_episodes)


def test_figures_of_the_held_out_rows_are_those_of_the_fit(fitted, held):
    found = model_report.accuracy(fitted, *tensors_of(held))
    assert set(found) == KEYS
    assert found["n"] == fitted.report["n_holdout"]
    assert found["nll"] == fitted.report["holdout_nll"]
    assert found["mse"] == fitted.report["holdout_mse"]
    assert all(found[name] == fitted.report[name] for name in ("ensemble_mse", "uncertainty", "spearman"))


def test_likelihood_per_member_is_that_of_a_normal_distribution(fitted):
    obs, action, next_obs = tensors_of(simulate(4, 50, seed=8))
    mean, logvar = fitted.predict_standardised(obs, action)
    normal = torch.distributions.Normal(mean, (logvar / 2).exp())
    expected = -normal.log_prob(fitted.standardised_targets(obs, next_obs)).mean((1, 2))
    assert model_report.accuracy(fitted, obs, action, next_obs)["nll"] == pytest.approx(expected.tolist(), rel=1e-4)


def test_ranking_is_scipys_of_uncertainty_and_error(fitted):
    fresh = simulate(4, 50, seed=8, scale=4.0)
    obs, action, next_obs = tensors_of(fresh)
    mean = fitted.predict_standardised(obs, action)[0][list(fitted.elites)].mean(0)
    error = (mean - fitted.standardised_targets(obs, next_obs)).square().mean(1).sqrt()
    found = model_report.accuracy(fitted, obs, action, next_obs)["spearman"]
    assert found == pytest.approx(spearmanr(fitted.uncertainty(obs, action), error).statistic, abs=1e-9)


def test_another_policys_rows_stand_beside_the_held_out_ones_and_change_nothing_else(fitted, held):
    far = tensors_of(simulate(10, 50, seed=5, scale=8.0))
    fit = Fit(fitted.report["steps"], torch.tensor(fitted.report["holdout_mse_before"]), torch.zeros(4))
    arguments = (fitted, *tensors_of(held), held.episode_id, fit, fitted.report["n_train"])
    without, beside = model_report.report(*arguments), model_report.report(*arguments, off_policy=far)
    assert without == fitted.report
    assert {name: beside[name] for name in without} == without
    assert set(beside) - set(without) == {"off_policy"}
    assert set(beside["off_policy"]) == KEYS
    assert beside["off_policy"]["n"] == 500
    assert beside["off_policy"]["uncertainty"]["median"] > 2 * without["uncertainty"]["median"]
    assert min(beside["off_policy"]["nll"]) > max(without["holdout_nll"])


def test_uncertainty_ranks_errors_of_actions_that_were_never_tried(make_model):
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (1000, 1)).astype(np.float32)

    def outcome(action):
        return (obs + np.sin(3 * obs + 4 * action)).astype(np.float32)

    tried = rng.normal(0, 0.1, (1000, 1)).astype(np.float32)
    model = make_model(obs_dim=1, hidden_width=64, max_steps=600, min_steps=600)
    model.fit(obs, tried, outcome(tried), np.arange(1000) // 10, rng)
    untried = rng.uniform(-1, 1, (1000, 1)).astype(np.float32)
    found = model_report.accuracy(model, *(torch.from_numpy(x) for x in (obs, untried, outcome(untried))))
    assert found["spearman"] > 0.6
    assert found["ensemble_mse"] > 10 * model.report["ensemble_mse"]


def test_rows_of_another_policy_are_judged_at_every_fit_and_change_no_weight(make_model, rows):
    other = simulate(4, 50, seed=5, scale=8.0)
    off_policy = (other.obs, other.action, other.next_obs)
    plain, judged = make_model(), make_model()
    first = [model.fit(*rows.of(range(30)).arguments(), np.random.default_rng(0), given)
             for model, given in ((plain, None), (judged, off_policy))]  # fmt: skip
    assert "off_policy" not in first[0]
    assert first[1]["off_policy"] == model_report.accuracy(judged, *tensors_of(other))
    twin = make_model(seed=3)
    twin.restore(serialization.loads(serialization.dumps(judged.state())))
    for model in (plain, judged, twin):
        model.fit(*rows.arguments(), np.random.default_rng(1))
    assert judged.report["off_policy"] == model_report.accuracy(judged, *tensors_of(other))
    assert twin.report == judged.report
    for mine, theirs in zip(plain.state()["network"]["tensors"], judged.state()["network"]["tensors"], strict=True):
        assert torch.equal(mine, theirs)


def test_rows_of_another_policy_that_do_not_fit_are_refused(make_model, rows):
    other = (rows.obs, rows.action[:-1], rows.next_obs)
    with pytest.raises(InputError, match="off-policy rows: shape of action"):
        make_model().fit(*rows.arguments(), np.random.default_rng(0), other)
    with pytest.raises(InputError, match="off-policy rows: number of rows is 0"):
        make_model().fit(*rows.arguments(), np.random.default_rng(0), (rows.obs[:0], rows.action[:0], rows.obs[:0]))
