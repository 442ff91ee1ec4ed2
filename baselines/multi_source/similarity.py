"""How similar each source task is to the target, as weights that change while the target is learned.

The logit of source k on a row is the sum of up to three signals: a learned linear unit on the teacher's and the
student's features (arXiv 2306.03360), minus the squared error of the source's reward predictions in units of the
target's reward variance, and the log density of the policy's actions in the source's data. The tasks of a robot share
its dynamics, so that features of the dynamics alone tell little; the other two signals are ours.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from baselines.multi_source.teacher import SourceTeacher
from wombet.learner import Batch

Signals = Literal["combined", "paper", "errors", "uniform"]
"""All three signals; the learned unit alone; the other two alone; none, so that all sources weigh the same."""
MIN_REWARD_VARIANCE = 1e-4


def row_weights(learned: Tensor, measured: Tensor, signals: Signals) -> Tensor:
    """Return the weights (K, n) of sources on n rows, which sum to 1, of learned logits (K, n) and measured (K,)."""
    logits = torch.zeros_like(learned)
    if signals in ("combined", "paper"):
        logits = logits + learned
    if signals in ("combined", "errors"):
        logits = logits + measured.unsqueeze(1)
    return logits.softmax(0)


def reward_signal(predicted: Tensor, reward: Tensor) -> Tensor:
    """Return minus the mean squared errors (K,) of predictions (K, n), in units of the variance of rewards (n,)."""
    variance = reward.var(correction=0).clamp(min=MIN_REWARD_VARIANCE)
    return -(predicted - reward).square().mean(1) / variance


class Similarity:
    """Running means, over refreshes, of the measured signals (K,) and of the weights w_k(t) (K,).

    The first refresh sets them, and each later one moves them by `rate`. Weights begin equal and always sum to 1.
    """

    def __init__(self, teacher: SourceTeacher, signals: Signals, rate: float, device: str) -> None:
        self.teacher, self.signals, self.rate = teacher, signals, rate
        self.measured = torch.zeros(teacher.n_sources, device=device)
        self.weights = torch.full((teacher.n_sources,), 1 / teacher.n_sources, device=device)
        self.refreshed = False

    @torch.no_grad()
    def refresh(self, batch: Batch, learned: Tensor, generator: torch.Generator) -> None:
        """Measure on rows of the target task, of which `learned` (K, n) are the learned unit's logits."""
        if self.signals in ("combined", "errors"):
            error = reward_signal(self.teacher.rewards(batch.obs, batch.action), batch.reward)
            density = self.teacher.log_density(batch.obs, batch.action, generator).mean(1)
            self.measured = self._moved(self.measured, error + density)
        weights = row_weights(learned, self.measured, self.signals).mean(1)
        self.weights = self._moved(self.weights, weights)
        self.refreshed = True

    def share(self) -> Tensor:
        """Return whose actions are replayed, (K,): the heaviest source's, or, where weights are uniform, all alike."""
        if self.signals == "uniform":
            return self.weights
        return torch.nn.functional.one_hot(self.weights.argmax(), len(self.weights)).to(self.weights)

    def state(self) -> dict[str, Any]:
        """Return the running means."""
        return {"measured": self.measured.cpu(), "weights": self.weights.cpu(), "refreshed": self.refreshed}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.measured, self.weights = (state[name].to(self.weights.device) for name in ("measured", "weights"))
        self.refreshed = state["refreshed"]

    def _moved(self, old: Tensor, new: Tensor) -> Tensor:
        return old + self.rate * (new - old) if self.refreshed else new
