"""The store: what is read, what is named as broken, and what a path must be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suites.claim import claim
from suites.store import Rows, Store, read_rows, write_status
from wombet.errors import InputError


def make_run(store: Store) -> Path:
    folder = store.run_folder("runs/pair/method/s0-abc")
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text('{"seed": 0}')
    Rows(folder / "evals.jsonl").append([{"evaluation": 0}, {"evaluation": 1}])
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_rows_come_back_as_they_were_added(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    rows.append([{"a": 1}])
    length = rows.length
    rows.append([{"a": 2}, {"b": [1.5, None]}])
    assert read_rows(rows.path) == [{"a": 1}, {"a": 2}, {"b": [1.5, None]}]
    assert rows.length == rows.path.stat().st_size == Rows(rows.path).length
    rows.cut(length)
    rows.append([{"a": 3}])
    assert read_rows(rows.path) == [{"a": 1}, {"a": 3}]


def test_a_torn_last_line_is_left_out_and_named(store: Store) -> None:
    folder = make_run(store)
    with open(folder / "evals.jsonl", "ab") as file:
        file.write(b'{"evaluation": 2}')
    stored = store.read_run(folder)
    assert [row["evaluation"] for row in stored.evaluations] == [0, 1]
    assert stored.problems == ["the last line of evals.jsonl is torn and was left out"]


def test_damaged_files_are_named_and_not_fatal(store: Store) -> None:
    folder = make_run(store)
    (folder / "spec.json").write_bytes(b"\xff{")
    (folder / "status.json").write_text("[1]")
    (folder / "done.json").mkdir()
    (folder / "costs.jsonl").write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    stored = store.read_run(folder)
    assert stored.spec is None
    assert stored.done is None
    assert [row["a"] for row in stored.costs] == [1, 2]
    assert len(stored.problems) == 4
    for name in ("spec.json", "status.json", "done.json", "costs.jsonl"):
        assert any(name in problem for problem in stored.problems)


def test_the_state_follows_from_marks_status_and_lock(store: Store) -> None:
    folder = store.run_folder("runs/pair/method/s0-abc")
    assert store.read_run(folder).state == "todo"
    make_run(store)
    with claim(folder):
        write_status(folder, "running")
        assert store.read_run(folder).state == "running"
    assert store.read_run(folder).state == "interrupted"
    write_status(folder, "failed")
    (folder / "error.txt").write_text("first\n\nthe last line\n\n")
    assert store.read_run(folder).state == "failed"
    assert store.read_run(folder).error == "the last line"
    (folder / "done.json").write_text("{}")
    assert store.read_run(folder).state == "done"


def test_scan_finds_every_run_in_order(store: Store) -> None:
    for name in ("b/m/s1-x", "a/m/s0-y", "a/k/s0-z"):
        store.run_folder(f"runs/{name}").mkdir(parents=True)
    (store.root / "runs" / "a" / "m" / "note.txt").write_text("not a run")
    assert [run.folder.name for run in store.scan()] == ["s0-z", "s0-y", "s1-x"]


def test_manifests_come_back_by_name(store: Store) -> None:
    store.write_manifest({"name": "smoke", "cells": []})
    store.write_manifest({"name": "pocket@ab12", "cells": []})
    assert store.manifests() == ["pocket@ab12", "smoke"]
    assert store.manifest("smoke") == {"name": "smoke", "cells": []}


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda store: None, "does not exist; `wombet run SUITE --store"),
        (lambda store: store.root.mkdir(), "is not a store"),
        (
            lambda store: store.write_manifest({"name": "other", "cells": []}),
            r"it has: other\); start it with `wombet run",
        ),
        (lambda store: store.write_manifest({"name": "smoke"}), "is damaged; `wombet run smoke"),
    ],
)
def test_a_missing_manifest_says_what_to_run(store: Store, prepare: object, sentence: str) -> None:
    prepare(store)  # type: ignore[operator]
    with pytest.raises(InputError, match=sentence):
        store.manifest("smoke")


def test_a_store_that_is_a_file_or_lies_below_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"):
        Store(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "file" / "below").prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_store_is_refused_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path).prepare()


def test_reading_a_store_loads_nothing_heavy() -> None:
    program = (
        "import sys, suites.store, suites.status, suites.worker;"
        "print([name for name in ('torch', 'gymnasium', 'mujoco', 'numpy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
