"""Off2On: five CQL agents that go on as one pessimistic ensemble, on rows replayed by how online they look."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.conservative import ConservativeConfig
from baselines.density_ratio import DensityRatio
from baselines.policy_ensemble import Member, PolicyEnsemble
from baselines.pretrained import LOG_STD, TEMPERATURE, check_warm_up
from baselines.priority_replay import BalancedReplay
from wombet.agent import offline_buffer
from wombet.errors import InputError
from wombet.streams import Streams


@dataclass(frozen=True)
class Off2OnConfig(ConservativeConfig):
    """Off2On's settings on locomotion."""

    actor_lr: float = 3e-4  # Adam's step size, offline and online
    temperature_lr: float = 3e-4  # Adam's step size on the log temperature, offline and online
    n_members: int = 5  # agents, each with an actor and critics of its own
    online_share: float = 0.5  # of the first batches online (the release's default; 0.75 in its halfcheetah example)
    warmup_steps: int = 1000  # steps of the ensemble's policy before the first update
    first_burst: int = 10  # updates per step of the warm-up, made at its end (the release's default; 5 in the example)
    ratio_temperature: float = 5.0  # priorities go by the density ratio to the power of one over this
    ratio_lr: float = 3e-4  # Adam's step size of the density ratio
    replay_capacity: int = 250_000  # online rows kept

    def __post_init__(self) -> None:
        super().__post_init__()
        check_warm_up(self.warmup_steps, self.replay_capacity)
        if min(self.n_members, self.first_burst, self.warmup_steps) < 1:
            raise InputError(
                f"n_members is {self.n_members}, first_burst {self.first_burst} and warmup_steps {self.warmup_steps}; "
                "each must be at least 1"
            )
        if not 0 < self.online_share < 1:
            raise InputError(f"online_share is {self.online_share}; it must be between 0 and 1, without either")
        if min(self.ratio_temperature, self.ratio_lr) <= 0:
            raise InputError(
                f"ratio_temperature is {self.ratio_temperature} and ratio_lr {self.ratio_lr}; both must be above zero"
            )


