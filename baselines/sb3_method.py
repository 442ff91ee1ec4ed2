"""Stable-Baselines3's updates behind the adapter contract: our rows, our random streams, our checkpoints.

Its own `learn` is not used: it seeds nothing it draws from by name, and cannot be resumed in mid-episode. The names of
Stable-Baselines3 that it does not document stand in this file alone: `_n_updates`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

from baselines.quiet import silence_gym
from baselines.torch_state import OwnGlobals, plain, unplain


def import_sb3() -> Any:
    """Import Stable-Baselines3, quietly."""
    silence_gym()
    import stable_baselines3

    return stable_baselines3


class Spaces(gym.Env[Any, Any]):
    """What a model is built for: spaces, and nothing to step."""

    def __init__(self, like: gym.Env[Any, Any]) -> None:
        self.observation_space, self.action_space = like.observation_space, like.action_space


class SB3Model:
    """A model of Stable-Baselines3 whose weights, optimisers, streams and losses make up one state.

    `numpy` says whether its `train` draws from numpy's global generator.
    """

    def __init__(self, make: Callable[[], Any], seed: int, device: str, numpy: bool = False) -> None:
        from stable_baselines3.common.logger import Logger

        self.globals = OwnGlobals(seed, device)
        self._numpy = numpy
        with self.globals.swapped_in():
            self.model = make()
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self.metrics: dict[str, float] = {}

    def train(self, **arguments: Any) -> None:
        """Call the model's `train` with streams of its own, and keep what it logs."""
        with self.globals.swapped_in(numpy=self._numpy):
            self.model.train(**arguments)
        self.metrics |= _numbers(self.model.logger.name_to_value)

    def state(self) -> dict[str, Any]:
        """Return every module and optimiser, the temperature if it is learned, counts, streams and metrics."""
        log_temperature = getattr(self.model, "log_ent_coef", None)
        return {
            "parameters": plain(self.model.get_parameters()),
            "log_temperature": None if log_temperature is None else log_temperature.detach().clone(),
            "train_calls": self.model._n_updates,
            "globals": self.globals.state(),
            "metrics": dict(self.metrics),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.model.set_parameters(unplain(state["parameters"]), exact_match=True, device=self.model.device)
        if state["log_temperature"] is not None:
            self.model.log_ent_coef.data.copy_(state["log_temperature"])
        self.model._n_updates = state["train_calls"]
        self.globals.restore(state["globals"])
        self.metrics = dict(state["metrics"])


def _numbers(logged: Mapping[str, Any]) -> dict[str, float]:
    return {name.removeprefix("train/"): float(value) for name, value in logged.items()}
