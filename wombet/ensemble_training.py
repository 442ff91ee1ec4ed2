"""Training of the ensemble: bootstrap batches, early stopping per member, learning-rate decay."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wombet.ensemble_network import EnsembleNetwork
from wombet.world_model_config import WorldModelConfig

MARGIN = 0.01
"""Relative fall of the held-out error that counts as progress, and rise that counts as none (MBPO, 1906.08253)."""


STEPS_PER_TICK = 50
"""Gradient steps between signs of progress: a third of a second on one core, a second at MBPO's size."""


@dataclass(frozen=True)
class Fit:
    """What a training run did: gradient steps taken, and each member's held-out error (E,) before and in the end."""

    steps: int
    initial_error: Tensor
    error: Tensor


def train(
    network: EnsembleNetwork,
    inputs: Tensor,
    targets: Tensor,
    train_rows: NDArray[np.intp],
    holdout_rows: NDArray[np.intp],
    config: WorldModelConfig,
    generator: np.random.Generator,
    progress: Callable[[], None] | None = None,
) -> Fit:
    """Train in place by Gaussian likelihood; every member ends with its own best weights on the held-out rows.

    Best is the lowest error of the means, in steps of one per cent as in MBPO; among weights equal by that measure, the
    highest likelihood, since variances are learned later than means. `inputs` and `targets` are standardised, of shape
    (N, n); the two row sets are disjoint. The weights before training count as the first candidate. `progress` is
    called every STEPS_PER_TICK gradient steps.
    """
    batches = bootstrap_batches(train_rows, len(network.min_logvar), config.batch_size, generator)
    interval = max(config.check_interval, len(train_rows) // config.batch_size)
    optimiser = _optimiser(network, config)
    held = inputs[holdout_rows], targets[holdout_rows]
    best, (initial, nll) = network.copy(), holdout_scores(network, *held)
    lowest, kept, step, waited = initial, initial, 0, 0
    while step < config.max_steps and (waited < config.patience or step < config.min_steps):
        for _ in range(min(interval, config.max_steps - step)):
            rows = torch.from_numpy(next(batches)).to(inputs.device)
            _set_learning_rate(optimiser, config.learning_rate * decay(step, config.max_steps))
            _descend(network, optimiser, inputs[rows], targets[rows], config)
            step += 1
            if progress is not None and step % STEPS_PER_TICK == 0:
                progress()
        error, now_nll = holdout_scores(network, *held)
        better = error < (1 - MARGIN) * lowest
        taken = better | ((error <= (1 + MARGIN) * lowest) & (now_nll < nll))
        best.copy_members(network, taken)
        kept, nll = torch.where(taken, error, kept), torch.where(taken, now_nll, nll)
        lowest = torch.where(better, error, lowest)
        waited = 0 if bool(better.any()) else waited + 1
    network.copy_members(best, torch.ones_like(taken))
    for tensor in network.tensors():
        tensor.requires_grad_(False)
    return Fit(step, initial, kept)


def bootstrap_batches(
    rows: NDArray[np.intp], n_members: int, batch_size: int, generator: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Yield batches of row numbers (E, B) for ever: each member runs through its own resample, shuffled every epoch."""
    resample = rows[generator.integers(0, len(rows), (n_members, len(rows)))]
    batch_size = min(batch_size, len(rows))
    while True:
        resample = generator.permuted(resample, axis=1)
        for start in range(0, len(rows) - batch_size + 1, batch_size):
            yield resample[:, start : start + batch_size]


def decay(step: int, max_steps: int) -> float:
    """Factor of the learning rate: one in the first half, then a straight line to zero."""
    return min(1.0, 2 * (1 - step / max_steps))


@torch.no_grad()
def holdout_scores(network: EnsembleNetwork, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return each member's mean squared error of the means and Gaussian loss, both (E,)."""
    mean, logvar = network(inputs)
    squared = (mean - targets).square()
    return squared.mean((1, 2)), (squared * (-logvar).exp() + logvar).mean((1, 2))


def likelihood_loss(mean: Tensor, logvar: Tensor, targets: Tensor, beta: float) -> Tensor:
    """Return each member's Gaussian loss (E,), every entry weighted by its predicted variance to the power `beta`.

    The weight is not differentiated (beta-NLL, Seitzer et al. 2022, 2203.09168): 0 is the likelihood itself, 1 makes
    the gradients of the means those of the squared error.
    """
    loss = (mean - targets).square() * (-logvar).exp() + logvar
    if beta:
        loss = loss * (beta * logvar.detach()).exp()
    return loss.mean((1, 2))


def _optimiser(network: EnsembleNetwork, config: WorldModelConfig) -> torch.optim.Adam:
    for tensor in network.tensors():
        tensor.requires_grad_(True)
    groups = [
        {"params": [weight], "weight_decay": weight_decay}
        for (weight, _), weight_decay in zip(network.layers, config.weight_decays, strict=True)
    ]
    groups.append({"params": [bias for _, bias in network.layers] + [network.min_logvar, network.max_logvar]})
    return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)


def _set_learning_rate(optimiser: torch.optim.Adam, learning_rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def _descend(
    network: EnsembleNetwork, optimiser: torch.optim.Adam, inputs: Tensor, targets: Tensor, config: WorldModelConfig
) -> None:
    mean, logvar = network(inputs)
    # Summed over members, so that a member learns as if it were alone.
    loss = likelihood_loss(mean, logvar, targets, config.likelihood_beta).sum()
    loss = loss + config.bound_penalty * (network.max_logvar.sum() - network.min_logvar.sum())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
