"""A run from its spec to done.json: rows, budgets, failures, locks."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from baselines.api import Phase
from suites.claim import claim
from suites.evaluate import Evaluation, Evaluator
from suites.problem import open_phase, open_problem
from suites.runner import run_cell
from suites.spec import RunSpec
from suites.store import Store, read_rows
from tests.suites import cells
from wombet.errors import InputError
from wombet.files import sha256_of_file

pytestmark = pytest.mark.usefixtures("probes")


def run(spec: RunSpec, store: Store) -> Path:
    outcome = run_cell(spec, store)
    assert outcome.ending == "done", outcome
    return store.run_folder(spec.folder)


def test_an_online_run_is_evaluated_at_the_planned_steps_and_spends_its_budget_exactly(store: Store) -> None:
    folder = run(cells.cell("probe", target_steps=50, evaluations=4), store)
    rows = read_rows(folder / "evals.jsonl")
    assert [row["target_steps"] for row in rows] == [0, 17, 33, 50]
    assert [row["phase"] for row in rows] == ["none", "online", "online", "online"]
    assert [row["updates"] for row in rows] == [0, 17, 33, 50]
    assert [row["evaluation"] for row in rows] == [0, 1, 2, 3]
    assert all(row["lengths"] == [cells.HORIZON] * 2 and len(row["returns"]) == 2 for row in rows)
    assert [row["evaluation"] for row in read_rows(folder / "costs.jsonl")] == [0, 1, 2, 3]


def test_the_marks_of_completion_say_what_was_computed(store: Store) -> None:
    spec = cells.cell("probe")
    folder = run(spec, store)
    done = json.loads((folder / "done.json").read_text())
    last = read_rows(folder / "evals.jsonl")[-1]
    assert done["run_id"] == spec.run_id
    assert done["evals_sha256"] == sha256_of_file(folder / "evals.jsonl")
    assert done["summary"]["final_mean_return"] == sum(last["returns"]) / 2
    assert json.loads((folder / "spec.json").read_text()) == spec.to_json()
    (attempt,) = json.loads((folder / "provenance.json").read_text())
    assert attempt["state"] == "done"
    assert {"mujoco", "torch", "numpy", "python"} <= set(attempt["versions"])
    assert not (folder / "checkpoint").exists()


def test_phases_run_in_order_and_every_row_carries_all_costs(store: Store) -> None:
    spec = cells.cell("phased-probe")
    folder = run(spec, store)
    assert spec.dataset is not None
    card = json.loads((store.dataset_folder(spec.dataset.id) / "card.json").read_text())
    data_steps = card["source_steps"]["total"]
    first = read_rows(folder / "evals.jsonl")[0]
    assert (first["phase"], first["target_steps"], first["updates"]) == ("offline", 0, 50)
    assert first["source_steps"] == data_steps + 30
    train = read_rows(folder / "train.jsonl")
    assert [row["phase"] for row in train] == ["source"] * 30 + ["offline"] * 20 + ["online"] * 60
    assert train[0]["source_steps"] == data_steps + 1
    assert train[-1]["target_steps"] == 60
    assert train[0]["infinite"] is None


def test_a_pretrained_run_is_evaluated_at_the_switch_one_step_later_and_at_the_end(store: Store) -> None:
    spec = cells.cell("phased-probe")
    rows = read_rows(
        run(dataclasses.replace(spec, evaluation={**spec.evaluation, "after_switch": 1}), store) / "evals.jsonl"
    )
    assert [(row["phase"], row["target_steps"]) for row in rows] == [
        ("offline", 0),
        ("online", 1),
        ("online", 20),
        ("online", 40),
        ("online", 60),
    ]
    assert rows[1]["updates"] == rows[0]["updates"] + 1


def test_training_metrics_are_thinned_to_about_200_rows(store: Store) -> None:
    folder = run(cells.cell("probe", target_steps=1000, evaluations=2), store)
    steps = [row["target_steps"] for row in read_rows(folder / "train.jsonl")]
    assert steps == list(range(5, 1001, 5))


@pytest.mark.parametrize("name", ["zero", "random", "bc"])
def test_a_method_without_an_online_phase_is_evaluated_once(store: Store, name: str) -> None:
    spec = cells.cell(name)
    (row,) = read_rows(run(spec, store) / "evals.jsonl")
    assert row["target_steps"] == 0
    assert row["phase"] == ("offline" if name == "bc" else "none")
    assert (row["source_steps"] > 0) == (name == "bc")


def test_costs_are_those_of_training_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    play = Evaluator.evaluate

    def slowly(evaluator: Evaluator, *arguments: Any) -> Evaluation:
        time.sleep(0.5)
        return play(evaluator, *arguments)

    monkeypatch.setattr(Evaluator, "evaluate", slowly)
    costs = read_rows(run(cells.cell("probe", pause=0.002), store) / "costs.jsonl")
    assert 0.12 <= costs[-1]["wall_s"] < 2.0
    assert [row["wall_s"] for row in costs] == sorted(row["wall_s"] for row in costs)


def test_a_finished_run_is_skipped_and_left_alone(store: Store) -> None:
    spec = cells.cell("probe")
    folder = run(spec, store)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run_cell(spec, store).ending == "skipped"
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_folder_that_another_process_holds_is_busy(store: Store) -> None:
    spec = cells.cell("probe")
    with claim(store.run_folder(spec.folder)) as held:
        assert held is not None
        assert run_cell(spec, store).ending == "busy"
    assert run_cell(spec, store).ending == "done"


def test_a_folder_with_another_spec_is_refused(store: Store) -> None:
    spec = cells.cell("probe")
    folder = store.run_folder(spec.folder)
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}")
    with pytest.raises(InputError, match=r"spec\.json is not the spec of reacher-close probe seed 0"):
        run_cell(spec, store)
    assert (folder / "spec.json").read_text() == "{}"


def test_a_run_without_its_dataset_is_blocked_and_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "empty")
    outcome = run_cell(cells.cell("rlpd"), store)
    assert outcome.ending == "blocked"
    assert "which is not built" in outcome.message
    assert not store.root.exists()


def test_a_dataset_that_was_changed_is_a_failure_that_names_the_file(store: Store) -> None:
    spec = cells.cell("rlpd")
    assert spec.dataset is not None
    path = store.dataset_folder(spec.dataset.id) / "data" / "obs.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    outcome = run_cell(spec, store)
    assert outcome.ending == "failed"
    assert "obs.npy is truncated or was changed" in outcome.message


@pytest.mark.parametrize(
    ("name", "fault", "sentence"),
    [
        ("probe", "raise", "ArithmeticError: the probe fails as told"),
        ("probe", "overrun", "the budget of 60 target steps is spent"),
        ("probe", "returns early", "method probe ended its online phase after 7 of 60 target steps"),
        ("probe", "silent", "method probe was to be evaluated at target step 20 and did not tick before step 21"),
        ("probe", "nan", "method probe gave an action that is not finite"),
        ("probe", "shape", r"method probe gave actions of shape \(2, 1\)"),
        ("probe", "outside", r"method probe gave an action of .*; actions lie within"),
        ("probe", "outside while training", r"method probe gave an action of .*; actions lie within"),
        ("probe", "integers", "they must be floating-point numbers"),
        ("phased-probe", "early step", "the budget of 0 target steps is spent"),
        ("phased-probe", "extra updates", "method phased-probe made more than its budget of 20 offline updates"),
    ],
)
def test_a_method_that_breaks_the_contract_is_recorded_as_failed(
    store: Store, name: str, fault: str, sentence: str
) -> None:
    spec = cells.cell(name, fault=fault)
    outcome = run_cell(spec, store)
    assert outcome.ending == "failed"
    stored = store.read_run(store.run_folder(spec.folder))
    assert stored.state == "failed"
    assert stored.done is None
    assert stored.error == outcome.message
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(stored.error)
    text = (stored.folder / "error.txt").read_text()
    assert "Traceback" in text
    assert f"python -m suites.worker {stored.folder}" in text


def test_a_failed_run_is_attempted_again(store: Store) -> None:
    spec = cells.cell("probe", fault="raise")
    assert [run_cell(spec, store).ending for _ in range(2)] == ["failed", "failed"]
    attempts = json.loads((store.run_folder(spec.folder) / "provenance.json").read_text())
    assert [attempt["state"] for attempt in attempts] == ["failed", "failed"]


def test_a_method_or_a_task_that_has_changed_since_is_refused(store: Store) -> None:
    spec = cells.cell("probe")
    older = dataclasses.replace(spec, method_version=0)
    assert "planned with version 0 of method probe" in run_cell(older, store).message
    other = dataclasses.replace(spec, pair=dataclasses.replace(spec.pair, target_fingerprint="0" * 12))
    assert "the numbers of task reacher/close are not those" in run_cell(other, store).message


def test_methods_with_one_seed_meet_the_same_initial_states(store: Store) -> None:
    """The first episode's rewards differ by the policy; what differs by the seed alone is the reset."""

    def first_states(name: str, seed: int) -> list[float]:
        problem = open_problem(cells.cell(name, seed=seed), None)
        open_phase(problem, Phase.ONLINE)
        return [float(problem.target_env.reset()[0].sum()) for _ in range(3)]

    assert first_states("probe", 0) == first_states("sac", 0)
    assert first_states("probe", 0) != first_states("probe", 1)
    assert len(set(first_states("probe", 0))) == 3


def test_wombet_configured_like_rlpd_is_rlpd(store: Store) -> None:
    rlpd = run(cells.cell("rlpd", actor_aggregate="mean"), store)
    same = {"mixing": "fixed", "target_penalty": 0.0, "actor_aggregate": "mean", "layer_norm": True}
    wombet = cells.cell("wombet", **same)
    folder = run(dataclasses.replace(wombet, budgets=dataclasses.replace(wombet.budgets, offline_updates=0)), store)
    ours, theirs = (read_rows(path / "evals.jsonl") for path in (folder, rlpd))
    assert [row["returns"] for row in ours] == [row["returns"] for row in theirs]
    hashes = [json.loads((path / "done.json").read_text())["state_sha256"] for path in (folder, rlpd)]
    assert hashes[0] == hashes[1]
