"""Published orderings, held against stores whose answers are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic import SyntheticSuite, run_folders, write_store

from benchmarks.orderings import MULTI_SOURCE, OFFLINE_TO_ONLINE, findings, main
from suites.store import Store

SAC = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
AS_PUBLISHED = {
    "random": [0.1] * 6,
    "sac": SAC,
    "rlpd": [0.3, 0.5, 0.6, 0.6, 0.6, 0.7],
    "awac-finetune": [0.3, 0.3, 0.4, 0.5, 0.6, 0.7],
    "cql-sac": [0.4, 0.1, 0.3, 0.4, 0.5, 0.6],
    "off2on": [0.4, 0.39, 0.5, 0.5, 0.6, 0.6],
    "pex": [0.4, 0.5, 0.36, 0.5, 0.5, 0.6],
    "wsrl": [0.4, 0.3, 0.4, 0.5, 0.6, 0.7],
}
REVERSED = AS_PUBLISHED | {
    "rlpd": [0.1, 0.2, 0.3, 0.4, 0.5, 0.7],
    "awac-finetune": [0.3, 0.3, 0.6, 0.6, 0.6, 0.7],
    "cql-sac": [0.4, 0.4, 0.4, 0.4, 0.5, 0.6],
    "off2on": [0.4, 0.1, 0.5, 0.5, 0.6, 0.6],
    "pex": [0.4, 0.5, 0.3, 0.5, 0.5, 0.6],
    "wsrl": [0.4, 0.4, 0.39, 0.39, 0.39, 0.39],
}


def a_store(root: Path, curves: dict[str, list[float]], name: str = OFFLINE_TO_ONLINE, **changes) -> Store:
    def score(method: str, share: float, rng: np.random.Generator) -> float:
        return curves[method][round(5 * share)]

    return Store(write_store(root, SyntheticSuite(name=name, methods=tuple(curves), score=score, **changes)))


@pytest.mark.parametrize(("curves", "verdict"), [(AS_PUBLISHED, "holds"), (REVERSED, "fails")])
def test_every_ordering_is_seen_where_it_is_there_and_missed_where_it_is_not(tmp_path, curves, verdict):
    found = findings(a_store(tmp_path, curves), OFFLINE_TO_ONLINE)
    assert len(found) == 7
    assert {each.claim: each.verdict for each in found} == {each.claim: verdict for each in found}
    assert {each.seeds for each in found} == {5}


def test_figures_are_in_units_of_the_anchor_and_areas_above_the_random_policy(tmp_path):
    value = {each.figure: each.value for each in findings(a_store(tmp_path, AS_PUBLISHED), OFFLINE_TO_ONLINE)}
    # SAC ends at 0.6 and the random policy scores 0.1, so the anchor is half a point.
    assert value["dip / anchor of `cql-sac` (above 0.05)"] == pytest.approx(0.3 / 0.5)
    assert value["dip / anchor of `wsrl` (above 0.05)"] == pytest.approx(0.1 / 0.5)
    assert value["area of `rlpd` / `sac` (above 1.5)"] == pytest.approx((0.56 - 0.1) / (0.35 - 0.1))
    assert value["`rlpd` − `awac-finetune` (above 0)"] == pytest.approx(0.2)


def test_a_mean_on_the_right_side_with_an_interval_across_the_bound_is_undecided(tmp_path):
    def score(method: str, share: float, rng: np.random.Generator) -> float:
        return AS_PUBLISHED[method][round(5 * share)] + (rng.normal(0.2, 0.6) if method == "awac-finetune" else 0.0)

    suite = SyntheticSuite(name=OFFLINE_TO_ONLINE, methods=tuple(AS_PUBLISHED), score=score)
    first = findings(Store(write_store(tmp_path, suite)), OFFLINE_TO_ONLINE)[0]
    assert first.low < 0 < first.value
    assert first.verdict == "undecided"


def test_below_five_seeds_nothing_holds_and_what_was_not_run_decides_nothing(tmp_path, capsys):
    few = findings(a_store(tmp_path / "few", AS_PUBLISHED, seeds=4), OFFLINE_TO_ONLINE)
    assert {each.verdict for each in few} == {"undecided"}
    without = {name: curve for name, curve in AS_PUBLISHED.items() if name != "pex"}
    store = a_store(tmp_path / "part", without)
    verdicts = [each.verdict for each in findings(store, OFFLINE_TO_ONLINE)]
    assert sorted(set(verdicts)) == ["holds", "not run"]
    assert verdicts.count("not run") == 1
    assert main(["--store", str(store.root)]) == 0
    assert "| – | 0 | not run |" in capsys.readouterr().out


@pytest.mark.parametrize(("fooled", "verdict", "code"), [(1, "holds", 0), (2, "fails", 1)])
def test_the_misleading_source_must_lose_weight_in_four_of_five_seeds(tmp_path, capsys, fooled, verdict, code):
    store = a_store(tmp_path, {"misleading-added": SAC, "sac": SAC}, name=MULTI_SOURCE)
    path = tmp_path / "suites" / f"{MULTI_SOURCE}.json"
    manifest = json.loads(path.read_text())
    manifest["method_kinds"]["misleading-added"] = "multi-source"
    path.write_text(json.dumps(manifest))
    for seed, folder in enumerate(run_folders(tmp_path, "reacher-close", "misleading-added")):
        # At first all runs are fooled; only the last row counts.
        for steps, misleading in ((100, 0.6), (200, 0.5 if seed < fooled else 0.2)):
            rest = {"weight_source": (1 - misleading) * 0.9, "weight_moderate": (1 - misleading) * 0.1}
            row = {"phase": "online", "target_steps": steps, "weight_misleading": misleading, **rest}
            with (folder / "train.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
    assert main(["--store", str(store.root), "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert [(each["value"], each["verdict"]) for each in found] == [(5 - fooled, verdict)]


def test_wrong_input_is_one_sentence(tmp_path, capsys):
    assert main(["--store", str(tmp_path / "none")]) == 2
    store = a_store(tmp_path / "other", {"sac": SAC}, name="quickstart")
    assert main(["--store", str(store.root)]) == 2
    assert main(["--store", str(store.root), "--suite", "quickstart"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "no orderings are known for the suite quickstart" in lines[2]
