"""Synapses of integers: from all sources to all neurons, or a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from ..arrays import frozen
from ..errors import require
from ..shapes import Conv2dGeometry

WEIGHT_BITS = range(2, 9)


@dataclass(frozen=True)
class Dense:
    """All-to-all synapses: `weight` int8 `[out, in]`, `bias` int64 `[out]` in units of the weights (None: zeros).

    Arrays are copied, and the copies cannot be written to.
    """

    weight: np.ndarray
    bias: np.ndarray = None  # type: ignore[assignment]  # an array from then on

    def __post_init__(self) -> None:
        _freeze(self, "dense", 2)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        sources = prod(shape)
        require(self.weight.shape[1] == sources, "dense weight columns", self.weight.shape[1], f"{sources} sources")
        return (self.weight.shape[0],)


@dataclass(frozen=True)
class Conv:
    """Two-dimensional cross-correlation: `weight` int8 `[out, in, kh, kw]`, zero padding.

    Target `(c, y, x)` sums `weight[c, d, i, j]` times source `(d, y * stride - padding + i, x * stride - padding + j)`.
    `bias` is int64 `[out]`, or one for each target in row-major order, in units of the weights (None: zeros).
    Arrays are copied, and the copies cannot be written to.
    """

    weight: np.ndarray
    bias: np.ndarray = None  # type: ignore[assignment]  # an array from then on
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        _freeze(self, "conv", 4)
        geometry = self.geometry
        object.__setattr__(self, "stride", geometry.stride)
        object.__setattr__(self, "padding", geometry.padding)

    @property
    def geometry(self) -> Conv2dGeometry:
        height, width = self.weight.shape[2:]
        return Conv2dGeometry((height, width), self.stride, self.padding)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require(len(shape) == 3, "conv input shape", shape, "(channels, height, width)")
        require(self.weight.shape[1] == shape[0], "conv weight inputs", self.weight.shape[1], f"{shape[0]} channels")
        return self.geometry.output_shape(self.weight.shape[0], shape)


def _freeze(synapses: Dense | Conv, kind: str, dimensions: int) -> None:
    """Replace the arrays by read-only copies; `UserError` for wrong types, dimensions or sizes."""
    weight = frozen(f"{kind} weight", synapses.weight, np.int8, (dimensions,))
    require(weight.size > 0, f"{kind} weight shape", weight.shape, "no empty dimension")
    given = np.zeros(len(weight), np.int64) if synapses.bias is None else synapses.bias
    bias = frozen(f"{kind} bias", given, np.int64, (1,))
    fits = bias.size >= len(weight) if kind == "conv" else bias.size == len(weight)
    require(fits, f"{kind} bias size", bias.size, f"{len(weight)}, one for each output channel")
    object.__setattr__(synapses, "weight", weight)
    object.__setattr__(synapses, "bias", bias)
