"""The rule for levels: what behaviour cloning retains of its aligned score, against shares that are known."""

import json

import numpy as np
import pytest
from synthetic import SyntheticSuite, run_folders, write_store

from analysis.levels import EASIER, HARDER, HOLDS, RULES, level_table
from analysis.load import load_suite
from analysis.numbers import number_tables
from analysis.report import build_report
from suites.store import Store
from suites.tasks.anchors import read_anchors

LEVELS = ("aligned", "close", "moderate", "far")
RANDOM = {"aligned": 0.1, "close": 0.2, "moderate": 0.1, "far": -0.1}
RETAINED = {"aligned": 1.0, "close": 0.8, "moderate": 0.4, "far": 0.31}


def retaining(shares: dict[str, float] = RETAINED, aligned: float = 0.5, **changes) -> SyntheticSuite:
    """A suite in which cloning scores (aligned + a tenth per seed) times a share above the random policy."""

    def score(method: str, level: str, seed: int) -> float:
        return RANDOM[level] + (0.0 if method == "random" else shares[level] * (aligned + 0.1 * seed))

    return SyntheticSuite(**{"methods": ("random", "bc"), "levels": LEVELS, "level_score": score, **changes})


def results_of(root, suite: SyntheticSuite):
    return load_suite(Store(write_store(root, suite)), suite.name)


def test_what_is_retained_is_above_the_random_policy_of_each_level(tmp_path):
    table = level_table(results_of(tmp_path, retaining()), resamples=1000).set_index("level")
    assert list(table.index) == ["close", "moderate", "far"]
    for level, row in table.iterrows():
        assert row["retained"] == pytest.approx(RETAINED[level])
        assert row["score"] == pytest.approx(RANDOM[level] + 0.7 * RETAINED[level])
        assert (row["random_score"], row["aligned_score"]) == pytest.approx((RANDOM[level], 0.8))
        assert row["aligned_random_score"] == pytest.approx(0.1)
        assert (row["family"], row["pair"], row["seeds"], row["datasets"]) == ("reacher", f"reacher-{level}", 5, 2)
    assert list(table["verdict"]) == [HOLDS, HARDER, EASIER]


def test_seeds_are_resampled_in_pairs(tmp_path):
    table = level_table(results_of(tmp_path, retaining()), resamples=1000)
    # Every seed retains the same share, however its aligned score differs from that of the others.
    for end in ("low", "high"):
        assert table[end].tolist() == pytest.approx(table["retained"].tolist())


def test_seeds_of_one_dataset_are_resampled_together(tmp_path):
    def score(method: str, level: str, seed: int) -> float:
        share = {"aligned": 1.0}.get(level, 0.4 if seed % 2 else 0.8)
        return 0.0 if method == "random" else share * 0.5

    suite = retaining(level_score=score, seeds=6)
    row = level_table(results_of(tmp_path, suite), resamples=4000).set_index("level").loc["close"]
    assert row["retained"] == pytest.approx(0.6)
    # Both draws fall on one dataset in a quarter of the resamples; six single seeds all would in a sixty-fourth.
    assert (row["low"], row["high"]) == pytest.approx((0.4, 0.8))


@pytest.mark.parametrize(
    ("level", "retained", "verdict"),
    [
        ("close", 0.725, HOLDS), ("close", 0.7249, HARDER), ("close", 1.2, HOLDS),
        ("moderate", 0.45, HOLDS), ("moderate", 0.725, HOLDS), ("moderate", 0.449, HARDER), ("moderate", 0.726, EASIER),
        ("far", 0.30, HOLDS), ("far", -0.5, HOLDS), ("far", 0.301, EASIER),
    ],
)  # fmt: skip
def test_bounds_belong_to_the_level(level, retained, verdict):
    assert RULES[level].verdict(retained) == verdict


def test_below_five_seeds_there_are_points_alone(tmp_path):
    table = level_table(results_of(tmp_path, retaining(seeds=4)), resamples=1000)
    assert table["retained"].notna().all()
    assert (table["verdict"] != "").all()
    assert table[["low", "high"]].isna().to_numpy().all()


