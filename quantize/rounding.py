"""From real numbers to the integers of a `QuantizedNetwork`, given the scales. All rounding is here.

A layer has one `scale`, or one for each output channel: the real value of an integer weight of 1. With the real value
of a source of 1 (`source_value`) it determines all other units, so the hardware never rescales:

    I    counts in  scale * source_value               (the current unit: biases)
    v, u count in   scale * source_value * gain / 2**fraction    (the membrane unit: thresholds, reset values)

`gain` is the factor of the neuron's input gain that its kind of leak does not apply itself (`leak_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..bits import signed_range
from ..errors import require
from ..model import description
from .fold import FloatLayer, FloatNetwork
from .network import LIMIT, WEIGHT_BITS, Conv, Dense, Input, IntNeuron, Layer, LeakKind, QuantizedNetwork
from .neuron import LARGEST_MEMBRANE_BITS, Reset


@dataclass(frozen=True)
class Formats:
    """The number formats to quantise to.

    weight_bits
        2 to 8, for all layers or one for each.
    input_bits
        Number of bits of a pixel that are used, 1 to 8: the most significant ones.
    per_channel
        One scale, hence one threshold, for each output channel instead of one for the layer.
    membrane_fraction
        0 to 8 bits of membrane below the unit of the current.
    membrane_bits
        Width of saturating membranes; None: exact, wide enough for every value that can occur.
    decay_bits
        Fractional bits of a decay that no shift expresses.
    """

    weight_bits: int | tuple[int, ...] = 4
    input_bits: int = 8
    per_channel: bool = False
    membrane_fraction: int = 0
    membrane_bits: int | None = None
    decay_bits: int = 8

    def __post_init__(self) -> None:
        given = self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits,)
        for bits in given:
            require(bits in WEIGHT_BITS, "weight_bits", bits, "2 to 8")
        require(1 <= self.input_bits <= 8, "input_bits", self.input_bits, "1 to 8")
        require(0 <= self.membrane_fraction <= 8, "membrane_fraction", self.membrane_fraction, "0 to 8")
        width = self.membrane_bits
        told = f"2 to {LARGEST_MEMBRANE_BITS}, or None for exact"
        require(width is None or 2 <= width <= LARGEST_MEMBRANE_BITS, "membrane_bits", width, told)
        require(1 <= self.decay_bits <= 15, "decay_bits", self.decay_bits, "1 to 15")

    def bits_of(self, network: FloatNetwork) -> tuple[int, ...]:
        """Weight bits of each layer."""
        count = len(network.layers)
        if not isinstance(self.weight_bits, tuple):
            return (self.weight_bits,) * count
        require(len(self.weight_bits) == count, "weight_bits", self.weight_bits, f"one, or one for {count} layers")
        return self.weight_bits


@dataclass(frozen=True)
class Leak:
    """A `LeakKind` and its numbers; `gain` is an additional factor on the current."""

    kind: LeakKind
    shift: int = 1
    factor: int = 0
    gain: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", LeakKind(self.kind))


def leak_of(neuron: description.FloatNeuron, decay_bits: int) -> Leak:
    """The leak that computes `decay * v + gain * I`: a shift where `tau` is a power of two, else a multiplication."""
    if neuron.kind == "if":
        return Leak(LeakKind.NONE)
    shift = int(neuron.tau).bit_length() - 1
    if neuron.tau == 1 << shift and 1 <= shift <= 15:
        return Leak(LeakKind.DECAYING_INPUT if neuron.decay_input else LeakKind.SHIFT, shift)
    return Leak(LeakKind.MULTIPLY, decay_bits, round(neuron.decay * (1 << decay_bits)), neuron.gain)


@dataclass(frozen=True)
class Units:
    """Real value of an integer 1, float64 `[1]` or `[out]` each: as a current and as a membrane potential."""

    current: np.ndarray
    membrane: np.ndarray


def units_of(layer: FloatLayer, scale: np.ndarray, source_value: float, formats: Formats) -> Units:
    current = np.asarray(scale, dtype=np.float64) * source_value
    return Units(current, current * leak_of(layer.neuron, formats.decay_bits).gain / (1 << formats.membrane_fraction))


def source_values(network: FloatNetwork, formats: Formats) -> tuple[float, ...]:
    """Real value of a source of 1 in each layer's integer arithmetic; the largest pixel has the real value 1."""
    pixel = 1 / ((1 << formats.input_bits) - 1) if network.input_kind == "static" else 1.0
    return (pixel, *(layer.source_unit for layer in network.layers[1:]))


