"""Weights that are rounded in the training before a conversion, so that `gradrtl quantize` rounds none again."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..bits import signed_range

CLIPS = 12  # scales tried for each output, from the one at which nothing is clipped down to a third of it
PIXEL_BITS = 8  # of the images, which `quantize` keeps by default


class Rounded(nn.Module):
    """The parametrisation `w -> scale * round(w / scale)`, of `bits` bits and symmetric, with the gradient of `w`.

    `scale`, one for each output or one for all, is `unit` over the threshold of `source`, an activation; without one it
    is `unit`. The range is symmetric because the normalisation behind the weights may turn their signs.
    """

    unit: Tensor

    def __init__(self, weight: Tensor, bits: int, per_output: bool, source: nn.Module | None = None) -> None:
        super().__init__()
        self.high = signed_range(bits)[1]
        self.per_output = per_output
        self._source = (source,)  # which is no part of this module
        count = len(weight) if per_output else 1
        self.register_buffer("unit", torch.ones((count, *[1] * (weight.dim() - 1)), device=weight.device))

    @property
    def worth(self) -> Tensor | float:
        """The threshold of `source`."""
        source: Any = self._source[0]
        return 1.0 if source is None else source.threshold.detach()

    @property
    def scale(self) -> Tensor:
        return self.unit / self.worth

    def rows(self, weight: Tensor) -> Tensor:
        """The weights that share a scale, times `worth`: `[len(scale), weights]`."""
        return (weight.detach() * self.worth).reshape(len(self.unit), -1)

    def at(self, weight: Tensor, scale: Tensor) -> Tensor:
        """`weight` rounded to multiples of `scale`."""
        return torch.round(weight / scale).clamp(-self.high, self.high) * scale

    def forward(self, weight: Tensor) -> Tensor:
        found: Tensor = _Straight.apply(weight, self.at(weight.detach(), self.scale))
        return found


class _Straight(torch.autograd.Function):
    """What weights are rounded to, with the gradient of the weights."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rounded: Tensor) -> Tensor:
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def round_weights(network: Any, bits: int) -> None:
    """Round all weights of a `ReluNetwork`, which have their final mask, as the integers will be.

    Channels have one scale each, those of the read-out share one. A sum that several connections add to has integers of
    one unit, which each connection shifts: there a weight times the threshold of its source is rounded, with `shift`.
    Thresholds of the other methods follow the images, or are measured after the training.
    """
    for population in network.all:
        is_last = population.spec.name == network.description.readout.source
        for connection, layer in zip(population.spec.inputs, population.synapses, strict=True):
            name = connection.sources[0]
            follows = len(population.synapses) > 1 and name in network.group and network.method == "shift"
            source = network.activation_of(name) if follows else None
            rounded = Rounded(layer.weight, bits, not is_last, source)
            parametrize.register_parametrization(layer, "weight", rounded, unsafe=True)
    fit(network)


@torch.no_grad()
def fit(network: Any) -> None:
    """Choose the scales of rounded weights anew: those of least squared error, for each sum."""
    for population in network.all:
        parts = [_before(layer) for layer in population.synapses if _is_rounded(layer)]
        if parts:
            values = network.description.source_values(population.spec, PIXEL_BITS) if len(parts) > 1 else (1.0,)
            fit_together(parts, values)


@torch.no_grad()
def fit_together(parts: list[tuple[Rounded, Tensor]], values: tuple[float, ...]) -> None:
    """Choose the scales of connections into one sum. `values`: the real value of a source of 1, for each.

    A connection's shift is the power of two next to how much larger its weights are than those of the connection with
    the smallest.
    """
    every = [rounded.rows(weight) * value for (rounded, weight), value in zip(parts, values, strict=True)]
    living = [rows[rows != 0].double().square().mean().sqrt().item() if rows.any() else 0.0 for rows in every]
    least = min((size for size in living if size), default=1.0)
    factors = [2.0 ** round(math.log2(size / least)) if size else 1.0 for size in living]
    first, high = parts[0][0], parts[0][0].high
    largest = torch.stack([rows.abs().amax(dim=1) / by for rows, by in zip(every, factors, strict=True)]).amax(dim=0)
    tried = torch.linspace(1.0, 1 / 3, CLIPS, device=largest.device)
    units = (largest.clamp(min=1e-12) / high)[None] * tried[:, None]  # [tried, out]
    errors = torch.zeros_like(units)
    for rows, by in zip(every, factors, strict=True):
        errors += torch.stack([(first.at(rows, by * unit[:, None]) - rows).square().sum(dim=1) for unit in units])
    best = units.gather(0, errors.argmin(dim=0)[None])[0]
    for (rounded, _), by, value in zip(parts, factors, values, strict=True):
        rounded.unit.copy_((best * by / value).reshape(rounded.unit.shape))


def leave_rounded(network: Any) -> None:
    """Leave the weights of a network as they are used, without parametrisations."""
    for _, layer, _ in network.weighted:
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _is_rounded(layer: Any) -> bool:
    return parametrize.is_parametrized(layer, "weight") and isinstance(layer.parametrizations.weight[-1], Rounded)


def _before(layer: Any) -> tuple[Rounded, Tensor]:
    """The rounding of a layer's weight, and the weight before it."""
    *before, rounded = layer.parametrizations.weight
    weight = layer.parametrizations.weight.original
    for one in before:
        weight = one(weight)
    return rounded, weight
