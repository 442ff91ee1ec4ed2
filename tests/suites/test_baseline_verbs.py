"""`wombet new-baseline`, `wombet check-baseline` and `wombet list methods`, as a person who adds a method uses them."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from baselines import registry
from tests.suites.conftest import Program

PROGRAM = [sys.executable, "-c", "from suites.cli import main; main()"]


def test_a_new_baseline_keeps_the_contract_passes_its_own_test_and_runs_as_written(
    wombet: Program, tmp_path: Path
) -> None:
    package = tmp_path / "new"
    code, out, _ = wombet("new-baseline", "my-method", "--folder", package)
    assert code == 0
    assert "check-baseline my-method" in out
    code_lines = [line for line in (package / "my_method.py").read_text().splitlines() if line.strip()]
    assert len(code_lines) <= 40
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", installed, package], check=True, cwd=tmp_path)
    search = os.pathsep.join([str(installed), str(Path(__file__).parents[2])])
    settings = {"cwd": package, "env": {**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"}}
    check = [*PROGRAM, "check-baseline", "my-method", "--set", "batch_size=8", "--json"]
    checked = subprocess.run(check, capture_output=True, text=True, check=False, **settings)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    results = {clause["clause"]: clause["result"] for clause in json.loads(checked.stdout)["clauses"]}
    assert results.pop("keeps its policy") == "does not apply"
    assert set(results.values()) == {"kept"}
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], check=True, **settings)
    run = [*PROGRAM, "run", "suite.toml", "--store", tmp_path / "store", "--executor", "inline"]
    ran = subprocess.run(run, capture_output=True, text=True, check=False, **settings)
    assert ran.returncode == 0, ran.stderr
    assert "my-method" in ran.stdout
    assert "has changed since" not in ran.stdout
    with (package / "my_method.py").open("a") as adapter:
        adapter.write("\n# another algorithm\n")
    again = subprocess.run(run, capture_output=True, text=True, check=True, **settings)
    retry = [*PROGRAM, "retry", "suite.toml", "--store", tmp_path / "store"]
    tried = subprocess.run(retry, capture_output=True, text=True, check=True, **settings)
    for told in (again, tried):
        assert "my-method: 2 finished runs are of an adapter whose file has changed since, and are kept" in told.stdout


def test_a_new_baseline_overwrites_nothing(wombet: Program, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("mine")
    code, _, err = wombet("new-baseline", "my-method", "--folder", tmp_path)
    assert code == 2
    assert "nothing is overwritten" in err
    assert (tmp_path / "pyproject.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My Method", "lower-case"),
        ("sac", "already"),
        ("-x", "lower-case"),
        ("class", "word of Python's own"),
        ("json", "would hide the installed module json"),
        ("torch", "would hide the installed module torch"),
        ("typing-extensions", "would hide the installed module typing_extensions"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_anything_is_written(
    wombet: Program, tmp_path: Path, name: str, words: str
) -> None:
    code, _, err = wombet("new-baseline", "--folder", tmp_path / "new", "--", name)
    assert code == 2
    assert words in err
    assert not (tmp_path / "new").exists()


def test_check_baseline_names_the_clause_that_a_method_breaks(wombet: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._OWN, "forgetful", "tests.contract.test_clauses:ForgetsItsStream")
    code, out, _ = wombet("check-baseline", "forgetful", "--json")
    results = {clause["clause"]: clause for clause in json.loads(out)["clauses"]}
    assert code == 1
    assert [name for name, clause in results.items() if clause["result"] == "broken"] == ["resumes"]
    assert "state() is incomplete" in results["resumes"]["sentence"]
    code, out, _ = wombet("check-baseline", "forgetful")
    assert code == 1
    assert "forgetful breaks 1 of" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sacc"], "did you mean 'sac'"),
        (["sac", "--set", "utdd=1"], "did you mean 'utd'"),
        (["sac", "--set", "utd"], "does not read FIELD=VALUE, as in"),
    ],
)
def test_check_baseline_refuses_bad_input_in_one_sentence(wombet: Program, arguments: list[str], words: str) -> None:
    code, _, err = wombet("check-baseline", *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_a_clause_and_why_it_does_not_apply_are_one_sentence(wombet: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    from suites import contract
    from suites.contract.clauses import keeps_its_policy

    monkeypatch.setattr(contract, "CLAUSES", (keeps_its_policy,))
    out = wombet("check-baseline", "zero")[1]
    assert "acts as it did at the end of training: it offers no policy_state" in out


@pytest.mark.parametrize(
    ("verb", "default"), [("run", "the cores there are"), ("plan", "the cores there are"), ("new-baseline", "./NAME")]
)
def test_help_shows_the_defaults_that_are_not_values(wombet: Program, verb: str, default: str) -> None:
    words = wombet(verb, "--help")[1].replace("│", " ").split()
    assert f"default: ({default})" in " ".join(words)


def test_the_card_of_a_method_shows_each_setting_with_its_default_and_its_own_reason(wombet: Program) -> None:
    code, out, _ = wombet("list", "methods", "wombet", "--json")
    card = json.loads(out)
    settings = {row["setting"]: row for row in card["settings"]}
    assert code == 0
    assert settings["n_critics"]["default"] == 10
    assert "ensemble" in settings["n_critics"]["about"]
    assert "ours" in settings["utd"]["about"]
    assert "action_dim" in settings["target_entropy_scale"]["about"]
    code, out, _ = wombet("list", "methods", "wombet")
    assert "pretraining_updates" in out
    assert "tuned: " in out


def test_a_broken_package_is_named_and_the_methods_of_others_are_listed(
    wombet: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"gone": "no_such_package:Thing", "bare": "baselines.api:Problem", "sound": "baselines.bc:BestDecile"}
    declared = [EntryPoint(name, value, registry.ENTRY_POINT_GROUP) for name, value in points.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: declared)
    code, out, err = wombet("list", "methods", "--json")
    names = [row["method"] for row in json.loads(out)]
    registry.method.cache_clear()
    assert code == 0
    assert {"sac", "wombet", "sound"} < set(names)
    assert not {"gone", "bare"} & set(names)
    assert [line.split("method ")[1].split(" of ")[0] for line in err.splitlines()] == ["'gone'", "'bare'"]


@pytest.mark.parametrize("arguments", [("check-baseline", "bare"), ("list", "methods", "bare")])
def test_a_class_that_is_no_adapter_is_refused_in_one_sentence(
    wombet: Program, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    bare = [EntryPoint("bare", "baselines.api:Problem", registry.ENTRY_POINT_GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda group: bare)
    code, _, err = wombet(*arguments)
    assert code == 2
    assert err == (
        "wombet: method 'bare' of baselines.api:Problem lacks `capabilities`, a baselines.api.Capabilities\n"
    )


def test_every_setting_of_every_method_says_what_it_is(wombet: Program) -> None:
    _, out, _ = wombet("list", "methods", "--json")
    for row in json.loads(out):
        _, text, _ = wombet("list", "methods", row["method"], "--json")
        for setting in json.loads(text)["settings"]:
            assert setting["about"], (row["method"], setting["setting"])
        assert row["tuned"]


def test_a_card_of_an_unknown_method_or_of_a_suite_is_refused(wombet: Program) -> None:
    assert "did you mean 'wombet'" in wombet("list", "methods", "wombat")[2]
    assert "methods only" in wombet("list", "suites", "smoke")[2]


def test_the_stub_registers_its_class_under_the_methods_name(wombet: Program, tmp_path: Path) -> None:
    wombet("new-baseline", "a-2nd-one", "--folder", tmp_path)
    points = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["entry-points"]["wombet.methods"]
    assert points == {"a-2nd-one": "a_2nd_one:A2ndOne"}
    assert "class A2ndOne:" in (tmp_path / "a_2nd_one.py").read_text()
