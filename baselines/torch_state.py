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

    Inside `swapped_in` torch's and, on demand, numpy's global generators are in this object's states; outside they are
    as they were, whatever was drawn. On a GPU its generator is swapped too.
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self._device = torch.device(device)
        devices = ["cpu", device] if self._device.type == "cuda" else ["cpu"]
        self._torch = [torch.Generator(each).manual_seed(seed).get_state() for each in devices]
        self._numpy = np.random.RandomState(seed % 2**32).get_state(legacy=False)

    @contextlib.contextmanager
    def swapped_in(self, *, numpy: bool = False) -> Iterator[None]:
        """Draw from these streams for a while; numpy's, which takes 0.15 ms to swap, only if it is asked for."""
        foreign = self._set_torch(self._torch)
        foreign_numpy = _set_numpy(self._numpy) if numpy else None
        try:
            yield
        finally:
            self._torch = self._set_torch(foreign)
            if numpy:
                self._numpy = _set_numpy(foreign_numpy)

    def state(self) -> dict[str, Any]:
        """Return where the streams are."""
        return {"torch": list(self._torch), "numpy": self._numpy}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._torch, self._numpy = state["torch"], state["numpy"]

    def _set_torch(self, states: list[torch.Tensor]) -> list[torch.Tensor]:
        before = [torch.get_rng_state()]
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            before.append(torch.cuda.get_rng_state(self._device))
            torch.cuda.set_rng_state(states[1], self._device)
        return before


def _set_numpy(state: Any) -> Any:
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    np.random.set_state(state)  # noqa: NPY002
    return before
