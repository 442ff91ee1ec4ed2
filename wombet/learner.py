"""The actor-critic core that WOMBET and the SAC-like methods share: SAC with a critic ensemble (SAC, REDQ, RLPD).

Equation numbers, here and elsewhere in this package: (7) the robust target, (8) the bound of a LayerNorm critic, (9)
the minimum over a subset Z of the target critics; SAC's are those of Haarnoja et al. 2018 (arXiv 1812.05905).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wombet.ensemble_network import has_bfloat16_unit
from wombet.errors import InputError
from wombet.networks import (
    FlatParameters,
    actor_backward,
    actor_forward,
    actor_shapes,
    critic_action_gradient,
    critic_backward,
    critic_forward,
    critic_min_action_gradient,
    critic_shapes,
    initialise,
    policy_backward,
    sample_policy,
    select,
    value_bound,
)
from wombet.optimizer import Adam

Aggregate = Literal["min", "mean", "subset_min"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of the learner; raises InputError for a value outside its range."""

    hidden_width: int = 256  # units of each of the two hidden layers (SAC)
    n_critics: int = 2  # critics in the ensemble (SAC 2, RLPD 10)
    target_subset: int = 2  # target critics whose minimum is the backup, drawn per update; n_critics means all (REDQ)
    layer_norm: bool = False  # LayerNorm in the critics' hidden layers (RLPD)
    batch_size: int = 256  # transitions per minibatch (SAC)
    utd: int = 1  # critic updates per environment step (SAC 1, RLPD 20)
    discount: float = 0.99  # per environment step (SAC)
    tau: float = 0.005  # share of the critics that enters the target critics per critic update (SAC)
    actor_lr: float = 3e-4  # Adam's step size (SAC)
    critic_lr: float = 3e-4  # Adam's step size (SAC)
    temperature_lr: float = 3e-4  # Adam's step size on the log temperature; 0 keeps it fixed (SAC)
    initial_temperature: float = 0.1  # in units of reward per nat (ours; RLPD 1)
    target_entropy_scale: float = 1.0  # target entropy in nats is -scale * action_dim (SAC 1, RLPD 0.5)
    actor_aggregate: Aggregate = "min"  # what the actor maximises: "min" of all (SAC), "mean" (RLPD), min of a subset
    backup_entropy: bool = True  # whether the critics' target holds the entropy term (SAC)
    precision: Precision = "float32"  # of an update's wide matrix products; "bfloat16" where the hardware has it (ours)

    def __post_init__(self) -> None:
        for name in ("hidden_width", "n_critics", "target_subset", "batch_size", "utd"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.target_subset <= self.n_critics, "target_subset", self.target_subset, "at most n_critics")
        _require(0 <= self.discount <= 1, "discount", self.discount, "in [0, 1]")
        _require(0 < self.tau <= 1, "tau", self.tau, "in (0, 1]")
        for name in ("actor_lr", "critic_lr", "temperature_lr"):
            _require(0 <= getattr(self, name) < math.inf, name, getattr(self, name), "zero or more, and finite")
        _require(0 < self.initial_temperature < math.inf, "initial_temperature", self.initial_temperature, "above zero")
        _require(math.isfinite(self.target_entropy_scale), "target_entropy_scale", self.target_entropy_scale, "finite")
        _require(
            self.actor_aggregate in get_args(Aggregate),
            "actor_aggregate",
            repr(self.actor_aggregate),
            f"one of {', '.join(get_args(Aggregate))}",
        )
        known = ", ".join(get_args(Precision))
        _require(self.precision in get_args(Precision), "precision", repr(self.precision), f"one of {known}")


def _require(holds: bool, name: str, value: object, right: str) -> None:
    if not holds:
        raise InputError(f"the learner's {name} is {value}; it must be {right}")


