"""Packing results: the same bytes for the same records; unpacking: nothing but a store's files, or nothing at all."""

import io
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suites.archive import ARCHIVE, INDEX, opened, pack, unpack, write_index
from suites.claim import claim
from suites.store import Store
from wombet.errors import InputError
from wombet.files import sha256_of_file

RUN = "runs/reacher-close/sac/s0-0123456789ab"
CELLS = [{"pair": "reacher-close", "method": "sac", "seed": 0, "run_id": "0123456789ab", "folder": RUN}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store by hand: one finished run, the card of its dataset, and much that is not to be packed."""
    root = tmp_path / "store"
    manifest = {"schema": 1, "name": "smoke", "cells": [{**CELLS[0], "dataset": "reacher-0+reacher-1"}]}
    for name, text in {
        "suites/smoke.json": json.dumps(manifest),
        "suites/other.json": "{}",
        f"{RUN}/spec.json": "{}",
        f"{RUN}/evals.jsonl": '{"evaluation":0}\n' * 200,
        f"{RUN}/done.json": "{}",
        f"{RUN}/policy.safetensors": "weights",
        f"{RUN}/checkpoint/1": "state",
        f"{RUN}/notes.txt": "mine",
        "runs/reacher-close/sac/s1-0123456789ab/spec.json": "{}",
        "datasets/reacher-0/card.json": "{}",
        "datasets/reacher-0/data/obs.npy": "rows",
        "datasets/reacher-0/model/ensemble.safetensors": "model",
        "datasets/reacher-1.building/error.txt": "out of memory\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Store(root)


def packed(store: Store, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    index = pack(store, "smoke", folder / ARCHIVE, "results/smoke")
    write_index(folder, index)
    return index


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_the_records_come_back_and_what_was_left_out_is_named(store: Store, tmp_path: Path) -> None:
    index = packed(store, tmp_path / "results")
    assert (index["planned"], index["finished"]) == (1, 1)
    unpack(tmp_path / "results", tmp_path / "again")
    kept = {f"{RUN}/{name}" for name in ("spec.json", "evals.jsonl", "done.json")}
    kept |= {"suites/smoke.json", "datasets/reacher-0/card.json", "datasets/reacher-1.building/error.txt"}
    assert names(tmp_path / "again") == {*kept, "published.json"}
    assert all((tmp_path / "again" / name).read_bytes() == (store.root / name).read_bytes() for name in kept)
    again = Store(tmp_path / "again")
    assert again.published["place"] == "results/smoke"
    assert again.left_out == {
        f"{RUN}/policy.safetensors",
        "datasets/reacher-0/data/obs.npy",
        "datasets/reacher-0/model/ensemble.safetensors",
    }
    assert again.lacks_rows("reacher-0")
    assert not again.lacks_rows("reacher-1")
    assert not store.lacks_rows("reacher-0")


def test_the_same_records_are_the_same_bytes_whoever_copied_them_and_when(store: Store, tmp_path: Path) -> None:
    packed(store, tmp_path / "first")
    copy = tmp_path / "copy"
    for name in sorted(names(store.root), reverse=True):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.root / name, copy / name)
        os.utime(copy / name, (1.0, 1.0))
        os.chmod(copy / name, 0o600)
    packed(Store(copy), tmp_path / "second")
    for name in (ARCHIVE, INDEX):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_run_at_which_somebody_works_is_left_out(store: Store, tmp_path: Path) -> None:
    (store.root / RUN / "done.json").unlink()
    with claim(store.root / RUN) as held:
        assert held is not None
        index = packed(store, tmp_path / "results")
    assert (index["planned"], index["finished"]) == (1, 0)
    unpack(tmp_path / "results", tmp_path / "again")
    assert not [name for name in names(tmp_path / "again") if name.startswith("runs/")]


def test_a_manifest_that_leads_out_of_the_store_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "spec.json").write_text("{}")
    store.write_manifest({"name": "smoke", "cells": [{**CELLS[0], "folder": "../secret"}]})
    with pytest.raises(InputError, match="no path of a store"):
        packed(store, tmp_path / "results")


def test_only_a_new_or_empty_folder_is_filled(store: Store, tmp_path: Path) -> None:
    packed(store, tmp_path / "results")
    with pytest.raises(InputError, match="is not empty"):
        unpack(tmp_path / "results", store.root)
    (tmp_path / "empty").mkdir()
    unpack(tmp_path / "results", tmp_path / "empty")
    assert (tmp_path / "empty" / "suites" / "smoke.json").is_file()


def test_both_a_store_and_published_results_can_be_opened(store: Store, tmp_path: Path) -> None:
    packed(store, tmp_path / "results")
    with opened(tmp_path / "results") as found:
        assert found.manifests() == ["smoke"]
    assert not found.root.exists()
    with opened(store.root) as found:
        assert found.root == store.root
    with pytest.raises(InputError, match="does not exist"), opened(tmp_path / "nothing"):
        pass
    with pytest.raises(InputError, match=r"wombet unpack .*results STORE"):
        Store(tmp_path / "results").require()


def member(name: str, data: bytes = b"{}", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


SPARSE = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": "999", "GNU.sparse.map": "0,0"}
"""What makes a member a file of 999 bytes that are not in the archive."""


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"", type=kind, linkname=target)


def forge(folder: Path, *members: tuple[tarfile.TarInfo, bytes], **told: int) -> None:
    """Published results with members of one's own, and an index that vouches for their hash."""
    folder.mkdir()
    with lzma.open(folder / ARCHIVE, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
        archive.close()
        size = file.tell()
    archive = {"sha256": sha256_of_file(folder / ARCHIVE), "unpacked_bytes": size, "files": len(members), **told}
    write_index(folder, {"format": 1, "suite": "smoke", "archive": archive})


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (member("../outside.json"), "no file of a store"),
        (member("/tmp/outside.json"), "no file of a store"),
        (member("suites/../../outside.json"), "no file of a store"),
        (member("runs/../../outside/s0-0123456789ab/spec.json"), "no file of a store"),
        (member("suites/.hidden.json"), "no file of a store"),
        (member("../suites/outside.json"), "no file of a store"),
        (member("suites/smoke.json.py"), "no file of a store"),
        (member(f"{RUN}/policy.safetensors"), "no file of a store"),
        (member(f"{RUN}/script.py"), "no file of a store"),
        (link(f"{RUN}/spec.json", "/etc/passwd"), "not a plain file"),
        (link(f"{RUN}/spec.json", "suites/smoke.json", tarfile.LNKTYPE), "not a plain file"),
        (member("suites/smoke.json", b"", type=tarfile.FIFOTYPE), "not a plain file"),
        (member(RUN, b"", type=tarfile.DIRTYPE), "not a plain file"),
        (member("suites/b.json", b"", pax_headers=SPARSE), "not a plain file"),
    ],
)
def test_a_member_that_is_no_file_of_a_store_spoils_the_whole_archive(
    tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes], sentence: str
) -> None:
    forge(tmp_path / "results", member("suites/smoke.json"), bad)
    with pytest.raises(InputError, match=sentence):
        unpack(tmp_path / "results", tmp_path / "store")
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"unpacked_bytes": 100_000}, "more than the 100000 bytes"),
        ({"files": 1}, "holds 2 files, and index.json tells"),
    ],
)
def test_no_more_is_unpacked_than_the_index_tells_of(tmp_path: Path, told: dict[str, int], sentence: str) -> None:
    forge(tmp_path / "results", member("suites/smoke.json", bytes(10_000_000)), member("suites/b.json"), **told)
    assert (tmp_path / "results" / ARCHIVE).stat().st_size < 10_000
    with pytest.raises(InputError, match=sentence):
        unpack(tmp_path / "results", tmp_path / "store")
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def cut(folder: Path) -> None:
    data = (folder / ARCHIVE).read_bytes()
    (folder / ARCHIVE).write_bytes(data[:-20])


def vouch_for_garbage(folder: Path) -> None:
    cut(folder)
    index = json.loads((folder / INDEX).read_text())
    index["archive"]["sha256"] = sha256_of_file(folder / ARCHIVE)
    write_index(folder, index)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (cut, "truncated or was changed"),
        (vouch_for_garbage, "cannot be unpacked"),
        (lambda folder: (folder / ARCHIVE).unlink(), "is missing"),
        (lambda folder: (folder / INDEX).unlink(), "no readable index.json"),
        (lambda folder: (folder / INDEX).write_text('{"format": 2}'), "this version reads 1"),
        (lambda folder: (folder / INDEX).write_text('{"format": 1, "archive": {}}'), "does not tell"),
    ],
)
def test_damage_is_one_sentence_and_leaves_nothing_behind(
    store: Store, tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    packed(store, tmp_path / "results")
    damage(tmp_path / "results")
    with pytest.raises(InputError, match=sentence):
        unpack(tmp_path / "results", tmp_path / "again")
    assert {path.name for path in tmp_path.iterdir()} == {"results", "store"}
