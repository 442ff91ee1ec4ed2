"""Adam on one flat parameter vector."""

from typing import Any

import torch
from torch import Tensor

from wombet.errors import InputError


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) that updates a vector in place with torch's fused kernel.

    Equal to torch.optim.Adam with the same learning rate and its default betas (0.9, 0.999) and epsilon (1e-8).
    """

    def __init__(self, vector: Tensor, learning_rate: float) -> None:
        self.vector = vector
        self.learning_rate = learning_rate
        self.first_moment = torch.zeros_like(vector)
        self.second_moment = torch.zeros_like(vector)
        self.steps = torch.zeros((), dtype=torch.float32, device=vector.device)

    def step(self, gradient: Tensor) -> None:
        """Move the vector one step against the gradient."""
        # The fused kernel expects the count of this step and leaves it as it is; torch.optim adds the one itself.
        self.steps += 1
        torch._fused_adam_(
            [self.vector],
            [gradient],
            [self.first_moment],
            [self.second_moment],
            [],
            [self.steps],
            lr=self.learning_rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, Any]:
        """Return copies of the moments and the number of steps taken."""
        return {
            "first_moment": self.first_moment.cpu().clone(),
            "second_moment": self.second_moment.cpu().clone(),
            "steps": int(self.steps),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; raises InputError if it belongs to a vector of another length."""
        if state["first_moment"].shape != self.vector.shape:
            raise InputError(
                f"the state's moments have {tuple(state['first_moment'].shape)} entries and the parameters "
                f"{tuple(self.vector.shape)}; restore into a learner of the same configuration"
            )
        self.first_moment.copy_(state["first_moment"])
        self.second_moment.copy_(state["second_moment"])
        self.steps.fill_(state["steps"])
