"""From a trained network to a chain of plain float layers: nothing left but synapses, biases and neurons.

Folding happens in real numbers, before any rounding, and only where it is exact:

* input normalisation `(x - mean) / std` into the first layer's weights and bias; with a zero-padded convolution it is
  exact for `mean = 0` alone (the border would have to hold `mean`), and refused otherwise;
* batch normalisation `gain * (I - mean) / sqrt(variance + eps) + shift` into weights and bias, for `gain` of any sign;
* average pooling: a source counts the spikes of its window, each worth `1 / size**2` (`source_unit`), so no weight
  changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..archive import digest
from ..errors import require
from ..model import description
from ..model.checkpoint import NORM, Checkpoint
from ..model.description import FloatNeuron
from .network import Pool, Readout

BATCH_NORM_EPS = 1e-5  # torch's default, which model/networks.py keeps


@dataclass(frozen=True)
class FloatLayer:
    """`weight` float64 `[out, in]` or `[out, in, kh, kw]`, `bias` float64 `[out]`; a weight of 0.0 is no synapse.

    `source_unit` is what one spike of a source is worth; a pixel goes from 0.0 to 1.0.
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
        where = f"layer {self.name}"
        shape = self.weight.shape
        require(len(shape) in (2, 4), f"{where} weight shape", shape, "[out, in] or [out, in, kh, kw]")
        require(self.weight.size > 0, f"{where} weight shape", shape, "no empty dimension")
        out = self.weight.shape[:1]
        require(self.bias.shape == out, f"{where} bias shape", self.bias.shape, f"{out}, one an output channel")
        for name, values in (("weights", self.weight), ("bias", self.bias)):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            require(bad == 0, f"{where} {name}", f"NaN or infinite in {bad} places", "finite numbers")
        require(bool(self.weight.any()), f"{where} weights", "all zero", "at least one synapse")
        for array in (self.weight, self.bias):
            array.setflags(write=False)

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

    @property
    def synapses(self) -> int:
        """Weights that are not 0.0."""
        return sum(int(np.count_nonzero(layer.weight)) for layer in self.layers)


def fold(checkpoint: Checkpoint, *, mean: ArrayLike = 0.0, std: ArrayLike = 1.0) -> FloatNetwork:
    """Fold a trained network.

    `mean` and `std`, numbers or one per input channel, are those of a normalisation of the pixels `x / 255` that the
    network was trained behind.

    Raises
    ------
    UserError
        A layer has no synapse or numbers that are not finite, or a folding would not be exact.
    """
    network, arrays = checkpoint.network, checkpoint.arrays
    layers = []
    source_unit = 1.0
    for index, (layer, shape) in enumerate(zip(network.layers, network.shapes[:-1], strict=True)):
        name, synapses = f"layer{index}", layer.synapses
        weight = arrays[f"{name}.weight"].astype(np.float64)
        bias = arrays[f"{name}.bias"].astype(np.float64) if synapses.bias else np.zeros(len(weight))
        stride, padding = (1, 1), (0, 0)
        if isinstance(synapses, description.ConvSpec):
            stride, padding = synapses.stride, synapses.padding
        if index == 0:
            weight, bias = fold_input_normalisation(
                weight, bias, mean=mean, std=std, input_shape=shape, padding=padding
            )
        if layer.batch_norm:
            gain, shift, centre, variance = (arrays[f"{name}.norm.{what}"].astype(np.float64) for what in NORM)
            weight, bias = fold_batch_norm(weight, bias, gain=gain, shift=shift, mean=centre, variance=variance)
        layers.append(FloatLayer(name, shape, weight, bias, layer.neuron, stride, padding, layer.pool, source_unit))
        source_unit = 1 / layer.pool.largest if layer.pool else 1.0
    readout = Readout("count", network.vote)
    origin: dict[str, Any] = {key: checkpoint.config[key] for key in ("recipe", "seed") if key in checkpoint.config}
    notes = {"checkpoint": {**origin, "command": checkpoint.command, "weights": digest({}, arrays)}}
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
    """Weights and bias whose current is the batch-normalised one, with running statistics as in evaluation.

    All but `weight` are float64 `[out]`. A negative `gain` turns the signs of its channel's weights.
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
    for name, values in (("mean", mean), ("std", std)):
        require(np.size(values) in (1, channels), f"input {name} size", np.size(values), f"1 or {channels}")
    centre = np.broadcast_to(np.asarray(mean, dtype=np.float64).ravel(), (channels,))
    spread = np.broadcast_to(np.asarray(std, dtype=np.float64).ravel(), (channels,))
    require(bool(np.isfinite(centre).all()), "input mean", centre.tolist(), "finite numbers")
    require(bool((np.isfinite(spread) & (spread > 0)).all()), "input std", spread.tolist(), "above 0")
    exact = not any(padding) or not centre.any()
    require(exact, "input mean", centre.tolist(), f"0 if the first convolution pads (by {padding}): not exact else")
    sources = weight.reshape(weight.shape[0], channels, -1) / spread[:, None]
    return sources.reshape(weight.shape), bias - (sources * centre[:, None]).sum(axis=(1, 2))
