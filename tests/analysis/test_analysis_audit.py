"""A damaged, mixed or old store still loads, and the audit names each thing that is wrong with it."""

import json
from types import SimpleNamespace

import pytest
from synthetic import SyntheticSuite, run_folders, write_store

from analysis.audit import band_findings
from analysis.load import load_suite
from analysis.report import build_report
from suites.store import Store
from wombet.errors import InputError
from wombet.files import sha256

PAIR = "reacher-close"
NAME = "reacher-smoke"


def load(root):
    return load_suite(Store(root), NAME)


def found(results, kind: str) -> list[str]:
    return [str(finding) for finding in results.findings if finding.kind == kind]


def manifest_of(root) -> dict:
    return json.loads((root / "suites" / f"{NAME}.json").read_text())


def write_manifest(root, content: dict) -> None:
    (root / "suites" / f"{NAME}.json").write_text(json.dumps(content))


def damage(root) -> None:
    """Do to a store, run by run, what crashes and people do to one."""
    folders = run_folders(root, PAIR, "sac")
    with open(folders[0] / "evals.jsonl", "a") as file:
        file.write('{"evaluation": 6, "pha')
    (folders[1] / "evals.jsonl").unlink()
    (folders[2] / "provenance.json").unlink()
    (folders[3] / "notes from Kim.txt").write_text("do not delete")
    (folders[4] / "costs.jsonl").write_text("not json\n")
    (root / "runs" / PAIR / "sac" / "backup of seed 3").mkdir()
    (root / "runs" / PAIR / "sac" / ".DS_Store").write_text("")
    (run_folders(root, PAIR, "bc")[0] / "spec.json").write_text("{")
    (run_folders(root, PAIR, "bc")[1] / "done.json").write_text("[]")


def test_a_damaged_store_loads_and_every_damage_is_named(tmp_path):
    damage(write_store(tmp_path))
    results = load(tmp_path)
    damaged = " | ".join(found(results, "damaged"))
    for sentence in (
        "sac: seed 0: the last line of evals.jsonl is torn",
        "sac: seed 1: evals.jsonl is missing although the run is marked as finished",
        "sac: seed 2: provenance.json is missing",
        "sac: seed 4: line 1 of costs.jsonl is damaged",
        "bc: seed 0: spec.json is unreadable",
        "bc: seed 1: done.json is not a JSON object",
    ):
        assert sentence in damaged, sentence
    foreign = found(results, "foreign")
    assert len(foreign) == 2
    assert "backup of seed 3" in foreign[0]
    assert "notes from Kim.txt" in foreign[1]
    assert results.usable(PAIR, "sac")["seed"].tolist() == [2, 3, 4]


def test_a_damaged_store_still_has_a_report_that_names_the_damage(tmp_path):
    damage(write_store(tmp_path))
    report = build_report(Store(tmp_path), NAME, tmp_path / "out", resamples=1000)
    assert "notes from Kim.txt" in report.page.read_text()


def test_few_seeds_are_named(tmp_path):
    write_store(tmp_path, SyntheticSuite(failed={("sac", 0)}))
    assert found(load(tmp_path), "few seeds") == [
        "reacher-close, sac: 4 finished seeds: points without intervals (5 are needed)."
    ]


def test_runs_without_versions_are_counted(tmp_path):
    write_store(tmp_path)
    (run_folders(tmp_path, PAIR, "bc")[0] / "provenance.json").write_text("[]")
    assert found(load(tmp_path), "versions") == [
        "all runs: 1 finished runs do not say with which versions they were made."
    ]


def test_methods_outside_of_their_published_band_are_named():
    rows = [
        SimpleNamespace(
            environment="Hopper-v5", method="sac", steps=100_000, mean=350.0, lo=800.0, hi=2000.0, verdict=verdict
        )
        for verdict in ("fail", "pass", "not comparable")
    ]
    assert [str(finding) for finding in band_findings(rows)] == [
        "Hopper-v5, sac: the mean return 350 at 100,000 steps is outside of the published band from 800 to 2,000."
    ]


OPTIONAL = (
    "description", "overrides", "budgets", "evaluation", "method_kinds", "method_sources", "method_deviations", "title",
    "seeds", "suite_sha256",
)  # fmt: skip


def test_an_older_schema_loads_with_the_same_scores_and_is_named(tmp_path):
    write_store(tmp_path)
    scores = load(tmp_path).final_scores(PAIR, "sac").values
    content = {key: value for key, value in manifest_of(tmp_path).items() if key not in OPTIONAL} | {"schema": 0}
    write_manifest(tmp_path, content)
    for folder in run_folders(tmp_path, PAIR, "sac"):
        rows = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
        old = [{key: row[key] for key in ("evaluation", "target_steps", "returns")} for row in rows]
        text = "".join(json.dumps(row) + "\n" for row in old)
        (folder / "evals.jsonl").write_text(text)
        done = json.loads((folder / "done.json").read_text())
        (folder / "done.json").write_text(json.dumps(done | {"evals_sha256": sha256(text)}))
    results = load(tmp_path)
    assert results.final_scores(PAIR, "sac").values.tolist() == scores.tolist()
    assert found(results, "schema") == [
        "manifest: the manifest has schema 0, an older one than 1; what it lacks is left blank."
    ]
    notes = " | ".join(found(results, "noted"))
    assert (
        "sac: seed 0: evals.jsonl has no phase and no source_steps and no updates (an older form of the rows)" in notes
    )
    assert "spec.json has schema 1, the suite has 0" in notes
    build_report(Store(tmp_path), NAME, tmp_path / "out", resamples=1000)


@pytest.mark.parametrize("name", ["pairs", "methods", "cells"])
def test_a_manifest_without_its_core_is_refused(tmp_path, name):
    write_store(tmp_path)
    content = manifest_of(tmp_path)
    del content[name]
    write_manifest(tmp_path, content)
    with pytest.raises(InputError, match=f"no list of {name}|is damaged"):
        load(tmp_path)


def test_a_manifest_whose_pairs_have_no_horizon_is_refused(tmp_path):
    write_store(tmp_path)
    content = manifest_of(tmp_path)
    del content["pairs"][0]["horizon"]
    write_manifest(tmp_path, content)
    with pytest.raises(InputError, match="not that pair's horizon"):
        load(tmp_path)
