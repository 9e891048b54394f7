"""A trainable torch module whose forward pass *is* the integer arithmetic of `sim/reference.py`.

Every tensor holds integers, as floats wide enough to hold them exactly (`IntegerNetwork.check`). The parameters
of a layer are real weights, biases and the logarithm of one step size (`[1]`, or `[out]` per channel). Rounding them
gives its integer weights, biases *and* thresholds (`quantize/rounding.py`), so no rescaling remains. Rounding
has straight-through gradients. As the spike's surrogate is in real units, the gradient of the step size is that of
Esser et al., "Learned Step Size Quantization" (ICLR 2020).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..bits import signed_range
from ..errors import require
from .fire import Rule, fire
from .fold import FloatLayer, FloatNetwork
from .network import Input, QuantizedNetwork
from .ptq import Scales
from .rounding import Formats, Integers, assemble, leak_of, source_values

EXACT_FLOAT32 = 1 << 24  # integers up to here are exact
LARGEST_EXACT = 1 << 62
MARGIN = 4  # factor by which sums may grow in training before they reach it


class _Round(torch.autograd.Function):
    """To nearest, ties to even as in NumPy; the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def nearest(x: Tensor) -> Tensor:
    """`x` to the nearest integer, with the gradient of `x`."""
    found: Tensor = _Round.apply(x)
    return found


def exact(where: str, values: Tensor) -> np.ndarray:
    """The numbers of a tensor, as they are; `UserError` if 64-bit integers do not hold them."""
    found = values.detach().cpu().numpy()
    fits = bool((np.abs(found) < LARGEST_EXACT).all())  # not a number is not below it
    require(fits, where, "not finite" if not np.isfinite(found).all() else "huge", "finite numbers")
    return found