class Off2On:
    """Balanced replay and a pessimistic Q-ensemble; an update is one of all members together."""

    Config = Off2OnConfig
    capabilities = Capabilities(
        phases=(Phase.OFFLINE, Phase.ONLINE),
        needs_dataset=True,
        kind="offline-to-online",
        source="Lee et al. 2021 (arXiv 2107.00591); wombet's learner core",
        deviations=(
            TEMPERATURE,
            LOG_STD,
            "after the first burst updates follow each step, where the release makes 1000 after each 1000 steps",
            "the agents are pretrained with the step sizes of the online phase",
            "optimisers, temperature and target critics begin anew at the switch; actors and critics go on",
        ),
        version=2,
    )

    def __init__(self, problem: Problem, config: Off2OnConfig, streams: Streams, device: str) -> None:
        assert problem.dataset is not None
        self.problem, self.config = problem, config
        sizes = problem.target.obs_dim, problem.target.action_dim
        seeds = [streams.child("member", str(i)) for i in range(config.n_members)]
        members = [Member(*sizes, config, seed.torch("learner", device=device), device) for seed in seeds]
        self.ensemble = PolicyEnsemble(members, config, streams.torch("ensemble", device=device))
        generator = streams.torch("ratio", device=device)
        self.ratio = DensityRatio(*sizes, config.hidden_width, config.ratio_lr, generator, device)
        offline = offline_buffer(problem.dataset, 0.0, device)
        self.replay = BalancedReplay(offline, config.replay_capacity, config.online_share, config.warmup_steps)
        self.steps, self.updates, self.burst_left, self.online = 0, 0, 0, False
        self._member_sampling = [seed.numpy("sampling") for seed in seeds]
        self._sampling = streams.numpy("sampling")
        self._exploration = streams.torch("exploration", device=device)
        self._last_update: dict[str, float] = {}

    def train(self, phase: Phase, tick: Tick) -> None:
        """Pretrain every member for the budget of offline updates, or fine-tune the ensemble."""
        if phase is Phase.OFFLINE:
            self._pretrain(self.problem.budgets.offline_updates, tick)
        else:
            self._finetune(self.problem.budgets.target_steps, tick)

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the joint policy's deterministic actions."""
        return self.ensemble.act(torch.from_numpy(obs).to(self.replay.offline.device)).cpu().numpy()

    def metrics(self) -> dict[str, float]:
        """Return what the last update showed."""
        return dict(self._last_update)

    def _pretrain(self, until: int, tick: Tick) -> None:
        while self.updates < until:
            for member, sampling in zip(self.ensemble.members, self._member_sampling, strict=True):
                member.conservative = True
                offline = self.replay.offline
                batch = offline.sample(offline.draw_indices(self.config.batch_size, sampling))
                found = member.update([batch])
            self._last_update = {name: float(value) for name, value in found.items()}
            self.updates += 1
            tick(updates=self.updates, metrics=self.metrics)

    def _finetune(self, until: int, tick: Tick) -> None:
        if not self.online:
            for member in self.ensemble.members:
                member.begin_anew()
            self.online = True
        while self.steps < until:
            if self.burst_left > 0:
                self._learn()
                self.burst_left -= 1
            else:
                self._interact()
                if self.steps == self.config.warmup_steps:
                    self.burst_left = self.config.first_burst * self.config.warmup_steps
                elif self.steps > self.config.warmup_steps:
                    for _ in range(self.config.utd):
                        self._learn()
            tick(updates=self.updates, metrics=self.metrics)

    def _interact(self) -> None:
        env = self.problem.target_env
        obs = env.observation
        row = torch.tensor(obs, dtype=torch.float32, device=self.replay.offline.device).unsqueeze(0)
        action = self.ensemble.act(row, self._exploration)[0].cpu().numpy()
        next_obs, reward, terminated, _, _ = env.step(action)
        self.replay.add(obs, action, reward, next_obs, terminated)
        self.steps += 1

    def _learn(self) -> None:
        """Move the density ratio, then the ensemble on rows by priority, whose priorities then follow the ratio."""
        size = self.config.batch_size
        offline, online = self.replay.offline, self.replay.online
        batches = (buffer.sample(buffer.draw_indices(size, self._sampling)) for buffer in (offline, online))
        ratios = self.ratio.step(*batches)
        batch, indices = self.replay.draw(size, self._sampling)
        found = self.ensemble.update(batch)
        power = 1 / self.config.ratio_temperature
        scale = float((ratios[:size] ** power).mean())
        relative = self.ratio.weights(batch) ** power / max(scale, 1e-10)
        self.replay.set_priorities(indices, relative.clamp(1e-3, 1e3).cpu().double().numpy())
        self.updates += 1
        self._last_update = {name: float(value) for name, value in found.items()}
        self._last_update |= {
            "offline_fraction": float((indices < len(offline)).mean()),
            "density_ratio_online": float(ratios[size:].mean()),
            "highest_priority": self.replay.highest,
        }

    def state(self) -> Any:
        """Return networks, optimisers, online rows, priorities, counters and streams."""
        return {
            "ensemble": self.ensemble.state(),
            "ratio": self.ratio.state(),
            "replay": self.replay.state(),
            "counts": [self.steps, self.updates, self.burst_left],
            "online": self.online,
            "last_update": dict(self._last_update),
            "numpy": [stream.bit_generator.state for stream in (*self._member_sampling, self._sampling)],
            "exploration": self._exploration.get_state(),
        }

    def restore(self, state: Any) -> None:
        """Take up a state."""
        self.ensemble.restore(state["ensemble"])
        self.ratio.restore(state["ratio"])
        self.replay.restore(state["replay"])
        self.steps, self.updates, self.burst_left = state["counts"]
        self.online, self._last_update = state["online"], dict(state["last_update"])
        for stream, saved in zip((*self._member_sampling, self._sampling), state["numpy"], strict=True):
            stream.bit_generator.state = saved
        self._exploration.set_state(state["exploration"])

    def policy_state(self) -> Any:
        """Return the actors' parameters."""
        return {"actors": [member.actor.vector.cpu().clone() for member in self.ensemble.members]}

    def restore_policy(self, state: Any) -> None:
        """Take up the actors' parameters."""
        for member, saved in zip(self.ensemble.members, state["actors"], strict=True):
            member.actor.vector.copy_(saved)
