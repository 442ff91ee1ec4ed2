"""The job that ends a submission: it submits again what was lost, so that nobody has to watch."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_KEPT = frozenset(("SLURM_CONF",))


@dataclass(frozen=True)
class Keeper:
    """Called in a job of its own when all jobs of a submission have ended."""

    store: str
    suite: str
    max_failures: int | None

    def __call__(self) -> None:
        """Submit lost runs and datasets again; what failed with an exception, or was cancelled, is left alone."""
        from suites.retrying import retry_on_slurm, select
        from suites.store import Store

        forget_own_job()
        store = Store(Path(self.store))
        selection = select(store, self.suite, automatic=True)
        print(retry_on_slurm(store, self.suite, selection, None, self.max_failures).message, file=sys.stderr)


def forget_own_job() -> None:
    """Drop the variables by which the jobs that this one submits would take it for their own."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", "SRUN_", "SUBMITIT_")) and name not in _KEPT:
            del os.environ[name]
