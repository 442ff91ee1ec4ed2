"""The bootstrap: repeatable, stratified, aware of shared datasets, and covering what it should."""

import numpy as np
import pytest
import scipy.stats
from rliable import library, metrics

from analysis.bootstrap import (
    distribution,
    estimate,
    estimate_improvement,
    expected_coverage,
    percentile_interval,
    profile_band,
    resample,
)
from analysis.statistics import TaskScores, iqm, mean, median, pool, profile


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tasks_of(matrix: np.ndarray) -> list[TaskScores]:
    return [TaskScores(f"task {number}", column) for number, column in enumerate(matrix.T)]


@pytest.fixture
def numpy_state():
    """rliable draws from numpy's global generator; give it back as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    yield
    np.random.set_state(before)  # noqa: NPY002


def test_same_seed_same_interval_and_another_seed_another():
    scores = tasks_of(generator(1).normal(size=(6, 2)))
    first, again, other = (estimate(scores, iqm, generator(seed), 2000) for seed in (7, 7, 8))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_resamples_are_stratified_by_task():
    scores = [TaskScores("a", np.zeros(5)), TaskScores("b", np.zeros(8))]
    drawn = resample(scores, generator(), 500)
    assert (drawn[:, :5].sum(axis=1) == 5).all()
    assert (drawn[:, 5:].sum(axis=1) == 8).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(13), abs=0.15)


@pytest.mark.usefixtures("numpy_state")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(iqm, metrics.aggregate_iqm), (mean, metrics.aggregate_mean), (median, metrics.aggregate_median)],
)
def test_bounds_agree_with_rliable(ours, theirs):
    matrix = generator(2).normal(0.5, 0.2, (10, 3))
    _, bounds = library.get_interval_estimates({"m": matrix}, lambda x: np.array([theirs(x)]), reps=4000)
    found = estimate(tasks_of(matrix), ours, generator(), 20_000)
    width = float(bounds["m"][1, 0] - bounds["m"][0, 0])
    assert found.low == pytest.approx(bounds["m"][0, 0], abs=0.05 * width)
    assert found.high == pytest.approx(bounds["m"][1, 0], abs=0.05 * width)


@pytest.mark.usefixtures("numpy_state")
def test_bounds_of_probability_of_improvement_agree_with_rliable():
    x, y = generator(3).normal(0.6, 0.2, (8, 2)), generator(4).normal(0.5, 0.2, (6, 2))
    _, bounds = library.get_interval_estimates(
        {"x,y": (x, y)}, lambda a, b: np.array([metrics.probability_of_improvement(a, b)]), reps=1500
    )
    found = estimate_improvement(tasks_of(x), tasks_of(y), generator(), 20_000)
    assert found.low == pytest.approx(bounds["x,y"][0, 0], abs=0.03)
    assert found.high == pytest.approx(bounds["x,y"][1, 0], abs=0.03)


def coverage(draw, truth: float, seeds: int, statistic, trials: int = 400) -> float:
    """Share of intervals that hold the truth, each from fresh seeds."""
    rng, held = generator(11), 0
    for _ in range(trials):
        found = estimate([TaskScores("task", draw(rng, seeds))], statistic, rng, 400)
        held += found.low <= truth <= found.high
    return held / trials


def test_coverage_on_a_normal_population_is_what_theory_says():
    # The interval is about mean +- 1.96 s sqrt((n-1)/n) / sqrt(n), which holds the mean with a t-distribution's odds.
    seeds, trials = 10, 400
    expected = 1 - 2 * scipy.stats.t.sf(1.96 * np.sqrt((seeds - 1) / seeds), seeds - 1)
    found = coverage(lambda rng, n: rng.normal(size=n), 0.0, seeds, mean, trials)
    assert abs(found - expected) < 3 * np.sqrt(expected * (1 - expected) / trials)


def test_coverage_on_a_skewed_population_is_that_of_scipys_bootstrap():
    seeds, trials = 8, 250

    def scipy_coverage() -> float:
        rng, held = generator(12), 0
        for _ in range(trials):
            data = (rng.exponential(size=seeds),)
            kwargs = {"method": "percentile", "n_resamples": 400, "rng": rng, "vectorized": True}
            bounds = scipy.stats.bootstrap(data, np.mean, **kwargs).confidence_interval
            held += bounds.low <= 1.0 <= bounds.high
        return held / trials

    found = coverage(lambda rng, n: rng.exponential(size=n), 1.0, seeds, mean, trials)
    assert found < 0.93
    assert abs(found - scipy_coverage()) < 3 * np.sqrt(2 * 0.85 * 0.15 / trials)


def test_runs_on_one_dataset_are_drawn_together():
    # Two datasets, all runs of one alike: a resample's mean is 0, 1/2 or 1 with the odds of two tosses of a coin.
    scores = [TaskScores("task", [0.0, 0.0, 1.0, 1.0], ("x", "x", "y", "y"))]
    found = distribution(mean, scores, generator(), 20_000)
    values, counts = np.unique(found.round(12), return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert counts / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.015)


def test_datasets_shared_by_tasks_are_drawn_once_for_all():
    datasets = ("x", "x", "y", "y")
    scores = [TaskScores("a", [0.0, 0.0, 1.0, 1.0], datasets), TaskScores("b", [0.0, 0.0, 1.0, 1.0], datasets)]
    drawn = resample(scores, generator(), 500)
    assert (drawn[:, :2].sum(axis=1) == drawn[:, 4:6].sum(axis=1)).all()


def test_datasets_shared_by_tasks_are_drawn_once_for_all_also_with_one_run_of_each():
    levels = [TaskScores(level, [0.0, 1.0, 2.0, 3.0, 4.0], tuple("vwxyz")) for level in ("close", "far")]
    drawn = resample([*levels, TaskScores("alone", np.arange(5.0))], generator(), 500)
    assert (drawn[:, :5] == drawn[:, 5:10]).all()
    assert (drawn.sum(axis=1) == 15).all()
    assert np.corrcoef(drawn[:, 0], drawn[:, 10])[0, 1] == pytest.approx(0, abs=0.15)
    widths = [np.subtract(*np.percentile(distribution(mean, some, generator(), 5000), [97.5, 2.5])) for some in
              (levels[:1], levels)]  # fmt: skip
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_shared_datasets_widen_an_interval_when_datasets_differ():
    values = np.array([0.1, 0.12, 0.11, 0.5, 0.52, 0.51])
    alone = estimate([TaskScores("task", values)], mean, generator(), 5000)
    shared = estimate([TaskScores("task", values, tuple("xxxyyy"))], mean, generator(), 5000)
    assert shared.high - shared.low > 1.2 * (alone.high - alone.low)
    assert (alone.units, shared.units) == (6, 2)


def test_a_dataset_of_its_own_for_each_run_changes_nothing():
    values = generator(5).normal(size=6)
    alone = estimate([TaskScores("task", values)], iqm, generator(), 2000)
    own = estimate([TaskScores("task", values, tuple("abcdef"))], iqm, generator(), 2000)
    assert alone == own


def test_unequal_seeds_are_all_resampled():
    scores = [TaskScores("a", np.zeros(5)), TaskScores("b", np.r_[np.zeros(8), 1.0])]
    found = distribution(mean, scores, generator(), 4000)
    assert found.mean() == pytest.approx(0.5 / 9, abs=0.01)
    assert found.max() > 0.5 / 9 + 0.01


def test_profile_band_surrounds_the_profile_and_needs_five_seeds():
    thresholds = np.linspace(-1, 2, 31)
    scores = tasks_of(generator(6).normal(0.5, 0.3, (8, 2)))
    line, low, high = profile_band(scores, thresholds, generator(), 1000)
    assert ((low <= line) & (line <= high)).all()
    values, _ = pool(scores)
    assert line == pytest.approx(profile(values, np.ones((1, values.size)), thresholds)[0])
    assert profile_band(tasks_of(np.zeros((4, 2))), thresholds, generator(), 1000)[1:] == (None, None)


def test_expected_coverage_is_measured_or_interpolated():
    assert expected_coverage(5, 1, iqm) == pytest.approx(0.90)
    assert expected_coverage(10, 6, mean) == pytest.approx(0.92)
    assert expected_coverage(4, 1, iqm) == pytest.approx(0.83)
    assert expected_coverage(50, 20, mean) == pytest.approx(0.94)
    assert 0.90 < expected_coverage(5, 3, iqm) < 0.92
    assert expected_coverage(2, 1, iqm) is None
    assert expected_coverage(10, 1, median) is None


def test_interval_is_the_percentiles():
    low, high = percentile_interval(np.arange(1001.0))
    assert (low, high) == pytest.approx((25.0, 975.0))


def bimodal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Three runs in four near 1, the others near 0: what a method does that sometimes fails to learn."""
    return rng.normal((rng.random(n) < 0.75).astype(float), 0.05)