class IntegerLayer(nn.Module):
    """One layer: integers in, spikes out, `[steps or 1, batch, ...] -> [steps, batch, ...]`.

    `weight` holds only the non-zero synapses, `[synapses]`. The product of a dense layer has only the sources with
    synapses (`used`). `place` holds the indices of the synapses in the weight of this product, which has `shape`.
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
        self.rule = Rule(leak, formats.membrane_fraction, neuron.reset == "soft", formats.membrane_bits, steps)
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
        steps = self.weight / (scale if scale.numel() == 1 else scale[self.row])
        living = nearest(steps.clamp(*signed_range(self.bits)))
        weight = living.new_zeros(math.prod(self.shape)).scatter(0, self.place, living).reshape(self.shape)
        current_unit = scale * self.source_value
        unit = current_unit * (self.rule.leak.gain / (1 << self.rule.fraction))
        bias = nearest(self.bias / current_unit)
        reset = torch.round(self.layer.neuron.v_reset / unit.detach()[:1])
        threshold = torch.maximum(nearest(self.layer.neuron.threshold / unit), reset + 1)
        return weight, bias, threshold, reset, unit

    def fire(self, x: Tensor, size: int, with_rates: bool) -> tuple[Tensor, Tensor | None]:
        """Spikes after `size` x `size` max pooling, `[steps, batch, ...]`, and rates before it or None, `[batch, ...]`.

        Maps have their channels last in memory.
        """
        weight, bias, threshold, reset, unit = (values.to(x.dtype) for values in self.integers())
        lead = x.shape[:2]
        neurons = threshold, unit, reset, self.rule, size, with_rates
        if weight.dim() == 4:
            flat = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            current = functional.conv2d(flat, weight, bias, self.layer.stride, self.layer.padding)
            spikes, rates = fire(current.permute(0, 2, 3, 1).unflatten(0, lead), *neurons)
            return spikes.permute(0, 1, 4, 2, 3), rates.permute(0, 3, 1, 2) if rates is not None else None
        flat = x.flatten(2)
        if len(self.used) < flat.shape[2]:
            flat = flat[:, :, self.used]
        current = functional.linear(flat, weight, bias)
        spikes, rates = fire(current[:, :, None, None], *neurons)
        return spikes[:, :, 0, 0], rates[:, 0, 0] if rates is not None else None

    def forward(self, x: Tensor, with_rates: bool = False) -> tuple[Tensor, Tensor | None]:
        """The input of the next layer; the firing rates before pooling, or None unless requested."""
        pool = self.layer.pool
        if pool is None or pool.kind == "max":
            return self.fire(x, 1 if pool is None else pool.size, with_rates)
        spikes, rates = self.fire(x, 1, with_rates)
        pooled = functional.avg_pool2d(spikes.flatten(0, 1), pool.size, divisor_override=1)
        return pooled.unflatten(0, spikes.shape[:2]), rates


class IntegerNetwork(nn.Module):
    """uint8 frames -> firing rates `[batch, classes]`, 0 to 1, of the network that `export` returns.

    Static frames are `[batch, *input_shape]`; spike frames 0/1 `[batch, steps, *input_shape]`. With
    `layer_rates=True` also each layer's firing rates, `[batch, *shape]` before pooling. With `every_step=True` the
    outputs are `[steps, batch, classes]`, as of `model.networks.SpikingNetwork`. For CPUs only.
    """

    def __init__(self, network: FloatNetwork, formats: Formats, scales: Scales) -> None:
        super().__init__()
        require(network.readout.kind == "count", "readout", network.readout.kind, "count: training needs spikes")
        self.network, self.formats = network, formats
        self.input = Input(network.input_shape, formats.input_bits, network.input_kind)
        parts = zip(network.layers, scales, formats.bits_of(network), source_values(network, formats), strict=True)
        self.layers = nn.ModuleList(
            IntegerLayer(layer, scale, bits, value, formats, network.steps) for layer, scale, bits, value in parts
        )
        self.dtype = torch.float32 if largest_integer(self.export()) * MARGIN < EXACT_FLOAT32 else torch.float64

    @property
    def _chain(self) -> list[IntegerLayer]:
        return [layer for layer in self.layers if isinstance(layer, IntegerLayer)]

    def encode(self, frames: Tensor) -> Tensor:
        """The input of the first layer, `[1 or steps, batch, *input_shape]`."""
        frames = self.input.seen(frames)
        if self.input.kind == "static":
            return frames.to(self.dtype).unsqueeze(0)
        return frames.to(self.dtype).transpose(0, 1)

    @torch.no_grad()
    def spikes(self, frames: Tensor) -> list[Tensor]:
        """Spikes `[steps, batch, *shape]` of every layer, before pooling."""
        x, found = self.encode(frames), []
        for layer in self._chain:
            found.append(layer.fire(x, 1, False)[0])
            x, _ = layer(x)
        return found

    def forward(
        self, frames: Tensor, layer_rates: bool = False, every_step: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        x, rates = self.encode(frames), []
        for layer in self.layers:
            x, of_layer = layer(x, layer_rates)
            rates.append(of_layer)
        group = self.network.readout.group
        spikes = x.cumsum(dim=0).flatten(2) if every_step else x.sum(dim=0).flatten(1)
        counts = spikes.unflatten(-1, (-1, group)).sum(dim=-1)  # [batch, classes]
        votes = counts / (self.network.steps * group)
        return (votes, rates) if layer_rates else votes

    @torch.no_grad()
    def export(self, notes: dict[str, Any] | None = None) -> QuantizedNetwork:
        """The integer network that this module computes now."""
        integers = []
        for layer in self._chain:
            weight, bias, threshold, reset, _ = (exact(layer.layer.name, values) for values in layer.integers())
            whole = np.zeros(layer.layer.weight.shape, np.int8)
            whole[:, layer.used.cpu().numpy()] = weight
            integers.append(Integers(whole, bias.astype(np.int64), threshold.astype(np.int64), int(reset[0])))
        scales = [layer.log_scale.exp().tolist() for layer in self._chain]
        return assemble(self.network, self.formats, integers, {"scales": scales, **(notes or {})})

    def check(self) -> None:
        """`UserError` if some sum of the current network could exceed the integers that its floats hold exactly."""
        if self.dtype == torch.float32:
            found = largest_integer(self.export())
            require(found < EXACT_FLOAT32, "largest sum", found, f"below {EXACT_FLOAT32}")


def largest_integer(network: QuantizedNetwork) -> int:
    """A bound on every number of a network's computation, products of decays included."""
    bounds = []
    for population, ranges in zip(network.populations, network.ranges, strict=True):
        neuron, own = population.neuron, population.neuron.parameters
        membrane = max(map(abs, (*ranges.potential, *ranges.membrane)))
        synaptic, adaptation = max(map(abs, ranges.synaptic)), ranges.adaptation[1]
        bounds.append((max(map(abs, ranges.current)) << neuron.fraction) + max(membrane, synaptic))
        bounds.append(synaptic + membrane)
        states = (membrane, own.factor), (synaptic, own.current_factor), (adaptation, own.adaptation_factor)
        bounds += [value * max(1, int(factor.max())) for value, factor in states]
        bounds.append(membrane + int(np.abs(neuron.threshold).max()) + adaptation)
    return max(bounds)
