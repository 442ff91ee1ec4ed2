"""What is kept of attempts and of finished runs: provenance, costs, the final policy."""

import json
import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from baselines.registry import method
from suites.evaluate import Evaluator
from suites.policy import FILE, load_policy
from suites.problem import tasks_of
from suites.provenance import Attempt
from suites.runner import run_cell
from suites.spec import RunSpec
from suites.spending import Spending
from suites.store import Store, read_list, read_rows, write_status
from tests.suites import cells
from wombet.errors import InputError

pytestmark = pytest.mark.usefixtures("probes")


def attempts(store: Store, spec: RunSpec) -> list[dict[str, Any]]:
    return read_list(store.run_folder(spec.folder) / "provenance.json")


def test_an_attempt_tells_where_by_what_and_at_what_cost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SLURM_JOB_ID", "12"), ("SLURM_RESTART_COUNT", "1"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    spec = cells.cell("phased-probe", pause=0.002)
    assert run_cell(spec, store).ending == "done"
    (attempt,) = attempts(store, spec)
    assert {"d3rlpy", "gymnasium", "mujoco", "numpy", "python", "stable-baselines3", "torch"} <= set(
        attempt["versions"]
    )
    assert {"commit", "dirty", "host", "cpu", "cores", "system", "device", "pid", "start", "end"} <= set(attempt)
    assert (attempt["slurm_job_id"], attempt["slurm_restart_count"], attempt["restart"]) == ("12", "1", 0)
    assert attempt["thread_settings"]["OMP_NUM_THREADS"] == "1"
    cost = attempt["cost"]
    assert {name: phase["units"] for name, phase in cost["phases"].items()} == {
        "source": 30,
        "offline": 20,
        "online": 60,
    }
    online = cost["phases"]["online"]
    assert 0.12 < online["wall_s"] < cost["wall_s"]
    assert online["per_second"] == pytest.approx(60 / online["wall_s"], rel=0.01)
    assert 0 < cost["cpu_s"] <= cost["wall_s"] * 4
    assert 50 < cost["peak_memory_mb"] < 20_000
    assert "gpu_s" not in cost


def test_every_start_is_counted_and_a_killed_attempt_is_closed_with_its_last_heartbeat(store: Store) -> None:
    spec = cells.cell("probe", pause=0.001)
    folder = store.run_folder(spec.folder)
    asked: list[int] = []
    run_cell(spec, store, stop=lambda: asked.append(1) or len(asked) > 20)  # type: ignore[func-returns-value]
    killed = Attempt(folder, "cpu")
    write_status(folder, "running", cost={"cpu_s": 1.5, "wall_s": 2.5})
    assert run_cell(spec, store).ending == "done"
    stopped, lost, finished = attempts(store, spec)
    assert [item["state"] for item in (stopped, lost, finished)] == ["interrupted", "lost", "done"]
    assert [item["restart"] for item in (stopped, lost, finished)] == [0, 1, 2]
    assert lost["start"] == killed.record["start"]
    assert lost["end"] >= lost["start"]
    assert lost["cost"] == {"cpu_s": 1.5, "wall_s": 2.5}
    assert stopped["cost"]["phases"]["online"]["units"] + finished["cost"]["phases"]["online"]["units"] == 60


def test_a_killed_attempt_is_not_given_the_costs_of_another(tmp_path: Path) -> None:
    Attempt(tmp_path, "cpu")
    write_status(tmp_path, "running", cost={"cpu_s": 1.0})
    status = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(json.dumps(status | {"pid": os.getpid() + 1}))
    Attempt(tmp_path, "cpu")
    assert "cost" not in read_list(tmp_path / "provenance.json")[0]


def test_an_attempt_on_an_accelerator_counts_the_time_it_held_it() -> None:
    cost = Spending("cuda:0").to_json()
    assert cost["gpu_s"] == cost["wall_s"]


def test_peak_memory_is_the_attempts_and_not_that_of_the_process() -> None:
    # Mapped, so that it is given back whatever the process was told to do with freed memory.
    with mmap.mmap(-1, 320_000_000) as large:
        large[:: mmap.PAGESIZE] = b"1" * len(range(0, len(large), mmap.PAGESIZE))
        before = Spending("cpu").to_json()["peak_memory_mb"]
    after = Spending("cpu").to_json()["peak_memory_mb"]
    assert after < before - 200


@pytest.mark.parametrize("name", ["sac", "rlpd", "bc", "probe", "zero"])
def test_the_stored_policy_scores_as_the_last_evaluation_did(store: Store, name: str) -> None:
    spec = cells.cell(name)
    assert run_cell(spec, store).ending == "done"
    folder = store.run_folder(spec.folder)
    last = read_rows(folder / "evals.jsonl")[-1]
    found, adapter = load_policy(folder, store)
    assert found == spec
    evaluator = Evaluator(tasks_of(spec.pair)[1], spec.evaluation["episodes"], spec.seed, name)
    assert evaluator.evaluate(adapter.act, last["evaluation"]).returns == last["returns"]


def test_a_policy_is_stored_without_buffers_where_the_method_tells_them_apart(store: Store) -> None:
    sac, probe = cells.cell("sac"), cells.cell("probe")
    for spec, whole in ((sac, False), (probe, True)):
        assert run_cell(spec, store).ending == "done"
        folder = store.run_folder(spec.folder)
        policy = json.loads((folder / "done.json").read_text())["policy"]
        assert policy["whole_state"] is whole
        assert policy["bytes"] == (folder / FILE).stat().st_size
    assert (store.run_folder(sac.folder) / FILE).stat().st_size < 20_000
    assert method("sac").capabilities.resumable


def test_a_method_without_a_state_stores_no_policy(store: Store) -> None:
    spec = cells.cell("forgetful-probe")
    assert run_cell(spec, store).ending == "done"
    folder = store.run_folder(spec.folder)
    assert json.loads((folder / "done.json").read_text())["policy"] is None
    with pytest.raises(InputError, match="has no stored policy"):
        load_policy(folder, store)


def test_a_policy_that_was_changed_or_is_not_there_yet_is_refused(store: Store) -> None:
    spec = cells.cell("sac")
    folder = store.run_folder(spec.folder)
    with pytest.raises(InputError, match="is not the folder of a finished run"):
        load_policy(folder, store)
    assert run_cell(spec, store).ending == "done"
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match="is missing or was changed since the run finished"):
        load_policy(folder, store)
