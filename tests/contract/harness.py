"""The contract's small problem and runs, under the names that the tests of single methods use."""

from suites.contract.problem import build, dataset, knowledge
from suites.contract.run import SMALL, SmallRun, Stopped

__all__ = ["BUILD", "DATASET", "KNOWLEDGE", "SMALL", "Run", "Stopped"]

DATASET = dataset()
BUILD = build
KNOWLEDGE = knowledge


def Run(name: str, seed: int = 0, device: str = "cpu") -> SmallRun:
    """A run of a method with the contract's settings."""
    return SmallRun(name, {}, seed, device)
