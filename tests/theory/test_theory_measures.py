"""Ranks, intervals of shares, and bins, against scipy and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from wombet.errors import InputError
from wombet.theory import quantile_bins, rank_correlation, wilson_interval


@pytest.mark.parametrize("n_values", [3, 20, 10_000])
def test_rank_correlation_is_scipys_with_and_without_ties(n_values):
    rng = np.random.default_rng(n_values)
    a = rng.integers(0, n_values, 200)
    b = a + rng.integers(0, n_values, 200)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_rank_correlation_sees_order_alone_and_none_in_a_constant():
    a = np.array([0.1, 5.0, -2.0, 3.0])
    assert rank_correlation(a, np.exp(a)) == 1.0
    assert rank_correlation(a, -(a**3)) == -1.0
    assert rank_correlation(a, np.ones(4)) is None


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 1), (7, 24), (190, 200)])
def test_wilson_interval_is_scipys(successes, n):
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_covers_a_share_about_as_often_as_it_says():
    n, share = 24, 0.8
    outcomes = np.random.default_rng(0).binomial(n, share, 4000)
    intervals = np.array([wilson_interval(int(successes), n) for successes in outcomes])
    assert 0.93 < ((intervals[:, 0] <= share) & (share <= intervals[:, 1])).mean() < 0.98


def test_bins_cut_the_order_at_quantiles_and_lose_no_row():
    values = np.random.default_rng(0).permutation(100).astype(float)
    bins = quantile_bins(values, (0.25, 0.5, 0.95))
    assert [len(rows) for rows in bins] == [25, 25, 45, 5]
    assert np.concatenate([values[rows] for rows in bins]).tolist() == list(range(100))


def test_bins_without_rows_are_left_out():
    assert [rows.tolist() for rows in quantile_bins(np.array([3.0, 1.0]), (0.1, 0.5, 0.9))] == [[1], [0]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(0, 0),
        lambda: rank_correlation([1.0, 2.0], [1.0]),
        lambda: rank_correlation([1.0, np.nan], [1.0, 2.0]),
        lambda: quantile_bins(np.arange(3.0), (0.5, 0.2)),
        lambda: quantile_bins(np.arange(3.0), (0.0, 0.5)),
    ],
)
def test_bad_input_is_named(call):
    with pytest.raises(InputError, match="must"):
        call()
