"""Paired differences: exact tests, family-wise control, equivalence, power, and shared datasets as units."""

import itertools

import numpy as np
import pytest
import scipy.stats

from analysis import paired
from analysis.paired import Differences
from analysis.power import seeds_needed


def differences(values, tasks=None, units=None) -> Differences:
    """Differences of b = 0; one task and independent seeds unless said otherwise."""
    values = np.asarray(values, dtype=float)
    tasks = tuple(tasks or ["task"] * values.size)
    units = tuple(units or [f"run {index}" for index in range(values.size)])
    return Differences(tasks, tuple(range(values.size)), units, values, np.zeros(values.size))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_the_permutation_test_is_exact_for_few_seeds(n):
    values = generator(n).normal(0.4, 1, n)
    flipped = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product((-1, 1), repeat=n)
    ]
    expected = np.mean(np.array(flipped) >= abs(values.sum()) - 1e-12)
    assert paired.permutation_p(differences(values)) == expected


@pytest.mark.parametrize("n", [4, 6])
def test_the_permutation_test_equals_scipys_also_with_ties(n):
    values = generator(n).normal(0.4, 1, n).round(0)
    theirs = scipy.stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert paired.permutation_p(differences(values)) == pytest.approx(theirs.pvalue)


def test_equal_signs_of_six_reach_the_smallest_p_value_there_is():
    assert paired.permutation_p(differences([0.1, 0.2, 0.1, 0.3, 0.2, 0.4])) == 2 / 64
    assert [paired.attainable(n) for n in (4, 5, 6)] == [False, False, True]


def test_with_many_units_the_p_value_is_that_of_drawn_flips_and_of_the_t_test():
    values = generator(1).normal(0.3, 1, 60)
    found = paired.permutation_p(differences(values))
    flips = 2.0 * generator(2).integers(0, 2, (100_000, 60)) - 1
    assert found == pytest.approx((np.abs(flips @ values) >= abs(values.sum())).mean(), abs=0.002)
    assert found == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_the_grid_gives_what_enumeration_gives():
    values = generator(3).normal(0.4, 1, 17)
    signs = np.array(list(itertools.product((-1, 1), repeat=17)))
    exact = (np.abs(signs @ values) >= abs(values.sum()) - 1e-12).mean()
    assert paired.permutation_p(differences(values)) == pytest.approx(exact, rel=0.005)
    assert paired.permutation_p(differences(np.ones(40))) == pytest.approx(2.0**-39)
    assert paired.permutation_p(differences(np.zeros(40))) == 1.0


def test_the_permutation_test_keeps_its_error_on_null_data():
    rng, trials = generator(2), 1000
    rejected = sum(paired.permutation_p(differences(rng.normal(size=7))) <= 0.05 for _ in range(trials))
    # Of 128 flips 6 are as extreme: the attainable level just below 0.05 is 6/128.
    assert abs(rejected / trials - 6 / 128) < 3 * np.sqrt(0.047 * 0.953 / trials)


def test_differences_on_one_dataset_are_flipped_together():
    values, units = [0.3, 0.2, 0.4, 0.1], ["x", "x", "y", "y"]
    assert paired.permutation_p(differences(values, units=units)) == 0.5
    assert differences(values, units=units).n_units == 2


def test_tasks_weigh_equally_whatever_their_seeds():
    found = differences([1.0, 3.0, 10.0], tasks=["a", "a", "b"])
    assert found.value == pytest.approx((2.0 + 10.0) / 2)
    assert found.weights.sum() == pytest.approx(1.0)


def test_standard_error_of_one_task_is_that_of_a_t_test():
    values = generator(3).normal(size=9)
    error, freedom = paired.standard_error(differences(values))
    assert error == pytest.approx(values.std(ddof=1) / 3)
    assert freedom == 8
    assert paired.t_test_p(differences(values)) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)


def test_standard_error_of_several_tasks_is_pooled_over_them():
    a, b = generator(4).normal(0, 1, 5), generator(5).normal(3, 1, 5)
    error, freedom = paired.standard_error(differences([*a, *b], tasks=["a"] * 5 + ["b"] * 5))
    pooled = (a.var(ddof=1) + b.var(ddof=1)) / 2
    assert error == pytest.approx(np.sqrt(pooled * 2 / 5) / 2)
    assert freedom == 8


