"""A real Slurm of four nodes on this machine, and suites whose methods fail on it as they are told."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from baselines.registry import method
from suites.queue import records
from suites.store import Store
from tests.suites.conftest import Program, wombet  # noqa: F401

HERE = Path(__file__).parent
GATE = "WOMBET_SLURM_TESTS"
SUITE = """
name = "{name}"
title = "Faults"
description = "Small runs on a cluster."
seeds = {seeds}
n_datasets = 1
methods = {methods}
data = {{ collection = "pure", profile = "smoke" }}
pairs = [{{ family = "reacher", level = "close", horizon = 20 }}]
budgets = {{ target_steps = 60, offline_updates = 5 }}
evaluation = {{ count = 2, episodes = 1 }}
"""
SMALL = "[config.bc]\nhidden_width = 16\nbatch_size = 16\n"


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    """Start the cluster (installing it, when root) unless the gate is shut; it is brought down at the end."""
    if os.environ.get(GATE) != "1":
        pytest.skip(f"they need a Slurm cluster: `make test-slurm`, which sets {GATE}=1, starts one")
    if os.geteuid() != 0 and not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "mariadbd"))):
        pytest.skip("Slurm is not installed, and only root can install it")
    started = subprocess.run([HERE / "slurm-up"], stdout=subprocess.PIPE, text=True, timeout=400)
    assert started.returncode == 0, "slurm-up failed; its last lines say why"
    configuration = re.search(r"SLURM_CONF=(\S+)", started.stdout)
    assert configuration is not None
    os.environ["SLURM_CONF"] = configuration[1]
    yield
    subprocess.run([HERE / "slurm-down"], check=True, timeout=120)


@pytest.fixture(autouse=True)
def _faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the package with the faulty method, here and in the jobs."""
    package, marks = tmp_path / "package", tmp_path / "marks"
    marks.mkdir()
    info = package / "fault_methods-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fault-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wombet.methods]\nfaulty = tests.slurm.fault_methods:Faulty\n")
    monkeypatch.syspath_prepend(package)
    monkeypatch.setenv("PYTHONPATH", f"{HERE.parents[1]}:{package}")
    monkeypatch.setenv("WOMBET_TEST_MARKS", str(marks))
    method.cache_clear()
    yield
    method.cache_clear()


class Bench:
    """A suite, a store and a site profile, and the program to use them with."""

    def __init__(self, folder: Path, program: Program) -> None:
        self.folder, self._program, self.name = folder, program, "faults"
        self.store = Store(folder / "store")

    def suite(self, seeds: int = 1, **rows: dict[str, Any]) -> None:
        """Write the suite, with a row per keyword: the faulty method with these settings (`bc`: that method)."""
        text = SUITE.format(name=self.name, seeds=seeds, methods=json.dumps(list(rows)))
        text += SMALL * ("bc" in rows)
        for name, config in rows.items():
            if name != "bc":
                values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in config.items())
                text += f'[variants.{name}]\nmethod = "faulty"\nconfig = {{ {values} }}\n'
        self.file.write_text(text)

    @property
    def file(self) -> Path:
        """The suite's file."""
        return self.folder / f"{self.name}.toml"

    def site(self, **values: Any) -> None:
        """Write a site profile for small jobs."""
        values = {"memory_gb": 1, "time_minutes": 10, "signal_seconds": 60, "attempts": 1, **values}
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        (self.folder / "site.toml").write_text(text)

    def run(self, *options: str, code: int = 0) -> str:
        """`wombet run --executor slurm`; returns what it says."""
        site = ("--executor", "slurm", "--site", self.folder / "site.toml")
        return self._tell("run", self.file, *site, *options, code=code)

    def run_here(self, *options: str) -> str:
        """`wombet run` in this process."""
        return self._tell("run", self.file, "--executor", "inline", "--no-report", *options)

    def retry(self, *options: str) -> str:
        """`wombet retry`."""
        return self._tell("retry", self.name, *options)

    def cells(self) -> dict[str, dict[str, Any]]:
        """Statuses by row and seed, such as `good-0`."""
        status = json.loads(self._tell("status", self.name, "--json"))
        return {f"{cell['method']}-{cell['seed']}": cell for cell in status["cells"]}

    def states(self) -> dict[str, str]:
        """States by row and seed."""
        return {name: cell["state"] for name, cell in self.cells().items()}

    def datasets(self) -> list[dict[str, Any]]:
        """Statuses of the datasets."""
        return list(json.loads(self._tell("status", self.name, "--json"))["datasets"])

    def attempts(self, name: str) -> list[dict[str, Any]]:
        """Records of all attempts at a run."""
        return list(json.loads((self.run_folder(name) / "provenance.json").read_text()))

    def run_folder(self, name: str) -> Path:
        """Folder of a run, by row and seed."""
        return self.store.root / self.cells()[name]["folder"]

    def jobs(self) -> dict[str, list[str]]:
        """Folders by job, of all submissions."""
        return {job: content["folders"] for r in records(self.store, self.name) for job, content in r["jobs"].items()}

    def assert_bytes_of_an_undisturbed_run(self, name: str) -> None:
        """Carry the suite out in this process, in another store, and compare."""
        folder = self.run_folder(name)
        calm = Bench(self.folder, self._program)
        calm.store = Store(self.folder / "calm")
        calm.run_here()
        other = calm.store.root / folder.relative_to(self.store.root)
        for file in ("spec.json", "evals.jsonl", "train.jsonl", "done.json"):
            assert (folder / file).read_bytes() == (other / file).read_bytes(), file

    def _tell(self, *arguments: object, code: int = 0) -> str:
        ended, out, error = self._program(*arguments, "--store", self.store.root)
        assert ended == code, out + error
        return out + error


@pytest.fixture
def bench(tmp_path: Path, wombet: Program) -> Bench:  # noqa: F811
    """An empty store and a small site profile."""
    bench = Bench(tmp_path, wombet)
    bench.site()
    return bench


def slurm(*command: object) -> str:
    """Output of one of Slurm's commands."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=60).stdout


def until(what: str, true: Callable[[], Any], seconds: float = 150.0) -> Any:
    """Wait for something to be true, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what}: not after {seconds:g} s; {slurm('squeue')}"
        time.sleep(0.5)
    return found


def until_all_ended(seconds: float = 200.0) -> None:
    """Wait until the queue is empty."""
    until("an empty queue", lambda: not slurm("squeue", "-h").strip(), seconds)
