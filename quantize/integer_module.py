"""A torch module whose forward pass *is* the integer arithmetic of `sim/reference.py`, and which can learn.

Every tensor holds integers, as floats wide enough to hold them exactly (`IntegerNetwork.check`). What a layer learns
are real weights, biases and the logarithm of one step size (`[1]`, or `[out]` per channel); rounding them
gives its integer weights, biases *and* thresholds (`quantize/rounding.py`), so that no rescaling is left over. Rounding
passes gradients straight through; with the spike's surrogate taken in real units, that makes the step size's gradient
the one of Esser et al., "Learned Step Size Quantization" (ICLR 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..model.errors import require
from ..model.neurons import max_pool
from .fold import FloatLayer, FloatNetwork
from .network import PIXEL_BITS, QuantizedNetwork
from .ptq import Scales
from .rounding import Formats, Integers, Leak, assemble, leak_of, source_values

EXACT_FLOAT32 = 1 << 24  # integers up to here are exact
MARGIN = 4  # how far sums may grow in training before they reach it


@dataclass(frozen=True)
class _Rule:
    """What `_Fire` needs besides its tensors."""

    leak: Leak
    fraction: int
    soft: bool
    membrane_bits: int | None
    steps: int

    def step(self, v: Tensor, scaled: Tensor) -> Tensor:
        """`u` of one update (`network.Neuron.step`), `scaled = I << fraction`."""
        worth = 1 / (1 << self.leak.shift)
        if self.leak.kind == "decaying_input":
            return (scaled - v).mul_(worth).floor_().add_(v)
        if self.leak.kind == "shift":
            return (v * -worth).ceil_().add_(v).add_(scaled)
        if self.leak.kind == "multiply":
            return (v * (self.leak.factor * worth)).floor_().add_(scaled)
        return v + scaled

    @property
    def slopes(self) -> tuple[float, float]:
        """Derivatives of `u` by `scaled` and by `v`, floors left out."""
        worth = 1 / (1 << self.leak.shift)
        if self.leak.kind == "decaying_input":
            return worth, 1 - worth
        return 1.0, {"none": 1.0, "shift": 1 - worth, "multiply": self.leak.factor * worth}[self.leak.kind]


class _Fire(torch.autograd.Function):
    """Spikes of `steps` updates, with their gradient through time, and by how much membranes pass their thresholds.

    `current` is `[steps or 1, batch, ...]`; `threshold`, `unit` and `reset` are `[1]` or as its last dimension. The
    surrogate is that of `model/neurons.py` at `x = unit * (u - threshold)`; the reset carries no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, threshold: Tensor, unit: Tensor, reset: Tensor, rule: _Rule
    ) -> tuple[Tensor, Tensor]:
        static = len(current) == 1
        scaled = current * (1 << rule.fraction)
        spikes = current.new_empty((rule.steps, *current.shape[1:]))
        distance = torch.empty_like(spikes)  # u - threshold
        clipped: list[Tensor | None] = [None] * rule.steps
        fall = threshold if rule.soft else None
        v = reset.expand_as(spikes[0])
        for t in range(rule.steps):
            u = rule.step(v, scaled[0 if static else t])
            torch.sub(u, threshold, out=distance[t])
            torch.ge(distance[t], 0, out=spikes[t])
            v = torch.addcmul(u, spikes[t], u - reset if fall is None else fall, value=-1)
            if rule.membrane_bits is not None:
                top = 1 << (rule.membrane_bits - 1)
                clipped[t] = (v < -top) | (v > top - 1)
                v = v.clamp(-top, top - 1)
        ctx.save_for_backward(distance, spikes, threshold, unit)
        ctx.mark_non_differentiable(distance)
        ctx.rule, ctx.static, ctx.clipped = rule, static, clipped
        return spikes, distance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        distance, spikes, threshold, unit = ctx.saved_tensors
        rule, static = ctx.rule, ctx.static
        by_scaled, by_v = rule.slopes
        to_scaled = torch.zeros_like(distance[:1]) if static else torch.empty_like(distance)
        to_threshold, to_unit = torch.zeros_like(threshold), torch.zeros_like(unit)
        to_v = torch.zeros_like(distance[0])
        for t in reversed(range(rule.steps)):
            to_u = (distance[t] * (unit * math.pi)).square_().add_(1)
            torch.div(gradient[t], to_u, out=to_u)  # by x = unit * (u - threshold)
            to_unit += (to_u * distance[t]).sum_to_size(unit.shape)
            to_u.mul_(unit)
            to_threshold -= to_u.sum_to_size(threshold.shape)
            if ctx.clipped[t] is not None:
                to_v.masked_fill_(ctx.clipped[t], 0.0)
            to_u.add_(to_v)
            reset_part = to_v.mul_(spikes[t])
            if rule.soft:
                to_threshold -= reset_part.sum_to_size(threshold.shape)
            else:
                to_u.sub_(reset_part)
            if static:
                to_scaled[0].add_(to_u)
            else:
                to_scaled[t].copy_(to_u)
            torch.mul(to_u, by_v, out=to_v)
        return to_scaled.mul_(by_scaled * (1 << rule.fraction)), to_threshold, to_unit, None, None


