"""One-step errors and Wasserstein distances, where both are known in closed form."""

import numpy as np
import pytest
from scipy.stats import chi, foldnorm, rice, spearmanr

from wombet.errors import InputError
from wombet.one_step import expected_distances
from wombet.theory import one_step_truth, wasserstein_calibration

SCALE = np.array([0.5, 2.0, 1.0])


def model_and_truth(n=400, seed=0):
    """Truth of n rows, and predictions that are off by `size` in every entry, in units of the scale."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(n, 3))
    size = rng.uniform(0.1, 1.0, n)
    return true + size[:, None] * SCALE * rng.choice([-1, 1], (n, 3)), true, size


def test_error_is_the_root_mean_square_in_units_of_the_scale():
    said, true, size = model_and_truth()
    found = one_step_truth(said, true, size**2, SCALE, {})
    assert found["error"]["mean"] == pytest.approx(size.mean())
    assert found["error"]["q95"] == pytest.approx(np.quantile(size, 0.95))
    assert found["spearman"] == pytest.approx(1.0)


def test_bins_follow_the_uncertainty_and_are_tight_where_it_is_right():
    said, true, size = model_and_truth()
    bins = one_step_truth(said, true, size, SCALE, {})["by_uncertainty"]
    assert [part["n"] for part in bins] == [100, 100, 100, 80, 20]
    for part in bins:
        assert part["error"]["mean"] == pytest.approx(part["uncertainty"])
        assert part["error"]["max"] == pytest.approx(part["highest"])
    assert bins[0]["highest"] <= bins[1]["lowest"]


def test_reward_bias_is_model_minus_truth_for_every_task():
    said, true, size = model_and_truth()
    rewards = {"source": (said[:, 0], true[:, 0]), "target": (true[:, 1] + 0.25, true[:, 1])}
    found = one_step_truth(said, true, size, SCALE, rewards)
    gap = said[:, 0] - true[:, 0]
    assert found["rewards"]["source"] == pytest.approx({"bias": gap.mean(), "absolute": np.abs(gap).mean()})
    assert found["rewards"]["target"] == pytest.approx({"bias": 0.25, "absolute": 0.25})
    means = [(part["n"], part["rewards"]["source"]["bias"]) for part in found["by_uncertainty"]]
    assert sum(n * bias for n, bias in means) / 400 == pytest.approx(gap.mean())


def test_distance_of_a_gaussian_in_one_dimension_is_a_folded_normal():
    gap, std = np.array([0.0, 0.3, 2.0, 50.0]), np.array([1.0, 0.2, 1.0, 0.01])
    found = expected_distances(gap[:, None] * 2, np.zeros((4, 1)), [2.0], std[:, None] * 2)
    assert found == pytest.approx(foldnorm(gap / std, scale=std).mean(), rel=1e-6)


def test_distance_of_a_round_gaussian_in_two_dimensions_is_rice():
    gap, std = np.array([0.5, 1.0, 3.0]), 0.7
    means = np.stack([gap, np.zeros(3)], 1)
    found = expected_distances(means, np.zeros((3, 2)), np.ones(2), np.full((3, 2), std))
    assert found == pytest.approx(rice(gap / std, scale=std).mean() / np.sqrt(2), rel=1e-6)


def test_distance_of_a_centred_gaussian_in_many_dimensions_is_chi():
    found = expected_distances(np.ones((1, 40)), np.ones((1, 40)), np.full(40, 0.1), np.full((1, 40), 0.1))
    assert found[0] == pytest.approx(chi(40).mean() / np.sqrt(40), rel=1e-6)


def test_distance_of_a_mixture_is_that_of_samples():
    rng = np.random.default_rng(0)
    means, stds = rng.normal(size=(5, 2, 3)), np.exp(rng.normal(size=(5, 2, 3)) - 1)
    true = rng.normal(size=(2, 3))
    samples = means[:, None] + stds[:, None] * rng.normal(size=(5, 100_000, 2, 3))
    expected = np.sqrt(np.square((samples - true) / SCALE).mean(-1)).mean((0, 1))
    assert expected_distances(means, true, SCALE, stds) == pytest.approx(expected, rel=5e-3)


def test_a_gaussian_without_spread_is_its_mean_and_may_be_exact():
    said, true, size = model_and_truth()
    assert expected_distances(said, true, SCALE, np.zeros_like(said)) == pytest.approx(size, rel=1e-6)
    assert expected_distances(said, true, SCALE) == pytest.approx(size)
    assert expected_distances(true, true, SCALE, np.zeros_like(true)).tolist() == [0.0] * 400


def test_rows_do_not_depend_on_how_many_there_are():
    said, true, _ = model_and_truth(700)
    stds = np.abs(said)
    whole = expected_distances(said, true, SCALE, stds)
    assert whole[[0, 300, 699]].tolist() == pytest.approx(
        [expected_distances(said[i : i + 1], true[i : i + 1], SCALE, stds[i : i + 1])[0] for i in (0, 300, 699)]
    )


def test_linear_system_with_a_wrong_matrix_has_a_known_distance():
    rng = np.random.default_rng(1)
    obs, truth_matrix, wrong = rng.normal(size=(300, 2)), np.array([[0.9, 0.1], [0, 0.8]]), np.diag([0.1, -0.2])
    said, true = obs @ (truth_matrix + wrong).T, obs @ truth_matrix.T
    known = np.sqrt(np.square(obs @ wrong.T).mean(1))
    found = wasserstein_calibration(said, true, known * (1 + 1e-9), np.ones(2))
    assert found["holds"]["share"] == 1.0
    assert found["w1"]["mean"] == pytest.approx(known.mean())
    assert list(found["factors"].values()) == pytest.approx([1, 1, 1])


def test_uncertainty_that_is_half_the_distance_has_to_be_doubled():
    said, true, size = model_and_truth()
    found = wasserstein_calibration(said, true, size / 2, SCALE)
    assert found["holds"]["share"] == 0.0
    assert found["factors"] == pytest.approx({"0.9": 2.0, "0.95": 2.0, "0.99": 2.0})
    assert found["spearman"] == pytest.approx(1.0)
    assert all(part["w1"]["mean"] == pytest.approx(2 * part["uncertainty"]) for part in found["by_uncertainty"])


def test_factors_are_the_smallest_that_bound_their_share_of_rows():
    said, true, size = model_and_truth()
    uncertainty = np.random.default_rng(3).uniform(0.05, 1, 400)
    found = wasserstein_calibration(said, true, uncertainty, SCALE)
    assert found["holds"]["share"] == pytest.approx((size <= uncertainty).mean())
    assert found["spearman"] == pytest.approx(spearmanr(size, uncertainty).statistic)
    for share, factor in found["factors"].items():
        assert (size <= factor * (1 + 1e-9) * uncertainty).mean() >= float(share)
        assert (size <= factor * (1 - 1e-6) * uncertainty).mean() < float(share)


def test_no_factor_makes_up_for_certainty_that_is_wrong():
    said, true, size = model_and_truth(10)
    uncertainty = np.where(np.arange(10) == 0, 0.0, size)
    assert wasserstein_calibration(said, true, uncertainty, SCALE)["factors"]["0.99"] is None
    assert wasserstein_calibration(said, true, uncertainty, SCALE)["factors"]["0.9"] == pytest.approx(1.0)
    right = np.where(np.arange(10)[:, None] == 0, true, said)
    assert wasserstein_calibration(right, true, uncertainty, SCALE)["factors"]["0.99"] == pytest.approx(1.0)


def test_spread_of_the_prediction_counts_as_distance():
    said, true, size = model_and_truth()
    found = wasserstein_calibration(said, true, size, SCALE, stds=np.broadcast_to(SCALE, said.shape))
    assert found["prediction"] == "mixture of Gaussians"
    assert found["w1"]["mean"] > np.sqrt(size**2 + 0.7).mean()


@pytest.mark.parametrize(
    "broken",
    [
        lambda said, true, u: wasserstein_calibration(said[:3], true, u, SCALE),
        lambda said, true, u: wasserstein_calibration(said, true, u[:3], SCALE),
        lambda said, true, u: wasserstein_calibration(said, true, -u, SCALE),
        lambda said, true, u: wasserstein_calibration(said, true, u, SCALE[:2]),
        lambda said, true, u: wasserstein_calibration(said, true, u, 0 * SCALE),
        lambda said, true, u: wasserstein_calibration(said, true, u, SCALE, stds=-(said**2)),
        lambda said, true, u: wasserstein_calibration(said, true, u, SCALE, stds=said[:3]),
        lambda said, true, u: wasserstein_calibration(said, true, u, SCALE, shares=(1.5,)),
        lambda said, true, u: wasserstein_calibration(said[0], true[0], u, SCALE),
        lambda said, true, u: one_step_truth(said * np.nan, true, u, SCALE, {}),
        lambda said, true, u: one_step_truth(said, true, u, SCALE, {"source": (u, u[:3])}),
    ],
)
def test_bad_input_is_named(broken):
    said, true, size = model_and_truth()
    with pytest.raises(InputError, match=r"must|negative"):
        broken(said, true, size)
