"""PPO, by Stable-Baselines3, with its normalisation of observations and rewards."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.api import Array, Capabilities, Phase, Problem, Tick
from baselines.sb3_method import SB3Model, import_sb3
from baselines.torch_state import plain, unplain
from wombet.errors import InputError
from wombet.streams import Streams

_ROLLOUT = ("observations", "actions", "rewards", "episode_starts", "values", "log_probs")


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO; the values are those of Schulman et al. 2017 for MuJoCo and Stable-Baselines3's defaults."""

    hidden_width: int = 64  # units of each of the two hidden layers of policy and value, tanh
    rollout_steps: int = 2048  # steps between two rounds of updates
    epochs: int = 10  # passes over a rollout
    minibatch_size: int = 64  # transitions per update
    learning_rate: float = 3e-4  # Adam's step size
    discount: float = 0.99  # per environment step
    gae_lambda: float = 0.95  # of the generalised advantage estimate
    clip_range: float = 0.2  # of the ratio of new to old action probability
    entropy_weight: float = 0.0  # of the entropy bonus in the loss
    value_weight: float = 0.5  # of the value's error in the loss
    max_gradient_norm: float = 0.5  # gradients are scaled down to it

    def __post_init__(self) -> None:
        for name, least in (("hidden_width", 1), ("rollout_steps", 2), ("epochs", 1), ("minibatch_size", 2)):
            if getattr(self, name) < least:
                raise InputError(f"ppo's {name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("learning_rate", "clip_range", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"ppo's {name} is {getattr(self, name)}; it must be above zero")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"ppo's {name} is {getattr(self, name)}; it must be in [0, 1]")
        for name in ("entropy_weight", "value_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"ppo's {name} is {getattr(self, name)}; it must be zero or more")


def make_ppo(config: PPOConfig, env: Any, device: str, seed: int | None = None) -> Any:
    """Return the library's PPO on a vectorised environment; with a seed it seeds the process and the environment."""
    return import_sb3().PPO(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        n_steps=config.rollout_steps,
        batch_size=config.minibatch_size,
        n_epochs=config.epochs,
        gamma=config.discount,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.entropy_weight,
        vf_coef=config.value_weight,
        max_grad_norm=config.max_gradient_norm,
        policy_kwargs={"net_arch": [config.hidden_width, config.hidden_width]},
        device=device,
        seed=seed,
    )


def normalised(env: Any, discount: float) -> Any:
    """Return an environment vectorised and normalised by the library: observations and rewards, clipped at 10."""
    import_sb3()
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    return VecNormalize(DummyVecEnv([lambda: env]), gamma=discount, clip_obs=10.0, clip_reward=10.0)


class PPO:
    """Proximal policy optimisation from scratch: rollouts step by step, the library's update at the end of each.

    The last rollout is as long as the steps that are left, and is learned from like the others. Evaluation uses the
    normalisation as training left it, and does not change it.
    """

    Config = PPOConfig
    capabilities = Capabilities(
        phases=(Phase.ONLINE,),
        needs_dataset=False,
        kind="online",
        source="Schulman et al. 2017 (arXiv 1707.06347); Stable-Baselines3 2.9.2 (PPO, VecNormalize)",
        deviations=(
            "one environment and a constant learning rate (the library) instead of annealing it",
            "time limits bootstrap (the library)",
            "the last rollout is cut to the steps that are left",
        ),
    )

    def __init__(self, problem: Problem, config: PPOConfig, streams: Streams, device: str) -> None:
        self.problem, self.config = problem, config
        self.env = normalised(problem.target_env, config.discount)
        self.learner = SB3Model(
            lambda: make_ppo(config, self.env, device), streams.integer("learner"), device, numpy=True
        )
        self.model = self.learner.model
        self.rollout = self.model.rollout_buffer
        self.steps = self.updates = 0
        self._obs: Array | None = None
        self._starts = np.ones(1, bool)
        self._begin_rollout()

    def train(self, phase: Phase, tick: Tick) -> None:
        """Collect rollouts and learn from each, to the end of the target steps."""
        if self._obs is None:
            self._obs = self.env.reset()
        while self.steps < self.problem.budgets.target_steps:
            self._interact()
            if self.rollout.full:
                self._learn()
            tick(updates=self.updates, metrics=lambda: self.learner.metrics)

    def act(self, obs: Array, generator: np.random.Generator) -> Array:
        """Return the means (n, action_dim), clipped, of the policy at the normalised obs."""
        return self.model.predict(self.env.normalize_obs(obs), deterministic=True)[0]

    def state(self) -> Any:
        """Return the model, the rollout so far, the normalisation and the counts."""
        filled = {name: getattr(self.rollout, name)[: self.rollout.pos].copy() for name in _ROLLOUT}
        return {
            "learner": self.learner.state(),
            "rollout": filled,
            "obs": self._obs,
            "starts": self._starts,
            "moments": self._moments(),
            "returns": self.env.returns.copy(),
            "steps": self.steps,
            "updates": self.updates,
        }

    def restore(self, state: Any) -> None:
        """Take up a state."""
        self.learner.restore(state["learner"])
        self.steps, self.updates = state["steps"], state["updates"]
        self._obs, self._starts = state["obs"], state["starts"]
        taken = len(state["rollout"]["rewards"])
        self._begin_rollout(taken)
        for name in _ROLLOUT:
            getattr(self.rollout, name)[:taken] = state["rollout"][name]
        self.rollout.pos = taken
        self._restore_moments(state["moments"])
        self.env.returns = state["returns"].copy()

    def policy_state(self) -> Any:
        """Return the policy's parameters and the statistics that its observations are normalised by."""
        return {"policy": plain(self.model.policy.state_dict()), "moments": self._moments()}

    def restore_policy(self, state: Any) -> None:
        """Take up parameters and statistics."""
        self.model.policy.load_state_dict(unplain(state["policy"]))
        self._restore_moments(state["moments"])

    def _moments(self) -> list[list[Any]]:
        """Mean, variance and count of observations and of discounted returns."""
        held = (self.env.obs_rms, self.env.ret_rms)
        return [[np.array(value) for value in (each.mean, each.var, each.count)] for each in held]

    def _restore_moments(self, moments: list[list[Any]]) -> None:
        for each, (mean, var, count) in zip((self.env.obs_rms, self.env.ret_rms), moments, strict=True):
            each.mean, each.var, each.count = mean, var, float(count)

    def _begin_rollout(self, taken: int = 0) -> None:
        left = self.problem.budgets.target_steps - (self.steps - taken)
        self.rollout.buffer_size = min(self.config.rollout_steps, left)
        self.rollout.reset()

    def _interact(self) -> None:
        with self.learner.globals.swapped_in(), torch.no_grad():
            actions, values, log_probs = self.model.policy(torch.as_tensor(self._obs, device=self.model.device))
        actions = actions.cpu().numpy()
        obs, rewards, dones, infos = self.env.step(np.clip(actions, -1, 1))
        if infos[0]["TimeLimit.truncated"]:
            rewards = rewards + self.config.discount * self._value(infos[0]["terminal_observation"][None]).numpy()
        self.rollout.add(self._obs, actions, rewards, self._starts, values, log_probs)
        self._obs, self._starts = obs, dones
        self.steps += 1

    def _learn(self) -> None:
        self.rollout.compute_returns_and_advantage(self._value(self._obs), self._starts)
        self.learner.train()
        self.updates += self.config.epochs * math.ceil(self.rollout.buffer_size / self.config.minibatch_size)
        self._begin_rollout()

    def _value(self, obs: Any) -> torch.Tensor:
        with torch.no_grad():
            return self.model.policy.predict_values(torch.as_tensor(obs, device=self.model.device))[:, 0].cpu()
