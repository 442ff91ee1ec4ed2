"""Small networks on one flat parameter vector, differentiated by autograd and moved by Adam.

Layers are Linear -> LayerNorm -> SiLU with a linear last one; weights are (inputs, outputs), rows come first.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wombet.networks import FlatParameters, Views
from wombet.optimizer import Adam

Shapes = Mapping[str, tuple[int, ...]]


def mlp_shapes(name: str, sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network of layer sizes, inputs first; all but its last layer are normalised."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        shapes |= {f"{name}.{i}.weight": (fan_in, fan_out), f"{name}.{i}.bias": (fan_out,)}
        if i < len(sizes) - 2:
            shapes |= {f"{name}.{i}.gain": (fan_out,), f"{name}.{i}.shift": (fan_out,)}
    return shapes


def mlp(views: Views, name: str, inputs: Tensor) -> Tensor:
    """Return the outputs (..., outputs) of the network of that name for inputs (..., inputs)."""
    i, x = 0, inputs
    while f"{name}.{i}.weight" in views:
        x = linear(views, f"{name}.{i}", x)
        if f"{name}.{i}.gain" in views:
            gain, shift = views[f"{name}.{i}.gain"], views[f"{name}.{i}.shift"]
            x = functional.silu(functional.layer_norm(x, x.shape[-1:], gain, shift))
        i += 1
    return x


def linear(views: Views, name: str, inputs: Tensor) -> Tensor:
    """Return the outputs of one linear layer."""
    return inputs @ views[f"{name}.weight"] + views[f"{name}.bias"]


class Trainable:
    """Named parameters in one vector, drawn as torch.nn.Linear draws them, and the Adam that moves them."""

    def __init__(self, shapes: Shapes, learning_rate: float, generator: torch.Generator, device: str) -> None:
        self.parameters = FlatParameters(shapes, torch.float32, torch.device(device))
        self._adam = Adam(self.parameters.vector, learning_rate)
        for name, view in self.views.items():
            layer, _, what = name.rpartition(".")
            if what in ("weight", "bias"):
                bound = 1 / math.sqrt(shapes[f"{layer}.weight"][0])
                view.uniform_(-bound, bound, generator=generator)
            else:
                view.fill_(1.0 if what == "gain" else 0.0)

    @property
    def views(self) -> dict[str, Tensor]:
        """The parameters by name, without gradients."""
        return self.parameters.views

    def minimise(self, loss: Callable[[Views], Tensor]) -> None:
        """Move the parameters one Adam step against the gradient of a loss of them."""
        shapes = self.parameters.shapes
        vector = self.parameters.vector.detach().requires_grad_()
        parts = vector.split([math.prod(shape) for shape in shapes.values()])
        views = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        (gradient,) = torch.autograd.grad(loss(views), vector)
        self._adam.step(gradient)

    def state(self) -> dict[str, Any]:
        """Return copies of the parameters and of Adam's moments."""
        return {"vector": self.parameters.vector.cpu().clone(), "adam": self._adam.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; raises InputError if it is of other sizes."""
        self._adam.restore(state["adam"])
        self.parameters.vector.copy_(state["vector"])
