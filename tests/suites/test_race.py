"""Two programs at one store: every run and every dataset is carried out once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suites.store import Store
from tests.suites import cells

pytestmark = pytest.mark.usefixtures("probes")
PROGRAM = """
import sys
from pathlib import Path
import suites.dispatch
from suites.dispatch import dispatch
from suites.store import Store
from tests.suites import cells

if __name__ == "__main__":
    suites.dispatch.available_cores = lambda: 4
    runs = [cells.cell("probe", seed=seed, pause=0.002) for seed in range(16)] + [cells.cell("rlpd", seed=0)]
    print(dispatch(runs, Store(Path(sys.argv[1])), workers=4).message)
"""


def test_two_programs_with_eight_workers_do_every_cell_and_dataset_once(tmp_path: Path) -> None:
    (tmp_path / "race.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "race.py"), str(tmp_path / "store")]
    racing = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=300)[0] for process in racing]
    assert [process.returncode for process in racing] == [0, 0], told
    assert not any("failed" in text for text in told), told
    store = Store(tmp_path / "store")
    done = [run for run in store.scan() if run.state == "done"]
    assert len(done) == 17
    pids = set()
    folders = [*(run.folder for run in done), store.dataset_folder(cells.recipe().id)]
    for folder in folders:
        (attempt,) = json.loads((folder / "provenance.json").read_text())
        assert attempt["state"] == "done"
        pids.add(attempt["pid"])
    assert len(pids) > 4
