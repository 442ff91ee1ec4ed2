"""The program in this process, a package that offers the probe methods, and a store that holds a small dataset."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from baselines.registry import method
from suites.cli import main
from suites.store import Store
from tests.suites import cells

Program = Callable[..., tuple[int, str, str]]
METHODS = {"probe": "Probe", "phased-probe": "PhasedProbe", "forgetful-probe": "ForgetfulProbe"}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def wombet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Run the program in this process; returns exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wombet", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with the entry points of the probe methods; worker processes find it too."""
    package = tmp_path / "package"
    info = package / "probe_methods-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe-methods\nVersion: 1.0\n")
    points = [f"{name} = tests.suites.probe_methods:{kind}" for name, kind in METHODS.items()]
    (info / "entry_points.txt").write_text("\n".join(["[wombet.methods]", *points, ""]))
    monkeypatch.syspath_prepend(package)
    yield
    method.cache_clear()


@pytest.fixture(scope="session")
def built_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the small dataset; copy it rather than write into it."""
    return cells.store_with_dataset(tmp_path_factory.mktemp("built") / "store")


@pytest.fixture
def store(built_store: Store, tmp_path: Path) -> Store:
    """A fresh store that holds the small dataset."""
    shutil.copytree(built_store.root, tmp_path / "store")
    return Store(tmp_path / "store")
