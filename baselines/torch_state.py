"""States of torch modules and optimisers as trees for `wombet.serialization`, and random numbers kept to oneself."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def plain(value: Any) -> Any:
    """Return a copy of a state_dict whose keys may be integers as a tree, whose keys are strings."""
    if isinstance(value, dict):
        return {"items": [[key, plain(item)] for key, item in value.items()]}
    if isinstance(value, torch.Tensor):
        return value.clone()
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def unplain(value: Any) -> Any:
    """Return the state_dict that `plain` was given."""
    if isinstance(value, dict):
        return {key: unplain(item) for key, item in value["items"]}
    return [unplain(item) for item in value] if isinstance(value, list) else value


class OwnGlobals:
    """Streams for a library that draws from the process's global generators.

    Inside `swapped_in` torch's and numpy's global generators are in this object's states; outside they are as they
    were, whatever was drawn. On a GPU its generator is swapped too.
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._numpy = np.random.RandomState(seed % 2**32).get_state(legacy=False)
        self._torch = [torch.Generator(each).manual_seed(seed).get_state() for each in self._devices()]

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Draw from these streams for a while."""
        foreign_torch, foreign_numpy = self._exchange(self._torch, self._numpy)
        try:
            yield
        finally:
            self._torch, self._numpy = self._exchange(foreign_torch, foreign_numpy)

    def state(self) -> dict[str, Any]:
        """Return where the streams are."""
        return {"torch": list(self._torch), "numpy": self._numpy}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._torch, self._numpy = state["torch"], state["numpy"]

    def _devices(self) -> list[str | torch.device]:
        return ["cpu", self._device] if self._device.type == "cuda" else ["cpu"]

    def _exchange(self, torch_states: list[torch.Tensor], numpy_state: Any) -> tuple[list[torch.Tensor], Any]:
        before = [torch.get_rng_state()], np.random.get_state(legacy=False)  # noqa: NPY002
        torch.set_rng_state(torch_states[0])
        if self._device.type == "cuda":
            before[0].append(torch.cuda.get_rng_state(self._device))
            torch.cuda.set_rng_state(torch_states[1], self._device)
        np.random.set_state(numpy_state)  # noqa: NPY002
        return before
