"""Stacked two-hidden-layer networks whose forward and backward passes are written out, on flat parameter vectors.

All parameters of a stack of N networks are views into one vector, so that an optimiser step, a Polyak step and a copy
are one operation each. Shapes: n rows, N networks, h hidden units; inputs are shared by the networks of a stack.
What is narrow (values, policy heads, actions) is computed with the rows last, (..., n): products of that shape are up
to ten times faster than those with few columns.

A forward pass may be told to take the wide products, those of the second layer, in bfloat16; its backward pass then
does so too. Parameters, gradients, LayerNorm, first layers and heads keep the parameters' own precision.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from wombet.errors import InputError

Views = Mapping[str, Tensor]

LAYER_NORM_EPSILON = 1e-5
LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0
_HALF_RANGE = 0.5 * (LOG_STD_MAX - LOG_STD_MIN)
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class FlatParameters:
    """One parameter vector and its named views; writing to either writes to both."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, device: torch.device) -> None:
        self.shapes = dict(shapes)
        self.vector = torch.zeros(sum(math.prod(shape) for shape in shapes.values()), dtype=dtype, device=device)
        parts = self.vector.split([math.prod(shape) for shape in shapes.values()])
        self.views: dict[str, Tensor] = {
            name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)
        }

    def zeros_like(self) -> "FlatParameters":
        """Return parameters of the same shapes, all zero."""
        return FlatParameters(self.shapes, self.vector.dtype, self.vector.device)


def critic_shapes(n_critics: int, input_dim: int, hidden_width: int, layer_norm: bool) -> dict[str, tuple[int, ...]]:
    """Return the named shapes of a stack of critics; the head's weight is a row per critic, (N, 1, h)."""
    trunk = _trunk_shapes(n_critics, input_dim, hidden_width, layer_norm)
    return {**trunk, "weight3": (n_critics, 1, hidden_width), "bias3": (n_critics, 1, 1)}


