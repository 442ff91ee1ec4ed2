"""Aggregates by pair, family, level and over all; scales, backends and the matrix of improvements."""

import numpy as np
import pytest
from rliable import library, metrics
from synthetic import SyntheticSuite, write_store

from analysis.aggregates import aggregates, check_backend, estimates_by, improvement_table
from analysis.anchors import PairAnchors
from analysis.bootstrap import estimate, estimate_improvement, estimate_series, estimates, improvement_matrix
from analysis.load import load_suite
from analysis.rliable_backend import rliable_estimates, seeded_globally
from analysis.statistics import TaskScores, iqm, mean, median, optimality_gap
from suites.store import Store
from wombet.errors import InputError
from wombet.streams import Streams


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tasks_of(matrix: np.ndarray) -> list[TaskScores]:
    return [TaskScores(f"task {number}", column) for number, column in enumerate(matrix.T)]


def results_of(root, suite: SyntheticSuite | None = None):
    suite = suite or SyntheticSuite(levels=("close", "far"))
    return load_suite(Store(write_store(root, suite)), suite.name)


def one(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_scopes_go_from_the_whole_to_the_single_pair_and_none_is_given_twice(tmp_path):
    table = aggregates(results_of(tmp_path), resamples=1000)
    found = list(dict.fromkeys(zip(table["scope"], table["group"], strict=True)))
    assert found == [
        ("all", "all pairs"), ("level", "close"), ("level", "far"), ("pair", "reacher-close"), ("pair", "reacher-far"),
    ]  # fmt: skip


def test_all_statistics_equal_rliables(tmp_path):
    results = results_of(tmp_path)
    table = aggregates(results, resamples=1000)
    matrix = np.stack([results.final_scores(pair, "rlpd").values for pair in results.pairs], axis=1)
    for name, theirs in (
        ("iqm", metrics.aggregate_iqm), ("mean", metrics.aggregate_mean),
        ("median", metrics.aggregate_median), ("optimality_gap", metrics.aggregate_optimality_gap),
    ):  # fmt: skip
        row = one(table, scope="all", scale="score", method="rlpd", statistic=name)
        assert row["value"] == pytest.approx(theirs(matrix), abs=1e-12)
        assert row["low"] <= row["value"] <= row["high"]


def test_returns_are_given_raw_and_normalised_between_the_anchors(tmp_path):
    results = results_of(tmp_path)
    table = aggregates(results, resamples=1000)
    raw = one(table, scope="pair", group="reacher-far", scale="return", method="sac", statistic="mean")
    score = one(table, scope="pair", group="reacher-far", scale="score", method="sac", statistic="mean")
    normalised = one(table, scope="pair", group="reacher-far", scale="normalised", method="sac", statistic="mean")
    assert raw["value"] == pytest.approx(50 * score["value"])
    assert normalised["value"] == pytest.approx(1.0)
    random = one(table, scope="pair", group="reacher-far", scale="normalised", method="random", statistic="mean")
    assert random["value"] == pytest.approx(0.0, abs=1e-12)


def test_a_spread_is_scaled_and_never_shifted():
    anchors = PairAnchors("pair", 50, -100.0, 300.0, "", "")
    returns = generator().normal(200.0, 20.0, 50)
    assert anchors.normalise(returns).std() == pytest.approx(anchors.normalise_spread(returns.std()))
    assert anchors.normalise_spread(20.0) == pytest.approx(0.05)


def test_spreads_in_the_frames_are_scaled_and_never_shifted(tmp_path):
    results = results_of(tmp_path)
    row = results.runs[results.runs["method"] == "wombet"].iloc[0]
    own = results.anchors[row["pair"]]
    assert row["return_std"] == pytest.approx(np.std([-1, -0.5, 0, 0.5, 1], ddof=1))
    assert row["normalised_std"] == pytest.approx(row["return_std"] / (own.high - own.low))
    assert row["normalised"] == pytest.approx((row["mean_return"] - own.low) / (own.high - own.low))


def test_without_a_learner_from_scratch_there_are_no_normalised_scores(tmp_path):
    results = results_of(tmp_path, SyntheticSuite(methods=("wombet", "random")))
    assert results.anchors == {}
    assert set(aggregates(results, resamples=1000)["scale"]) == {"score", "return"}
    assert results.runs["normalised"].isna().all()


def test_below_five_seeds_there_are_points_without_intervals_and_below_four_scores_no_iqm(tmp_path):
    table = aggregates(results_of(tmp_path, SyntheticSuite(seeds=3)), resamples=1000)
    assert table["low"].isna().all()
    assert table["expected_coverage"].isna().all()
    assert set(table[table["statistic"] == "iqm"]["label"]) == {"mean (n=3 < 4)"}


def test_several_statistics_at_once_are_those_of_each_alone():
    scores = tasks_of(generator(1).normal(size=(6, 3)))
    together = estimates(scores, [iqm, mean, median, optimality_gap], generator(7), 2000)
    assert together[0] == estimate(scores, iqm, generator(7), 2000)
    assert together[3] == estimate(scores, optimality_gap, generator(7), 2000)


def test_a_series_is_that_of_its_points():
    values = generator(2).normal(size=(7, 4))
    series = estimate_series("task", values, (None,) * 7, iqm, generator(3), 3000)
    for column, found in zip(values.T, series, strict=True):
        alone = estimate([TaskScores("task", column)], iqm, generator(3), 3000)
        assert found == alone


def test_the_matrix_of_improvements_is_that_of_rliable():
    matrices = {name: generator(seed).normal(0.1 * seed, 0.5, (6, 2)).round(1) for seed, name in enumerate("abc")}
    scores = {name: tasks_of(matrix) for name, matrix in matrices.items()}
    found = improvement_matrix(scores, generator(), 20_000)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (x, y), own in found.items():
        assert own.value == pytest.approx(metrics.probability_of_improvement(matrices[x], matrices[y]), abs=1e-12)
        alone = estimate_improvement(scores[x], scores[y], generator(5), 20_000)
        assert (own.low, own.high) == pytest.approx((alone.low, alone.high), abs=0.03)


def test_an_improvement_and_its_reverse_add_to_one(tmp_path):
    table = improvement_table(results_of(tmp_path), resamples=1000).set_index(["a", "b"])
    forth, back = table.loc[("wombet", "sac")], table.loc[("sac", "wombet")]
    assert forth["probability"] + back["probability"] == pytest.approx(1.0)
    assert (forth["low"], forth["high"]) == pytest.approx((1 - back["high"], 1 - back["low"]))


def test_rliables_own_bootstrap_is_repeatable_and_leaves_the_global_generator_alone():
    matrix = generator(4).normal(0.5, 0.2, (6, 2))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (rliable_estimates(tasks_of(matrix), [iqm, mean], 3, 1000) for _ in range(2))
    assert first == again
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    with seeded_globally(3):
        _, bounds = library.get_interval_estimates(
            {"m": matrix}, lambda x: np.array([metrics.aggregate_iqm(x), metrics.aggregate_mean(x)]), reps=1000
        )
    assert [(own.low, own.high) for own in first] == [tuple(pair) for pair in bounds["m"].T]


def test_the_two_bootstraps_agree_within_their_error():
    scores = tasks_of(generator(5).normal(0.5, 0.2, (10, 3)))
    ours, theirs = (estimates_by(name, scores, [iqm], Streams(0), "x", 5000)[0] for name in ("wombet", "rliable"))
    assert ours.value == theirs.value
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * (ours.high - ours.low))


def test_rliable_refuses_unequal_seeds_and_an_unknown_bootstrap_is_named():
    uneven = [TaskScores("a", np.zeros(5)), TaskScores("b", np.zeros(6))]
    with pytest.raises(InputError, match="a 5, b 6"):
        rliable_estimates(uneven, [iqm], 0, 1000)
    with pytest.raises(InputError, match="'rlible'"):
        check_backend("rlible")
