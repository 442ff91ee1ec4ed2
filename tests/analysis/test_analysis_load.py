"""From a store to frames: every cell has a row, and whatever is wrong is named."""

import json

import numpy as np
import pytest
from synthetic import VERSIONS, SyntheticSuite, run_folders, write_store

from analysis.load import load_suite
from suites.store import Store
from wombet.errors import InputError
from wombet.files import sha256

PAIR = "reacher-close"


def load(root, suite: SyntheticSuite | None = None):
    return load_suite(Store(write_store(root, suite)), (suite or SyntheticSuite()).name)


def found(results, kind: str) -> list[str]:
    return [str(finding) for finding in results.findings if finding.kind == kind]


def test_a_method_whose_steps_are_all_random_is_named(tmp_path):
    store, what = Store(write_store(tmp_path)), SyntheticSuite()
    path = tmp_path / "suites" / f"{what.name}.json"
    manifest = json.loads(path.read_text())
    steps = manifest["budgets"]["sac"]["target_steps"]
    manifest["method_configs"] = {"sac": {"random_steps": steps}, "wombet": {"random_steps": steps - 1}, "bc": {}}
    path.write_text(json.dumps(manifest))
    assert found(load_suite(store, what.name), "settings") == [
        f"sac: random_steps is {steps:,}, so that all {steps:,} target steps are random and nothing is learned."
    ]


def test_a_whole_suite_has_a_row_for_every_run_and_evaluation_and_no_findings(tmp_path):
    results = load(tmp_path)
    assert len(results.runs) == 6 * 5
    assert len(results.evaluations) == 3 * 5 * 6 + 3 * 5
    assert results.findings == ()
    assert results.runs["usable"].all()


def test_a_row_is_what_the_run_recorded(tmp_path):
    results = load(tmp_path)
    folder = run_folders(tmp_path, PAIR, "wombet")[2]
    record = json.loads((folder / "evals.jsonl").read_text().splitlines()[3])
    row = results.history(PAIR, "wombet").query("seed == 2 and evaluation == 3").iloc[0]
    assert row["mean_return"] == pytest.approx(np.mean(record["returns"]))
    assert row["score"] == pytest.approx(np.mean(record["returns"]) / 50)
    assert (row["target_steps"], row["source_steps"], row["updates"]) == (1800, 10_000, 2300)
    assert results.episode_returns(row.name).tolist() == record["returns"]
    assert row["return_std"] == pytest.approx(np.std(record["returns"], ddof=1))
    assert row["cpu_s"] == 8.5


def test_the_final_score_is_that_of_the_last_evaluation(tmp_path):
    results = load(tmp_path)
    last = results.history(PAIR, "sac").query("target_steps == 3000").sort_values("seed")
    np.testing.assert_array_equal(results.final_scores(PAIR, "sac").values, last["score"])


def test_holes_failures_and_unfinished_runs_are_named_and_kept_out(tmp_path):
    suite = SyntheticSuite(todo={("rlpd", 3), ("rlpd", 4)}, failed={("sac", 2)}, running={("wombet", 0)})
    results = load(tmp_path, suite)
    assert found(results, "not run") == ["reacher-close, rlpd: seeds 3 and 4 not run."]
    assert found(results, "failed") == [
        "reacher-close, sac: seed 2 failed: FloatingPointError: the critic loss is not finite"
    ]
    assert found(results, "unfinished") == [
        "reacher-close, wombet: seed 0 is interrupted (3 of 6 evaluations stored) and is in no statistic."
    ]
    assert found(results, "seeds") == [
        "reacher-close: the methods have different numbers of finished seeds "
        "(wombet 4, rlpd 3, sac 4, bc 5, random 5, zero 5)."
    ]
    assert results.usable(PAIR, "sac")["seed"].tolist() == [0, 1, 3, 4]
    assert len(results.evaluations.query("method == 'sac' and seed == 2")) == 3


def test_a_run_that_waits_for_a_failed_dataset_says_so(tmp_path):
    suite = SyntheticSuite(n_datasets=5, todo={("bc", 1), ("bc", 2)})
    write_store(tmp_path, suite)
    dataset = load_suite(Store(tmp_path), suite.name).runs.query("method == 'bc' and seed == 2")["dataset"].item()
    folder = tmp_path / "datasets" / f"{dataset}.building"
    folder.mkdir(parents=True)
    (folder / "error.txt").write_text("Traceback\nInputError: nothing passed the filter\n")
    assert found(load_suite(Store(tmp_path), suite.name), "not run") == [
        "reacher-close, bc: seed 1 not run.",
        "reacher-close, bc: seed 2 not run; the dataset failed: InputError: nothing passed the filter",
    ]