def actor_shapes(
    obs_dim: int, hidden_width: int, action_dim: int, layer_norm: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return the named shapes of an actor whose head's rows are means, then raw log standard deviations."""
    trunk = _trunk_shapes(1, obs_dim, hidden_width, layer_norm)
    return {**trunk, "weight3": (1, 2 * action_dim, hidden_width), "bias3": (1, 2 * action_dim, 1)}


def _trunk_shapes(n: int, input_dim: int, hidden_width: int, layer_norm: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, fan_in in ((1, input_dim), (2, hidden_width)):
        shapes[f"weight{layer}"] = (n, fan_in, hidden_width)
        shapes[f"bias{layer}"] = (n, 1, hidden_width)
        if layer_norm:
            shapes[f"gain{layer}"] = (n, 1, hidden_width)
            shapes[f"shift{layer}"] = (n, 1, hidden_width)
    return shapes


def initialise(parameters: FlatParameters, generator: torch.Generator) -> None:
    """Draw weights and biases as torch.nn.Linear does, uniform in ±1/sqrt(fan in); gains are 1 and shifts 0."""
    views = parameters.views
    fan_in = {"1": views["weight1"].shape[1], "2": views["weight2"].shape[1], "3": views["weight2"].shape[2]}
    for name, view in views.items():
        if name.startswith(("weight", "bias")):
            bound = 1 / math.sqrt(fan_in[name[-1]])
            view.uniform_(-bound, bound, generator=generator)
        else:
            view.fill_(1.0 if name.startswith("gain") else 0.0)


def select(views: Views, networks: Tensor) -> dict[str, Tensor]:
    """Return copies of the parameters of the networks with the given indices (M,), as a stack of M."""
    return {name: view.index_select(0, networks) for name, view in views.items()}


class _Layer(NamedTuple):
    """What a hidden layer's backward pass needs: its input, its output, and LayerNorm's intermediate values.

    Products with the layer's weight are taken in the input's precision.
    """

    input: Tensor
    output: Tensor
    norm: tuple[Tensor, Tensor, Tensor, Tensor] | None


class Trunk(NamedTuple):
    """The two hidden layers after a forward pass."""

    first: _Layer
    second: _Layer


def _layer_forward(views: Views, layer: str, inputs: Tensor) -> _Layer:
    weight, bias = views["weight" + layer], views["bias" + layer]
    if inputs.dtype == weight.dtype:
        z = torch.baddbmm(bias, inputs, weight)
    else:
        z = torch.bmm(inputs, weight.to(inputs.dtype)).to(weight.dtype).add_(bias)
    if "gain" + layer not in views:
        return _Layer(inputs, z.relu_(), None)
    normalised, mean, rstd = torch.native_layer_norm(z, z.shape[-1:], None, None, LAYER_NORM_EPSILON)
    output = torch.addcmul(views["shift" + layer], normalised, views["gain" + layer]).relu_()
    return _Layer(inputs, output, (z, normalised, mean, rstd))


def _layer_backward(views: Views, name: str, layer: _Layer, d_output: Tensor, gradient: Views | None) -> Tensor:
    """Return the loss gradient at the linear map's output (N, n, h) and write the parameters' into `gradient`.

    It comes in the precision of the layer's products. `d_output` is overwritten.
    """
    # One pass; multiplying by a boolean mask is ten times slower.
    d = torch.ops.aten.threshold_backward.grad_input(d_output, layer.output, 0, grad_input=d_output)
    if layer.norm is not None:
        z, normalised, mean, rstd = layer.norm
        if gradient is not None:
            torch.sum(d * normalised, 1, keepdim=True, out=gradient["gain" + name])
            torch.sum(d, 1, keepdim=True, out=gradient["shift" + name])
        d = torch.ops.aten.native_layer_norm_backward(
            d.mul_(views["gain" + name]), z, z.shape[-1:], mean, rstd, None, None, [True, False, False]
        )[0]
    if gradient is not None:
        torch.sum(d, 1, keepdim=True, out=gradient["bias" + name])
    d = d.to(layer.input.dtype)
    if gradient is not None:
        _product_into(gradient["weight" + name], layer.input.transpose(1, 2), d)
    return d


def _product_into(out: Tensor, a: Tensor, b: Tensor) -> None:
    """Write the product of a and b, taken in their precision, into `out`."""
    if a.dtype == out.dtype:
        torch.bmm(a, b, out=out)
    else:
        out.copy_(torch.bmm(a, b))


def _trunk_forward(views: Views, inputs: Tensor, wide: torch.dtype | None) -> Trunk:
    first = _layer_forward(views, "1", inputs.expand(views["weight1"].shape[0], *inputs.shape))
    return Trunk(first, _layer_forward(views, "2", first.output.to(wide or first.output.dtype)))


def _trunk_backward(views: Views, trunk: Trunk, d_output: Tensor, gradient: Views | None) -> Tensor:
    d = _layer_backward(views, "2", trunk.second, d_output, gradient)
    weight = views["weight2"].transpose(1, 2)
    d = torch.bmm(d, weight.to(d.dtype)).to(weight.dtype)
    return _layer_backward(views, "1", trunk.first, d, gradient)


def _head_forward(views: Views, trunk: Trunk) -> Tensor:
    """Return the outputs (N, outputs, n)."""
    return torch.bmm(views["weight3"], trunk.second.output.transpose(1, 2)).add_(views["bias3"])


def _head_backward(trunk: Trunk, d_head: Tensor, gradient: Views) -> None:
    torch.bmm(d_head, trunk.second.output, out=gradient["weight3"])
    torch.sum(d_head, 2, keepdim=True, out=gradient["bias3"])


def critic_forward(views: Views, obs: Tensor, action: Tensor, wide: torch.dtype | None = None) -> tuple[Tensor, Trunk]:
    """Return the critics' values (N, n) of the pairs (n, obs_dim), (n, action_dim), and what the backward pass needs.

    Hidden layers are Linear -> LayerNorm -> ReLU if the parameters have gains, else Linear -> ReLU (RLPD, section 4.2).
    `wide` is the precision of the wide products, by default the parameters'.
    """
    trunk = _trunk_forward(views, torch.cat((obs, action), -1), wide)
    return _head_forward(views, trunk).squeeze(1), trunk


def value_bound(views: Views) -> Tensor:
    """Return |w| (sqrt(h) max|gain| + |shift|) + |b| of each critic's second layer and head, (N,), equation (8)."""
    if "gain2" not in views:
        raise InputError("critics without LayerNorm have no bound; set layer_norm")
    width = views["weight3"].shape[-1]
    activations = math.sqrt(width) * views["gain2"].abs().amax((1, 2)) + views["shift2"].norm(dim=(1, 2))
    return views["weight3"].norm(dim=(1, 2)) * activations + views["bias3"].abs().sum((1, 2))


def critic_backward(views: Views, trunk: Trunk, d_q: Tensor, gradient: Views) -> None:
    """Write the loss's gradient by every critic parameter into `gradient`, given its gradient by the values (N, n)."""
    _head_backward(trunk, d_q.unsqueeze(1), gradient)
    _trunk_backward(views, trunk, d_q.unsqueeze(2) * views["weight3"], gradient)


def critic_action_gradient(views: Views, trunk: Trunk, d_q: Tensor, action_dim: int) -> Tensor:
    """Return the loss's gradient by the actions (action_dim, n), summed over the critics; no parameter gradients."""
    d = _trunk_backward(views, trunk, d_q.unsqueeze(2) * views["weight3"], None)
    return torch.bmm(views["weight1"][:, -action_dim:], d.transpose(1, 2)).sum(0)


def critic_min_action_gradient(views: Views, trunk: Trunk, critic: Tensor, d_q: float, action_dim: int) -> Tensor:
    """Return the gradient by the actions (action_dim, n) of a loss whose row j is d_q * Q of critic[j].

    That is a minimum's, if critic[j] is the lowest for row j. Equal to `critic_action_gradient` with zeros for the
    other critics, which are spared: 1 / N of its arithmetic.
    """
    result = views["weight1"].new_empty(action_dim, len(critic))
    for i in range(views["weight1"].shape[0]):
        rows = (critic == i).nonzero().squeeze(1)
        own = {name: view[i : i + 1] for name, view in views.items()}
        part = Trunk(_select_rows(trunk.first, i, rows), _select_rows(trunk.second, i, rows))
        d = _trunk_backward(own, part, d_q * own["weight3"].expand(1, len(rows), -1), None)
        result[:, rows] = torch.mm(own["weight1"][0, -action_dim:], d[0].T)
    return result


def _select_rows(layer: _Layer, network: int, rows: Tensor) -> _Layer:
    """Return a layer of one network and some of its rows; the input is left as it is."""
    output = layer.output[network].index_select(0, rows).unsqueeze(0)
    if layer.norm is None:
        return _Layer(layer.input, output, None)
    z, normalised, mean, rstd = (part[network].index_select(0, rows).unsqueeze(0) for part in layer.norm)
    return _Layer(layer.input, output, (z, normalised, mean, rstd))


def actor_forward(views: Views, obs: Tensor, wide: torch.dtype | None = None) -> tuple[Tensor, Trunk]:
    """Return the actor's head (2 action_dim, n), means then raw log stds, and what the backward pass needs."""
    trunk = _trunk_forward(views, obs, wide)
    return _head_forward(views, trunk)[0], trunk


def actor_backward(views: Views, trunk: Trunk, d_head: Tensor, gradient: Views) -> None:
    """Write the loss's gradient by every actor parameter into `gradient`, given its gradient by the head."""
    d = d_head.unsqueeze(0)
    _head_backward(trunk, d, gradient)
    _trunk_backward(views, trunk, torch.bmm(d.transpose(1, 2), views["weight3"]), gradient)


class PolicySample(NamedTuple):
    """Actions (action_dim, n) in [-1, 1] drawn from a tanh-squashed Gaussian, log densities (n,), and intermediates."""

    action: Tensor
    log_prob: Tensor
    tanh_raw: Tensor
    scaled_noise: Tensor


def sample_policy(head: Tensor, noise: Tensor) -> PolicySample:
    """Return the sample tanh(mean + std * noise) of a policy head, given standard normal noise (action_dim, n).

    log std = -5 + 3.5 (tanh(raw) + 1), so it stays in [-5, 2]. The density's tanh term is in the form
    2 (log 2 - x - softplus(-2x)), which is finite for every x (SAC, appendix C).
    """
    mean, raw = head.chunk(2)
    tanh_raw = torch.tanh(raw)
    log_std = LOG_STD_MIN + _HALF_RANGE * (tanh_raw + 1)
    scaled_noise = log_std.exp() * noise
    x = mean + scaled_noise
    log_normal = -0.5 * noise * noise - log_std - _HALF_LOG_2PI
    log_slope = 2 * (math.log(2) - x - torch.nn.functional.softplus(-2 * x))
    return PolicySample(torch.tanh(x), (log_normal - log_slope).sum(0), tanh_raw, scaled_noise)


def policy_backward(sample: PolicySample, d_action: Tensor, d_log_prob: Tensor) -> Tensor:
    """Return the loss's gradient by the head, given those by action (action_dim, n) and log_prob (one number)."""
    action = sample.action
    d_mean = d_action * (1 - action * action) + 2 * d_log_prob * action
    d_log_std = d_mean * sample.scaled_noise - d_log_prob
    d_raw = d_log_std * (_HALF_RANGE * (1 - sample.tanh_raw * sample.tanh_raw))
    return torch.cat((d_mean, d_raw))
