"""Batch normalisation, neurons and max pool of a layer as one compiled operation, for training on a CPU.

It keeps only the currents, and computes membranes again in the backward pass. It is faster because it makes fewer
passes over memory. Its results are defined by `neurons.step`, `neurons.max_pool` and torch's `batch_norm`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import kernels
from .description import FloatNeuron

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def fire(
    x: Tensor, norm: Norm | None, neuron: FloatNeuron, steps: int, size: int, with_rates: bool, slope: float = 0.0
) -> tuple[Tensor, Tensor | None]:
    """Spikes after `size` x `size` max pooling, and the firing rates before it.

    `x`, the currents, is `[steps or 1, batch, height, width, channels]`, of any float type. The spikes have the same
    type and are `[steps, batch, height // size, width // size, channels]`. The rates, `[batch, height, width,
    channels]`, are float32 (float64 if `x` is), or None unless requested. Membranes have the type of the rates. In
    training, `norm` takes its statistics from `x` and updates its running ones, as in torch. `slope` is that of the
    surrogate `fast-sigmoid`; with 0 it is `atan`.
    """
    x = x.contiguous()
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    channels = x.shape[-1]
    none, one = torch.zeros(channels, dtype=kind), torch.ones(channels, dtype=kind)
    if norm is None:
        return _Fire.apply(x, none, one, none, None, neuron, neuron.v_reset, steps, size, with_rates, slope)
    by_batch = norm.training
    mean, variance = _statistics(x, norm) if by_batch else (norm.running_mean, norm.running_var)
    assert mean is not None, "the running statistics are kept"
    assert variance is not None
    precision = (variance + norm.eps).reciprocal()
    scale = norm.weight * precision.sqrt()
    by_statistics = precision if by_batch else None
    return _Fire.apply(x, mean, scale, norm.bias, by_statistics, neuron, neuron.v_reset, steps, size, with_rates, slope)


def fire_from(start: float, x: Tensor, scale: Tensor, shift: Tensor, neuron: FloatNeuron, steps: int) -> Tensor:
    """Spikes of neurons with a soft reset whose membranes begin at `start`, and whose currents are `scale * x + shift`.

    Both are float32 `[channels]`; `x` and the spikes are those of `fire`, without a pool. All three get gradients.
    """
    assert neuron.reset == "soft", "a hard reset leads back to where membranes start"
    spikes, _ = _Fire.apply(
        x.contiguous(), torch.zeros_like(scale), scale, shift, None, neuron, start, steps, 1, False, 0.0
    )
    found: Tensor = spikes
    return found


def _statistics(x: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over the batch and its steps; updates the running ones."""
    images = x.detach().flatten(0, 1)
    base = images[0, 0, 0].to(norm.weight.dtype)
    sums = np.empty((len(images), 2, x.shape[-1]))
    kernels.in_parts(kernels.moments, len(images), x.numel(), _array(images), base.unsqueeze(0).numpy(), sums)
    count = x[..., 0].numel()
    return followed(norm, base, torch.from_numpy(sums.sum(axis=0)) / count, count)


def followed(norm: Norm, base: Tensor, moments: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, which the running ones follow, from `moments`, `[2, channels]`: means of what
    exceeds `base` and of its square, over `count` numbers."""
    over, squares = moments
    mean, variance = (base + over).to(base.dtype), (squares - over.square()).clamp(min=0).to(base.dtype)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)
    return mean, variance


class _Fire(torch.autograd.Function):
    """`kernels.fire_forward` and its gradient; `precision` is `1 / (variance + eps)` if the statistics are those of
    `x`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mean: Tensor,
        scale: Tensor,
        shift: Tensor,
        precision: Tensor | None,
        neuron: FloatNeuron,
        start: float,
        steps: int,
        size: int,
        with_rates: bool,
        slope: float,
    ) -> tuple[Tensor, Tensor | None]:
        _, batch, height, width, channels = x.shape
        norm = torch.stack([mean, scale, shift])
        spikes = x.new_empty((steps, batch, height // size, width // size, channels))
        rates = norm.new_empty((batch if with_rates else 0, height, width, channels))
        bits = _BITS[x.dtype]
        one = spikes.new_ones(1).view(_SIGNED[x.dtype]).numpy().view(bits)[0]
        filled = spikes.view(_SIGNED[x.dtype]).numpy().view(bits)
        rule = neuron.reset == "soft", size
        arrays = _array(x), norm.numpy(), _fields(neuron, start, norm)
        kernels.in_parts(kernels.fire_forward, batch, x.numel(), *arrays, *rule, one, filled, rates.numpy())
        ctx.save_for_backward(x, norm, precision)
        ctx.neuron, ctx.start, ctx.size, ctx.of_spikes, ctx.slope = neuron, start, size, spikes.shape, slope
        ctx.set_materialize_grads(False)
        return spikes, rates if with_rates else None

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, to_rates: Tensor | None) -> tuple[Any, ...]:
        x, norm, precision = ctx.saved_tensors
        gradient = x.new_zeros(ctx.of_spikes) if gradient is None else gradient.contiguous()
        to_rates = norm.new_empty((0, *x.shape[2:])) if to_rates is None else to_rates.contiguous()
        to_x = torch.empty_like(x)
        sums = np.empty((x.shape[1], 2, x.shape[4]))
        given = _array(gradient), to_rates.numpy(), _array(x), norm.numpy(), _fields(ctx.neuron, ctx.start, norm)
        rule = norm[:0].numpy().dtype.type(ctx.slope), ctx.neuron.reset == "soft", ctx.size
        kernels.in_parts(kernels.fire_backward, x.shape[1], x.numel(), *given, *rule, _array(to_x), sums)
        to_scale, to_shift = torch.from_numpy(sums.sum(axis=0))
        if precision is not None:
            mean, scale, _ = norm
            share = -scale.double() / x[..., 0].numel()
            factors = torch.stack([mean, share * precision * to_scale, share * to_shift]).to(norm.dtype)
            images = _array(x.flatten(0, 1)), factors.numpy(), _array(to_x.flatten(0, 1))
            kernels.in_parts(kernels.through_statistics, x.shape[0] * x.shape[1], x.numel(), *images)
        return to_x, None, to_scale.to(norm.dtype), to_shift.to(norm.dtype), None, None, None, None, None, None, None


_SIGNED = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
_BITS = {torch.bfloat16: np.uint16, torch.float32: np.uint32, torch.float64: np.uint64}


def _array(tensor: Tensor) -> np.ndarray:
    """A tensor as a NumPy array that shares its memory; bfloat16 as its bits."""
    tensor = tensor.detach()
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _fields(neuron: FloatNeuron, start: float, norm: Tensor) -> tuple[np.floating, ...]:
    kind = norm[:0].numpy().dtype.type
    return kind(neuron.decay), kind(neuron.gain), kind(neuron.threshold), kind(start)
