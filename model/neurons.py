"""Spiking neurons over all steps of a frame, with a surrogate gradient.

The membrane is `u = decay * v + gain * I` (`description.FloatNeuron`), a spike is `s = (u >= threshold)`, and the
reset does not carry gradient. In the backward pass, the spike's derivative is that of `atan(pi * x) / pi + 1/2` at
`x = u - threshold`, which is `1 / (1 + (pi * x)**2)`: the ATan surrogate of Chen et al. (IJCAI 2021).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .description import FloatNeuron


class Spike(torch.autograd.Function):
    """Heaviside step of `x`, 1 at 0; its gradient is the ATan surrogate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient / (1 + (math.pi * x) ** 2)


class FastSigmoid(torch.autograd.Function):
    """Heaviside step of `x`, 1 at 0; its gradient is `1 / (1 + slope |x|)^2`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient / (1 + ctx.slope * x.abs()).square(), None


def step(current: Tensor, v: Tensor, neuron: FloatNeuron, slope: float = 0.0) -> tuple[Tensor, Tensor]:
    """One step of any shape: `(current, v) -> (spikes, v)`. This is the definition; `fire` is the same, faster.

    `slope` is that of the surrogate `fast-sigmoid`; with 0 it is `atan`.
    """
    u = neuron.decay * v + neuron.gain * current
    over = u - neuron.threshold
    spikes = FastSigmoid.apply(over, slope) if slope else Spike.apply(over)
    down = spikes.detach()
    v = u - down * neuron.threshold if neuron.reset == "soft" else u * (1 - down) + down * neuron.v_reset
    return spikes, v


def fire(current: Tensor, neuron: FloatNeuron, steps: int, slope: float = 0.0) -> tuple[Tensor, Tensor]:
    """Spikes and membranes (before the reset, without gradient), `[steps, ...]`, of neurons that start at `v_reset`.

    `current` is `[steps, ...]`, or `[1, ...]` if it is the same at every step (the first layer under direct coding).
    `slope` is that of `step`. For accelerators; on a CPU, a layer is one operation (`fused.py`).
    """
    return _Fire.apply(current, neuron, steps, slope)


def max_pool(spikes: Tensor, membranes: Tensor, size: int) -> Tensor:
    """Windows of `[steps, batch, channels, height, width]`: a spike where one of the window's neurons fires.

    That is the spike of the largest membrane, which gets the gradient.
    """
    _, at = functional.max_pool2d(membranes.flatten(0, 1), size, return_indices=True)
    pooled = spikes.flatten(0, 1).flatten(2).gather(2, at.flatten(2)).view_as(at)
    return pooled.unflatten(0, spikes.shape[:2])


class _Fire(torch.autograd.Function):
    """`steps` times `step`, with backpropagation through time written out."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, neuron: FloatNeuron, steps: int, slope: float) -> tuple[Tensor, Tensor]:
        current = current.contiguous()
        u = current.new_empty((steps, *current.shape[1:]))
        spikes = torch.empty_like(u)
        _forward(current, u, spikes, neuron)
        ctx.save_for_backward(u)
        ctx.mark_non_differentiable(u)
        ctx.neuron, ctx.static, ctx.slope = neuron, len(current) == 1, slope
        return spikes, u

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        (u,) = ctx.saved_tensors
        to_current = torch.empty_like(u[:1] if ctx.static else u)
        _backward(gradient.contiguous(), u, to_current, ctx.neuron, ctx.slope)
        return to_current, None, None, None


def _forward(current: Tensor, u: Tensor, spikes: Tensor, neuron: FloatNeuron) -> None:
    """Fill `u` and `spikes`, `[steps, ...]`."""
    static = len(current) == 1
    v = torch.full_like(u[0], neuron.v_reset)
    scaled = current * neuron.gain
    for t in range(len(u)):
        torch.add(scaled[0 if static else t], v, alpha=neuron.decay, out=u[t])
        torch.ge(u[t], neuron.threshold, out=spikes[t])
        if neuron.reset == "soft":
            torch.sub(u[t], spikes[t], alpha=neuron.threshold, out=v)
        else:
            torch.addcmul(u[t], u[t], spikes[t], value=-1, out=v)
            if neuron.v_reset:
                v.add_(spikes[t], alpha=neuron.v_reset)


def _backward(gradient: Tensor, u: Tensor, to_current: Tensor, neuron: FloatNeuron, slope: float) -> None:
    """Fill `to_current`, `[steps or 1, ...]`, the sum over all steps where it is 1."""
    static = len(to_current) == 1
    to_current.zero_()
    to_v = torch.zeros_like(u[0])
    to_u = torch.empty_like(to_v)
    for t in reversed(range(len(u))):
        torch.sub(u[t], neuron.threshold, out=to_u)
        if slope:
            to_u.abs_().mul_(slope).add_(1).square_()
        else:
            to_u.mul_(math.pi).square_().add_(1)
        torch.div(gradient[t], to_u, out=to_u)
        if neuron.reset == "hard":
            to_v.masked_fill_(u[t] >= neuron.threshold, 0)
        to_u.add_(to_v)
        to_current[0 if static else t].add_(to_u, alpha=neuron.gain)
        torch.mul(to_u, neuron.decay, out=to_v)
