"""Point statistics against rliable and closed forms; unequal numbers of seeds; what is refused."""

from pathlib import Path

import numpy as np
import pytest
from rliable import metrics

from analysis import statistics
from analysis.bootstrap import Estimate, estimate
from analysis.statistics import TaskScores, iqm, mean, median, optimality_gap, point, probability_of_improvement
from wombet.errors import InputError


def tasks_of(matrix: np.ndarray) -> list[TaskScores]:
    """One task per column, one seed per row, as rliable has it."""
    return [TaskScores(f"task {number}", column) for number, column in enumerate(matrix.T)]


def random_scores(runs: int, tasks: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.6, 0.4, (runs, tasks))


@pytest.mark.parametrize(("runs", "tasks"), [(4, 1), (5, 1), (7, 3), (10, 6), (3, 4), (23, 2)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (iqm, metrics.aggregate_iqm),
        (mean, metrics.aggregate_mean),
        (median, metrics.aggregate_median),
        (optimality_gap, metrics.aggregate_optimality_gap),
    ],
)
def test_equals_rliable(runs, tasks, ours, theirs):
    scores = random_scores(runs, tasks)
    assert point(ours, tasks_of(scores)) == pytest.approx(theirs(scores), abs=1e-12)


@pytest.mark.parametrize(("runs_x", "runs_y"), [(5, 5), (4, 9)])
def test_probability_of_improvement_equals_rliable_also_with_ties(runs_x, runs_y):
    x, y = random_scores(runs_x, 3, 1).round(1), random_scores(runs_y, 3, 2).round(1)
    ours = probability_of_improvement(tasks_of(x), tasks_of(y))
    assert ours == pytest.approx(metrics.probability_of_improvement(x, y), abs=1e-12)


def test_profile_is_the_share_of_runs_above_a_threshold_as_in_rliable():
    from rliable.library import create_performance_profile

    scores, thresholds = random_scores(6, 3).round(1), np.arange(-5, 16) / 10
    assert np.isin(scores, thresholds).any(), "a score must lie on a threshold for the test to tell > from >="
    theirs, _ = create_performance_profile({"method": scores}, thresholds, reps=2)
    values, tasks = statistics.pool(tasks_of(scores))
    weights = statistics.balanced_weights(np.ones((1, values.size), dtype=np.int64), tasks)
    np.testing.assert_allclose(statistics.profile(values, weights, thresholds)[0], theirs["method"], atol=1e-12)


def test_closed_forms():
    eight = [TaskScores("task", np.arange(8.0))]
    assert point(iqm, eight) == 3.5
    assert point(iqm, [TaskScores("task", [0.0, 1.0, 2.0, 3.0, 100.0])]) == 2.0
    assert point(optimality_gap, [TaskScores("task", [0.5, 3.0])]) == 0.25
    assert probability_of_improvement([TaskScores("t", [1, 2])], [TaskScores("t", [2, 3])]) == 0.125


def test_unequal_seeds_weigh_tasks_equally_and_none_is_cut():
    few, many = TaskScores("a", [0.0, 1.0]), TaskScores("b", [2.0, 4.0, 6.0, 8.0])
    assert point(mean, [few, many]) == pytest.approx((0.5 + 5.0) / 2, abs=1e-12)
    # A run of the short task counts as much as three of the long one: repeating it thrice must change nothing.
    rng = np.random.default_rng(3)
    short, long = rng.normal(size=2), rng.normal(size=6)
    weighted = point(iqm, [TaskScores("a", short), TaskScores("b", long)])
    repeated = metrics.aggregate_iqm(np.stack([np.repeat(short, 3), long], axis=1))
    assert weighted == pytest.approx(repeated, abs=1e-12)


def test_every_seed_of_the_longer_task_matters():
    base = [TaskScores("a", [0.1, 0.2, 0.3]), TaskScores("b", [0.2, 0.4, 0.5, 0.6, 0.7])]
    changed = [base[0], TaskScores("b", [0.2, 0.4, 0.5, 0.6, 0.9])]
    assert point(mean, changed) == pytest.approx(point(mean, base) + 0.2 / 5 / 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_place(bad):
    with pytest.raises(InputError, match=r"score 1 of task 'reacher-close' is (nan|inf)"):
        TaskScores("reacher-close", [0.1, bad, 0.2])


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]]])
def test_scores_must_be_a_list_of_numbers(values):
    with pytest.raises(InputError, match="non-empty list of numbers"):
        TaskScores("task", values)


def test_methods_must_share_tasks():
    with pytest.raises(InputError, match="same tasks in the same order"):
        probability_of_improvement([TaskScores("a", [1.0])], [TaskScores("b", [1.0])])


def estimate_of(n: int) -> Estimate:
    return estimate([TaskScores("task", np.arange(n) / 10)], iqm, np.random.default_rng(0), 1000)


def test_iqm_of_fewer_than_four_scores_is_called_the_mean():
    assert estimate_of(3).label == "mean (n=3 < 4)"
    assert estimate_of(3).value == pytest.approx(0.1)
    assert (estimate_of(4).label, estimate_of(4).kept) == ("IQM", 2)
    assert (estimate_of(5).label, estimate_of(5).kept) == ("IQM", 3)


def test_below_five_seeds_there_is_a_point_and_no_interval():
    assert not estimate_of(4).has_interval
    assert estimate_of(4).expected_coverage is None
    assert estimate_of(5).has_interval
    uneven = [TaskScores("a", np.arange(4.0)), TaskScores("b", np.arange(10.0))]
    assert not estimate(uneven, iqm, np.random.default_rng(0), 1000).has_interval


def test_no_source_but_the_one_that_drives_rliable_holds_global_randomness():
    folder = Path(statistics.__file__).parent
    assert not [
        path.name
        for path in folder.glob("*.py")
        if path.name != "rliable_backend.py" and "np.random.seed" in path.read_text()
    ]


@pytest.mark.parametrize("statistic", [iqm, mean, median, optimality_gap])
@pytest.mark.parametrize("sizes", [(3,), (9,), (5, 8, 6)])
def test_many_resamples_at_once_are_each_what_it_is_alone(statistic, sizes):
    rng = np.random.default_rng(4)
    values, tasks = statistics.pool([TaskScores(str(size), rng.normal(size=size)) for size in sizes])
    drawn = np.asfortranarray(1.0 + rng.integers(0, 3, (200, values.size)))
    weights = statistics.balanced_weights(drawn, tasks)
    alone = [statistic(values, weights[row : row + 1], tasks)[0] for row in range(200)]
    assert statistic(values, weights, tasks) == pytest.approx(alone, abs=1e-12)
