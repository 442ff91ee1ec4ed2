"""Transfer figures against curves whose answers are known, and steps that were not reached."""

import numpy as np
import pytest
from synthetic import SyntheticSuite, write_store

from analysis.load import load_suite
from analysis.transfer import (
    Progress,
    area,
    budget_table,
    censored_median,
    first_steps,
    progress,
    recovery_steps,
    transfer_table,
)
from suites.store import Store
from wombet.errors import InputError

PAIR = "reacher-close"
STEPS = np.array([0, 600, 1200, 1800, 2400, 3000])


def results_of(root, suite: SyntheticSuite | None = None):
    suite = suite or SyntheticSuite()
    return load_suite(Store(write_store(root, suite)), suite.name)


def curve_suite(curves: dict[str, list[float]], **changes) -> SyntheticSuite:
    """A suite without noise, whose methods score what is listed at the six evaluations."""

    def score(method: str, share: float, rng: np.random.Generator) -> float:
        return curves[method][round(5 * share)]

    return SyntheticSuite(methods=tuple(curves), score=score, **changes)


def figure(table, method: str, name: str):
    rows = table[(table["method"] == method) & (table["figure"] == name)]
    assert len(rows) == 1
    return rows.iloc[0]


def own(scores) -> Progress:
    scores = np.atleast_2d(np.array(scores, dtype=float))
    return Progress(tuple(range(len(scores))), (None,) * len(scores), STEPS, scores)


CURVES = {
    "wombet": [0.5, 0.3, 0.4, 0.5, 0.7, 0.8],
    "sac": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    "random": [0.1] * 6,
}


def test_known_curves_have_known_figures(tmp_path):
    table = transfer_table(results_of(tmp_path, curve_suite(CURVES)), resamples=1000)
    expected = {
        "jump-start": 0.4,
        "dip": 0.2,
        "dip, share of the anchor": 0.2 / (0.6 - 0.1),
        "steps to recover": 1800,
        "steps to 50 %": 0,
        "steps to 75 %": 0,
        "steps to 90 %": 2400,
        "final gain": 0.2,
        "negative transfer": 0.0,
        "regret": 1 - (0.25 + 0.3 + 0.4 + 0.5 + 0.7 + 0.4) / 5,
        "area ratio": ((0.25 + 0.3 + 0.4 + 0.5 + 0.7 + 0.4) / 5 - 0.1) / (0.35 - 0.1),
    }
    for name, value in expected.items():
        row = figure(table, "wombet", name)
        assert row["value"] == pytest.approx(value, abs=1e-9), name
        assert (row["low"], row["high"]) == pytest.approx((value, value), abs=1e-9), name


def test_areas_end_at_the_last_step_at_which_both_were_evaluated(tmp_path):
    """Two straight lines are one and the same curve, whatever the steps at which they are looked at."""
    grids = {"wombet": [0, 400, 800, 1200, 1600, 2000], "sac": [0, 600, 1200, 1800, 2400, 3000]}
    suite = SyntheticSuite(methods=("wombet", "sac", "random"), evaluated_at=grids, score=lambda _, share, __: share)
    table = transfer_table(results_of(tmp_path, suite), resamples=1000)
    row = figure(table, "wombet", "area ratio")
    assert (row["value"], row["note"]) == (pytest.approx(1.0), "over the first 1,200 target steps")
    gain = figure(table, "wombet", "final gain")
    assert (gain["value"], gain["note"]) == (pytest.approx(-1 / 3), "after 2,000 target steps, against 3,000")


def test_without_anchors_a_dip_has_no_share(tmp_path):
    curves = {name: CURVES[name] for name in ("wombet", "sac")}
    table = transfer_table(results_of(tmp_path, curve_suite(curves)), resamples=1000)
    assert figure(table, "wombet", "dip")["value"] == pytest.approx(0.2)
    assert not table["figure"].str.contains("anchor").any()


def test_the_share_of_a_dip_has_the_interval_of_the_dip(tmp_path):
    def score(method: str, share: float, rng: np.random.Generator) -> float:
        own = CURVES[method][round(5 * share)]
        return own - rng.uniform(0, 0.1) if (method, share) == ("wombet", 0.2) else own

    results = results_of(tmp_path, SyntheticSuite(methods=tuple(CURVES), score=score))
    table = transfer_table(results, resamples=1000)
    dip, share = figure(table, "wombet", "dip"), figure(table, "wombet", "dip, share of the anchor")
    assert (share["unit"], share["seeds"]) == ("share", 5)
    for key in ("value", "low", "high"):
        assert share[key] == pytest.approx(dip[key] / 0.5)
    assert 0.4 < share["low"] < share["value"] < share["high"]


