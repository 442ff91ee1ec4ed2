"""Runs of native tasks: from the suite of the catalogue to a verdict against published curves."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.ppo_reference import compare, stored_returns
from suites.bands import Bands, compare_with_bands, read_bands
from suites.cli import build_program
from suites.matrix import build_matrix
from suites.runner import run_cell
from suites.spec import load_suite, parse_suite
from suites.store import Store, StoredRun
from tests.suites.cells import results
from wombet.errors import InputError
from wombet.files import write_atomically

SMALL = {
    "name": "native-small",
    "title": "t",
    "description": "d",
    "seeds": 1,
    "n_datasets": 1,
    "methods": ["td3", "ppo"],
    "pairs": [{"family": "native/Hopper-v5", "level": "stock", "horizon": 20}],
    "budgets": {"target_steps": 60},
    "evaluation": {"count": 3, "episodes": 2},
    "shared": {"hidden_width": 16, "random_steps": 20, "batch_size": 8, "rollout_steps": 24, "minibatch_size": 8},
}


def stored(returns: list[list[float]], method: str = "sac", environment: str = "HalfCheetah", **spec: Any) -> list[Any]:
    """Finished runs, one per seed, whose evaluation after 100000 steps gave these returns."""
    pair = {"family": f"native/{environment}-v5", "horizon": spec.pop("horizon", 1000)}
    content = {"pair": pair, "method": method, "method_version": 1, "config": {"tau": 0.1}, **spec}
    steps = spec.get("steps", 100_000)
    return [
        StoredRun(Path(f"s{seed}"), content, [{"target_steps": steps, "returns": values}], [], {}, None, None)
        for seed, values in enumerate(returns)
    ]


def verdict(runs: list[Any], bands: Bands | None = None) -> tuple[str, str]:
    (found,) = compare_with_bands(runs, bands or read_bands(), {})
    return found.verdict, found.reason


def test_every_band_is_what_the_file_says_a_band_is() -> None:
    bands = read_bands()
    assert len(bands.curves) == 8
    for curve in bands.curves:
        assert curve.source
        assert curve.protocol
        assert [point.steps for point in curve.points] == [100_000, 200_000, 300_000, 500_000, 1_000_000]
        for point in curve.points:
            half = max(2 * point.sd, 0.15 * point.mean)
            assert (point.lo, point.hi) == pytest.approx((point.mean - half, point.mean + half), abs=0.51)


def test_the_mean_of_the_seeds_passes_within_the_band_and_fails_outside() -> None:
    assert verdict(stored([[5000.0, 7000.0], [4000.0], [7000.0]])) == ("pass", "within the band")
    assert verdict(stored([[4000.0]] * 3)) == ("fail", "below the band")
    assert verdict(stored([[9000.0]] * 3)) == ("fail", "above the band")
    mean = compare_with_bands(stored([[5000.0, 7000.0], [4000.0], [7000.0]]), read_bands(), {})[0].mean
    assert mean == pytest.approx(17000 / 3)


ENVIRONMENTS = ("HalfCheetah", "Hopper", "Walker2d", "Ant")
SAC, TD3 = "github.com/dojeon-ai/SimbaV2", "github.com/sfujim/TD3"


@pytest.mark.parametrize(
    ("method", "source", "means"),
    [
        ("sac", SAC, (11321, 2786, 4537, 5732)),
        ("sac-sb3", SAC, (11321, 2786, 4537, 5732)),
        ("td3", TD3, (9567, 3391, 4413, 4243)),
    ],
)
def test_a_method_is_held_against_its_own_curve_of_each_environment(method: str, source: str, means: Any) -> None:
    for environment, mean in zip(ENVIRONMENTS, means, strict=True):
        (found,) = compare_with_bands(stored([[0.0]], method, environment, steps=1_000_000), read_bands(), {})
        assert (found.environment, found.method, found.steps) == (f"{environment}-v5", method, 1_000_000)
        assert (found.lo + found.hi) / 2 == pytest.approx(mean, abs=0.51)
        assert f"{environment}-v" in found.source
        assert source in found.source


@pytest.mark.parametrize(
    ("value", "of_sac", "of_td3"),
    [(4500.0, "below", "within"), (6000.0, "within", "within"), (7000.0, "within", "above")],
)
def test_what_one_method_passes_with_another_fails_with(value: float, of_sac: str, of_td3: str) -> None:
    runs = [run for name in ("sac", "sac-sb3", "td3") for run in stored([[value]] * 3, name)]
    found = {each.method: (each.verdict, each.reason) for each in compare_with_bands(runs, read_bands(), {})}
    said = {word: ("pass" if word == "within" else "fail", f"{word} the band") for word in ("below", "within", "above")}
    assert found == {"sac": said[of_sac], "sac-sb3": said[of_sac], "td3": said[of_td3]}


@pytest.mark.parametrize(("value", "expected"), [(4679, "fail"), (4680, "pass"), (7632, "pass"), (7633, "fail")])
def test_the_bounds_belong_to_the_band(value: float, expected: str) -> None:
    assert verdict(stored([[value]] * 3))[0] == expected


def test_every_published_step_count_that_was_reached_is_compared_with_its_own_band() -> None:
    runs = stored([[6000.0]] * 3)
    for run in runs:
        run.evaluations.append({"target_steps": 200_000, "returns": [5000.0]})
    found = [(each.steps, each.mean, each.verdict) for each in compare_with_bands(runs, read_bands(), {})]
    assert found == [(100_000, 6000.0, "pass"), (200_000, 5000.0, "fail")]


@pytest.mark.parametrize(
    "lacking", ["pair", "horizon", "method", "method_version", "config", "returns", "target_steps"]
)
def test_a_run_that_does_not_say_what_was_run_is_left_out(lacking: str) -> None:
    runs, (damaged,) = stored([[6000.0]] * 3), stored([[6000.0]])
    for part in (damaged.spec["pair"], damaged.spec, damaged.evaluations[0]):
        part.pop(lacking, None)
    (found,) = compare_with_bands([damaged, *runs], read_bands(), {})
    assert (found.seeds, found.verdict) == (3, "pass")


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (stored([[700.0]] * 3, "td3", "Hopper"), "the band holds the random policy (20)"),
        (
            stored([[700.0]] * 3, "sac", "Walker2d"),
            "published is Walker2d-v4, which differs: the right foot's friction",
        ),
        (stored([[6000.0]] * 2), "2 of at least 3 seeds"),
        (stored([[6000.0]] * 3, horizon=200), "episodes of 200 steps, published are 1000"),
        (stored([[6000.0]] * 3, "ppo"), "no published curve of ppo on HalfCheetah-v5"),
        (stored([[6000.0]] * 3, steps=90_000), "no run has an evaluation at one of the published steps"),
    ],
)
def test_what_cannot_be_compared_says_why(runs: list[Any], reason: str) -> None:
    found, why = verdict(runs)
    assert found == "not comparable"
    assert reason in why


def test_nothing_is_compared_where_a_random_policys_return_is_not_known() -> None:
    bands = read_bands().model_copy(update={"random": {}})
    assert verdict(stored([[6000.0]] * 3), bands) == (
        "not comparable",
        "what a random policy returns there is not known here",
    )


def test_other_settings_are_another_group_and_are_named() -> None:
    runs = stored([[6000.0]] * 3) + stored([[1000.0]] * 3, config={"tau": 0.5})
    found = compare_with_bands(runs, read_bands(), {"sac": {"tau": 0.1}})
    assert {(each.verdict, str(each.changed)) for each in found} == {("pass", "{}"), ("fail", "{'tau': 0.5}")}


def test_unfinished_runs_and_other_tasks_are_left_out() -> None:
    (run, *_) = stored([[6000.0]])
    unfinished = StoredRun(run.folder, run.spec, run.evaluations, [], None, None, None)
    other = StoredRun(run.folder, {**run.spec, "pair": {"family": "reacher"}}, run.evaluations, [], {}, None, None)
    assert compare_with_bands([unfinished, other], read_bands(), {}) == []


def test_a_file_that_holds_no_bands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bands.toml").write_text("curves = 3")
    with pytest.raises(InputError, match="is not a file of reference bands"):
        read_bands(tmp_path / "bands.toml")


def test_the_suite_compares_published_settings_at_a_published_step() -> None:
    runs = build_matrix(load_suite("native-check")).runs
    assert len(runs) == 3 * 4 * 3
    assert {run.method for run in runs} == {"sac", "sac-sb3", "td3", "ppo"}
    assert all(run.evaluation_steps()[-1] == 100_000 and run.pair.horizon == 1000 for run in runs)
    settings = {run.method: run.config for run in runs}
    assert settings["sac"]["initial_temperature"] == settings["sac-sb3"]["initial_temperature"] == 1.0
    assert settings["sac"]["random_steps"] == settings["sac-sb3"]["random_steps"]


def test_ppo_is_compared_with_the_library_by_the_spread_of_the_seeds(tmp_path: Path) -> None:
    assert compare([100.0, 120.0, 110.0], [105.0, 125.0, 112.0])["agrees"]
    assert not compare([100.0, 120.0, 110.0], [205.0, 225.0, 212.0])["agrees"]
    (run,) = build_matrix(parse_suite({**SMALL, "methods": ["ppo"], "shared": {}}, "small.toml")).runs
    store = Store(tmp_path)
    assert run_cell(run, store).ending == "done"
    (found,) = stored_returns(tmp_path, "Hopper-v5", 60, 1)
    assert found == next(store.scan()).done["summary"]["final_mean_return"]
    with pytest.raises(InputError, match="no finished run of ppo on native/Hopper-v5 with 60 steps and seed 1"):
        stored_returns(tmp_path, "Hopper-v5", 60, 2)


def test_runs_of_native_tasks_are_stopped_and_continued_with_the_same_bytes(tmp_path: Path) -> None:
    for spec in build_matrix(parse_suite(SMALL, "small.toml")).runs:
        whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
        assert run_cell(spec, whole).ending == "done"
        ticks = iter(range(1000))
        assert run_cell(spec, broken, stop=lambda ticks=ticks: next(ticks) == 33).ending == "preempted"
        assert run_cell(spec, broken).ending == "done"
        assert results(broken.run_folder(spec.folder)) == results(whole.run_folder(spec.folder))


def test_the_command_tells_all_and_exits_by_the_verdict(tmp_path: Path) -> None:
    spec = build_matrix(load_suite("native-check")).runs[0]
    for seed, value in enumerate((5000.0, 6000.0, 1000.0)):
        folder = tmp_path / "runs" / "native-HalfCheetah-v5-stock" / "sac" / f"s{seed}"
        row = {"target_steps": 100_000, "returns": [value, value]}
        write_atomically(folder / "spec.json", json.dumps({**spec.to_json(), "seed": seed}))
        write_atomically(folder / "evals.jsonl", json.dumps(row) + "\n")
        write_atomically(folder / "done.json", "{}")
    found = CliRunner().invoke(build_program(), ["check", str(tmp_path), "--json"])
    (row,) = json.loads(found.stdout)["comparisons"]
    assert (found.exit_code, row["verdict"], row["mean"]) == (1, "fail", 4000.0)
    assert row["changed"] == {"initial_temperature": 1.0}
    write_atomically(folder / "evals.jsonl", json.dumps({"target_steps": 100_000, "returns": [6000.0]}) + "\n")
    found = CliRunner().invoke(build_program(), ["check", str(tmp_path)])
    assert found.exit_code == 0
    assert "pass" in found.stdout
    assert "SimbaV2" in found.stdout


def test_the_command_names_a_damaged_run_of_a_native_task_instead_of_comparing_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "native-HalfCheetah-v5-stock" / "sac" / "s0-0123456789ab"
    write_atomically(folder / "spec.json", json.dumps({"pair": {"family": "native/HalfCheetah-v5"}}))
    write_atomically(folder / "done.json", "{}")
    found = CliRunner().invoke(build_program(), ["check", str(tmp_path), "--json"])
    said = json.loads(found.stdout)
    assert (found.exit_code, said["comparisons"]) == (1, [])
    assert ["spec.json cannot be read as a run" in each["sentence"] for each in said["findings"]] == [True]
