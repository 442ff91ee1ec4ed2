"""Tables and curves of a synthetic store, against numbers computed here from its files."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from synthetic import SyntheticSuite, run_folders, write_store

from analysis.curves import common_target_steps, learning_curves
from analysis.load import load_suite
from analysis.render import csv_text, flat, main_part, number
from analysis.sensitivity import ranking_table
from analysis.summary import headline
from analysis.tables import scale_over, suite_tables
from analysis.views import Anchors, latex, markdown, table_view
from suites.store import Store

PAIR = "reacher-close"


def load(root, suite: SyntheticSuite | None = None):
    return load_suite(Store(write_store(root, suite)), "reacher-smoke")


def tables(root, suite: SyntheticSuite | None = None):
    return suite_tables(load(root, suite), seed=0, resamples=1000)


def row(table, method: str):
    return next(row for row in table.rows if row.method == method)


def stored_scores(root, method: str, line: int, pair: str = PAIR) -> np.ndarray:
    """Scores of one evaluation of every seed, read from the files without the code under test."""
    scores = []
    for folder in run_folders(root, pair, method):
        record = json.loads((folder / "evals.jsonl").read_text().splitlines()[line])
        scores.append(np.mean(record["returns"]) / 50)
    return np.array(scores)


def view(root, suite, table):
    return table_view(table, "results", "stem", Anchors(load(root, suite)))


def test_a_row_summarises_the_final_evaluations(tmp_path):
    (table,) = tables(tmp_path)
    ours, scores = row(table, "wombet"), stored_scores(tmp_path, "wombet", -1)
    assert ours.final.value == pytest.approx(scipy.stats.trim_mean(scores, 0.25), abs=1e-12)
    assert ours.final.low < ours.final.value < ours.final.high
    assert ours.mean == pytest.approx(scores.mean())
    assert ours.median == pytest.approx(np.median(scores))
    assert ours.optimality_gap == pytest.approx(1 - scores.mean())
    assert ours.mean_return == pytest.approx(50 * scores.mean())
    assert (ours.source_steps, ours.target_steps, ours.cpu_s) == (10_000, 3000, 13.5)
    assert (ours.finished, ours.planned, ours.failed, ours.missing) == (5, 5, 0, 0)


def test_rows_keep_the_suites_order_and_count_failures_and_holes(tmp_path):
    suite = SyntheticSuite(todo={("rlpd", 4)}, failed={("sac", 2)}, running={("wombet", 3)})
    (table,) = tables(tmp_path, suite)
    assert [row.method for row in table.rows] == list(suite.methods)
    assert [(row.finished, row.failed, row.missing) for row in table.rows[:3]] == [(4, 0, 1), (4, 0, 1), (4, 1, 0)]
    assert row(table, "sac").final.low is None


def test_a_method_without_a_finished_run_keeps_its_row(tmp_path):
    suite = SyntheticSuite(failed={("sac", seed) for seed in range(5)})
    (table,) = tables(tmp_path, suite)
    assert (row(table, "sac").final, row(table, "sac").failed) == (None, 5)
    assert "| sac | 0/5 | 5 | – |" in markdown(view(tmp_path, suite, table))


def test_several_pairs_have_a_table_over_all_of_them_first(tmp_path):
    overall, close, far = tables(tmp_path, SyntheticSuite(levels=("close", "far")))
    assert (overall.pair, close.pair, far.pair) == (None, "reacher-close", "reacher-far")
    assert row(overall, "bc").mean == pytest.approx((row(close, "bc").mean + row(far, "bc").mean) / 2)
    assert row(overall, "bc").finished == 10
    assert row(overall, "bc").mean_return is None


def test_over_several_pairs_scores_lie_between_anchors_that_were_measured_beforehand(tmp_path):
    """On the far level all scores are negative; normalised, both levels count alike."""
    scores = {"wombet": (0.9, -0.3), "sac": (0.5, -0.5), "random": (0.1, -0.9)}
    suite = SyntheticSuite(
        methods=tuple(scores),
        levels=("close", "far"),
        level_score=lambda method, level, _: scores[method][level == "far"],
    )
    results = load(tmp_path, suite)
    (whole, *_) = suite_tables(results, seed=0, resamples=1000)
    assert (whole.scale, whole.title) == ("score", "All task pairs (2)")
    assert row(whole, "wombet").final.value == pytest.approx(0.3)
    measured = {name: replace(own, beforehand=True) for name, own in results.anchors.items()}
    results = replace(results, anchors=measured)
    (whole, close, _) = suite_tables(results, seed=0, resamples=1000)
    assert (whole.scale, whole.title) == ("normalised", "All task pairs (2), normalised")
    for name, value in (("wombet", (2.0 + 1.5) / 2), ("sac", 1.0), ("random", 0.0)):
        found = row(whole, name)
        assert (found.final.value, found.at_equal_steps.value, found.mean) == pytest.approx((value,) * 3), name
    assert headline(whole)[0].startswith("Over 2 task pairs, normalised scores, final evaluation, against")
    assert (close.scale, row(close, "wombet").final.value) == ("score", pytest.approx(0.9))
    assert scale_over(replace(results, anchors={close.pair: measured[close.pair]}), results.pairs) == "score"
    ranks = ranking_table(results)
    assert ranks["variant"].unique().tolist()[:4] == [
        *("IQM of normalised scores", "mean of normalised scores", "median of normalised scores", "IQM of scores")
    ]
    assert ranks["value"].iloc[0] == pytest.approx(1.75)


def test_failed_runs_count_as_the_random_policy_on_the_normalised_scale_too(tmp_path):
    scores = {"wombet": (0.9, -0.3), "sac": (0.5, -0.5), "random": (0.1, -0.9)}
    suite = SyntheticSuite(
        methods=tuple(scores),
        levels=("close", "far"),
        failed={("wombet", seed) for seed in range(3)},
        level_score=lambda method, level, _: scores[method][level == "far"],
    )
    results = load(tmp_path, suite)
    measured = {name: replace(own, beforehand=True) for name, own in results.anchors.items()}
    ranks = ranking_table(replace(results, anchors=measured)).set_index(["variant", "method"])["value"]
    assert ranks["IQM, failures as random", "wombet"] == pytest.approx(2 * 1.5 / 6)
    assert ranks["IQM, failures as random", "sac"] == pytest.approx(1.0)


def test_scores_at_equal_target_steps_use_the_smallest_budget(tmp_path):
    results = load(tmp_path, SyntheticSuite(short=("rlpd",)))
    assert common_target_steps(results, PAIR) == 1200
    (table,) = suite_tables(results, seed=0, resamples=1000)
    expected = scipy.stats.trim_mean(stored_scores(tmp_path, "wombet", 2), 0.25)
    assert row(table, "wombet").at_equal_steps.value == pytest.approx(expected, abs=1e-12)
    assert row(table, "bc").at_equal_steps.value == pytest.approx(row(table, "bc").final.value)


def test_scores_at_equal_target_steps_are_also_summarised_over_all_pairs(tmp_path):
    overall, *pairs = tables(tmp_path, SyntheticSuite(short=("rlpd",), levels=("close", "far"), seeds=4))
    scores = [stored_scores(tmp_path, "wombet", 2, table.pair) for table in pairs]
    assert overall.equal_steps == 1200
    expected = scipy.stats.trim_mean(np.concatenate(scores), 0.25)
    assert row(overall, "wombet").at_equal_steps.value == pytest.approx(expected, abs=1e-12)
    assert row(overall, "wombet").final.value > row(overall, "wombet").at_equal_steps.value


def test_the_columns_seen_first_have_steps_only_where_they_differ(tmp_path):
    asked = [
        ({"levels": ("close", "far")}, []),
        ({"short": ("rlpd",)}, ["at 1,200 steps", "source steps", "target steps"]),
    ]
    for changes, expected in asked:
        table, *_ = tables(tmp_path / str(len(expected)), SyntheticSuite(**changes))
        heads, lines = main_part(table)
        assert [head.heading for head in heads if "steps" in head.heading] == expected
        assert {len(line) for line in lines} == {len(heads)}
        said = [sentence for sentence in headline(table) if "Target steps differ" in sentence]
        assert len(said) == bool(expected)
    assert said[0].endswith("Target steps differ: 3,000 by sac and wombet; 1,200 by rlpd.")


def test_curves_are_the_iqm_at_every_evaluation_point(tmp_path):
    results = load(tmp_path)
    curves = {curve.method: curve for curve in learning_curves(results, PAIR, "target", 0, 1000)}
    sac = curves["sac"]
    assert sac.steps.tolist() == [0, 600, 1200, 1800, 2400, 3000]
    expected = [scipy.stats.trim_mean(stored_scores(tmp_path, "sac", line), 0.25) for line in range(6)]
    np.testing.assert_allclose(sac.values, expected, atol=1e-12)
    low, high = sac.band
    assert ((low <= sac.values) & (sac.values <= high)).all()


def test_methods_without_online_training_are_flat_lines(tmp_path):
    curves = {curve.method: curve for curve in learning_curves(load(tmp_path), PAIR, "target", 0, 1000)}
    assert curves["bc"].flat
    assert not curves["wombet"].flat
    assert curves["bc"].steps.tolist() == [0, 3000]
    assert len(set(curves["bc"].values)) == 1


def test_all_interaction_includes_the_source_steps_of_the_dataset(tmp_path):
    curves = {curve.method: curve for curve in learning_curves(load(tmp_path), PAIR, "total", 0, 1000)}
    assert curves["wombet"].steps.tolist() == [10_000 + steps for steps in range(0, 3001, 600)]
    assert curves["sac"].steps[-1] == 3000
    assert curves["bc"].steps.tolist() == [10_000, 13_000]


def test_few_seeds_give_curves_without_bands_and_a_mean_that_says_so(tmp_path):
    suite = SyntheticSuite(seeds=3)
    results = load(tmp_path, suite)
    assert all(curve.band is None for curve in learning_curves(results, PAIR, "target", 0, 1000))
    (table,) = suite_tables(results, seed=0, resamples=1000)
    assert row(table, "sac").final.label == "mean (n=3 < 4)"
    assert "(mean of 3)" in markdown(view(tmp_path, suite, table))
    assert "IQM" not in markdown(view(tmp_path, suite, table))


def test_the_headline_names_what_lies_above_and_below_the_reference(tmp_path):
    levels = {"wombet": 0.9, "rlpd": 0.5, "sac": 0.5, "bc": 0.1, "random": 0.1, "zero": 0.1}
    suite = SyntheticSuite(score=lambda method, progress, rng: levels[method] + rng.normal(0, 0.02))
    first, second = headline(tables(tmp_path, suite)[0])
    above, below = first.split(";")
    assert "against the interval of sac" in above
    assert "wholly above lies that of wombet" in above
    assert "wholly below lie those of" in below
    assert "rlpd" not in first
    assert all(method in below for method in ("bc", "random", "zero"))
    assert second == "Not separated from sac: rlpd."


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.41, 0.6, "wholly above"), (0.39, 0.6, "no method"), (0.1, 0.29, "wholly below")]
)
def test_an_interval_excludes_another_only_if_they_do_not_touch(tmp_path, low, high, said):
    (table,) = tables(tmp_path, SyntheticSuite(methods=("sac", "bc")))
    rows = []
    for row_of_table, bounds in zip(table.rows, [(0.3, 0.4), (low, high)], strict=True):
        final = replace(row_of_table.final, value=sum(bounds) / 2, low=bounds[0], high=bounds[1])
        rows.append(replace(row_of_table, final=final))
    assert said in headline(replace(table, rows=tuple(rows)))[0]


def test_the_headline_claims_nothing_without_intervals(tmp_path):
    sentences = headline(tables(tmp_path, SyntheticSuite(seeds=4))[0])
    assert sentences[1].startswith("With 4 finished seeds of sac there is no interval")


def test_over_several_pairs_the_headline_counts_those_that_have_runs(tmp_path):
    (whole, *_) = tables(tmp_path, two_levels())
    assert headline(whole)[0].startswith("Over 2 task pairs, ")
    on_one = replace(whole, rows=tuple(replace(own, pairs=own.pairs[:1]) for own in whole.rows))
    assert headline(on_one)[0].startswith("Over 1 of 2 task pairs, ")


def test_a_method_that_ran_on_other_pairs_is_not_held_against_the_reference(tmp_path):
    (whole, *_) = tables(tmp_path, two_levels())
    assert "wholly above lies that of wombet" in headline(whole)[0]
    for pairs in (row(whole, "wombet").pairs[:1], ("reacher-far", "reacher-moderate")):
        rows = tuple(replace(own, pairs=pairs) if own.method == "wombet" else own for own in whole.rows)
        said = " ".join(headline(replace(whole, rows=rows)))
        assert "wholly above" not in said
        assert "Not compared, because their finished runs are not on the pairs of sac: wombet." in said


def test_without_a_reference_methods_on_other_pairs_are_not_ranked(tmp_path):
    suite = replace(two_levels(), methods=("wombet", "bc"))
    (whole, *_) = tables(tmp_path, suite)
    assert "final scores go from" in headline(whole)[0]
    rows = tuple(replace(own, pairs=own.pairs[:1]) if own.method == "bc" else own for own in whole.rows)
    first = headline(replace(whole, rows=rows))[0]
    assert first.startswith("Over 2 task pairs, final evaluation: the methods have finished runs on different pairs")
    assert "final scores go" not in first


def two_levels():
    levels = {"wombet": 0.9, "sac": 0.5, "bc": 0.1}
    return SyntheticSuite(
        methods=("wombet", "sac", "bc"),
        levels=("close", "far"),
        score=lambda method, progress, rng: levels[method] + rng.normal(0, 0.02),
    )


def test_csv_holds_the_numbers_in_full(tmp_path):
    (table,) = tables(tmp_path)
    records = list(csv.DictReader(io.StringIO(csv_text([flat(table, row) for row in table.rows]))))
    assert [record["method"] for record in records] == [row.method for row in table.rows]
    assert float(records[0]["final"]) == pytest.approx(row(table, "wombet").final.value, rel=1e-11)
    assert records[0]["final_statistic"] == "IQM"


def test_latex_has_as_many_cells_in_every_line_and_escapes(tmp_path):
    suite = SyntheticSuite(methods=("sac", "my_method", "50%&co"))
    (table,) = tables(tmp_path, suite)
    text = latex(view(tmp_path, suite, table))
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in lines}) == 1
    assert r"my\_method" in text
    assert r"50\%\&co" in text
    assert r"\toprule" in text


def test_numbers_have_a_true_minus_and_no_negative_zero():
    assert number(-0.1234) == "−0.123"
    assert number(-0.0001) == "0.000"
    assert number(None) == "–"
