"""Where the ends of the score scale come from: what was measured for the very same task, else the suite's own rows."""

import json
from dataclasses import replace

import pytest
from synthetic import SyntheticSuite, write_store

from analysis import anchors
from analysis.anchors import anchor_table
from analysis.load import load_suite
from analysis.transfer import transfer_table
from suites.store import Store
from suites.tasks import make_task
from suites.tasks.anchors import read_anchors
from suites.tasks.references import Reference, read_references, write_references

SUITE = SyntheticSuite(methods=("wombet", "sac", "random"), levels=("close", "far"))
CLOSE = make_task("reacher", "close")
REFERENCE = Reference(
    fingerprint=CLOSE.fingerprint(), horizon=50, method="sac", target_steps=100_000, seeds=3, evaluations=11,
    episodes=5, mean_return=45.0, at_steps=90_000, final_mean=44.0, random_mean=17.3, suite="references-pocket",
    runs=("0a", "1b", "2c"), commit="c0ffee", gymnasium="1.4.0", mujoco="3.3.0", torch="2.13.0", provisional=True,
    std=1.0, final_std=2.0,
)  # fmt: skip


@pytest.fixture
def suite_of(tmp_path, monkeypatch):
    """A function that reads a suite whose pair `close` is the real task, beside the references that there are."""

    def read(*references: Reference, suite: SyntheticSuite = SUITE):
        root = write_store(tmp_path / "store", suite)
        path = root / "suites" / f"{suite.name}.json"
        manifest = json.loads(path.read_text())
        manifest["pairs"][0]["target_fingerprint"] = CLOSE.fingerprint()
        path.write_text(json.dumps(manifest))
        file = tmp_path / "references.toml"
        write_references({f"row {number}": own for number, own in enumerate(references)}, file)
        monkeypatch.setattr(anchors, "read_references", lambda: read_references(file))
        return load_suite(Store(root), suite.name)

    return read


def test_a_reference_of_the_very_same_task_goes_in_front_of_the_suites_own_row(suite_of):
    results = suite_of(REFERENCE)
    close, far = results.anchors["reacher-close"], results.anchors["reacher-far"]
    assert (close.low, close.high) == (read_anchors()["reacher/close"].random_mean, 45.0)
    assert close.high_source == (
        "SAC, 3 seeds, 100,000 steps, best of 11 seed averages (at 90,000), provisional, runs 0a, 1b, 2c"
    )
    assert close.low_source.startswith("random policy, 50 episodes of reacher/close, seed 0")
    assert far.high_source == "sac of this suite, 5 seeds, 3,000 target steps"
    assert far.low_source == "random of this suite, 5 seeds, 0 target steps"
    own = results.usable("reacher-close", "wombet")
    assert own["normalised"].tolist() == pytest.approx(((own["mean_return"] - close.low) / (45 - close.low)).tolist())
    assert list(anchor_table(results.anchors)["high_source"]) == [close.high_source, far.high_source]


@pytest.mark.parametrize("other", [{"horizon": 49}, {"fingerprint": "0123456789ab"}])
def test_a_reference_of_another_task_or_horizon_is_none(suite_of, other):
    results = suite_of(replace(REFERENCE, **other))
    assert results.anchors["reacher-close"].high_source == "sac of this suite, 5 seeds, 3,000 target steps"


def test_without_any_reference_the_suites_own_row_serves(suite_of):
    results = suite_of()
    assert results.anchors["reacher-close"].high == results.usable("reacher-close", "sac")["mean_return"].mean()


def test_a_pair_whose_reference_is_not_above_random_has_no_anchors(suite_of):
    results = suite_of(replace(REFERENCE, mean_return=17.0))
    assert set(results.anchors) == {"reacher-far"}


def test_a_suite_without_sac_and_random_has_the_anchors_that_were_measured(suite_of):
    results = suite_of(REFERENCE, suite=SyntheticSuite(methods=("wombet", "bc"), levels=("close", "far")))
    assert set(results.anchors) == {"reacher-close"}


def test_a_dip_is_a_share_of_the_range_that_the_reference_gives(suite_of):
    curve = [0.5, 0.3, 0.4, 0.5, 0.7, 0.8]
    suite = replace(SUITE, score=lambda method, share, rng: curve[round(5 * share)])
    table = transfer_table(suite_of(REFERENCE, suite=suite), resamples=1000).set_index(["pair", "method", "figure"])
    expected = 0.2 * 50 / (45.0 - read_anchors()["reacher/close"].random_mean)
    assert table.loc[("reacher-close", "wombet", "dip, share of the anchor"), "value"] == pytest.approx(expected)
