"""What Slurm's commands print, as stand-ins on PATH print it, and what becomes of a store's records by it."""

import json
import os
from pathlib import Path

import pytest

from suites import submission
from suites.keeper import forget_own_job
from suites.queue import live_jobs, queued_jobs, records
from suites.retrying import select
from suites.slurm import JobState, array_limit, job_states, last_words, own_job, ran_out_of_memory
from suites.status import suite_status
from suites.store import Store
from tests.suites import cells
from wombet.errors import InputError
from wombet.files import pretty_json


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, where a command prints what stands in the file NAME.out."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def says(commands: Path, name: str, output: str, code: int = 0, error: str = "") -> None:
    (commands / f"{name}.out").write_text(output)
    script = commands / name
    script.write_text(f'#!/bin/sh\necho "{error}" >&2\n/bin/cat {commands / name}.out\nexit {code}\n')
    script.chmod(0o755)


def test_the_schedulers_word_goes_before_that_of_the_accounting(commands: Path) -> None:
    says(commands, "sacct", "7_0|NODE_FAIL|1:0\n7_1|CANCELLED by 1000|0:0\n8|FAILED|9:0\n9|OUT_OF_MEMORY|0:125\n")
    says(commands, "squeue", "7_0|PENDING|BeginTime\n")
    states = job_states(["7_0", "7_1", "8", "9", "10"])
    assert states == {
        "7_0": JobState("PENDING", "BeginTime"),
        "7_1": JobState("CANCELLED"),
        "8": JobState("FAILED", "9:0"),
        "9": JobState("OUT_OF_MEMORY", "0:125"),
    }
    assert states["7_0"].waiting
    assert not states["8"].waiting
    assert not states["8"].running


def test_waiting_elements_of_an_array_are_told_apart(commands: Path) -> None:
    says(commands, "sacct", "7_[0-1,4%2]|PENDING|0:0\n")
    assert job_states(["7_0"]) == {f"7_{index}": JobState("PENDING") for index in (0, 1, 4)}


def test_slurm_that_cannot_be_asked_is_not_slurm_that_knows_no_job(commands: Path) -> None:
    assert job_states(["7"]) is None
    says(commands, "squeue", "", 1, "squeue: error: Unable to contact slurm controller (connect failure)")
    assert job_states(["7"]) is None
    says(commands, "squeue", "", 1, "slurm_load_jobs error: Invalid job id specified")
    assert job_states(["7"]) == {}


def test_the_array_limit_is_that_of_the_cluster(commands: Path) -> None:
    assert array_limit() == 1000
    says(commands, "scontrol", "MaxArraySize            = 4001\nMaxJobCount             = 10000\n")
    assert array_limit() == 4000


def test_memory_is_told_by_the_state_or_by_the_words() -> None:
    assert ran_out_of_memory(JobState("OUT_OF_MEMORY"), "")
    assert ran_out_of_memory(JobState("FAILED"), "slurmstepd: error: Step 7.0 exceeded memory limit (2 > 1)")
    assert ran_out_of_memory(JobState("FAILED"), "Detected 1 oom_kill event in StepId=7.0")
    assert not ran_out_of_memory(JobState("FAILED"), "there is no room")


def test_the_last_words_are_the_last_lines_that_are_not_blank(tmp_path: Path) -> None:
    (tmp_path / "7_0_log.err").write_text("first\nsecond\n\n  third \n\nfourth\n")
    assert last_words(tmp_path, "7") == "second / third / fourth"
    assert last_words(tmp_path, "8") == ""


def test_a_job_knows_its_id_and_its_keeper_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_JOB_ID": "12", "SLURM_CONF": "/etc/slurm.conf", "SBATCH_QOS": "low"}.items():
        monkeypatch.setenv(name, value)
    assert own_job() == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert own_job() == "10_3"
    forget_own_job()
    assert [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))] == ["SLURM_CONF"]


def test_the_newest_submission_of_a_folder_counts(tmp_path: Path, commands: Path) -> None:
    store = Store(tmp_path / "store")
    folder = tmp_path / "store" / "suites" / "some-jobs"
    folder.mkdir(parents=True)
    for number, jobs in ((1, {"7_0": ["a", "b"], "7_1": ["c"]}), (2, {"9": ["b"]})):
        content = {job: {"folders": folders, "memory_gb": float(number)} for job, folders in jobs.items()}
        (folder / f"{number:04d}.json").write_text(json.dumps({"number": number, "jobs": content}))
    (folder / "0003.json").write_text("torn")
    assert [record["number"] for record in records(store, "some")] == [1, 2]
    (folder / "0001").mkdir()
    (folder / "0001" / "7_0_0_log.err").write_text("out of luck\n")
    says(commands, "squeue", "7_1|RUNNING|None\n9|PENDING|Priority\n7_0|NODE_FAIL|NonZeroExitCode\n")
    jobs = queued_jobs(store, "abc")
    assert {name: (job.id, job.standing, job.attempts) for name, job in jobs.items()} == {
        "a": ("7_0", "over", 1),
        "b": ("9", "waiting", 2),
        "c": ("7_1", "running", 1),
    }
    assert jobs["a"].message == "job 7_0 NODE_FAIL (NonZeroExitCode): out of luck"
    assert jobs["b"].memory_gb == 2.0
    assert live_jobs(store, "abc") == {"b": "9", "c": "7_1"}
    (commands / "squeue").unlink()
    assert queued_jobs(store, "a")["a"].standing == "waiting"
    assert queued_jobs(store, ["other"]) == {}


