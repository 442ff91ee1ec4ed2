"""Exports hold what the store holds, in forms that other programs read."""

import json

import numpy as np
import pandas as pd
import pytest
from rliable import library, metrics
from synthetic import SyntheticSuite, run_folders, write_store
from typer import Typer
from typer.testing import CliRunner

from analysis.commands.export import export_command
from analysis.export import episode_frame, export, marl_eval, rliable_scores
from analysis.load import load_suite
from suites.store import Store
from wombet.errors import InputError

SUITE = SyntheticSuite(levels=("close", "far"), failed={("bc", 2)})


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = write_store(tmp_path_factory.mktemp("store"), SUITE)
    return load_suite(Store(root), SUITE.name)


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    export(results, out)
    return out


@pytest.mark.parametrize("name", ["runs", "evaluations", "episodes"])
def test_parquet_and_csv_hold_the_same_rows(folder, results, name):
    parquet, text = pd.read_parquet(folder / f"{name}.parquet"), pd.read_csv(folder / f"{name}.csv")
    assert list(parquet.columns) == list(text.columns)
    assert len(parquet) == len(text) > 0
    numeric = parquet.select_dtypes("number").columns
    np.testing.assert_allclose(parquet[numeric].astype(float), text[numeric].astype(float), rtol=1e-10)


def test_every_episode_of_every_evaluation_is_there(results, tmp_path):
    frame = episode_frame(results)
    root = write_store(tmp_path, SUITE)
    for method, seed in (("wombet", 3), ("bc", 2), ("sac", 0)):
        (path,) = [path for path in run_folders(root, "reacher-far", method) if path.name.startswith(f"s{seed}-")]
        expected = [json.loads(line)["returns"] for line in (path / "evals.jsonl").read_text().splitlines()]
        rows = frame[(frame["pair"] == "reacher-far") & (frame["method"] == method) & (frame["seed"] == seed)]
        found = [own["episode_return"].tolist() for _, own in rows.groupby("evaluation")]
        assert found == expected
        assert all(own["episode"].tolist() == list(range(5)) for _, own in rows.groupby("evaluation"))


def test_marl_evals_form_ends_every_run_with_its_last_evaluation(folder, results):
    content = json.loads((folder / "marl-eval.json").read_text())
    assert content == marl_eval(results)
    assert list(content) == ["reacher"]
    assert set(content["reacher"]) == {"reacher-close", "reacher-far"}
    run = content["reacher"]["reacher-far"]["sac"]["seed_4"]
    assert list(run) == ["absolute_metrics", *[f"step_{number}" for number in range(6)]]
    assert [run[f"step_{number}"]["step_count"] for number in range(6)] == [0, 600, 1200, 1800, 2400, 3000]
    assert run["absolute_metrics"]["mean_episode_return"] == run["step_5"]["mean_episode_return"]
    assert "seed_2" not in content["reacher"]["reacher-far"]["bc"]


def test_marl_evals_own_functions_take_it_where_they_are_installed(tmp_path):
    theirs = pytest.importorskip("marl_eval.utils.data_processing_utils", reason="marl-eval is not installed")
    checks = pytest.importorskip("marl_eval.utils.diagnose_data_errors")
    suite = SyntheticSuite(methods=("sac", "wombet"), seeds=3)
    write_store(tmp_path, suite)
    content = marl_eval(load_suite(Store(tmp_path), suite.name))
    assert all(checks.DiagnoseData(content).check_data()["reacher"].values())
    processed = theirs.data_process_pipeline(content, ["mean_episode_return"])
    matrices, _ = theirs.create_matrices_for_rliable(processed, "reacher", ["mean_episode_return"])
    shapes = {name: matrix.shape for name, matrix in matrices["mean_norm_mean_episode_return"].items()}
    assert shapes == {"sac": (3, len(content["reacher"])), "wombet": (3, len(content["reacher"]))}


def test_rliable_takes_the_dictionary_as_it_is(folder, results):
    scores = dict(np.load(folder / "rliable.npz"))
    assert set(scores) == set(results.methods)
    assert scores["sac"].shape == (5, 2)
    assert scores["bc"].shape == (4, 2)
    points, _ = library.get_interval_estimates(scores, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=10)
    values = [results.final_scores(pair, "sac").values for pair in results.pairs]
    assert points["sac"][0] == pytest.approx(metrics.aggregate_iqm(np.stack(values, axis=1)))


def test_methods_that_rliable_cannot_hold_are_named_and_not_cut(tmp_path):
    write_store(tmp_path, SUITE)
    first = run_folders(tmp_path, "reacher-close", "rlpd")[0]
    (first / "done.json").unlink()
    arrays, left_out = rliable_scores(load_suite(Store(tmp_path), SUITE.name))
    assert "rlpd" not in arrays
    assert left_out == {"rlpd": "unequal seeds: reacher-close 4, reacher-far 5"}


def test_exported_again_the_files_are_the_same_bytes(folder, results, tmp_path):
    export(results, tmp_path)
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())


def invoke(*arguments):
    program = Typer()
    program.command()(export_command)
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_the_verb_names_what_it_wrote(tmp_path):
    write_store(tmp_path, SyntheticSuite(seeds=2))
    shown = invoke("reacher-smoke", "--store", tmp_path)
    assert shown.exit_code == 0, shown.output
    assert str(tmp_path / "exports" / "reacher-smoke" / "runs.parquet") in shown.stdout.splitlines()
    content = json.loads(invoke("reacher-smoke", "--store", tmp_path, "--json", "--out", tmp_path / "x").stdout)
    assert len(content["files"]) == 9


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    write_store(tmp_path, SyntheticSuite(seeds=2))
    (tmp_path / "file").write_text("")
    result = invoke("reacher-smoke", "--store", tmp_path, "--out", tmp_path / "file")
    assert isinstance(result.exception, InputError)
