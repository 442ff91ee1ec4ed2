"""d3rlpy's updates behind the adapter contract: our rows, our random streams, our checkpoints.

d3rlpy's own loops, buffers and loggers are not used: its buffers keep no next observation at a time limit, and its
loops cannot be resumed. Only public names of d3rlpy appear here: `create_impl`, `update`, `predict`, `sample_action`,
`impl.modules`, `impl.update`, `impl.device`, `TorchMiniBatch`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from baselines.api import Array
from baselines.quiet import silence_gym
from baselines.torch_state import plain, unplain
from wombet.dataset import TransferDataset


def import_d3rlpy() -> Any:
    """Import d3rlpy, quietly."""
    silence_gym()
    import d3rlpy

    return d3rlpy


class Transitions(NamedTuple):
    """n transitions: obs and next_obs (n, obs_dim), action (n, action_dim), reward and terminated (n,), all float32."""

    obs: Array
    action: Array
    reward: Array
    next_obs: Array
    terminated: Array


class Updates(Protocol):
    """The part of a d3rlpy algorithm that is used."""

    impl: Any
    grad_step: int

    def create_impl(self, observation_shape: Any, action_size: int) -> None: ...

    def update(self, batch: Any) -> dict[str, float]: ...

    def predict(self, x: Any) -> Any: ...

    def sample_action(self, x: Any) -> Any: ...

    def set_grad_step(self, grad_step: int) -> None: ...


class D3rlpyLearner:
    """A d3rlpy algorithm fed from a TransferDataset, with a torch stream of its own instead of the global one."""

    def __init__(self, algorithm: Updates, obs_dim: int, action_dim: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            algorithm.create_impl((obs_dim,), action_dim)
            self._torch_state = torch.get_rng_state()
        self.algorithm = algorithm

    def update(self, dataset: TransferDataset, rows: np.ndarray) -> dict[str, float]:
        """Make one update on the given rows with the target's labels; returns d3rlpy's losses."""
        return self.update_on(transitions_of(dataset, rows))

    def update_on(self, transitions: Transitions, returns_to_go: Array | None = None) -> dict[str, float]:
        """Make one update on transitions, wherever they come from; returns d3rlpy's losses.

        `returns_to_go` (n,), for an algorithm that needs them; d3rlpy would sum rewards anew for every row it draws.
        """
        batch, step = as_minibatch(transitions), self.algorithm.grad_step
        with self._own_stream():
            if returns_to_go is None:
                return self.algorithm.update(batch)
            losses: dict[str, float] = self.algorithm.impl.update(self._with_returns(batch, returns_to_go), step)
        self.algorithm.set_grad_step(step + 1)
        return losses

    def sample(self, obs: Array) -> Array:
        """Return actions (n, action_dim) drawn from the policy with the learner's own random stream."""
        with self._own_stream():
            return np.clip(np.asarray(self.algorithm.sample_action(obs), np.float32), -1, 1)

    def set_actor_lr(self, learning_rate: float) -> None:
        """Make the following updates of the actor with this step size."""
        for group in self.algorithm.impl.modules.actor_optim.optim.param_groups:
            group["lr"] = learning_rate

    def act(self, obs: Array) -> Array:
        """Return greedy actions (n, action_dim) in [-1, 1]."""
        return np.clip(np.asarray(self.algorithm.predict(obs), np.float32), -1, 1)

    def gaussian(self, obs: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation, each (n, action_dim), of a policy that is not squashed (IQL, AWAC)."""
        with torch.no_grad():
            found = self.algorithm.impl.modules.policy(self._tensor(obs))
            return found.squashed_mu.cpu().numpy(), found.logstd.exp().expand_as(found.mu).cpu().numpy()

    def smallest_q(self, obs: Array, action: Array, *, target: bool = False) -> Array:
        """Return the smallest value (n,) that a critic, or a target critic, gives each action (n, action_dim)."""
        modules = self.algorithm.impl.modules
        with torch.no_grad():
            critics = modules.targ_q_funcs if target else modules.q_funcs
            values = torch.stack([critic(self._tensor(obs), self._tensor(action)).q_value for critic in critics])
            return values.amin(0)[:, 0].cpu().numpy()

    def parts(self, *names: str) -> dict[str, Any]:
        """Return copies of the named modules and optimisers, as trees for `wombet.serialization`."""
        found = self._parts()
        return {name: plain(found[name].state_dict()) for name in names}

    def take_parts(self, parts: dict[str, Any]) -> None:
        """Take up modules and optimisers that `parts` returned."""
        for name, module in self._parts().items():
            if name in parts:
                module.load_state_dict(unplain(parts[name]))

    def state(self) -> dict[str, Any]:
        """Return every module and optimiser, the update count and the random stream."""
        return {"parts": self.parts(*self._parts()), "grad_step": self.algorithm.grad_step, "torch": self._torch_state}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.take_parts(state["parts"])
        self.algorithm.set_grad_step(state["grad_step"])
        self._torch_state = state["torch"]

    def _with_returns(self, batch: Any, returns_to_go: Array) -> Any:
        impl = self.algorithm.impl
        torch_batch = import_d3rlpy().TorchMiniBatch.from_batch(
            batch=batch, gamma=1.0, compute_returns_to_go=False, device=impl.device
        )
        return dataclasses.replace(torch_batch, returns_to_go=self._tensor(returns_to_go).unsqueeze(1))

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(array).to(self.algorithm.impl.device)

    def _parts(self) -> dict[str, Any]:
        modules = self.algorithm.impl.modules
        optimisers = {
            name: value.optim
            for name, value in vars(modules).items()
            if isinstance(getattr(value, "optim", None), torch.optim.Optimizer)
        }
        return {**modules.get_torch_modules(), **optimisers}

    @contextlib.contextmanager
    def _own_stream(self) -> Iterator[None]:
        foreign = torch.get_rng_state()
        torch.set_rng_state(self._torch_state)
        try:
            yield
        finally:
            self._torch_state = torch.get_rng_state()
            torch.set_rng_state(foreign)


def minibatch(dataset: TransferDataset, rows: np.ndarray) -> Any:
    """Return d3rlpy's TransitionMiniBatch of the rows, with target rewards and true terminations only."""
    return as_minibatch(transitions_of(dataset, rows))


def transitions_of(dataset: TransferDataset, rows: np.ndarray) -> Transitions:
    """Return rows of a dataset with the target's reward and termination; a time limit terminates nothing."""
    assert dataset.reward_target is not None
    assert dataset.terminated_target is not None
    return Transitions(
        dataset.obs[rows],
        dataset.action[rows],
        dataset.reward_target[rows],
        dataset.next_obs[rows],
        dataset.terminated_target[rows].astype(np.float32),
    )


def joined(parts: Sequence[Transitions]) -> Transitions:
    """Return the transitions of all parts, in their order."""
    return Transitions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def as_minibatch(transitions: Transitions) -> Any:
    """Return d3rlpy's TransitionMiniBatch of transitions."""
    d3rlpy = import_d3rlpy()
    column = (len(transitions.obs), 1)
    return d3rlpy.dataset.TransitionMiniBatch(
        observations=transitions.obs,
        actions=transitions.action,
        rewards=transitions.reward.reshape(column),
        next_observations=transitions.next_obs,
        next_actions=np.zeros_like(transitions.action),
        terminals=transitions.terminated.reshape(column),
        intervals=np.ones(column, np.float32),
        transitions=[],
    )