def test_a_torn_line_is_named_and_what_was_whole_is_kept(tmp_path):
    write_store(tmp_path, SyntheticSuite(running={("sac", 1)}))
    with open(run_folders(tmp_path, PAIR, "sac")[1] / "evals.jsonl", "a") as file:
        file.write('{"evaluation": 3, "pha')
    results = load_suite(Store(tmp_path), "reacher-smoke")
    assert any("seed 1" in text and "evals.jsonl" in text and "torn" in text for text in found(results, "damaged"))
    assert len(results.evaluations.query("method == 'sac' and seed == 1")) == 3


def test_records_that_changed_after_the_end_make_a_run_unusable(tmp_path):
    write_store(tmp_path)
    folder = run_folders(tmp_path, PAIR, "sac")[0]
    path = folder / "evals.jsonl"
    path.write_text(path.read_text().replace('"target_steps": 3000', '"target_steps": 3001'))
    results = load_suite(Store(tmp_path), "reacher-smoke")
    assert any("hash differs" in text for text in found(results, "damaged"))
    again = f"move {folder.relative_to(tmp_path)} away or delete it, and `wombet run` does the run again."
    assert any("seed 0 is finished but unusable" in text and again in text for text in found(results, "damaged"))
    assert results.usable(PAIR, "sac")["seed"].tolist() == [1, 2, 3, 4]


def rewrite(folder, change) -> None:
    """Change the rows of evals.jsonl as a faulty run would have written them."""
    rows = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    change(rows)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "evals.jsonl").write_text(text)
    done = json.loads((folder / "done.json").read_text())
    (folder / "done.json").write_text(json.dumps(done | {"evals_sha256": sha256(text)}))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda rows: rows[-1]["returns"].__setitem__(0, float("nan")), "not finite"),
        (lambda rows: rows[-1].pop("returns"), "returns"),
        (lambda rows: rows[-1].update(returns=[]), "no episodes"),
    ],
)
def test_a_finished_run_with_an_unusable_row_is_named_and_kept_out(tmp_path, change, word):
    write_store(tmp_path)
    rewrite(run_folders(tmp_path, PAIR, "sac")[4], change)
    results = load_suite(Store(tmp_path), "reacher-smoke")
    assert any("seed 4" in text and word in text for text in found(results, "damaged"))
    assert results.usable(PAIR, "sac")["seed"].tolist() == [0, 1, 2, 3]


def test_seeds_evaluated_at_different_steps_are_named(tmp_path):
    write_store(tmp_path)
    rewrite(run_folders(tmp_path, PAIR, "sac")[0], lambda rows: rows.pop())
    results = load_suite(Store(tmp_path), "reacher-smoke")
    text = " ".join(found(results, "evaluations"))
    assert "seed 0 at 5 points up to 2,400" in text
    assert "seed 0 ends at 2,400 target steps instead of 3,000" in text


def test_mixed_versions_are_named(tmp_path):
    suite = SyntheticSuite(versions=lambda method, seed: VERSIONS | ({"mujoco": "4.0.0"} if seed == 4 else {}))
    assert found(load(tmp_path, suite), "versions") == [
        "all runs: more than one version of mujoco (3.3.0 in 24 runs, 4.0.0 in 6 runs)."
    ]


def test_methods_fed_different_datasets_are_named(tmp_path):
    def dataset(method: str, seed: int) -> str | None:
        return "reacher-odd" if (method, seed) == ("bc", 1) else f"reacher-{seed}" if method in ("bc", "rlpd") else None

    texts = found(load(tmp_path, SyntheticSuite(dataset=dataset)), "datasets")
    assert texts == ["reacher-close, seed 1: methods were fed different datasets (reacher-1: rlpd; reacher-odd: bc)."]


def test_what_an_attempt_noted_is_passed_on(tmp_path):
    write_store(tmp_path)
    path = run_folders(tmp_path, PAIR, "bc")[0] / "provenance.json"
    attempts = json.loads(path.read_text())
    path.write_text(json.dumps([attempts[0] | {"problems": ["the checkpoint was damaged; begun again"]}]))
    results = load_suite(Store(tmp_path), "reacher-smoke")
    assert found(results, "noted") == ["reacher-close, bc: seed 0: the checkpoint was damaged; begun again"]


def test_a_suite_that_was_never_run_is_refused(tmp_path):
    write_store(tmp_path)
    with pytest.raises(InputError, match="no suite 'reacher-smok'"):
        load_suite(Store(tmp_path), "reacher-smok")
