"""Claims: one holder at a time, stale locks taken over once, and losers that notice."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import suites.claim
from suites.claim import LOCK, STALE_SECONDS, Claim, ClaimLost, claim, is_claimed, read_holder
from suites.runner import run_cell
from suites.store import Store, clear_leftovers, write_status
from tests.suites import cells

CONTENDERS = 8


def write_lock(folder: Path, **changes: Any) -> dict[str, Any]:
    """A lock as this process would write it, with other contents."""
    with claim(folder):
        content = json.loads((folder / LOCK).read_text()) | {"token": "stale"} | changes
    folder.mkdir(exist_ok=True)
    (folder / LOCK).write_text(json.dumps(content))
    return content


def age(folder: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(folder / LOCK, (moment, moment))


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_is_claimed_by_one_at_a_time_and_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "cell"
    with claim(folder) as first, claim(folder) as second:
        assert first is not None
        assert second is None
        assert is_claimed(folder)
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert not folder.exists()
    with claim(folder) as again:
        assert again is not None
        (folder / "result").write_text("kept")
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_the_lock_says_who_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    with claim(tmp_path):
        holder = read_holder(tmp_path / LOCK)
    assert holder is not None
    assert holder.pid == os.getpid()
    assert len(holder.token) == 16
    assert holder.slurm["slurm_job_id"] == "7"
    assert holder.slurm["slurm_restart_count"] == "2"


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    write_lock(tmp_path, pid=dead_pid())
    assert not is_claimed(tmp_path)
    with claim(tmp_path) as held:
        assert held is not None


def test_a_process_number_that_was_given_again_is_no_sign_of_life(tmp_path: Path) -> None:
    write_lock(tmp_path, began="1")
    with claim(tmp_path) as held:
        assert held is not None


@pytest.mark.parametrize(("machine", "pid"), [("another machine", 1), (None, None)])
def test_a_silent_holder_is_taken_over_after_the_limit_and_not_before(
    tmp_path: Path, machine: str | None, pid: int | None
) -> None:
    write_lock(tmp_path, **({} if machine is None else {"machine": machine, "pid": pid}))
    age(tmp_path, STALE_SECONDS - 5)
    with claim(tmp_path) as held:
        assert held is None
    age(tmp_path, STALE_SECONDS + 1)
    with claim(tmp_path) as held:
        assert held is not None


def test_a_lock_that_cannot_be_read_counts_by_its_age(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(b"")
    with claim(tmp_path) as held:
        assert held is None
    age(tmp_path, STALE_SECONDS + 1)
    with claim(tmp_path) as held:
        assert held is not None


def test_a_machine_whose_clock_is_wrong_takes_nothing_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claim(tmp_path):
        monkeypatch.setattr(time, "time", lambda: 1e12)
        with claim(tmp_path) as held:
            assert held is None


def contend(folder: Path, barrier: Any, wins: Any) -> None:
    barrier.wait()
    with claim(folder) as held:
        if held is not None:
            with wins.get_lock():
                wins.value += 1
            time.sleep(0.3)


def winners(folder: Path) -> int:
    context = multiprocessing.get_context("fork")
    barrier, wins = context.Barrier(CONTENDERS), context.Value("i", 0)
    processes = [context.Process(target=contend, args=(folder, barrier, wins)) for _ in range(CONTENDERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return int(wins.value)


def test_many_contenders_have_one_winner_for_free_locks_and_for_stale_ones(tmp_path: Path) -> None:
    pid = dead_pid()
    for attempt in range(4):
        assert winners(tmp_path / f"free-{attempt}") == 1
        stale = tmp_path / f"stale-{attempt}"
        write_lock(stale, pid=pid)
        assert winners(stale) == 1
        assert [path.name for path in stale.rglob("*")] == []


def test_a_taker_that_died_in_the_middle_blocks_nobody(tmp_path: Path) -> None:
    gone = dead_pid()
    content = write_lock(tmp_path, pid=gone)
    (tmp_path / f".{LOCK}.stale.taken").write_text(json.dumps(content | {"token": "taker"}))
    with claim(tmp_path) as held:
        assert held is not None


def test_while_a_living_process_takes_a_lock_over_nobody_else_does(tmp_path: Path) -> None:
    content = write_lock(tmp_path, pid=dead_pid())
    guard = tmp_path / f".{LOCK}.stale.taken"
    guard.write_text(json.dumps(content | {"token": "taker", "pid": os.getpid()}))
    with claim(tmp_path) as held:
        assert held is None
    guard.unlink()
    with claim(tmp_path) as held:
        assert held is not None


def test_a_slow_taker_does_not_replace_the_lock_of_a_faster_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lock(tmp_path, pid=dead_pid())
    take_over = suites.claim._take_over
    faster = []

    def slowly(lock: Path, candidate: Path, stale: Any) -> bool:
        if not faster:
            faster.append(claim(tmp_path))
            assert faster[0].__enter__() is not None
        return take_over(lock, candidate, stale)

    monkeypatch.setattr(suites.claim, "_take_over", slowly)
    with claim(tmp_path) as held:
        assert held is None
    assert is_claimed(tmp_path)
    faster[0].__exit__(None, None, None)


def test_a_living_holder_keeps_its_lock_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites.claim, "HEARTBEAT_SECONDS", 0.05)
    with claim(tmp_path):
        age(tmp_path, 1000)
        deadline = time.monotonic() + 10
        while not is_claimed(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert is_claimed(tmp_path)


def test_a_holder_that_was_replaced_notices_and_leaves_the_lock_alone(tmp_path: Path) -> None:
    with claim(tmp_path) as held:
        assert held is not None
        held.confirm()
        others = json.loads((tmp_path / LOCK).read_text()) | {"token": "other"}
        (tmp_path / LOCK).write_text(json.dumps(others))
        held.beat()
        with pytest.raises(ClaimLost):
            held.confirm()
    assert json.loads((tmp_path / LOCK).read_text())["token"] == "other"


def test_a_holder_that_slept_asks_before_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claim(tmp_path) as held:
        assert held is not None
        (tmp_path / LOCK).unlink()
        held.confirm()
        now = suites.claim._clock()
        monkeypatch.setattr(suites.claim, "_clock", lambda: now + STALE_SECONDS / 2)
        with pytest.raises(ClaimLost):
            held.confirm()


@pytest.mark.usefixtures("probes")
@pytest.mark.parametrize("fault", ["none", "raise"])
def test_a_run_that_lost_its_claim_stops_and_writes_nothing_more(
    store: Store, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cells.cell("probe", fault=fault)
    folder, held, ticks, before = store.run_folder(spec.folder), [], [], {}

    @contextlib.contextmanager
    def remembered(folder: Path) -> Iterator[Claim | None]:
        with claim(folder) as found:
            held.append(found)
            yield found

    def rob() -> bool:
        ticks.append(1)
        if len(ticks) == 6:
            others = json.loads((folder / LOCK).read_text()) | {"token": "other"}
            (folder / LOCK).write_text(json.dumps(others))
            held[0].beat()
            before.update(contents(folder))
        return False

    monkeypatch.setattr("suites.runner.claim", remembered)
    outcome = run_cell(spec, store, stop=rob)
    assert outcome.ending == "busy"
    assert outcome.message == f"another process has taken over {spec.label}: this one had been silent for too long"
    assert len(ticks) == 6
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_state_of_a_folder_follows_its_claim(store: Store) -> None:
    folder = store.run_folder("runs/pair/method/s0-abc")
    with claim(folder):
        write_status(folder, "running")
        assert store.read_run(folder).state == "running"
        age(folder, STALE_SECONDS + 1)
        assert store.read_run(folder).state == "interrupted"


def test_the_holder_clears_what_killed_writers_left_and_no_lock_in_the_making(tmp_path: Path) -> None:
    for name in (".status.json.abc.tmp", f".{LOCK}.abc.tmp", f".{LOCK}.old.tmp", f".{LOCK}.old.taken", "evals.jsonl"):
        (tmp_path / name).write_text("")
        if ".old." in name:
            os.utime(tmp_path / name, (1.0, 1.0))
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{LOCK}.abc.tmp", "evals.jsonl"]
