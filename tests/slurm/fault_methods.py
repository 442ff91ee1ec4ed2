"""A method of another package that takes its time, and fails on a cluster in the ways that clusters know."""

import os
import time
from pathlib import Path

from tests.suites.probe_methods import Probe

MARKS = "WOMBET_TEST_MARKS"
"""Environment variable with a folder: a fault leaves its name there and does not happen a second time."""
MEMORY_BYTES = 1_300_000_000
MEMORY_SECONDS = 15.0


class Faulty(Probe):
    """The faults `raise` and `exit` happen once, `memory` (more than one GB for some seconds) every time."""

    def _fault(self, step: int) -> bool:
        if step != self.config.at:
            return False
        if self.config.fault == "memory":
            hoard = bytearray(b"1") * MEMORY_BYTES
            time.sleep(MEMORY_SECONDS)
            del hoard
            return False
        mark = Path(os.environ[MARKS]) / self.config.fault
        if mark.exists():
            return False
        mark.touch()
        return super()._fault(step)