@dataclass(frozen=True)
class Integers:
    """A layer's rounded numbers: `weight` int8, `bias` int64 `[out]`, `threshold` int64 `[1]` or `[out]`."""

    weight: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    reset_value: int = 0


def round_weight(weight: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    """int8 `weight / scale`, to nearest, ties to even, clipped to `bits` bits; `scale` is `[1]` or `[out]`.

    >>> round_weight(np.array([[-9.0, 0.5, 1.5, 2.4]]), np.array([1.0]), 4)
    array([[-8,  0,  2,  2]], dtype=int8)
    """
    steps = weight / np.reshape(scale, (-1, *[1] * (weight.ndim - 1)))
    return np.clip(np.rint(steps), *signed_range(bits)).astype(np.int8)


def round_layer(layer: FloatLayer, scale: np.ndarray, bits: int, source_value: float, formats: Formats) -> Integers:
    """The integers of one layer at `scale`, float64 `[1]` or `[out]`."""
    units = units_of(layer, scale, source_value, formats)
    threshold = _integers(f"layer {layer.name} threshold", layer.neuron.threshold, units.membrane)
    bias = _integers(f"layer {layer.name} bias", layer.bias, units.current)
    reset = _integers(f"layer {layer.name} v_reset", layer.neuron.v_reset, units.membrane)
    same = bool((reset == reset[0]).all())
    require(same, f"layer {layer.name} v_reset", layer.neuron.v_reset, "0 if every channel has its own scale")
    lowest = int(reset[0]) + 1  # rounding must not make a silent neuron fire
    return Integers(round_weight(layer.weight, scale, bits), bias, np.maximum(threshold, lowest), int(reset[0]))


def _integers(what: str, values: np.ndarray | float, unit: np.ndarray) -> np.ndarray:
    """int64 `values / unit`, to nearest; `UserError` names the channel whose value is too large."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        found = np.atleast_1d(values / unit)
    channel = int(np.argmax(np.where(np.isfinite(found), np.abs(found), np.inf)))
    extreme = float(found[channel])
    of = f" of channel {channel}" if found.size > 1 else ""
    remedy = f"less than {LIMIT} from zero: the weights are too small beside it, scale them up"
    require(abs(extreme) < LIMIT, f"{what}{of}", f"{extreme:.6g} units", remedy)
    return np.rint(found).astype(np.int64)


def smallest_scales(layer: FloatLayer, source_value: float, formats: Formats) -> np.ndarray:
    """Scales, float64 `[out]`, that must be exceeded for threshold, reset value and bias to fit the machines."""
    units = units_of(layer, np.ones(1), source_value, formats)
    membrane = max(abs(layer.neuron.threshold), abs(layer.neuron.v_reset)) / units.membrane
    return np.maximum(np.abs(layer.bias) / units.current, membrane) / LIMIT


def assemble(
    network: FloatNetwork, formats: Formats, integers: Sequence[Integers], notes: dict[str, Any]
) -> QuantizedNetwork:
    """The network of integers with the shape and neurons of `network`; `notes` are added to its own."""
    layers = []
    for layer, values, bits in zip(network.layers, integers, formats.bits_of(network), strict=True):
        leak = leak_of(layer.neuron, formats.decay_bits)
        last = layer is network.layers[-1]
        neuron = IntNeuron(
            leak=leak.kind,
            reset=Reset(layer.neuron.reset),
            threshold=values.threshold,
            shift=leak.shift,
            factor=leak.factor,
            reset_value=values.reset_value,
            fraction=formats.membrane_fraction,
            membrane_bits=formats.membrane_bits,
            spiking=not last or network.readout.kind == "count",
        )
        synapses: Dense | Conv
        if values.weight.ndim == 2:
            synapses = Dense(values.weight, values.bias)
        else:
            synapses = Conv(values.weight, values.bias, layer.stride, layer.padding)
        layers.append(Layer(layer.name, layer.input_shape, synapses, neuron, bits, layer.pool))
    kept = [layer.connected for layer in layers]
    found = {
        "formats": asdict(formats),
        "synapses": {**places_of(network), "kept": kept},
    }
    return QuantizedNetwork.chain(
        input=Input(network.input_shape, formats.input_bits, network.input_kind),
        layers=tuple(layers),
        steps=network.steps,
        readout=network.readout,
        notes={**network.notes, **found, **notes},
    )


def places_of(network: FloatNetwork) -> dict[str, list[int]]:
    """For each layer, the number of possible connections and of trained ones."""
    return {
        "places": [layer.weight.size for layer in network.layers],
        "trained": [int(np.count_nonzero(layer.weight)) for layer in network.layers],
    }
