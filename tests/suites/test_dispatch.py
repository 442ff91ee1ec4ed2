"""Dispatch: order, failures that stay where they are, workers that die, stops."""

import dataclasses
import errno
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from suites.claim import claim
from suites.commands.running import carry_out, exit_code
from suites.dispatch import Event, _Plan, check_workers, dispatch
from suites.matrix import available_cores
from suites.store import Rows, Store
from suites.worker import StopRequest
from suites.worker import main as work_alone
from tests.suites import cells
from wombet.errors import InputError

pytestmark = pytest.mark.usefixtures("probes")


def state(store: Store, spec: Any) -> str:
    return store.read_run(store.run_folder(spec.folder)).state


def test_datasets_come_first_then_runs_that_need_none_then_the_others(tmp_path: Path) -> None:
    store, events = Store(tmp_path / "new"), []
    runs = [cells.cell("rlpd"), cells.cell("probe"), cells.cell("zero")]
    summary = dispatch(runs, store, executor="inline", on_event=events.append)
    started = [event.job.label for event in events if event.kind == "started"]
    dataset = f"dataset {cells.recipe().id}"
    assert started == [dataset, "reacher-close probe seed 0", "reacher-close zero seed 0", "reacher-close rlpd seed 0"]
    assert summary.counts == {"done": 4}
    assert summary.message == "4 done (1 dataset among them)"
    assert [event.finished for event in events if event.kind == "done"] == [1, 2, 3, 4]
    assert all(event.total == 4 for event in events)
    assert events[-1].seconds_left == 0
    assert any(event.kind == "progress" and event.progress.total for event in events)


def test_a_dataset_that_is_there_is_counted_as_skipped(store: Store) -> None:
    summary = dispatch([cells.cell("rlpd"), cells.cell("probe")], store, executor="inline", recipes=[cells.recipe()])
    assert summary.message == "2 done, 1 skipped (1 dataset among them)"


def test_the_same_command_again_does_nothing(store: Store) -> None:
    runs = [cells.cell("rlpd"), cells.cell("probe")]
    dispatch(runs, store, executor="inline")
    events: list[Event] = []
    summary = dispatch(runs, store, executor="inline", on_event=events.append)
    assert summary.counts == {"skipped": 2}
    assert events == []


def test_jobs_take_the_gpus_in_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    runs = [cells.cell("probe", seed=seed) for seed in range(3)]
    jobs = _Plan(runs, [], store, {"device": "cuda", "checkpoint_seconds": 60.0}).ready
    assert [job.task["options"]["device"] for job in jobs] == ["cuda:0", "cuda:1", "cuda:0"]
    named = _Plan(runs, [], store, {"device": "cuda:1", "checkpoint_seconds": 60.0}).ready
    assert [job.task["options"]["device"] for job in named] == ["cuda:1"] * 3


def test_rows_that_come_down_to_one_run_are_carried_out_once(store: Store) -> None:
    runs = [cells.cell("probe"), cells.cell("probe"), cells.cell("probe", seed=1)]
    summary = dispatch(runs, store, workers=min(2, available_cores()))
    assert summary.counts == {"done": 2}
    assert dispatch(runs, store, executor="inline").counts == {"skipped": 2}


