"""Suites on a real cluster: whatever happens to their jobs, they end complete, each run carried out once."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.slurm.conftest import HERE, Bench, slurm, until, until_all_ended


def begun(bench: Bench, name: str) -> bool:
    """Whether a run has come some way."""
    status = bench.run_folder(name) / "status.json"
    return status.is_file() and json.loads(status.read_text()).get("units", 0) > 0


def node_of(job: str) -> str:
    return slurm("squeue", "-h", "-j", job, "-o", "%N").strip()


def test_an_array_spreads_over_four_nodes_and_submitting_twice_changes_nothing(bench: Bench) -> None:
    bench.suite(seeds=4, good={"pause": 0.2})
    assert "queued 4 runs in 4 jobs" in bench.run()
    assert "nothing to submit (4 queued before)" in bench.run()
    assert set(bench.states().values()) <= {"waiting", "running"}
    until_all_ended()
    assert set(bench.states().values()) == {"done"}
    jobs = list(bench.jobs())
    assert {job.partition("_")[2] for job in jobs} == {"0", "1", "2", "3"}
    nodes = slurm("sacct", "-n", "-X", "-P", "-o", "NodeList", "-j", ",".join(jobs)).split()
    assert sorted(nodes) == ["n1", "n2", "n3", "n4"]
    assert [len(bench.attempts(f"good-{seed}")) for seed in range(4)] == [1, 1, 1, 1]
    assert "nothing to submit (4 done before)" in bench.run()


def test_a_suite_waits_for_what_another_has_queued_and_queues_the_rest(bench: Bench) -> None:
    bench.suite(seeds=2, bc={}, good={"pause": 0.2})
    assert "queued 1 dataset and 4 runs in 5 jobs" in bench.run()
    first = bench.jobs()
    bench.name = "more"
    bench.suite(seeds=3, bc={}, good={"pause": 0.2})
    assert "queued 2 runs in 2 jobs (4 queued before)" in bench.run()
    assert not set(first) & set(bench.jobs())
    assert set(bench.states().values()) <= {"waiting", "running", "done"}
    until_all_ended()
    assert set(bench.states().values()) == {"done"}
    assert [len(bench.attempts(f"{row}-{seed}")) for row in ("bc", "good") for seed in range(3)] == [1] * 6
    bench.name = "faults"
    assert set(bench.states().values()) == {"done"}


@pytest.mark.parametrize(
    ("fault", "message", "option"),
    [
        ("raise", "ArithmeticError: the probe fails as told", "--failed"),
        ("exit", "the worker process died (exit code 3)", None),
    ],
)
def test_a_cell_that_fails_spares_its_pack_and_is_retried(
    bench: Bench, fault: str, message: str, option: str | None
) -> None:
    bench.suite(seeds=1, first={"at": 1}, bad={"fault": fault}, good={"at": 2}, better={"at": 3})
    bench.run_here("--methods", "first")
    assert "queued 3 runs in 1 job (1 done before)" in bench.run()
    until_all_ended()
    assert bench.states() == {"first-0": "done", "bad-0": "failed", "good-0": "done", "better-0": "done"}
    assert bench.cells()["bad-0"]["message"] == message
    if option is not None:
        said = bench.retry()
        assert "nothing to submit" in said
        assert "1 that failed with an exception were left alone" in said
    assert "queued 1 run in 1 job" in bench.retry(*([option] if option else []))
    until_all_ended()
    assert set(bench.states().values()) == {"done"}
    assert len(bench.attempts("bad-0")) == 2
    assert [len(bench.attempts(name)) for name in ("good-0", "better-0")] == [1, 1]
    bench.assert_bytes_of_an_undisturbed_run("bad-0")


def test_a_requeued_job_continues(bench: Bench) -> None:
    bench.suite(good={"pause": 0.2})
    bench.run()
    (job,) = bench.jobs()
    until("a beginning", lambda: begun(bench, "good-0"))
    slurm("scontrol", "requeue", job)
    until_all_ended()
    assert bench.states() == {"good-0": "done"}
    assert [attempt.get("state") for attempt in bench.attempts("good-0")] == ["interrupted", "done"]
    bench.assert_bytes_of_an_undisturbed_run("good-0")


def test_a_preempted_job_saves_itself_and_continues(bench: Bench) -> None:
    bench.suite(good={"pause": 0.2})
    bench.run()
    until("a beginning", lambda: begun(bench, "good-0"))
    slurm("sbatch", "-p", "urgent", "-N4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
    until_all_ended()
    assert bench.states() == {"good-0": "done"}
    assert [attempt.get("state") for attempt in bench.attempts("good-0")] == ["interrupted", "done"]
    bench.assert_bytes_of_an_undisturbed_run("good-0")


def test_a_job_that_reaches_its_time_limit_continues_in_the_next(bench: Bench) -> None:
    bench.suite(good={"pause": 0.8})
    bench.site(time_minutes=1, signal_seconds=5)
    bench.run()
    until_all_ended(300)
    assert bench.states() == {"good-0": "done"}
    states = [attempt.get("state") for attempt in bench.attempts("good-0")]
    assert len(states) >= 2
    assert states == ["interrupted"] * (len(states) - 1) + ["done"]
    bench.assert_bytes_of_an_undisturbed_run("good-0")


def test_the_runs_of_a_node_that_dies_go_on_elsewhere(bench: Bench) -> None:
    bench.suite(seeds=2, good={"pause": 0.2})
    bench.run()
    jobs = dict(zip(bench.jobs(), ("good-0", "good-1"), strict=True))
    until("both begun", lambda: all(begun(bench, name) for name in jobs.values()))
    (hit, _), (spared, _) = [(name, node_of(job)) for job, name in jobs.items()]
    node = node_of(next(iter(jobs)))
    try:
        subprocess.run([HERE / "slurm-down", "--crash", node], check=True, timeout=60)
        until_all_ended()
    finally:
        subprocess.run([HERE / "slurm-up"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert bench.states() == {"good-0": "done", "good-1": "done"}
    assert len(bench.attempts(hit)) == 2
    assert len(bench.attempts(spared)) == 1
    bench.assert_bytes_of_an_undisturbed_run(hit)


def test_what_runs_out_of_memory_is_submitted_again_with_more_by_itself(bench: Bench) -> None:
    bench.suite(seeds=1, hungry={"fault": "memory"}, good={"at": 2})
    bench.site(attempts=2)
    bench.run()
    until_all_ended()
    assert bench.states() == {"hungry-0": "done", "good-0": "done"}
    assert len(bench.attempts("hungry-0")) == 2
    assert len(bench.attempts("good-0")) == 1
    memory = [
        content["memory_gb"]
        for path in sorted((bench.store.root / "suites/faults-jobs").glob("*.json"))
        for content in json.loads(path.read_text())["jobs"].values()
    ]
    assert memory == [1.0, 1.0, 2.0]


def test_a_lost_job_is_shown_with_its_last_words_and_retried(bench: Bench) -> None:
    bench.suite(good={"pause": 0.2})
    bench.run()
    (job,) = bench.jobs()
    until("a beginning", lambda: begun(bench, "good-0"))
    slurm("scancel", job)
    until_all_ended()
    cell = bench.cells()["good-0"]
    assert cell["state"] == "lost"
    assert f"job {job} CANCELLED" in cell["message"]
    assert "queued 1 run in 1 job" in bench.retry()
    until_all_ended()
    assert bench.states() == {"good-0": "done"}
    bench.assert_bytes_of_an_undisturbed_run("good-0")


def test_a_failed_dataset_job_blocks_its_runs_alone_until_it_is_retried(bench: Bench) -> None:
    bench.suite(seeds=1, bc={}, good={})
    bench.run_here("--methods", "good")
    (cell,) = [cell for cell in bench.cells().values() if cell["method"] == "bc"]
    (dataset,) = bench.datasets()
    obstacle = bench.store.root / "datasets" / dataset["id"]
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.write_text("in the way")
    assert cell["state"] == "todo"
    assert "queued 1 dataset and 1 run in 2 jobs" in bench.run()
    until_all_ended()
    assert [status["state"] for status in bench.datasets()] == ["failed"]
    assert bench.states() == {"bc-0": "blocked", "good-0": "done"}
    assert "nothing to submit" in bench.retry()
    obstacle.unlink()
    assert "queued 1 dataset and 1 run in 2 jobs" in bench.retry("--failed")
    until_all_ended()
    assert bench.states() == {"bc-0": "done", "good-0": "done"}
    assert len(bench.attempts("bc-0")) == 1


def test_what_slurm_refuses_is_said_in_its_words(bench: Bench, tmp_path: Path) -> None:
    bench.suite(good={})
    bench.site(partition="nowhere")
    said = bench.run(code=2)
    assert "invalid partition specified: nowhere" in said
    assert "correct the site profile" in said