class _Round(torch.autograd.Function):
    """To nearest, ties to even as in NumPy; the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class IntegerLayer(nn.Module):
    """One layer: integers in, spikes out, `[steps or 1, batch, ...] -> [steps, batch, ...]`.

    `weight` holds the living synapses alone, `[synapses]`, and the product of a dense layer only the sources that have
    one (`used`). `place` says where in that product's weight, of `shape`, the synapses are.
    """

    place: Tensor
    row: Tensor
    used: Tensor

    def __init__(
        self, layer: FloatLayer, scale: np.ndarray, bits: int, source_value: float, formats: Formats, steps: int
    ) -> None:
        super().__init__()
        neuron = layer.neuron
        possible = scale.size == 1 or neuron.v_reset == 0
        require(possible, f"layer {layer.name} v_reset", neuron.v_reset, "0 if every channel has its own scale")
        self.layer, self.bits, self.source_value = layer, bits, source_value
        leak = leak_of(neuron, formats.decay_bits)
        self.rule = _Rule(leak, formats.membrane_fraction, neuron.reset == "soft", formats.membrane_bits, steps)
        used = np.flatnonzero(layer.weight.any(axis=0)) if layer.weight.ndim == 2 else np.arange(layer.weight.shape[1])
        weight = layer.weight[:, used]
        place = np.flatnonzero(weight)
        self.shape = weight.shape
        for name, values in (("place", place), ("row", place * layer.channels // weight.size), ("used", used)):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self.weight = nn.Parameter(torch.tensor(weight.ravel()[place], dtype=torch.float32))
        self.bias = nn.Parameter(torch.tensor(layer.bias, dtype=torch.float32), requires_grad=bool(layer.bias.any()))
        self.log_scale = nn.Parameter(torch.tensor(np.log(scale), dtype=torch.float32))

    def integers(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Integer weight (of the used sources), bias, threshold and reset value; the real unit of the membrane."""
        scale = self.log_scale.exp()  # [1] or [out]
        top = 1 << self.bits - 1
        steps = self.weight / (scale if scale.numel() == 1 else scale[self.row])
        living = _Round.apply(steps.clamp(-top, top - 1))
        weight = living.new_zeros(math.prod(self.shape)).scatter(0, self.place, living).reshape(self.shape)
        current_unit = scale * self.source_value
        unit = current_unit * (self.rule.leak.gain / (1 << self.rule.fraction))
        bias = _Round.apply(self.bias / current_unit)
        reset = torch.round(self.layer.neuron.v_reset / unit.detach()[:1])
        threshold = torch.maximum(_Round.apply(self.layer.neuron.threshold / unit), reset + 1)
        return weight, bias, threshold, reset, unit

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the next layer sees, and the spikes before they are pooled; maps have their channels last in memory."""
        weight, bias, threshold, reset, unit = (values.to(x.dtype) for values in self.integers())
        lead = x.shape[:2]
        if weight.dim() == 4:
            flat = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            current = functional.conv2d(flat, weight, bias, self.layer.stride, self.layer.padding)
            current = current.permute(0, 2, 3, 1).contiguous().unflatten(0, lead)
        else:
            flat = x.flatten(2)
            if len(self.used) < flat.shape[2]:
                flat = flat[:, :, self.used]
            current = functional.linear(flat, weight, bias)
        spikes, distance = _Fire.apply(current, threshold, unit, reset, self.rule)
        if weight.dim() == 4:
            spikes, distance = spikes.permute(0, 1, 4, 2, 3), distance.permute(0, 1, 4, 2, 3)
        pool = self.layer.pool
        if pool is None:
            return spikes, spikes
        if pool.kind == "max":
            return max_pool(spikes, distance, pool.size), spikes
        pooled = functional.avg_pool2d(spikes.flatten(0, 1), pool.size, divisor_override=1)
        return pooled.unflatten(0, spikes.shape[:2]), spikes


class IntegerNetwork(nn.Module):
    """uint8 frames -> firing rates `[batch, classes]`, 0 to 1, of the network that `export` returns.

    Static frames are `[batch, *input_shape]`; spike frames 0/1 `[batch, steps, *input_shape]`. With
    `layer_rates=True` also each layer's firing rates, `[batch, *shape]` before pooling. Exact on a processor; a
    GPU must have its reduced precision (TF32, which torch allows in convolutions) switched off.
    """

    def __init__(self, network: FloatNetwork, formats: Formats, scales: Scales) -> None:
        super().__init__()
        require(network.readout.kind == "count", "readout", network.readout.kind, "count: training needs spikes")
        self.network, self.formats = network, formats
        parts = zip(network.layers, scales, formats.bits_of(network), source_values(network, formats), strict=True)
        self.layers = nn.ModuleList(
            IntegerLayer(layer, scale, bits, value, formats, network.steps) for layer, scale, bits, value in parts
        )
        self.dtype = torch.float32 if largest_integer(self.export()) * MARGIN < EXACT_FLOAT32 else torch.float64

    @property
    def _chain(self) -> list[IntegerLayer]:
        return [layer for layer in self.layers if isinstance(layer, IntegerLayer)]

    def spikes(self, frames: Tensor) -> list[Tensor]:
        """Spikes `[steps, batch, *shape]` of every layer."""
        if self.network.input_kind == "static":
            x = (frames >> (PIXEL_BITS - self.formats.input_bits)).to(self.dtype).unsqueeze(0)
        else:
            x = frames.to(self.dtype).transpose(0, 1)
        found = []
        for layer in self.layers:
            x, spikes = layer(x)
            found.append(spikes)
        return found

    def forward(self, frames: Tensor, layer_rates: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        spikes = self.spikes(frames)
        group = self.network.readout.group
        counts = spikes[-1].sum(dim=0).flatten(1).unflatten(1, (-1, group)).sum(dim=2)  # [batch, classes]
        rates = counts / (self.network.steps * group)
        return (rates, [s.mean(dim=0) for s in spikes]) if layer_rates else rates

    @torch.no_grad()
    def export(self, notes: dict[str, Any] | None = None) -> QuantizedNetwork:
        """The network of integers that this module computes now."""
        integers = []
        for layer in self._chain:
            weight, bias, threshold, reset, _ = (values.cpu().numpy() for values in layer.integers())
            whole = np.zeros(layer.layer.weight.shape, np.int8)
            whole[:, layer.used.cpu().numpy()] = weight
            integers.append(Integers(whole, bias.astype(np.int64), threshold.astype(np.int64), int(reset[0])))
        scales = [layer.log_scale.exp().tolist() for layer in self._chain]
        return assemble(self.network, self.formats, integers, {"scales": scales, **(notes or {})})

    def check(self) -> None:
        """`UserError` if some sum of the network as it is now could leave the integers that its floats hold exactly."""
        if self.dtype == torch.float32:
            found = largest_integer(self.export())
            require(found < EXACT_FLOAT32, "largest sum", found, f"below {EXACT_FLOAT32}: train in smaller steps")


def largest_integer(network: QuantizedNetwork) -> int:
    """A bound on every number of a network's computation, products of `multiply` leaks included."""
    bounds = []
    for layer, ranges in zip(network.layers, network.ranges, strict=True):
        membrane = max(map(abs, (*ranges.potential, *ranges.membrane)))
        bounds.append((max(map(abs, ranges.current)) << layer.neuron.fraction) + membrane)
        bounds.append(membrane * max(1, layer.neuron.factor))
        bounds.append(membrane + int(np.abs(layer.neuron.threshold).max()))
    return max(bounds)