def test_what_is_not_reached_within_the_budget_is_censored_and_said(tmp_path):
    curves = CURVES | {"rlpd": [0.5, 0.2, 0.2, 0.2, 0.2, 0.3]}
    table = transfer_table(results_of(tmp_path, curve_suite(curves)), resamples=1000)
    row = figure(table, "rlpd", "steps to 90 %")
    assert np.isinf([row["value"], row["low"], row["high"]]).all()
    assert (row["reached"], row["note"]) == (0, "0 of 5 within 3,000 steps")
    assert np.isinf(figure(table, "rlpd", "steps to recover")["value"])
    assert figure(table, "rlpd", "negative transfer")["value"] == 1.0


def test_a_median_of_steps_needs_half_of_the_seeds():
    assert censored_median(np.array([100.0, np.inf, 300.0])) == 300
    assert np.isinf(censored_median(np.array([100.0, np.inf, np.inf])))


def test_steps_are_counted_per_seed():
    curves = own([[0.1, 0.5, 0.2, 0.6, 0.6, 0.6], [0.6, 0.1, 0.1, 0.5, 0.7, 0.8], [0.2] * 6])
    assert first_steps(curves, 0.5).tolist() == [600, 0, np.inf]
    assert recovery_steps(curves).tolist() == [0, 2400, 0]
    assert area(curves)[2] == pytest.approx(0.2)


def test_the_interval_of_steps_comes_from_the_seeds(tmp_path):
    def score(method: str, share: float, rng: np.random.Generator) -> float:
        return share if method == "sac" else min(1.0, share * rng.uniform(0.8, 2.0))

    suite = SyntheticSuite(methods=("wombet", "sac", "random"), seeds=9, n_datasets=9, score=score)
    row = figure(transfer_table(results_of(tmp_path, suite), resamples=2000), "wombet", "steps to 75 %")
    assert row["low"] <= row["value"] <= row["high"]
    assert row["low"] < row["high"]
    assert set(row[["low", "value", "high"]]) <= {0, 600, 1200, 1800, 2400, 3000}


def test_figures_against_the_reference_are_paired_by_seed(tmp_path):
    results = results_of(tmp_path, SyntheticSuite(failed={("sac", 2)}, todo={("wombet", 4)}))
    row = figure(transfer_table(results, resamples=1000), "wombet", "final gain")
    ours = results.usable(PAIR, "wombet").set_index("seed")["score"]
    theirs = results.usable(PAIR, "sac").set_index("seed")["score"]
    assert row["seeds"] == 3
    assert row["value"] == pytest.approx((ours - theirs).dropna().mean())
    assert np.isnan(row["low"])


def test_methods_without_online_training_have_no_steps(tmp_path):
    table = transfer_table(results_of(tmp_path), resamples=1000)
    assert set(table[table["method"] == "bc"]["figure"]) == {"jump-start", "final gain", "negative transfer"}


def test_the_budget_ratio_is_the_share_of_steps_to_reach_a_baselines_end(tmp_path):
    table = budget_table(results_of(tmp_path, curve_suite(CURVES | {"rlpd": [0.5] * 5 + [0.9]})), resamples=1000)
    table = table.set_index("baseline")
    assert (table.loc["sac", "steps"], table.loc["sac", "ratio"]) == (2400, pytest.approx(0.8))
    assert np.isinf(table.loc["rlpd", "ratio"])
    assert table.loc["rlpd", "reached_share"] == 0
    assert "random" not in table.index


def test_the_budget_ratio_is_that_of_the_mean_curves(tmp_path):
    results = results_of(tmp_path, SyntheticSuite(seeds=6, n_datasets=6))
    row = budget_table(results, resamples=1000).set_index("baseline").loc["sac"]
    ours, theirs = progress(results, PAIR, "wombet"), progress(results, PAIR, "sac")
    goal = theirs.scores[:, -1].mean()
    assert row["steps"] == STEPS[np.flatnonzero(ours.scores.mean(axis=0) >= goal)[0]]
    assert row["low"] <= row["ratio"] <= row["high"]


def test_an_unknown_reference_is_named(tmp_path):
    results = results_of(tmp_path)
    with pytest.raises(InputError, match="did you mean 'sac'"):
        transfer_table(results, "sacc")
    with pytest.raises(InputError, match="no method 'wombat'"):
        budget_table(results, "wombat")
