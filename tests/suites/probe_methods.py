"""Methods of another package, for the runner's tests: tiny, resumable, and faulty on demand."""

import os
import signal
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from wombet.streams import Streams


@dataclass(frozen=True)
class ProbeConfig:
    """`fault` happens at target step `at`; `pause` is in seconds per step."""

    fault: str = "none"
    at: int = 7
    pause: float = 0.0


class Probe:
    """Walks its policy's weights by what it meets; an error anywhere changes everything after it."""

    Config = ProbeConfig
    capabilities: ClassVar = Capabilities((Phase.ONLINE,), needs_dataset=False, kind="probe", source="tests")

    def __init__(self, problem: Problem, config: ProbeConfig, streams: Streams, device: str) -> None:
        self.problem, self.config = problem, config
        self.weights = np.zeros((problem.target.obs_dim, problem.target.action_dim), np.float32)
        self.updates = 0
        self.offline_updates = 0
        self._generator = streams.numpy("walk")

    def train(self, phase: Phase, tick: Tick) -> None:
        budgets = self.problem.budgets
        if phase is Phase.OFFLINE:
            while self.offline_updates < budgets.offline_updates + (self.config.fault == "extra updates"):
                self.offline_updates += 1
                self._update(0.0, tick)
            if self.config.fault == "early step":
                self._step(self.problem.target_env)
            return
        env = self.problem.source_env if phase is Phase.SOURCE else self.problem.target_env
        total = budgets.source_steps if phase is Phase.SOURCE else budgets.target_steps
        while env.meter.count < total + (self.config.fault == "overrun"):
            reward = self._step(env)
            if phase is Phase.ONLINE and self._fault(env.meter.count):
                return
            self._update(reward, tick, silent=self.config.fault == "silent" and env.meter.count % 2 == 0)

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        actions = np.tanh(obs @ self.weights + generator.normal(0, 0.1, (len(obs), self.weights.shape[1])))
        bad = {
            "nan": actions * np.nan,
            "shape": actions[:, :1],
            "outside": actions + 2,
            "integers": np.zeros(actions.shape, int),
        }
        return bad.get(self.config.fault, actions.astype(np.float32))

    def state(self) -> Any:
        return {
            "weights": self.weights.copy(),
            "updates": self.updates,
            "offline_updates": self.offline_updates,
            "generator": self._generator.bit_generator.state,
        }

    def restore(self, state: Any) -> None:
        self.weights, self.updates = state["weights"], state["updates"]
        self.offline_updates = state["offline_updates"]
        self._generator.bit_generator.state = state["generator"]

    def _step(self, env: Any) -> float:
        time.sleep(self.config.pause)
        noise = self._generator.uniform(-1, 1, self.weights.shape[1])
        scale = 3 if self.config.fault == "outside while training" else 1
        return env.step((scale * np.tanh(env.observation @ self.weights + noise)).astype(np.float32))[1]

    def _update(self, reward: float, tick: Tick, silent: bool = False) -> None:
        self.updates += 1
        self.weights += (reward * self._generator.normal(0, 0.01, self.weights.shape)).astype(np.float32)
        if not silent:
            tick(updates=self.updates, metrics=lambda: {"reward": reward, "infinite": float("inf")})

    def _fault(self, step: int) -> bool:
        if step != self.config.at:
            return False
        if self.config.fault == "raise":
            raise ArithmeticError("the probe\nfails as told")
        if self.config.fault == "exit":
            os._exit(3)
        if self.config.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.config.fault == "returns early"


class PhasedProbe(Probe):
    """Learns in all three phases and is given the data."""

    capabilities: ClassVar = Capabilities(tuple(Phase), needs_dataset=True, kind="probe", source="tests")


class ForgetfulProbe(Probe):
    """Cannot be continued."""

    capabilities: ClassVar = Capabilities(
        (Phase.ONLINE,), needs_dataset=False, kind="probe", source="tests", resumable=False
    )

    def state(self) -> Any:
        raise NotImplementedError
