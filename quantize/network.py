"""`QuantizedNetwork`: the frozen integers that simulators and hardware agree on.

A network is a chain of layers. Each layer integrates its input through its synapses (`Dense` or `Conv`), updates one
`IntNeuron` kind, and may pool its spikes. The meaning of every field is the arithmetic contract of `docs/design.md`,
section 2, written out in `sim/reference.py`. All widths that simulators and hardware need are derived here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import archive
from ..bits import signed_bits
from ..errors import require
from .placement import Placement

LIMIT = 1 << 30  # magnitudes of thresholds, biases and sums stay below: every u fits a 32-bit integer
WEIGHT_BITS = range(2, 9)
PIXEL_BITS = 8


@dataclass(frozen=True)
class Input:
    """What a frame is: `static` pixels of `bits` bits, held for all steps, or `spikes` anew at each step.

    A static frame is uint8 `[prod(shape)]`; pixel `x` counts as `x >> (8 - bits)`. A spike frame is uint8 0/1
    `[steps, prod(shape)]`.
    """

    shape: tuple[int, ...]
    bits: int = PIXEL_BITS
    kind: str = "static"

    def __post_init__(self) -> None:
        require(self.kind in ("static", "spikes"), "input.kind", self.kind, "static or spikes")
        require(len(self.shape) in (1, 3), "input.shape", self.shape, "(sources,) or (channels, height, width)")
        require(all(1 <= n <= 1 << 16 for n in self.shape), "input.shape", self.shape, "sizes 1 to 65536")
        require(1 <= self.bits <= PIXEL_BITS, "input.bits", self.bits, "1 to 8")

    @property
    def largest(self) -> int:
        """Largest value of one source."""
        return (1 << self.bits) - 1 if self.kind == "static" else 1


@dataclass(frozen=True)
class Dense:
    """All-to-all synapses: `weight` int8 `[out, in]`, `bias` int64 `[out]` in units of the weights."""

    weight: np.ndarray
    bias: np.ndarray

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require(self.weight.ndim == 2, "dense weight dimensions", self.weight.ndim, "2: [out, in]")
        sources = prod(shape)
        require(self.weight.shape[1] == sources, "dense weight columns", self.weight.shape[1], f"{sources} sources")
        return (self.weight.shape[0],)


@dataclass(frozen=True)
class Conv:
    """Two-dimensional cross-correlation: `weight` int8 `[out, in, kh, kw]`, `bias` int64 `[out]`, zero padding.

    Target `(c, y, x)` sums `weight[c, d, i, j]` times source `(d, y * stride - padding + i, x * stride - padding + j)`.
    """

    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require(self.weight.ndim == 4, "conv weight dimensions", self.weight.ndim, "4: [out, in, kh, kw]")
        require(len(shape) == 3, "conv input shape", shape, "(channels, height, width)")
        require(self.weight.shape[1] == shape[0], "conv weight inputs", self.weight.shape[1], f"{shape[0]} channels")
        for name, values in (("stride", self.stride), ("padding", self.padding)):
            require(len(values) == 2, f"conv {name}", values, "two numbers")
        require(min(self.stride) >= 1, "conv stride", self.stride, "at least 1")
        kernel = self.weight.shape[2:]
        require(
            all(0 <= p < k for p, k in zip(self.padding, kernel, strict=True)),
            "conv padding",
            self.padding,
            f"0 to one less than the kernel {kernel}",
        )
        size = tuple(
            (n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape[1:], self.padding, kernel, self.stride, strict=True)
        )
        require(min(size) >= 1, "conv output size", size, "at least 1: the kernel must fit its padded input")
        return (self.weight.shape[0], *size)


@dataclass(frozen=True)
class Pool:
    """Pooling of spikes over `size` x `size` windows, stride `size`, borders that do not fill a window dropped.

    `max` is the OR of the window; `average` is its number of spikes (the division by `size**2` is folded into the
    weights of the next layer).
    """

    kind: str
    size: int

    def __post_init__(self) -> None:
        require(self.kind in ("max", "average"), "pool.kind", self.kind, "max or average")
        require(1 <= self.size <= 16, "pool.size", self.size, "1 to 16")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require(len(shape) == 3, "pool input shape", shape, "(channels, height, width)")
        require(min(shape[1:]) >= self.size, "pool.size", self.size, f"at most the map size {shape[1:]}")
        return (shape[0], shape[1] // self.size, shape[2] // self.size)

    @property
    def largest(self) -> int:
        """Largest value of one pooled source at a step."""
        return 1 if self.kind == "max" else self.size**2


@dataclass(frozen=True)
class IntNeuron:
    """How a layer's membranes move: `u` from `v` and the sum `I`, then spike, reset, saturation.

    leak
        `none`: `u = v + (I << fraction)`; `shift`: `u = v - (v >> shift) + (I << fraction)`;
        `multiply`: `u = ((factor * v) >> shift) + (I << fraction)`;
        `decaying_input`: `u = v + (((I << fraction) - v) >> shift)`.
    threshold
        int64 `[channels]`, one per output channel (per neuron of a `Dense` layer), or `[1]` for all.
        Ignored when `spiking` is False (a membrane read-out).
    reset
        `hard`: to `reset_value`, where a frame also starts; `soft`: `u - threshold`, a frame starts at 0.
    membrane_bits
        Width of the membrane after reset; None: `exact`, proven so that nothing ever saturates.
    """

    leak: str
    reset: str
    threshold: np.ndarray
    shift: int = 1
    factor: int = 0
    reset_value: int = 0
    fraction: int = 0
    membrane_bits: int | None = None
    spiking: bool = True

    def __post_init__(self) -> None:
        leaks = ("none", "shift", "multiply", "decaying_input")
        require(self.leak in leaks, "neuron.leak", self.leak, " or ".join(leaks))
        require(self.reset in ("hard", "soft"), "neuron.reset", self.reset, "hard or soft")
        require(1 <= self.shift <= 15, "neuron.shift", self.shift, "1 to 15")
        require(0 <= self.factor <= 1 << self.shift, "neuron.factor", self.factor, f"0 to 2**shift = {1 << self.shift}")
        require(0 <= self.fraction <= 8, "neuron.fraction", self.fraction, "0 to 8")
        require(abs(self.reset_value) < LIMIT, "neuron.reset_value", self.reset_value, f"less than {LIMIT} from zero")
        require(self.reset == "hard" or self.reset_value == 0, "neuron.reset_value", self.reset_value, "0 if soft")
        bits = self.membrane_bits
        require(bits is None or 2 <= bits <= 31, "neuron.membrane_bits", bits, "2 to 31, or None for exact")
        if bits is not None:
            low, high = -(1 << bits - 1), (1 << bits - 1) - 1
            require(low <= self.reset_value <= high, "neuron.reset_value", self.reset_value, f"{low} to {high}")

    def step(self, v: Any, current: Any) -> Any:
        """`u` of one update, on plain integers of any size or arrays of int64."""
        scaled = current << self.fraction
        if self.leak == "decaying_input":
            return v + ((scaled - v) >> self.shift)
        if self.leak == "shift":
            return v - (v >> self.shift) + scaled
        if self.leak == "multiply":
            return ((self.factor * v) >> self.shift) + scaled
        return v + scaled


@dataclass(frozen=True)
class Layer:
    """Synapses, neurons and an optional pool. `input_shape` is what the layer before it, or the input, puts out."""

    name: str
    input_shape: tuple[int, ...]
    synapses: Dense | Conv
    neuron: IntNeuron
    weight_bits: int
    pool: Pool | None = None

    def __post_init__(self) -> None:
        weight, bias, threshold = self.synapses.weight, self.synapses.bias, self.neuron.threshold
        where = f"layer {self.name}"
        require(weight.dtype == np.int8, f"{where} weight dtype", weight.dtype, "int8")
        require(weight.size > 0, f"{where} weight shape", weight.shape, "no empty dimension")
        require(self.weight_bits in WEIGHT_BITS, f"{where} weight_bits", self.weight_bits, "2 to 8")
        top = 1 << self.weight_bits - 1
        fits = -top <= int(weight.min()) and int(weight.max()) < top
        extremes = (int(weight.min()), int(weight.max()))
        require(fits, f"{where} weights", extremes, f"{-top} to {top - 1} at {self.weight_bits} bits")
        for name, values, sizes in (("bias", bias, (self.channels,)), ("threshold", threshold, (1, self.channels))):
            is_vector = values.dtype == np.int64 and values.ndim == 1
            require(is_vector, f"{where} {name}", values.dtype, "a vector of int64")
            require(
                values.size in sizes, f"{where} {name} size", values.size, " or ".join(map(str, sorted(set(sizes))))
            )
            extreme = int(np.abs(values).max())
            require(extreme < LIMIT, f"{where} {name}", extreme, f"less than {LIMIT} from zero")
        for array in (weight, bias, threshold):
            array.setflags(write=False)
        if self.pool is not None:
            self.pool.output_shape(self.shape)

    @property
    def channels(self) -> int:
        """Output channels: what thresholds and biases are given for."""
        return self.synapses.weight.shape[0]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the neurons, before pooling."""
        return self.synapses.output_shape(self.input_shape)

    @property
    def neurons(self) -> int:
        return prod(self.shape)

    @property
    def sources(self) -> int:
        return prod(self.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of what the next layer sees, after pooling."""
        return self.pool.output_shape(self.shape) if self.pool else self.shape

    def per_neuron(self, values: np.ndarray) -> np.ndarray:
        """Spread `[1]` or `[channels]` values over the neurons: `[neurons]`."""
        per_channel = np.broadcast_to(values, (self.channels,))
        return np.repeat(per_channel, self.neurons // self.channels)


@dataclass(frozen=True)
class Readout:
    """What a frame's answer is made of: spike `count`s or final `membrane`s of the last layer.

    Outputs are summed in runs of `group` neighbours (the voting layer); the class is the largest sum, ties to the
    lowest index.
    """

    kind: str = "count"
    group: int = 1

    def __post_init__(self) -> None:
        require(self.kind in ("count", "membrane"), "readout.kind", self.kind, "count or membrane")
        require(self.group >= 1, "readout.group", self.group, "at least 1")


@dataclass(frozen=True)
class Ranges:
    """Proven bounds, inclusive, of a layer's numbers over all inputs and all its neurons."""

    current: tuple[int, int]  # I: partial sums and the whole sum, bias included
    potential: tuple[int, int]  # u, before the spike
    membrane: tuple[int, int]  # v, after reset and saturation

    @property
    def current_bits(self) -> int:
        return signed_bits(*self.current)

    @property
    def potential_bits(self) -> int:
        return signed_bits(*self.potential)

    @property
    def membrane_bits(self) -> int:
        return signed_bits(*self.membrane)


@dataclass(frozen=True)
class QuantizedNetwork:
    """A validated chain of layers of integers.

    What follows `readout` is not part of the network's meaning, nor of its `digest`: `notes` is free JSON (scales,
    provenance) that no machine reads; `rates` and `placement` say how the network is best placed, where that is known.

    rates
        For each layer float64 `[sources]`: mean events per frame of each source, measured on training data.
    """

    input: Input
    layers: tuple[Layer, ...]
    steps: int
    readout: Readout = Readout()
    notes: dict[str, Any] = field(default_factory=dict)
    rates: tuple[np.ndarray, ...] | None = None
    placement: Placement | None = None

    def __post_init__(self) -> None:
        require(1 <= self.steps <= 255, "steps", self.steps, "1 to 255")
        require(len(self.layers) >= 1, "layers", len(self.layers), "at least 1")
        shape = self.input.shape
        for layer in self.layers:
            flat = layer.input_shape if isinstance(layer.synapses, Conv) else (prod(layer.input_shape),)
            seen = shape if isinstance(layer.synapses, Conv) else (prod(shape),)
            require(
                flat == seen, f"layer {layer.name} input_shape", layer.input_shape, f"{shape}, from the layer before"
            )
            shape = layer.output_shape
        last = self.layers[-1]
        require(last.pool is None, f"layer {last.name} pool", last.pool, "none: the last layer is read out as it is")
        outputs, group = last.neurons, self.readout.group
        require(outputs % group == 0, "readout.group", group, f"a divisor of the {outputs} outputs")
        spiking = self.readout.kind == "count"
        require(last.neuron.spiking == spiking, f"layer {last.name} spiking", last.neuron.spiking, str(spiking))
        for layer in self.layers[:-1]:
            require(layer.neuron.spiking, f"layer {layer.name} spiking", False, "True: only the last may be silent")
        for layer, ranges in zip(self.layers, self.ranges, strict=True):
            extreme = max(map(abs, (*ranges.potential, *ranges.membrane)))
            extreme = max(extreme, *(abs(i) << layer.neuron.fraction for i in ranges.current))
            require(extreme < LIMIT, f"layer {layer.name} largest sum", extreme, f"less than {LIMIT}")
        if self.rates is not None:
            object.__setattr__(self, "rates", checked_rates(self.rates, self.layers))
        if self.placement is not None:
            self.placement.check(len(self.layers))

    @property
    def classes(self) -> int:
        return self.layers[-1].neurons // self.readout.group

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that has a meaning (`notes`, `rates` and `placement` left out)."""
        return archive.digest(*_content(replace(self, notes={}, rates=None, placement=None)))

    @cached_property
    def ranges(self) -> tuple[Ranges, ...]:
        """Proven bounds, one for each layer."""
        largest, found = self.input.largest, []
        for layer in self.layers:
            found.append(_ranges(layer, largest, self.steps))
            largest = layer.pool.largest if layer.pool else 1
        return tuple(found)

    def save(self, path: str | Path) -> str:
        """Write the network to `path`; returns the file's digest (that of notes included)."""
        return archive.save(path, "network", *_content(self))

    @staticmethod
    def load(path: str | Path) -> QuantizedNetwork:
        """Read a network; `UserError` names what is wrong with a file that is not one."""
        header, arrays = archive.load(path, "network")
        try:
            return _network(header, arrays)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            require(False, f"network file {path}", f"incomplete ({error!r})", "write it with this program")
            raise


def _ranges(layer: Layer, largest: int, steps: int) -> Ranges:
    """Interval arithmetic over `steps` updates, by channel extremes: exact for sums, conservative for membranes."""
    axes = tuple(range(1, layer.synapses.weight.ndim))
    weight = layer.synapses.weight.astype(np.int64)
    bias = layer.synapses.bias
    low = int((np.minimum(weight, 0).sum(axis=axes) * largest + np.minimum(bias, 0)).min())
    high = int((np.maximum(weight, 0).sum(axis=axes) * largest + np.maximum(bias, 0)).max())
    neuron = layer.neuron
    bits = neuron.membrane_bits
    thresholds = (int(neuron.threshold.min()), int(neuron.threshold.max()))
    v_low = v_high = neuron.reset_value
    u_low, u_high, m_low, m_high = 0, 0, v_low, v_high
    for _ in range(steps):
        a, b = neuron.step(v_low, low), neuron.step(v_high, high)
        u_low, u_high = min(u_low, a), max(u_high, b)
        if not neuron.spiking:
            v_low, v_high = a, b
        elif neuron.reset == "hard":
            v_low = min(a, neuron.reset_value)
            v_high = max(min(b, thresholds[1] - 1), neuron.reset_value)
        else:
            v_low = min(a, max(a, thresholds[0]) - thresholds[1])
            v_high = max(min(b, thresholds[1] - 1), b - thresholds[0])
        if bits is not None:
            v_low, v_high = (max(-(1 << bits - 1), min((1 << bits - 1) - 1, v)) for v in (v_low, v_high))
        v_high = max(v_low, v_high)
        m_low, m_high = min(m_low, v_low), max(m_high, v_high)
    if bits is not None:
        m_low, m_high = -(1 << bits - 1), (1 << bits - 1) - 1
    return Ranges((low, high), (u_low, u_high), (m_low, m_high))


def checked_rates(rates: Sequence[np.ndarray], layers: Sequence[Layer]) -> tuple[np.ndarray, ...]:
    """Event rates of `layers` as float64 arrays that cannot be written to; `UserError` unless they fit and count."""
    require(isinstance(rates, tuple | list), "rates", type(rates).__name__, "a tuple of arrays, one for each layer")
    require(len(rates) == len(layers), "rates", len(rates), f"{len(layers)} arrays, one for each layer")
    checked = []
    for index, (given, layer) in enumerate(zip(rates, layers, strict=True)):
        values = np.asarray(given)
        require(values.dtype.kind in "iuf", f"rates[{index}] dtype", values.dtype, "numbers")
        require(values.shape == (layer.sources,), f"rates[{index}] shape", values.shape, f"({layer.sources},)")
        values = values.astype(np.float64)
        counts = bool(np.isfinite(values).all() and (values >= 0).all())
        require(counts, f"rates[{index}]", values, "finite numbers, 0 or more")
        values.setflags(write=False)
        checked.append(values)
    return tuple(checked)


def _content(network: QuantizedNetwork) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a network file."""
    layers, arrays = [], {}
    for index, layer in enumerate(network.layers):
        synapses, neuron = layer.synapses, layer.neuron
        arrays[f"layer{index}.weight"] = synapses.weight
        arrays[f"layer{index}.bias"] = synapses.bias
        arrays[f"layer{index}.threshold"] = neuron.threshold
        geometry: dict[str, Any] = {"kind": "dense"}
        if isinstance(synapses, Conv):
            geometry = {"kind": "conv", "stride": list(synapses.stride), "padding": list(synapses.padding)}
        scalars = {k: v for k, v in vars(neuron).items() if k != "threshold"}
        pool = {"kind": layer.pool.kind, "size": layer.pool.size} if layer.pool else None
        layers.append(
            {
                "name": layer.name,
                "input_shape": list(layer.input_shape),
                "weight_bits": layer.weight_bits,
                "synapses": geometry,
                "neuron": scalars,
                "pool": pool,
            }
        )
    header = {
        "input": {"shape": list(network.input.shape), "bits": network.input.bits, "kind": network.input.kind},
        "layers": layers,
        "steps": network.steps,
        "readout": {"kind": network.readout.kind, "group": network.readout.group},
        "notes": network.notes,
    }
    for index, rates in enumerate(network.rates or ()):
        arrays[f"layer{index}.rates"] = rates
    if network.placement is not None:
        header["placement"] = network.placement.to_json()
    return header, arrays


def _network(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> QuantizedNetwork:
    layers = []
    for index, entry in enumerate(header["layers"]):
        weight, bias, threshold = (arrays[f"layer{index}.{name}"] for name in ("weight", "bias", "threshold"))
        geometry = entry["synapses"]
        synapses: Dense | Conv
        if geometry["kind"] == "conv":
            synapses = Conv(weight, bias, tuple(geometry["stride"]), tuple(geometry["padding"]))
        else:
            require(geometry["kind"] == "dense", f"layer {index} synapses", geometry["kind"], "dense or conv")
            synapses = Dense(weight, bias)
        layers.append(
            Layer(
                name=entry["name"],
                input_shape=tuple(entry["input_shape"]),
                synapses=synapses,
                neuron=IntNeuron(threshold=threshold, **entry["neuron"]),
                weight_bits=entry["weight_bits"],
                pool=Pool(**entry["pool"]) if entry["pool"] else None,
            )
        )
    given = header["input"]
    rates = [arrays[name] for index in range(len(layers)) if (name := f"layer{index}.rates") in arrays]
    placement = header.get("placement")
    return QuantizedNetwork(
        input=Input(tuple(given["shape"]), given["bits"], given["kind"]),
        layers=tuple(layers),
        steps=header["steps"],
        readout=Readout(**header["readout"]),
        notes=header["notes"],
        rates=tuple(rates) if rates else None,
        placement=None if placement is None else Placement.from_json(placement),
    )
