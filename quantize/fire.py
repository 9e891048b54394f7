"""Integer neurons over all steps of a frame, with max pool and surrogate gradient: one compiled operation.

It computes `network.IntNeuron.step` and `network.IntNeuron.fire`; its gradient is described in `kernels.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..bits import signed_range
from ..model.kernels import in_parts
from . import kernels
from .neuron import EXACT_BITS, LeakKind
from .rounding import Leak


@dataclass(frozen=True)
class Rule:
    """Leak, reset and saturation of neurons, without thresholds and reset values."""

    leak: Leak
    fraction: int
    soft: bool
    membrane_bits: int | None
    steps: int

    @property
    def worth(self) -> float:
        """Factor on the membrane after one step of a leak by shift."""
        return 1 / (1 << self.leak.shift)

    @property
    def factor(self) -> float:
        """Factor of a leak of kind `multiply` on the membrane."""
        return self.leak.factor * self.worth

    @property
    def slopes(self) -> tuple[float, float]:
        """Derivatives of `u` with respect to the scaled current and `v`, without the floors."""
        if self.leak.kind == LeakKind.DECAYING_INPUT:
            return self.worth, 1 - self.worth
        by_v = {LeakKind.NONE: 1.0, LeakKind.SHIFT: 1 - self.worth, LeakKind.MULTIPLY: self.factor}
        return 1.0, by_v[self.leak.kind]

    def fields(self, kind: type[np.floating]) -> tuple[Any, ...]:
        """The `rule` of `kernels.py` for arrays of type `kind`."""
        low, high = signed_range(EXACT_BITS if self.membrane_bits is None else self.membrane_bits)
        numbers = kind(self.worth), kind(self.factor), kind(1 << self.fraction)
        bounds = kind(low), kind(high)
        return self.leak.kind.code, *numbers, self.soft, self.membrane_bits is not None, *bounds


def fire(
    current: Tensor, threshold: Tensor, unit: Tensor, reset: Tensor, rule: Rule, size: int, with_rates: bool
) -> tuple[Tensor, Tensor | None]:
    """Spikes after `size` x `size` max pooling, and the firing rates before it.

    `current` is `[steps or 1, batch, height, width, channels]`, integers as float32 or float64. `threshold`, the real
    `unit` of a membrane and `reset` have its type and are `[1]` or `[channels]`. The spikes are `[steps, batch,
    height // size, width // size, channels]`; the rates, `[batch, height, width, channels]`, are None unless
    requested. The gradient of a spike is that of `model/neurons.py` at `x = unit * (u - threshold)`.
    """
    channels = current.shape[-1]
    rows = threshold.expand(channels), unit.expand(channels), reset.expand(channels)
    return _Fire.apply(current.contiguous(), *rows, rule, size, with_rates)


class _Fire(torch.autograd.Function):
    """`kernels.fire_forward` and its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        threshold: Tensor,
        unit: Tensor,
        reset: Tensor,
        rule: Rule,
        size: int,
        with_rates: bool,
    ) -> tuple[Tensor, Tensor | None]:
        _, batch, height, width, channels = current.shape
        neurons = torch.stack([threshold, reset, unit])
        spikes = current.new_empty((rule.steps, batch, height // size, width // size, channels))
        rates = current.new_empty((batch if with_rates else 0, height, width, channels))
        fields = rule.fields(neurons.numpy().dtype.type)
        filled = spikes.numpy(), rates.numpy()
        in_parts(kernels.fire_forward, batch, current.numel(), current.numpy(), neurons.numpy(), fields, size, *filled)
        ctx.save_for_backward(current, neurons)
        ctx.rule, ctx.fields, ctx.size, ctx.of_spikes = rule, fields, size, spikes.shape
        ctx.set_materialize_grads(False)
        return spikes, rates if with_rates else None

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, to_rates: Tensor | None) -> tuple[Any, ...]:
        current, neurons = ctx.saved_tensors
        gradient = current.new_zeros(ctx.of_spikes) if gradient is None else gradient.contiguous()
        to_rates = current.new_empty((0, *current.shape[2:])) if to_rates is None else to_rates.contiguous()
        by_scaled, by_v = ctx.rule.slopes
        to_current = torch.empty_like(current)
        sums = np.empty((current.shape[1], 2, current.shape[4]))
        slope = neurons.numpy().dtype.type(by_v)
        given = gradient.numpy(), to_rates.numpy(), current.numpy(), neurons.numpy(), ctx.fields, slope, ctx.size
        in_parts(kernels.fire_backward, current.shape[1], current.numel(), *given, to_current.numpy(), sums)
        to_threshold, to_unit = torch.from_numpy(sums.sum(axis=0)).to(neurons.dtype)
        to_current *= by_scaled * (1 << ctx.rule.fraction)
        return to_current, to_threshold, to_unit, None, None, None, None
