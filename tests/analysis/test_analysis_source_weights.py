"""The weights of several source tasks, as rows and as a figure of the report."""

import json
from pathlib import Path

import pytest

from analysis.load import load_suite
from analysis.report import build_report
from analysis.source_weights import mean_weights, weight_frame, weights_figure
from suites.store import Store
from tests.analysis.synthetic import SyntheticSuite, run_folders, write_store

SUITE = SyntheticSuite(methods=("wombet", "sac"), seeds=3, failed={("wombet", 2)}, target_steps=400)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in which one method weighs two sources, `near` ever more with the seed and `far` the rest."""
    root = write_store(tmp_path / "store", SUITE)
    path = root / "suites" / f"{SUITE.name}.json"
    manifest = json.loads(path.read_text())
    manifest["method_kinds"]["wombet"] = "multi-source"
    path.write_text(json.dumps(manifest))
    for method in SUITE.methods:
        for seed, folder in enumerate(run_folders(root, "reacher-close", method)):
            rows = [{"phase": "offline", "target_steps": 0, "weight_near": 0.0}]
            for steps in (100, 200, 300)[: 3 - seed]:
                near = 0.5 + steps / 1000 + seed / 10
                rows.append({"phase": "online", "target_steps": steps, "weight_near": near, "weight_far": 1 - near})
            (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Store(root)


def test_every_recorded_weight_of_usable_runs_is_a_row(store: Store) -> None:
    frame = weight_frame(store, load_suite(store, SUITE.name))
    assert set(frame["method"]) == {"wombet"}
    assert sorted(set(frame["seed"])) == [0, 1]
    assert len(frame) == 2 * (3 + 2)
    first = frame[(frame["seed"] == 1) & (frame["target_steps"] == 100)].set_index("source")["weight"]
    assert first.to_dict() == pytest.approx({"near": 0.7, "far": 0.3})


def test_the_mean_is_over_seeds_where_all_of_them_have_a_weight(store: Store) -> None:
    mean = mean_weights(weight_frame(store, load_suite(store, SUITE.name)))
    assert mean.index.tolist() == [100, 200]
    assert mean["near"].tolist() == pytest.approx([0.65, 0.75])
    assert mean["far"].tolist() == pytest.approx([0.35, 0.25])


def test_the_report_draws_and_lists_them(store: Store, tmp_path: Path) -> None:
    report = build_report(store, SUITE.name, tmp_path / "one", resamples=1000)
    assert "reacher-close-weights" in report.page.read_text()
    assert (tmp_path / "one" / "figures" / "reacher-close-weights.svg").is_file()
    rows = (tmp_path / "one" / "tables" / "source-weights.csv").read_text().splitlines()
    assert rows[0] == "pair,method,seed,source,target_steps,weight"
    assert len(rows) == 1 + 10
    frame = weight_frame(store, load_suite(store, SUITE.name))
    assert (tmp_path / "one" / "figures" / "reacher-close-weights.svg").read_bytes() == weights_figure(frame)["svg"]


def test_without_a_multi_source_method_there_is_nothing_to_read(tmp_path: Path) -> None:
    plain = Store(write_store(tmp_path / "plain", SyntheticSuite(methods=("sac",), seeds=2)))
    assert weight_frame(plain, load_suite(plain, SUITE.name)).empty