@pytest.mark.parametrize("seeds", [5, 10])
def test_coverage_on_a_bimodal_population_is_that_of_scipys_bootstrap(seeds):
    trials, rng, held = 250, generator(13), 0
    for _ in range(trials):
        kwargs = {"method": "percentile", "n_resamples": 400, "rng": rng, "vectorized": True}
        bounds = scipy.stats.bootstrap((bimodal(rng, seeds),), np.mean, **kwargs).confidence_interval
        held += bounds.low <= 0.75 <= bounds.high
    found = coverage(bimodal, 0.75, seeds, mean, trials)
    assert abs(found - held / trials) < 3 * np.sqrt(2 * 0.8 * 0.2 / trials)


@pytest.mark.parametrize("population", ["normal", "skewed", "bimodal"])
def test_with_many_seeds_an_interval_holds_the_truth_as_often_as_it_says(population):
    draws = {"normal": (lambda r, n: r.normal(size=n), 0.0), "skewed": (lambda r, n: r.exponential(size=n), 1.0)}
    draw, truth = draws.get(population, (bimodal, 0.75))
    trials = 400
    found = coverage(draw, truth, 80, mean, trials)
    # A percentile interval of 80 skewed draws still covers about one point less than 95 %.
    assert abs(found - 0.945) < 3 * np.sqrt(0.95 * 0.05 / trials)
