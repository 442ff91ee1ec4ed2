"""SAC and TD3, by Stable-Baselines3: one loop, in which both act, store and learn once per step."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.sb3_method import SB3Model, Spaces, import_sb3
from baselines.torch_state import plain, unplain
from wombet.errors import InputError
from wombet.replay import ReplayBuffer
from wombet.streams import Streams


@dataclass(frozen=True)
class OffPolicyConfig:
    """Settings that SAC and TD3 share; the values are Stable-Baselines3's where no other source is named."""

    hidden_width: int | None = None  # units of each hidden layer; None: SAC 256 and 256, TD3 400 and 300 (its paper)
    batch_size: int = 256  # transitions per minibatch
    learning_rate: float = 3e-4  # of all networks
    discount: float = 0.99  # per environment step
    tau: float = 0.005  # share of the networks that enters the target networks per update
    random_steps: int = 10_000  # uniform actions before the first update (rl-baselines3-zoo; the library's own is 100)
    replay_capacity: int = 1_000_000  # rows kept

    def __post_init__(self) -> None:
        for name in ("hidden_width", "batch_size", "replay_capacity"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        for name in ("learning_rate", "tau"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above zero")
        if not 0 <= self.discount <= 1:
            raise InputError(f"discount is {self.discount}; it must be in [0, 1]")
        if self.random_steps < 0:
            raise InputError(f"random_steps is {self.random_steps}; it must be zero or more")


class Rows:
    """Our buffer where a model expects its own: time limits are no terminations, indices come from a stream."""

    def __init__(self, capacity: int, obs_dim: int, action_dim: int, stream: np.random.Generator, device: str) -> None:
        from stable_baselines3.common.type_aliases import ReplayBufferSamples

        self.buffer = ReplayBuffer(capacity, obs_dim, action_dim, device)
        self.stream = stream
        self._samples = ReplayBufferSamples

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """Return a minibatch in the library's form."""
        batch = self.buffer.sample(self.buffer.draw_indices(batch_size, self.stream))
        return self._samples(
            batch.obs, batch.action, batch.next_obs, batch.terminated.unsqueeze(1), batch.reward.unsqueeze(1)
        )


class OffPolicyMethod:
    """The contract translated to a Stable-Baselines3 algorithm that learns from a replay buffer."""

    algorithm: ClassVar[str]

    def __init__(self, problem: Problem, config: Any, streams: Streams, device: str) -> None:
        self.problem, self.config = problem, config
        kind = getattr(import_sb3(), self.algorithm)
        width = config.hidden_width
        settings = {
            "learning_rate": config.learning_rate,
            "gamma": config.discount,
            "tau": config.tau,
            "policy_kwargs": {} if width is None else {"net_arch": [width, width]},
            "buffer_size": 1,  # ours takes its place
            "device": device,
            **self.settings(),
        }
        self.learner = SB3Model(
            lambda: kind("MlpPolicy", Spaces(problem.target_env), **settings), streams.integer("learner"), device
        )
        self.model = self.learner.model
        task = problem.target
        self.rows = Rows(config.replay_capacity, task.obs_dim, task.action_dim, streams.numpy("sampling"), device)
        self.model.replay_buffer = self.rows
        self._acting = streams.numpy("acting")
        self.steps = self.updates = 0

    def settings(self) -> dict[str, Any]:
        """Return the arguments that only this algorithm has."""
        raise NotImplementedError

    def explore(self, obs: torch.Tensor, generator: np.random.Generator) -> Array:
        """Return one action in [-1, 1] to learn from, for obs (1, obs_dim)."""
        raise NotImplementedError

    def train(self, phase: Phase, tick: Tick) -> None:
        """Act, store and learn to the end of the target steps."""
        while self.steps < self.problem.budgets.target_steps:
            self._interact()
            if self.steps > self.config.random_steps:
                self.learner.train(gradient_steps=1, batch_size=self.config.batch_size)
                self.updates += 1
            tick(updates=self.updates, metrics=lambda: self.learner.metrics)

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the deterministic actions (n, action_dim)."""
        with torch.no_grad():
            return self.model.actor(self._tensor(obs)).cpu().numpy()

    def state(self) -> Any:
        """Return the model, the buffer, the streams and the counts."""
        return {
            "learner": self.learner.state(),
            "rows": self.rows.buffer.state(),
            "numpy": [stream.bit_generator.state for stream in (self.rows.stream, self._acting)],
            "steps": self.steps,
            "updates": self.updates,
        }

    def restore(self, state: Any) -> None:
        """Take up a state."""
        self.learner.restore(state["learner"])
        self.rows.buffer.restore(state["rows"])
        for stream, saved in zip((self.rows.stream, self._acting), state["numpy"], strict=True):
            stream.bit_generator.state = saved
        self.steps, self.updates = state["steps"], state["updates"]

    def policy_state(self) -> Any:
        """Return the actor's parameters."""
        return {"actor": plain(self.model.actor.state_dict())}

    def restore_policy(self, state: Any) -> None:
        """Take up the actor's parameters."""
        self.model.actor.load_state_dict(unplain(state["actor"]))

    def _interact(self) -> None:
        env = self.problem.target_env
        obs = env.observation
        if self.steps < self.config.random_steps:
            action = self._acting.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        else:
            with torch.no_grad():
                action = self.explore(self._tensor(obs[None]), self._acting)
        next_obs, reward, terminated, _, _ = env.step(action)
        self.rows.buffer.add(obs, action, reward, next_obs, terminated)
        self.steps += 1

    def _tensor(self, obs: Array) -> torch.Tensor:
        return torch.from_numpy(obs).to(self.model.device)


@dataclass(frozen=True)
class SACSB3Config(OffPolicyConfig):
    """Settings of SAC."""

    initial_temperature: float = 1.0  # in units of reward per nat

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.initial_temperature > 0:
            raise InputError(f"initial_temperature is {self.initial_temperature}; it must be above zero")


class SACSB3(OffPolicyMethod):
    """Soft actor-critic of Stable-Baselines3, from scratch; `sac` is the same algorithm on the learner core."""

    Config = SACSB3Config
    capabilities = Capabilities(
        phases=(Phase.ONLINE,),
        needs_dataset=False,
        kind="online",
        source="Haarnoja et al. 2018 (arXiv 1812.05905); Stable-Baselines3 2.9.2 (SAC)",
        deviations=("10000 random steps (rl-baselines3-zoo) instead of the library's 100",),
    )
    algorithm = "SAC"

    def settings(self) -> dict[str, Any]:
        """Return how the temperature begins."""
        return {"ent_coef": f"auto_{self.config.initial_temperature!r}"}

    def explore(self, obs: torch.Tensor, generator: np.random.Generator) -> Array:
        """Return a sample of the squashed Gaussian policy."""
        mean, log_std, _ = self.model.actor.get_action_dist_params(obs)
        noise = generator.standard_normal(mean.shape, np.float32)
        return np.tanh(mean.cpu().numpy() + log_std.exp().cpu().numpy() * noise)[0]

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the squashed means (n, action_dim)."""
        with torch.no_grad():
            return self.model.actor(self._tensor(obs), deterministic=True).cpu().numpy()


@dataclass(frozen=True)
class TD3Config(OffPolicyConfig):
    """Settings of TD3."""

    learning_rate: float = 1e-3  # of all networks
    exploration_noise: float = 0.1  # standard deviation of what is added to actions (its paper; the library adds none)
    policy_delay: int = 2  # critic updates per actor update
    target_noise: float = 0.2  # standard deviation of the smoothing noise on the target's actions
    target_noise_clip: float = 0.5  # bound of that noise on either side

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy_delay < 1:
            raise InputError(f"policy_delay is {self.policy_delay}; it must be at least 1")
        for name in ("exploration_noise", "target_noise", "target_noise_clip"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be zero or more")


class TD3(OffPolicyMethod):
    """Twin delayed deterministic policy gradients, from scratch."""

    Config = TD3Config
    capabilities = Capabilities(
        phases=(Phase.ONLINE,),
        needs_dataset=False,
        kind="online",
        source="Fujimoto et al. 2018 (arXiv 1802.09477); Stable-Baselines3 2.9.2 (TD3)",
        deviations=(
            "10000 random steps and exploration noise 0.1 (the paper, rl-baselines3-zoo), not the library's 100 and 0",
            "minibatches of 256 (the library) instead of the paper's 100",
        ),
    )
    algorithm = "TD3"

    def settings(self) -> dict[str, Any]:
        """Return the delay and the smoothing of the target."""
        return {
            "policy_delay": self.config.policy_delay,
            "target_policy_noise": self.config.target_noise,
            "target_noise_clip": self.config.target_noise_clip,
        }

    def explore(self, obs: torch.Tensor, generator: np.random.Generator) -> Array:
        """Return the policy's action with Gaussian noise, clipped."""
        action = self.model.actor(obs).cpu().numpy()[0]
        noise = generator.standard_normal(action.shape, np.float32)
        return np.clip(action + np.float32(self.config.exploration_noise) * noise, -1, 1)