def test_only_seeds_that_finished_both_levels_count(tmp_path):
    root, suite = tmp_path, retaining()
    write_store(root, suite)
    for folder in run_folders(root, "reacher-aligned", "bc")[:1] + run_folders(root, "reacher-close", "bc")[4:]:
        (folder / "done.json").unlink()
    for folder in run_folders(root, "reacher-far", "bc"):
        (folder / "done.json").unlink()
    table = level_table(load_suite(Store(root), suite.name), resamples=1000).set_index("level")
    assert table["seeds"].to_dict() == {"close": 3, "moderate": 4, "far": 0}
    assert table.loc["close", "aligned_score"] == pytest.approx(0.1 + 0.5 + 0.2)
    assert table.loc["far", "note"] == "no seed finished both levels"
    assert np.isnan(table.loc["far", "retained"])


def test_where_cloning_learns_nothing_at_aligned_there_is_no_share_and_no_verdict(tmp_path):
    table = level_table(results_of(tmp_path / "none", retaining(aligned=-0.2)), resamples=1000)
    assert set(table["note"]) == {"bc is not above the random policy at aligned"}
    assert table[["retained", "verdict", "low"]].isna().to_numpy().all()

    # Four seeds of five lie below the random policy, and so do the resamples without the fifth.
    def score(method: str, level: str, seed: int) -> float:
        return 0.0 if method == "random" else (5.0 if seed == 4 else -0.1)

    unsure = level_table(results_of(tmp_path / "unsure", retaining(level_score=score, n_datasets=5)), resamples=1000)
    assert unsure["retained"].tolist() == pytest.approx([1.0] * 3)
    assert unsure["low"].isna().all()
    assert unsure["note"].str.startswith("no interval: in some resamples").all()


def change_pairs(root, suite: SyntheticSuite, change) -> None:
    path = root / "suites" / f"{suite.name}.json"
    manifest = json.loads(path.read_text())
    for pair in manifest["pairs"]:
        change(pair)
    path.write_text(json.dumps(manifest))


def test_the_random_policy_is_that_of_the_anchors_and_without_one_nothing_is_judged(tmp_path):
    suite = retaining(methods=("bc",))
    write_store(tmp_path, suite)
    table = level_table(load_suite(Store(tmp_path), suite.name), resamples=1000)
    assert set(table["note"]) == {"the random policy was not measured"}
    anchors = read_anchors()
    change_pairs(
        tmp_path, suite, lambda pair: pair.update(target_fingerprint=anchors[f"reacher/{pair['level']}"].fingerprint)
    )
    table = level_table(load_suite(Store(tmp_path), suite.name), resamples=1000).set_index("level")
    low = anchors["reacher/close"].random_mean / 50
    assert table.loc["close", "random_score"] == pytest.approx(low)
    aligned = 0.8 - anchors["reacher/aligned"].random_mean / 50
    assert table.loc["close", "retained"] == pytest.approx((0.2 + 0.56 - low) / aligned)


def test_halves_of_a_level_and_other_horizons_are_not_judged(tmp_path):
    suite = retaining()
    write_store(tmp_path, suite)
    changes = {"close": {"shift": "reward"}, "far": {"family": "other"}}
    change_pairs(tmp_path, suite, lambda pair: pair.update(changes.get(pair["level"], {})))
    assert list(level_table(load_suite(Store(tmp_path), suite.name), resamples=1000)["level"]) == ["moderate"]
    change_pairs(tmp_path, suite, lambda pair: pair.update(horizon=100) if pair["level"] == "moderate" else None)
    assert level_table(load_suite(Store(tmp_path), suite.name), resamples=1000).empty


@pytest.mark.parametrize("changes", [{"levels": LEVELS[1:]}, {"methods": ("random", "sac")}])
def test_without_the_aligned_level_or_cloning_there_is_no_table(tmp_path, changes):
    results = results_of(tmp_path, retaining(**changes))
    assert level_table(results).empty
    assert "levels" not in number_tables(results, resamples=1000)


def test_the_report_shows_the_levels_with_the_rule_and_leads_to_the_runs(tmp_path):
    suite = retaining()
    report = build_report(Store(write_store(tmp_path, suite)), suite.name, tmp_path / "out", resamples=1000)
    page = report.page.read_text()
    assert "Are the levels what they are called?" in page
    assert "close holds from 0.725 on" in page
    for verdict in (HOLDS, HARDER, EASIER):
        assert f">{verdict}<" in page
    line = (report.folder / "tables" / "levels.csv").read_text().splitlines()[1]
    assert line.startswith("reacher,close,reacher-close,bc,0.8,0.8,0.8,about 0.85,from 0.725,holds,5,2,")
    assert (report.folder / "tables" / "levels.tex").is_file()
