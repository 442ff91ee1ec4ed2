"""A store on a disk that is full or takes no writes: one clear sentence, nothing corrupt, and on it goes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suites.integrity import check_store
from suites.runner import run_cell
from suites.store import Store
from suites.worker import perform
from tests.suites import cells
from wombet.errors import InputError

pytestmark = pytest.mark.usefixtures("probes")
SPEC = cells.cell("sac", target_steps=200, evaluations=5)
OPTIONS = {"checkpoint_seconds": 0.0}


def mount(*arguments: object) -> bool:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=300k", "tmpfs", folder):
        pytest.skip("needs root and the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    store = Store(tmp_path / "roomy")
    assert run_cell(SPEC, store).ending == "done"
    return cells.results(store.run_folder(SPEC.folder))


def fill(folder: Path, left: int) -> Path:
    """Leave about so many bytes free."""
    free = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))
    return ballast


@pytest.mark.parametrize("left", [0, 8192, 20480, 40960, 81920])
def test_a_disk_that_is_full_at_some_moment_fails_the_run_and_with_room_it_goes_on_to_the_same_bytes(
    disk: Path, expected: dict[str, bytes], left: int
) -> None:
    store = Store(disk / "store")
    store.root.mkdir()
    ballast = fill(disk, left)
    task = {"kind": "run", "content": SPEC.to_json(), "store": str(store.root), "options": OPTIONS}
    outcome = perform(task)
    assert outcome.ending == "failed", outcome
    assert "No space left on device" in outcome.message
    found = check_store(disk / "store") if (store.root / "runs").is_dir() else []
    assert [item for item in found if "torn" not in item.sentence and item.kind != "missing"] == []
    ballast.unlink()
    assert perform(task).ending == "done"
    assert cells.results(store.run_folder(SPEC.folder)) == expected
    assert check_store(disk / "store") == []


def test_a_disk_that_fills_while_the_run_learns_costs_nothing_but_the_attempt(
    disk: Path, expected: dict[str, bytes]
) -> None:
    store, made = Store(disk / "store"), []

    def fill_later() -> bool:
        made.append(1)
        if len(made) == 90:
            fill(disk, 2048)
        return False

    outcome = run_cell(SPEC, store, checkpoint_seconds=0.0, stop=fill_later)
    assert outcome.ending == "failed"
    assert "No space left on device" in outcome.message
    (disk / "ballast").unlink()
    resumed: list[int] = []
    assert run_cell(SPEC, store, stop=lambda: bool(resumed.append(1))).ending == "done"
    assert len(resumed) < 200
    assert cells.results(store.run_folder(SPEC.folder)) == expected


def test_a_store_that_takes_no_writes_is_refused_before_any_work_and_can_be_read(
    disk: Path, wombet: Callable[..., tuple[int, str, str]]
) -> None:
    store = Store(disk / "store")
    assert run_cell(cells.cell("zero"), store).ending == "done"
    assert mount("-o", "remount,ro", disk)
    with pytest.raises(InputError, match=r"cannot be written \(read-only file system\); choose another"):
        store.prepare()
    code, _, err = wombet("run", "smoke", "--store", disk / "store", "--executor", "inline")
    assert code == 2
    assert "read-only file system" in err
    assert run_cell(cells.cell("zero"), store).ending == "skipped"
    task = {"kind": "run", "content": SPEC.to_json(), "store": str(store.root), "options": {}}
    outcome = perform(task)
    assert outcome.ending == "failed"
    assert "Read-only file system" in outcome.message
    assert check_store(disk / "store") == []
