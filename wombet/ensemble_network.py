"""A stack of Gaussian multilayer perceptrons that are evaluated and trained together."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wombet.errors import InputError

Layers = list[tuple[Tensor, Tensor]]
"""Weights (E, n_in, n_out) and biases (E, 1, n_out) of every layer."""

BLOCK_ROWS = 1024
"""Rows that are evaluated at once, so that what they need stays in the processor's cache."""

FEW_ROWS = 192
"""Rows below which a matrix product with them as columns can be slower, by their remainder to a multiple of 16."""


def forward(layers: Layers, inputs: Tensor) -> Tensor:
    """Evaluate all members on inputs (N, n_in), the same for every member, or (E, N, n_in); returns (E, N, n_out)."""
    hidden = inputs if inputs.dim() == 3 else inputs.expand(len(layers[0][0]), *inputs.shape)
    for weight, bias in layers[:-1]:
        hidden = F.silu(torch.baddbmm(bias, hidden, weight))
    weight, bias = layers[-1]
    return torch.baddbmm(bias, hidden, weight)


def bounded_logvar(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Squeeze raw log-variances smoothly between two bounds (PETS, 1805.12114, appendix A.1)."""
    raw = high - F.softplus(high - raw)
    return low + F.softplus(raw - low)


@torch.no_grad()
def infer(layers: Layers, inputs: Tensor) -> Tensor:
    """Evaluate layers of `EnsembleNetwork.select` on inputs like those of `forward`; returns (E, N, n_out) in float32.

    Memory is laid out feature by feature, here and in the result, unless there are very few rows: what follows works
    on whole columns, and inputs that all members share are one matrix product. Blocks of rows stay in the processor's
    cache. A layer of bfloat16 weights rounds its inputs and outputs to bfloat16.
    """
    columns, n_rows = inputs.mT, inputs.shape[-2]
    if n_rows < FEW_ROWS:
        return _infer_rows(layers, inputs)
    if inputs.device.type != "cpu" or n_rows <= BLOCK_ROWS:
        return _infer_columns(layers, columns).mT
    return torch.cat([_infer_columns(layers, block) for block in columns.split(BLOCK_ROWS, -1)], -1).mT


def _infer_columns(layers: Layers, columns: Tensor) -> Tensor:
    weight, bias = layers[0]
    columns = columns.to(weight.dtype)
    if columns.dim() == 2:
        hidden = torch.addmm(bias.flatten(0, 1), weight.flatten(0, 1), columns).view(*weight.shape[:2], -1)
    else:
        hidden = torch.baddbmm(bias, weight, columns)
    for weight, bias in layers[1:]:
        hidden = torch.baddbmm(bias, weight, F.silu(hidden, inplace=True).to(weight.dtype))
    return hidden


def _infer_rows(layers: Layers, inputs: Tensor) -> Tensor:
    hidden = inputs if inputs.dim() == 3 else inputs.expand(len(layers[0][0]), *inputs.shape)
    for i, (weight, bias) in enumerate(layers):
        hidden = F.silu(hidden, inplace=True) if i else hidden
        hidden = torch.baddbmm(bias.mT, hidden.to(weight.dtype), weight.mT)
    return hidden


class EnsembleNetwork:
    """`n_members` independent networks with SiLU layers and a Gaussian head: mean and log-variance of each target.

    `sizes` are the widths from the input to twice the number of targets. Every member has its own bounds on its
    log-variances, so that members can be kept and restored one by one.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        n_members: int,
        logvar_bounds: tuple[float, float],
        generator: torch.Generator,
        device: str | torch.device = "cpu",
    ) -> None:
        self.layers: Layers = []
        for n_in, n_out in pairwise(sizes):
            std = 1 / (2 * n_in**0.5)
            weight = torch.empty(n_members, n_in, n_out)
            torch.nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)
            self.layers.append((weight.to(device), torch.zeros(n_members, 1, n_out, device=device)))
        self.n_targets = sizes[-1] // 2
        low, high = logvar_bounds
        self.min_logvar = torch.full((n_members, 1, self.n_targets), low, device=device)
        self.max_logvar = torch.full((n_members, 1, self.n_targets), high, device=device)

    def tensors(self) -> list[Tensor]:
        """Every tensor of the network; the first axis of each is the member."""
        return [tensor for layer in self.layers for tensor in layer] + [self.min_logvar, self.max_logvar]

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances, (E, N, n_targets) each, of inputs (N, n_in) or (E, N, n_in)."""
        mean, raw = forward(self.layers, inputs).split(self.n_targets, -1)
        return mean, bounded_logvar(raw, self.min_logvar, self.max_logvar)

    def copy_members(self, other: "EnsembleNetwork", members: Tensor) -> None:
        """Overwrite the members of a boolean mask (E,) by those of another network of the same sizes."""
        with torch.no_grad():
            for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
                mine[members] = theirs[members]

    def copy(self) -> "EnsembleNetwork":
        """Return an independent copy."""
        twin = object.__new__(EnsembleNetwork)
        twin.n_targets = self.n_targets
        twin.layers = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in self.layers]
        twin.min_logvar = self.min_logvar.detach().clone()
        twin.max_logvar = self.max_logvar.detach().clone()
        return twin

    def change_units(self, input_scale: Tensor, input_shift: Tensor, scale: Tensor, shift: Tensor) -> None:
        """Rewrite the weights for new units of inputs and targets without changing the function.

        Old inputs are new * `input_scale` + `input_shift`; new targets are old * `scale` + `shift`.
        """
        weight, bias = self.layers[0]
        self.layers[0] = (weight * input_scale[:, None], bias + (input_shift @ weight)[:, None])
        weight, bias = self.layers[-1]
        log_scale = 2 * scale.log()
        weight, bias = weight.clone(), bias.clone()
        weight[..., : self.n_targets] *= scale
        bias[..., : self.n_targets] = bias[..., : self.n_targets] * scale + shift
        bias[..., self.n_targets :] += log_scale
        self.layers[-1] = (weight, bias)
        self.min_logvar = self.min_logvar + log_scale
        self.max_logvar = self.max_logvar + log_scale

    def select(self, members: Tensor, *, mean_only: bool, dtype: torch.dtype = torch.float32) -> Layers:
        """Return some members' layers, (K,) indices, for `infer`: weights (K, n_out, n_in) and biases (K, n_out, 1).

        Without the variance head if `mean_only`. All layers but the last are in `dtype`; the last stays in float32, so
        that members that nearly agree are not told apart by the rounding of their outputs.
        """
        layers = [(weight[members].mT.contiguous(), bias[members].mT.contiguous()) for weight, bias in self.layers]
        if mean_only:
            weight, bias = layers[-1]
            layers[-1] = (weight[:, : self.n_targets].contiguous(), bias[:, : self.n_targets].contiguous())
        return [(weight.to(dtype), bias.to(dtype)) for weight, bias in layers[:-1]] + layers[-1:]

    def state(self) -> dict[str, Any]:
        """Return all weights and bounds as a tree."""
        return {"tensors": [tensor.detach().cpu().clone() for tensor in self.tensors()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over weights and bounds; raises InputError if they belong to a network of other sizes."""
        mine = self.tensors()
        shapes, wanted = [tuple(t.shape) for t in state["tensors"]], [tuple(t.shape) for t in mine]
        if shapes != wanted:
            raise InputError(f"the stored ensemble has tensors of shapes {shapes}; this configuration has {wanted}")
        for tensor, stored in zip(mine, state["tensors"], strict=True):
            tensor.copy_(stored)


def has_bfloat16_unit(device: str | torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware; a processor that cannot is slower than in float32."""
    if torch.device(device).type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def check_inference_dtype(dtype: str, device: str | torch.device) -> None:
    """Raise InputError if predictions in `dtype` are wanted of a device that has no unit for them."""
    if dtype == "bfloat16" and not has_bfloat16_unit(device):
        raise InputError(
            f"inference_dtype is bfloat16, and this machine's {torch.device(device).type} has no bfloat16 unit "
            '(avx512_bf16 on a processor); use "float32", or a machine that has one'
        )
