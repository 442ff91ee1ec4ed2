"""Independent random streams, named, all from one seed."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Streams:
    """A tree of named streams: the same seed and name give the same numbers, whatever else was drawn before.

    Every call returns a new generator at the beginning of its stream; whoever draws from it keeps it, and puts its
    state among what a checkpoint holds.
    """

    def __init__(self, seed: int, *path: str) -> None:
        self.seed = seed
        self.path = path

    def child(self, *name: str) -> "Streams":
        """Return the subtree under a name."""
        return Streams(self.seed, *self.path, *name)

    def integer(self, *name: str | int) -> int:
        """Return the 63-bit number that belongs to a name, for libraries that take a seed."""
        return self._entropy(*name) >> 65

    def numpy(self, *name: str | int) -> np.random.Generator:
        """Return the numpy generator of a name (PCG64)."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._entropy(*name))))

    def torch(self, *name: str | int, device: str = "cpu") -> "torch.Generator":
        """Return the torch generator of a name on a device."""
        import torch

        return torch.Generator(device=device).manual_seed(self.integer(*name))

    def _entropy(self, *name: str | int) -> int:
        text = "/".join([str(self.seed), *self.path, *(str(part) for part in name)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