class Batch(NamedTuple):
    """n transitions: obs and next_obs (n, obs_dim), action (n, action_dim) in [-1, 1], the rest (n,).

    `terminated` is 1 for a true termination and 0 otherwise, also at a time limit, where `next_obs` is the last
    observation of the episode. `penalty` is subtracted from the target: lambda_Q * m * u of equation (7), or zero.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    penalty: Tensor


class ActorCritic:
    """A tanh-Gaussian actor, an ensemble of critics with targets, and a learned temperature.

    All randomness of training comes from `generator`, the initialisation first: actor, then critics. The generator is
    owned by the learner afterwards and is part of its state. Equal inputs give equal bytes on the same machine.
    The actor sees `actor_input(obs)`, the observation itself unless a subclass overrides it; then `actor_dim` is its
    length. The critics see observations.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: LearnerConfig,
        generator: torch.Generator,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        actor_dim: int | None = None,
    ) -> None:
        self.obs_dim, self.action_dim, self.config, self.generator = obs_dim, action_dim, config, generator
        self.actor_dim = actor_dim or obs_dim
        self.device, self.dtype = torch.device(device), dtype
        if obs_dim < 1 or action_dim < 1:
            raise InputError(f"obs_dim is {obs_dim} and action_dim is {action_dim}; both must be at least 1")
        if generator.device.type != self.device.type:
            raise InputError(f"the generator is on {generator.device} and the learner on {device}; use one device")
        if config.precision == "bfloat16" and not has_bfloat16_unit(self.device):
            raise InputError(
                f"the learner's precision is bfloat16, and this machine's {self.device.type} has no bfloat16 unit "
                '(avx512_bf16 or amx on a processor); use "float32"'
            )
        self._wide = torch.bfloat16 if config.precision == "bfloat16" else dtype
        shapes = critic_shapes(config.n_critics, obs_dim + action_dim, config.hidden_width, config.layer_norm)
        self.actor = FlatParameters(self.actor_layout(), dtype, self.device)
        self.critics = FlatParameters(shapes, dtype, self.device)
        initialise(self.actor, generator)
        initialise(self.critics, generator)
        self.targets = self.critics.zeros_like()
        self.targets.vector.copy_(self.critics.vector)
        log_temperature = math.log(config.initial_temperature)
        self.log_temperature = torch.full((1,), log_temperature, dtype=dtype, device=self.device)
        self.target_entropy = -config.target_entropy_scale * action_dim
        self._actor_gradient = self.actor.zeros_like()
        self._critic_gradient = self.critics.zeros_like()
        self._actor_adam = Adam(self.actor.vector, config.actor_lr)
        self._critic_adam = Adam(self.critics.vector, config.critic_lr)
        self._temperature_adam = Adam(self.log_temperature, config.temperature_lr)

    def actor_layout(self) -> dict[str, tuple[int, ...]]:
        """Return the named shapes of the actor's parameters."""
        return actor_shapes(self.actor_dim, self.config.hidden_width, self.action_dim)

    @property
    def temperature(self) -> Tensor:
        """The entropy's weight, shape (1,)."""
        return self.log_temperature.exp()

    def update(self, minibatches: Sequence[Batch]) -> dict[str, Tensor]:
        """Learn from one environment step's minibatches: a critic step on each, then an actor step on the last (RLPD).

        With one minibatch this is SAC. Returns scalar tensors critic_loss and q_mean (of the last minibatch), and
        temperature and entropy (before the actor's step).
        """
        if not minibatches:
            raise InputError("an update was given no minibatch; it needs at least one")
        with torch.inference_mode():
            for batch in minibatches:
                metrics = self.critic_step(batch)
            metrics |= self.actor_step(self.actor_batch(minibatches))
        return {name: value.clone() for name, value in metrics.items()}  # ordinary tensors again

    def actor_batch(self, minibatches: Sequence[Batch]) -> Batch:
        """Return the rows of an environment step that the actor learns from: the last minibatch (RLPD)."""
        return minibatches[-1]

    def critic_step(self, batch: Batch) -> dict[str, Tensor]:
        """Move the critics one Adam step towards (7) and the targets one Polyak step."""
        subset = self._draw_subset(self.generator)  # Z of (9)
        metrics = self.critic_gradient(batch, self._draw_noise(batch.obs, self.generator), subset)
        self._critic_adam.step(self._critic_gradient.vector)
        self.targets.vector.lerp_(self.critics.vector, self.config.tau)
        return metrics

    def actor_step(self, batch: Batch) -> dict[str, Tensor]:
        """Move the actor (SAC, equation (9)) and then, on the same sample, the temperature (SAC, equation (18))."""
        subset = self._draw_subset(self.generator) if self.config.actor_aggregate == "subset_min" else None
        metrics, d_log_temperature = self.actor_gradient(batch, self._draw_noise(batch.obs, self.generator), subset)
        self._actor_adam.step(self._actor_gradient.vector)
        self._temperature_adam.step(d_log_temperature)
        return metrics

    def actor_input(self, obs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return what the actor sees (n, actor_dim) of obs (n, obs_dim); without a generator nothing is drawn."""
        return obs

    def target(self, batch: Batch, noise: Tensor, subset: Tensor | None = None) -> Tensor:
        """Return the critics' target (n,), equations (7) and (9), for standard normal noise (action_dim, n).

        y = r + discount (1 - terminated) (min over Z of Q'(s', a') - temperature log prob(a')) - lambda_Q m u,
        with a' drawn from the policy at s', Z the subset of target critics, and the last term the batch's `penalty`.
        """
        inputs = self.actor_input(batch.next_obs, self.generator)
        sample = sample_policy(actor_forward(self.actor.views, inputs, self._wide)[0], noise)
        views = self.targets.views if subset is None else select(self.targets.views, subset)
        value = critic_forward(views, batch.next_obs, sample.action.T, self._wide)[0].amin(0)  # (9)
        if self.config.backup_entropy:
            value = value - self.temperature * sample.log_prob
        return batch.reward + self.config.discount * (1 - batch.terminated) * value - batch.penalty  # (7)

    def critic_gradient(self, batch: Batch, noise: Tensor, subset: Tensor | None = None) -> dict[str, Tensor]:
        """Write the gradient of the mean over critics and rows of (Q - y)^2; return the loss and the mean of Q."""
        y = self.target(batch, noise, subset)
        q, trunk = critic_forward(self.critics.views, batch.obs, batch.action, self._wide)
        error = q - y
        critic_backward(self.critics.views, trunk, error * (2 / error.numel()), self._critic_gradient.views)
        return {"critic_loss": error.square().mean(), "q_mean": q.mean()}

    def actor_gradient(
        self, batch: Batch, noise: Tensor, subset: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Write the gradient of mean(temperature log prob - aggregate Q); return metrics and the log temperature's.

        The latter is that of temperature * (-log prob - target entropy), with the sample held fixed.
        """
        rows = len(batch.obs)
        head, trunk = actor_forward(self.actor.views, self.actor_input(batch.obs, self.generator), self._wide)
        sample = sample_policy(head, noise)
        views = self.critics.views if subset is None else select(self.critics.views, subset)
        q, critic_trunk = critic_forward(views, batch.obs, sample.action.T, self._wide)
        if self.config.actor_aggregate == "mean":
            d_q = torch.full_like(q, -1 / q.numel())
            d_action = critic_action_gradient(views, critic_trunk, d_q, self.action_dim)
        else:
            lowest = q.min(0).indices
            d_action = critic_min_action_gradient(views, critic_trunk, lowest, -1 / rows, self.action_dim)
        temperature = self.temperature
        d_head = policy_backward(sample, d_action, temperature / rows)
        actor_backward(self.actor.views, trunk, d_head, self._actor_gradient.views)
        entropy = -sample.log_prob.mean()
        return {"temperature": temperature[0], "entropy": entropy}, temperature * (entropy - self.target_entropy)

    def td_error(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return each row's mean over critics of |y - Q|, and y, both (n,); training's own generator is not touched."""
        subset = self._draw_subset(generator)
        y = self.target(batch, self._draw_noise(batch.obs, generator), subset)
        q = critic_forward(self.critics.views, batch.obs, batch.action)[0]
        return (q - y).abs().mean(0), y

    def sample(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return actions (n, action_dim) drawn for obs (n, obs_dim), and their log densities (n,)."""
        inputs = self.actor_input(obs, generator)
        drawn = sample_policy(actor_forward(self.actor.views, inputs)[0], self._draw_noise(obs, generator))
        return drawn.action.T.contiguous(), drawn.log_prob

    def values(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the critics' values (N, n) of pairs, for obs (n, obs_dim) and action (n, action_dim)."""
        obs, action = (x.to(self.device, self.dtype) for x in (obs, action))
        return critic_forward(self.critics.views, obs, action)[0]

    def value_bound(self) -> Tensor:
        """Return what no |Q| of each critic can exceed whatever its input, (N,), equation (8); for LayerNorm critics.

        |Q| <= |w| (sqrt(width) max|gain| + |shift|) + |b| of the last hidden layer and the head. Raises InputError for
        critics without LayerNorm, which have no bound.
        """
        return value_bound(self.critics.views)

    def act(self, obs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return actions (n, action_dim) for obs (n, obs_dim): tanh(mean), or a sample if a generator is given."""
        if obs.ndim != 2 or obs.shape[1] != self.obs_dim:
            raise InputError(f"obs has shape {tuple(obs.shape)}; the actor takes (rows, {self.obs_dim})")
        inputs = self.actor_input(obs.to(self.device, self.dtype), generator)
        head = actor_forward(self.actor.views, inputs)[0]
        if generator is None:
            return torch.tanh(head[: self.action_dim]).T.contiguous()
        return sample_policy(head, self._draw_noise(obs, generator)).action.T.contiguous()

    def act_one(self, obs: NDArray[Any], generator: torch.Generator | None = None) -> NDArray[np.float32]:
        """Return the action (action_dim,) for one observation (obs_dim,), as `act` does for a batch of one."""
        row = torch.tensor(obs, dtype=self.dtype, device=self.device).unsqueeze(0)
        return self.act(row, generator)[0].float().cpu().numpy()

    def value(self, obs: Tensor) -> Tensor:
        """Return the target critics' minimum (n,) at the deterministic action, for obs (n, obs_dim)."""
        obs = obs.to(self.device, self.dtype)
        return critic_forward(self.targets.views, obs, self.act(obs))[0].amin(0)

    def state(self) -> dict[str, Any]:
        """Return copies of all that decides the learner's future, as a tree for `wombet.serialization`."""
        return {
            "actor": self.actor.vector.cpu().clone(),
            "critics": self.critics.vector.cpu().clone(),
            "targets": self.targets.vector.cpu().clone(),
            "log_temperature": self.log_temperature.cpu().clone(),
            "actor_adam": self._actor_adam.state(),
            "critic_adam": self._critic_adam.state(),
            "temperature_adam": self._temperature_adam.state(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken; raises InputError if it is of a learner of other sizes."""
        held = {"actor": self.actor.vector, "critics": self.critics.vector, "targets": self.targets.vector}
        held["log_temperature"] = self.log_temperature
        for name, vector in held.items():
            if state[name].shape != vector.shape:
                raise InputError(
                    f"the state's {name} has {len(state[name])} parameters and this learner's {len(vector)}; "
                    "restore into a learner of the same configuration"
                )
        for name, vector in held.items():
            vector.copy_(state[name])
        self._actor_adam.restore(state["actor_adam"])
        self._critic_adam.restore(state["critic_adam"])
        self._temperature_adam.restore(state["temperature_adam"])
        self.generator.set_state(state["generator"])

    def _draw_subset(self, generator: torch.Generator) -> Tensor | None:
        """Return indices (target_subset,) without repetition, or None, drawing nothing, if all critics are meant."""
        config = self.config
        if config.target_subset == config.n_critics:
            return None
        return torch.randperm(config.n_critics, generator=generator, device=self.device)[: config.target_subset]

    def _draw_noise(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Return standard normal noise (action_dim, n) for n observations."""
        shape = self.action_dim, len(obs)
        return torch.randn(shape, generator=generator, dtype=self.dtype, device=self.device)
