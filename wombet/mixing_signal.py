"""What the adaptive mixture listens to: how badly the critics fit recent online rows, free of the reward's scale.

The paper's text says "TD error on recent online data" and no more. Three readings, as error and scale of
z_t = ema(error) / ema(scale):

    td_over_spread       mean |y - Q| and std y of the newest online rows
    online_over_offline  mean |y - Q| of the newest online rows and of random offline rows
    unseen_over_spread   mean |y - Q| of rows as they arrive, before any update has seen them, and std y as above

docs/mixing-signal.md says how the default was chosen.
"""

from typing import Any

import numpy as np
import torch

from wombet.learner import ActorCritic, Batch
from wombet.replay import ReplayBuffer

SIGNAL_ROWS = 1024
"""Rows of a measurement: of the newest online rows, and as many random offline ones."""


class SignalMeter:
    """Measures one of the signals of `wombet.mixing.SIGNALS` on a learner and its buffers.

    The generator draws the actions, subsets and offline rows of the measurements; no other stream is touched.
    """

    def __init__(
        self,
        signal: str,
        learner: ActorCritic,
        online: ReplayBuffer,
        offline: ReplayBuffer,
        generator: torch.Generator,
    ) -> None:
        self.signal, self.learner, self.online, self.offline = signal, learner, online, offline
        self.generator = generator
        self._unseen: list[float] = []

    def note(self, arrived: Batch) -> None:
        """Take note of rows that no update has seen yet; to be called before they are stored."""
        if self.signal == "unseen_over_spread":
            self._unseen.extend(self.learner.td_error(arrived, self.generator)[0].tolist())

    def measure(self) -> tuple[float, float]:
        """Return (error, scale) of now, in units of the return."""
        errors, targets = self.learner.td_error(self.online.last(SIGNAL_ROWS), self.generator)
        error, spread = float(errors.mean()), float(targets.std(correction=0))
        if self.signal == "online_over_offline":
            return error, self._offline_error()
        if self.signal == "unseen_over_spread":
            unseen, self._unseen = self._unseen, []
            return float(np.mean(unseen)), spread
        return error, spread

    def _offline_error(self) -> float:
        draw = torch.randint(len(self.offline), (SIGNAL_ROWS,), generator=self.generator, device=self.generator.device)
        return float(self.learner.td_error(self.offline.sample(draw.cpu()), self.generator)[0].mean())

    def state(self) -> dict[str, Any]:
        """Return the generator's state and the errors noted since the last measurement."""
        return {"generator": self.generator.get_state(), "unseen": list(self._unseen)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.generator.set_state(state["generator"])
        self._unseen = list(state["unseen"])
