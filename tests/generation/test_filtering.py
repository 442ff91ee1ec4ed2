"""The filter on trajectories whose returns and uncertainties are known."""

import numpy as np
import pytest

from wombet.errors import InputError
from wombet.filtering import (
    AcceptanceError,
    Candidates,
    Thresholds,
    check_acceptance,
    matched_mask,
    return_mask,
    return_thresholds,
    threshold_mask,
    uncertainty_mask,
    venn_counts,
)

RULES = ("dual", "return", "uncertainty", "none")


def drawn(n: int = 200) -> Candidates:
    generator = np.random.default_rng(3)
    return Candidates(
        generator.normal(size=n), generator.exponential(size=n), generator.integers(0, 60, n), np.arange(n) % 2
    )


LIMITS = Thresholds(uncertainty=0.8, returns=(0.1, -0.3), min_steps=20)


def test_dual_is_the_intersection_of_the_two_rules_and_none_is_everything_that_ran():
    candidates = drawn()
    dual, high, certain, everything = (threshold_mask(candidates, rule, LIMITS) for rule in RULES)
    assert np.array_equal(dual, high & certain)
    assert np.array_equal(everything, candidates.steps > 0)
    assert 0 < dual.sum() < min(high.sum(), certain.sum())


def test_venn_counts_are_those_of_the_masks_and_sum_to_all():
    candidates = drawn()
    counts = venn_counts(candidates, LIMITS)
    high, certain = return_mask(candidates, LIMITS), uncertainty_mask(candidates, LIMITS)
    assert counts["both"] == (high & certain).sum()
    assert counts["return_only"] + counts["both"] == high.sum()
    assert counts["uncertainty_only"] + counts["both"] == certain.sum()
    assert sum(counts.values()) == len(candidates)


def test_return_thresholds_are_per_start_type_the_median_but_never_below_the_source_data():
    candidates = Candidates(
        np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]), np.zeros(6), np.full(6, 50), np.array([0, 0, 0, 1, 1, 1])
    )
    assert return_thresholds(candidates, (0.0, 0.0)) == (0.2, 0.8)
    assert return_thresholds(candidates, (0.25, 0.5)) == (0.25, 0.8)
    limits = Thresholds(1.0, return_thresholds(candidates, (0.0, 0.0)), 1)
    assert return_mask(candidates, limits).tolist() == [False, True, True, False, True, True]


def test_a_trajectory_that_ended_early_has_no_high_return_and_an_empty_one_is_never_accepted():
    candidates = Candidates(np.ones(3), np.zeros(3), np.array([0, 19, 20]), np.zeros(3, np.int64))
    limits = Thresholds(1.0, (0.5, 0.5), 20)
    assert return_mask(candidates, limits).tolist() == [False, False, True]
    assert uncertainty_mask(candidates, limits).tolist() == [False, True, True]
    assert threshold_mask(candidates, "none", limits).tolist() == [False, True, True]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [1, 7, 60, 150])
def test_matched_selection_keeps_exactly_n_and_the_start_types_shares(rule, count):
    candidates = drawn()
    accepted = matched_mask(candidates, rule, count, np.random.default_rng(0))
    assert accepted.sum() == count
    assert (candidates.steps[accepted] > 0).all()
    usable = candidates.steps > 0
    expected = count * (usable & (candidates.start_type == 0)).sum() / usable.sum()
    assert abs((accepted & (candidates.start_type == 0)).sum() - expected) < 1


def test_matched_rules_rank_by_what_they_are_named_after():
    candidates = drawn()
    usable = candidates.steps > 0
    for kind in (0, 1):
        of_kind = usable & (candidates.start_type == kind)
        high = matched_mask(candidates, "return", 40, np.random.default_rng(0)) & of_kind
        assert candidates.returns[high].min() > candidates.returns[of_kind & ~high].max()
        certain = matched_mask(candidates, "uncertainty", 40, np.random.default_rng(0)) & of_kind
        assert candidates.uncertainty[certain].max() < candidates.uncertainty[of_kind & ~certain].min()
        dual = matched_mask(candidates, "dual", 40, np.random.default_rng(0)) & of_kind
        eligible = of_kind & (candidates.uncertainty <= np.quantile(candidates.uncertainty[of_kind], 0.6))
        assert not (dual & ~eligible).any()
        assert candidates.returns[dual].min() > candidates.returns[eligible & ~dual].max()


def test_only_the_random_choice_depends_on_the_generator():
    candidates = drawn()
    masks = {r: [matched_mask(candidates, r, 40, np.random.default_rng(i)) for i in (0, 1)] for r in RULES}
    assert [np.array_equal(*masks[rule]) for rule in RULES] == [True, True, True, False]


def test_too_few_accepted_trajectories_are_an_error_that_names_the_numbers():
    accepted = np.zeros(100, np.bool_)
    accepted[:4] = True
    with pytest.raises(AcceptanceError, match=r"accepted 4 of 100 trajectories \(4\.0%\) and needs 5%.*both 4"):
        check_acceptance(accepted, 0.05, {"both": 4})
    accepted[4] = True
    check_acceptance(accepted, 0.05, {"both": 5})
    with pytest.raises(AcceptanceError):
        check_acceptance(np.zeros(100, np.bool_), 0.0, {})


def test_asking_for_more_than_there_are_or_for_an_unknown_rule_is_an_error():
    candidates = drawn(10)
    with pytest.raises(AcceptanceError, match="11 trajectories are to be kept"):
        matched_mask(candidates, "return", 11, np.random.default_rng(0))
    with pytest.raises(InputError, match="must be one of dual, return, uncertainty, none"):
        threshold_mask(candidates, "best", LIMITS)  # type: ignore[arg-type]