def test_what_another_suite_of_the_store_has_queued_counts(tmp_path: Path, commands: Path) -> None:
    store = Store(tmp_path / "store")
    # In the order of their times: c was queued by "late" first, and by "early" after that.
    for suite, number, time, job, folders in (
        ("early", 1, 30.0, "9", ["c"]),
        ("late", 1, 10.0, "7", ["b", "c"]),
        ("late", 2, 20.0, "8", ["b"]),
    ):
        path = store.root / "suites" / f"{suite}-jobs" / f"{number:04d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        jobs = {job: {"folders": folders, "memory_gb": time}}
        path.write_text(json.dumps({"number": number, "time": time, "jobs": jobs}))
    says(commands, "squeue", "7|FAILED|None\n8|PENDING|Priority\n9|RUNNING|None\n")
    jobs = queued_jobs(store, ["b", "c"])
    assert {name: (job.id, job.standing, job.attempts, job.memory_gb) for name, job in jobs.items()} == {
        "b": ("8", "waiting", 2, 20.0),
        "c": ("9", "running", 2, 30.0),
    }
    assert jobs["c"].logs.parent.name == "early-jobs"
    assert jobs["b"].logs == store.root / "suites" / "late-jobs" / "0002"


def test_processes_submit_to_a_store_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, order = Store(tmp_path / "store"), []
    monkeypatch.setattr(submission, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(submission.time, "sleep", lambda seconds: order.append("waits"))

    def submit_as_another() -> None:
        with submission.turn(store):
            order.append("second")

    with submission.turn(store):
        order.append("first")
        with pytest.raises(InputError, match="another process has been submitting to this store"):
            submit_as_another()
    submit_as_another()
    assert order[0] == "first"
    assert order[-1] == "second"
    assert "second" not in order[:-1]


def test_what_is_queued_is_waiting_or_lost_and_only_some_of_it_is_tried_again_unasked(
    tmp_path: Path, commands: Path
) -> None:
    store = Store(tmp_path / "store")
    runs = {
        name: cells.cell("sac", seed=seed)
        for seed, name in enumerate(("waiting", "memory", "node", "cancelled", "often", "never"))
    }
    rows = []
    for run in runs.values():
        rows.append({"pair": "p", "method": "sac", "seed": run.seed, "folder": run.folder, "dataset": None})
        if run is not runs["never"]:
            folder = store.run_folder(run.folder)
            folder.mkdir(parents=True)
            (folder / "spec.json").write_text(pretty_json(run.to_json()))
    store.write_manifest({"name": "some", "cells": rows})
    jobs = {f"7_{run.seed}": {"folders": [run.folder], "memory_gb": 4.0} for run in list(runs.values())[:5]}
    again = {"9": {"folders": [runs["often"].folder], "memory_gb": 4.0}}
    for number, content in ((1, jobs), (2, again)):
        record = {"number": number, "site": {"attempts": 2}, "jobs": content}
        (tmp_path / "store" / "suites" / "some-jobs").mkdir(exist_ok=True)
        (tmp_path / "store" / "suites" / "some-jobs" / f"{number:04d}.json").write_text(json.dumps(record))
    says(commands, "squeue", "7_0|PENDING|Resources\n")
    says(commands, "sacct", "7_1|OUT_OF_MEMORY|0:125\n7_2|NODE_FAIL|0:0\n7_3|CANCELLED by 7|0:0\n9|TIMEOUT|0:0\n")
    status = suite_status(store, "some")
    assert [cell.state for cell in status.cells] == ["waiting", "lost", "lost", "lost", "lost", "todo"]
    assert status.cells[2].message == "job 7_2 NODE_FAIL"
    assert status.totals["lost"] == 4
    asked, unasked = select(store, "some"), select(store, "some", automatic=True)
    assert asked.runs == [runs[name] for name in ("memory", "node", "cancelled", "often")]
    assert unasked.runs == [runs[name] for name in ("memory", "node")]
    assert unasked.memory == {runs["memory"].folder: 8.0, runs["node"].folder: 4.0}