def test_what_another_process_is_at_is_not_done(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    spec = cells.cell("probe")
    with claim(store.run_folder(spec.folder)):
        summary = carry_out([], [spec], store, "inline", None)
    assert summary.counts == {"busy": 1}
    assert exit_code(summary) == 1
    assert "other processes are at it" in capsys.readouterr().out
    assert exit_code(carry_out([], [spec], store, "inline", None)) == 0


def test_a_failed_dataset_blocks_its_own_runs_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    bad = cells.recipe(cells.generation(gate_tolerance=0.0))
    runs = [dataclasses.replace(cells.cell("rlpd"), dataset=bad), cells.cell("rlpd"), cells.cell("probe")]
    summary = dispatch(runs, store, executor="inline")
    assert summary.counts == {"done": 3, "failed": 1, "blocked": 1}
    assert [label for label, _ in summary.failures] == [f"dataset {bad.id}"]
    ((label, message),) = summary.blocked
    assert label == "reacher-close rlpd seed 0"
    assert "GateError" in message
    assert [state(store, run) for run in runs] == ["todo", "done", "done"]


def test_local_workers_give_the_bytes_that_one_process_gives_and_survive_deaths(
    store: Store, tmp_path: Path, built_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    reasons = {
        "exit": "the worker process died (exit code 3)",
        "kill": "the worker process died (SIGKILL; the machine may be out of memory)",
        "raise": "ArithmeticError: the probe fails as told",
    }
    bad = {fault: cells.cell("probe", fault=fault) for fault in reasons}
    good = [cells.cell("sac"), cells.cell("rlpd"), cells.cell("probe", seed=1), cells.cell("probe", seed=2)]
    summary = dispatch([*bad.values(), *good], store, workers=min(2, available_cores()))
    assert summary.counts == {"done": 4, "failed": 3}
    assert sorted(message for _, message in summary.failures) == sorted(reasons.values())
    for fault, spec in bad.items():
        assert state(store, spec) == "failed"
        assert store.read_run(store.run_folder(spec.folder)).error == reasons[fault]
    inline = Store(tmp_path / "inline")
    inline.root.mkdir()
    (inline.root / "datasets").symlink_to(built_store.root / "datasets")
    dispatch(good, inline, executor="inline")
    for spec in good:
        folder = store.run_folder(spec.folder)
        assert cells.results(folder) == cells.results(inline.run_folder(spec.folder))
        (attempt,) = json.loads((folder / "provenance.json").read_text())
        assert attempt["threads"] == 1
        assert attempt["pid"] != os.getpid()


def test_a_stop_saves_local_workers_and_the_same_command_continues(store: Store, tmp_path: Path) -> None:
    slow = [cells.cell("probe", seed=seed, pause=0.03) for seed in range(3)]

    def interrupt(event: Event) -> None:
        folder = store.run_folder(slow[0].folder)
        if event.kind == "progress" and event.job.folder == folder and not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    interrupted: list[bool] = []
    summary = dispatch(slow, store, workers=1, on_event=interrupt)
    assert summary.interrupted
    assert summary.counts["preempted"] == 1
    assert summary.left == 2
    assert "the same command continues" in summary.message
    assert [state(store, spec) for spec in slow] == ["interrupted", "todo", "todo"]
    quick = Store(tmp_path / "quick")
    assert dispatch(slow[:1], quick, executor="inline").counts == {"done": 1}
    assert dispatch(slow[:1], store, executor="inline").counts == {"done": 1}
    folders = [where.run_folder(slow[0].folder) for where in (store, quick)]
    assert cells.results(folders[0]) == cells.results(folders[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_stops_an_inline_run_at_its_next_tick(store: Store, number: signal.Signals) -> None:
    slow = cells.cell("probe", pause=0.02)
    before = signal.getsignal(number)
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    summary = dispatch([slow, cells.cell("zero")], store, executor="inline")
    assert summary.interrupted
    assert (summary.counts["preempted"], summary.left) == (1, 1)
    assert list((store.run_folder(slow.folder) / "checkpoint").glob("*.safetensors"))
    assert signal.getsignal(number) is before


def test_a_second_interrupt_ends_at_once() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_one_folder_can_be_repeated_alone(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    spec = cells.cell("probe", fault="raise")
    dispatch([spec], store, executor="inline")
    assert work_alone([str(store.run_folder(spec.folder))]) == 1
    assert capsys.readouterr().out == "failed: ArithmeticError: the probe fails as told\n"
    assert work_alone([str(store.root)]) == 2


@pytest.mark.parametrize(
    ("executor", "workers", "sentence"),
    [
        ("local", 0, "it must be at least 1"),
        ("local", 10**6, r"this machine offers \d+ cores"),
        ("inline", 2, "the inline executor runs one job at a time"),
        ("cloud", None, "there is no executor 'cloud'"),
    ],
)
def test_workers_that_cannot_be_are_refused(executor: str, workers: int | None, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_workers(executor, workers)


def test_a_store_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        dispatch([cells.cell("zero")], Store(tmp_path / "file" / "store"), executor="inline")


def test_a_full_disk_fails_the_run_with_a_sentence_and_the_next_attempt_continues(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cells.cell("probe")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "evals.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "append", lambda rows, values: (_ for _ in ()).throw(full))
        summary = dispatch([spec], store, executor="inline")
    assert summary.failures == [("reacher-close probe seed 0", "No space left on device: evals.jsonl")]
    assert dispatch([spec], store, executor="inline").counts == {"done": 1}
