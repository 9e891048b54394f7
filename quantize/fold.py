"""From a trained network to a chain of plain float layers with synapses, biases and neurons only.

Folding happens in float64 before any rounding, and only where it is exact:

* input normalisation `(x - mean) / std` into the first layer's weights and bias; with a zero-padded convolution it is
  exact for `mean = 0` alone (the border would have to hold `mean`), and refused otherwise;
* batch normalisation `gain * (I - mean) / sqrt(variance + eps) + shift` into weights and bias, for `gain` of any sign;
* average pooling: a source counts the spikes of its window, each worth `1 / size**2` (`source_unit`), so no weight
  changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import reals
from ..checks import choice, items, name, real, whole, wholes
from ..errors import UserError, require, within
from ..model import description
from ..model.checkpoint import NORM, Checkpoint
from ..model.description import FloatNeuron
from ..shapes import LARGEST_LAYERS, LARGEST_SIZE, LARGEST_STEPS, Conv2dGeometry, Pool, shape_of
from .interface import Readout

LARGEST_WEIGHTS = 1e-30, 1e30  # bounds of a layer's largest weight
BATCH_NORM_EPS = 1e-5  # torch's default, which model/networks.py keeps


@dataclass(frozen=True)
class FloatLayer:
    """`weight` float64 `[out, in]` or `[out, in, kh, kw]`, `bias` float64 `[out]`; a weight of 0.0 is not a synapse.

    Both may be given as arrays, tensors or nested lists of numbers. They are copied, and the copies are read-only. All
    neurons of a layer share one `neuron`: values per neuron raise `UserError`. `source_unit` is the real value of one
    spike of a source; a pixel is 0.0 to 1.0.
    """

    name: str
    input_shape: tuple[int, ...]
    weight: np.ndarray
    bias: np.ndarray
    neuron: FloatNeuron
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    pool: Pool | None = None
    source_unit: float = 1.0

    def __post_init__(self) -> None:
        def take(field: str, value: object) -> None:
            object.__setattr__(self, field, value)

        take("name", name("layer name", self.name))
        where = f"layer {self.name}"
        take("input_shape", shape_of(f"{where} input_shape", self.input_shape))
        take("weight", reals(f"{where} weight", self.weight, (2, 4)))
        take("bias", reals(f"{where} bias", self.bias, (1,)))
        require(self.weight.size > 0, f"{where} weight shape", self.weight.shape, "no empty dimension")
        out = self.weight.shape[:1]
        require(self.bias.shape == out, f"{where} bias shape", self.bias.shape, f"{out}, one per output channel")
        require(bool(self.weight.any()), f"{where} weights", "all zero", "at least one synapse")
        largest = max(float(self.weight.max()), -float(self.weight.min()))
        low, high = LARGEST_WEIGHTS
        require(low <= largest <= high, f"{where} largest weight", largest, f"{low} to {high} from zero")
        if not isinstance(self.neuron, FloatNeuron):
            raise UserError.of(f"{where} neuron", type(self.neuron).__name__, "one FloatNeuron for all of the layer")
        if not isinstance(self.pool, Pool | None):
            raise UserError.of(f"{where} pool", type(self.pool).__name__, "a Pool or None")
        take("source_unit", real(f"{where} source_unit", self.source_unit))
        require(0 < self.source_unit <= 1, f"{where} source_unit", self.source_unit, "above 0, at most 1")
        take("stride", wholes(f"{where} stride", self.stride, 1, LARGEST_SIZE, 2))
        take("padding", wholes(f"{where} padding", self.padding, 0, LARGEST_SIZE, 2))
        with within(where):
            self.output_shape  # noqa: B018 (raises where weight, input and pool do not fit)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the neurons, before pooling."""
        sources = self.weight.shape[1]
        if self.weight.ndim == 2:
            expected = prod(self.input_shape)
            require(sources == expected, "weight columns", sources, f"{expected}, the sources of {self.input_shape}")
            return shape_of("neurons", self.weight.shape[:1])
        require(len(self.input_shape) == 3, "input_shape", self.input_shape, "(channels, height, width)")
        require(sources == self.input_shape[0], "weight inputs", sources, f"{self.input_shape[0]} channels")
        height, width = self.weight.shape[2:]
        geometry = Conv2dGeometry((height, width), self.stride, self.padding)
        return geometry.output_shape(len(self.weight), self.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the next layer's input, after pooling."""
        return self.pool.output_shape(self.shape) if self.pool else self.shape

    @property
    def channels(self) -> int:
        return self.weight.shape[0]


@dataclass(frozen=True)
class FloatNetwork:
    """A folded chain: frames of `input_shape` (`input_kind` static or spikes), run for `steps` steps."""

    input_shape: tuple[int, ...]
    layers: tuple[FloatLayer, ...]
    steps: int
    input_kind: str = "static"
    readout: Readout = field(default_factory=Readout)
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def take(field: str, value: object) -> None:
            object.__setattr__(self, field, value)

        take("input_shape", shape_of("input_shape", self.input_shape))
        take("steps", whole("steps", self.steps, 1, LARGEST_STEPS))
        take("input_kind", choice("input_kind", self.input_kind, ("static", "spikes")))
        layers = tuple(items("layers", self.layers, LARGEST_LAYERS))
        require(len(layers) >= 1, "layers", 0, f"1 to {LARGEST_LAYERS}")
        shape = self.input_shape
        for layer in layers:
            if not isinstance(layer, FloatLayer):
                raise UserError.of("layers", type(layer).__name__, "a FloatLayer each")
            fits = prod(layer.input_shape) == prod(shape) and (layer.weight.ndim == 2 or layer.input_shape == shape)
            require(fits, f"layer {layer.name} input_shape", layer.input_shape, f"{shape}, from the layer before")
            shape = layer.output_shape
        take("layers", layers)
        if not isinstance(self.readout, Readout):
            raise UserError.of("readout", type(self.readout).__name__, "a Readout")

    @property
    def synapses(self) -> int:
        """Weights that are not 0.0."""
        return sum(int(np.count_nonzero(layer.weight)) for layer in self.layers)


def fold(checkpoint: Checkpoint, *, mean: ArrayLike = 0.0, std: ArrayLike = 1.0) -> FloatNetwork:
    """Fold a trained network.

    `mean` and `std`, numbers or one per input channel, are those of the normalisation of pixels `x / 255`
    with which the network was trained.

    Raises
    ------
    UserError
        A layer has no synapses or numbers that are not finite, or folding would not be exact.
    """
    network, arrays = checkpoint.network, checkpoint.arrays
    if not isinstance(network, description.Network):
        raise UserError.of("checkpoint network", f"the graph {network.name}", "a chain of layers")
    layers = []
    source_unit = 1.0
    for index, (layer, shape) in enumerate(zip(network.layers, network.shapes[:-1], strict=True)):
        where, synapses = f"layer{index}", layer.synapses
        weight = arrays[f"{where}.weight"].astype(np.float64)
        bias = arrays[f"{where}.bias"].astype(np.float64) if synapses.bias else np.zeros(len(weight))
        stride, padding = (1, 1), (0, 0)
        if isinstance(synapses, description.ConvSpec):
            stride, padding = synapses.stride, synapses.padding
        if index == 0:
            weight, bias = fold_input_normalisation(
                weight, bias, mean=mean, std=std, input_shape=shape, padding=padding
            )
        if layer.batch_norm:
            gain, shift, centre, variance = (arrays[f"{where}.norm.{what}"].astype(np.float64) for what in NORM)
            weight, bias = fold_batch_norm(weight, bias, gain=gain, shift=shift, mean=centre, variance=variance)
        layers.append(FloatLayer(where, shape, weight, bias, layer.neuron, stride, padding, layer.pool, source_unit))
        source_unit = 1 / layer.pool.largest if layer.pool else 1.0
    readout = Readout("count", network.vote)
    notes = {"checkpoint": checkpoint.origin}
    return FloatNetwork(network.input_shape, tuple(layers), network.steps, readout=readout, notes=notes)


def fold_batch_norm(
    weight: np.ndarray,
    bias: np.ndarray,
    *,
    gain: np.ndarray,
    shift: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float = BATCH_NORM_EPS,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias that give the batch-normalised current, with running statistics as in evaluation.

    All but `weight` are float64 `[out]`. A negative `gain` changes the signs of its channel's weights.
    """
    require(bool((variance + eps > 0).all()), "batch norm variance", float(variance.min()), "variance + eps above 0")
    slope = gain / np.sqrt(variance + eps)
    return weight * slope.reshape(-1, *[1] * (weight.ndim - 1)), shift + slope * (bias - mean)


def fold_input_normalisation(
    weight: np.ndarray,
    bias: np.ndarray,
    *,
    mean: ArrayLike,
    std: ArrayLike,
    input_shape: tuple[int, ...],
    padding: tuple[int, int] = (0, 0),
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias for raw pixels, 0.0 to 1.0, in place of `(x - mean) / std`.

    Raises
    ------
    UserError
        A padded convolution with a mean other than 0: the border of zeros would have to hold `mean`.
    """
    channels = input_shape[0] if len(input_shape) == 3 else 1
    centre, spread = reals("input mean", mean, (0, 1)), reals("input std", std, (0, 1))
    for what, values in (("mean", centre), ("std", spread)):
        require(values.size in (1, channels), f"input {what} size", values.size, f"1 or {channels}")
    require(bool((spread > 0).all()), "input std", spread.tolist(), "above 0")
    centre, spread = (np.broadcast_to(values.ravel(), (channels,)) for values in (centre, spread))
    exact = not any(padding) or not centre.any()
    require(exact, "input mean", centre.tolist(), f"0 if the first convolution pads (by {padding}): not exact else")
    sources = weight.reshape(weight.shape[0], channels, -1) / spread[:, None]
    return sources.reshape(weight.shape), bias - (sources * centre[:, None]).sum(axis=(1, 2))