def test_runs_that_copy_each_other_on_a_dataset_add_no_evidence():
    values = generator(6).normal(size=6)
    alone = paired.standard_error(differences(values))
    copied = differences(np.repeat(values, 3), units=[f"set {index // 3}" for index in range(18)])
    assert paired.standard_error(copied) == pytest.approx(alone)


def test_tasks_fed_by_the_same_datasets_are_one_stratum():
    units = ["x", "y", "z"] * 2
    found = differences(generator(7).normal(size=6), tasks=["a"] * 3 + ["b"] * 3, units=units)
    assert (found.n_units, found.n_strata) == (3, 1)
    assert differences(generator(7).normal(size=6), tasks=["a"] * 3 + ["b"] * 3).n_strata == 2


def test_holm_is_that_of_the_textbook():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_holm_bounds_the_chance_of_any_false_rejection_on_null_data():
    rng, trials, family = generator(8), 400, 10
    any_false = any_false_unadjusted = 0
    for _ in range(trials):
        p = [paired.permutation_p(differences(rng.normal(size=9))) for _ in range(family)]
        any_false += bool((paired.holm(p) <= 0.05).any())
        any_false_unadjusted += min(p) <= 0.05
    assert any_false / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert any_false_unadjusted / trials > 0.25


def test_equivalence_needs_evidence_and_keeps_its_error_at_the_margin():
    tight = generator(9).normal(0.0, 0.01, 8)
    assert paired.equivalence_p(differences(tight), 0.05) < 0.01
    assert paired.equivalence_p(differences(tight + 0.06), 0.05) > 0.5
    assert paired.equivalence_p(differences(generator(9).normal(0.0, 0.5, 8)), 0.05) > 0.3
    rng, trials = generator(10), 2000
    wrong = sum(paired.equivalence_p(differences(rng.normal(0.05, 0.02, 8)), 0.05) <= 0.05 for _ in range(trials))
    assert abs(wrong / trials - 0.05) < 3 * np.sqrt(0.05 * 0.95 / trials)


def test_the_detectable_difference_is_found_four_times_in_five():
    spread, n, trials = 0.1, 8, 2000
    scaled = generator(11).normal(size=n)
    scaled = spread * (scaled - scaled.mean()) / scaled.std(ddof=1)
    detectable = paired.detectable_difference(differences(scaled))
    draws = generator(12).normal(detectable, spread, (trials, n))
    found = (scipy.stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05).mean()
    assert abs(found - 0.8) < 3 * np.sqrt(0.8 * 0.2 / trials)


def test_the_number_of_seeds_needed_is_the_classical_one():
    # A difference of one standard deviation, power 0.8, alpha 0.05: 10 pairs (Cohen 1988, one-sample t-test).
    assert seeds_needed(5, 1, 1 / np.sqrt(5), 5, 1.0, 0.8, 0.05) == 10
    assert seeds_needed(5, 1, 1 / np.sqrt(5), 5, 0.5, 0.8, 0.05) == 34
    assert seeds_needed(5, 1, 100.0, 5, 0.001, 0.8, 0.05) is None


def test_power_grows_with_the_effect_and_is_alpha_without_one():
    assert paired.power_of_t_test(1e-9, 9) == pytest.approx(0.05, abs=1e-6)
    assert paired.power_of_t_test(2, 9) < paired.power_of_t_test(3, 9) < 1


def test_pairing_is_worth_what_the_scores_have_in_common():
    common = generator(13).normal(size=40)
    own = generator(14).normal(0, 0.1, (2, 40))
    tasks, units = ("t",) * 40, tuple(map(str, range(40)))
    together = Differences(tasks, tuple(range(40)), units, common + own[0], common + own[1])
    assert paired.pairing_correlation(together) > 0.95
    assert abs(paired.pairing_correlation(Differences(tasks, tuple(range(40)), units, own[0], own[1]))) < 0.4
