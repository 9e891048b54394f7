"""Network files of version 1, which held chains of layers of plain neurons.

They are read, and no longer written; but the digest of a network that such a file can hold is still that of its
content there, so that Verilog and bitstreams made earlier are known to be of this network.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..archive import Claim, Claims
from ..checks import fields, items, name, whole
from ..errors import UserError, require, within
from ..shapes import LARGEST_LAYERS, Conv2dGeometry, Pool, shape_of
from .interface import Input, Readout
from .layer import Layer
from .neuron import IntNeuron, Reset, Rounding
from .placement import Placement
from .synapses import WEIGHT_BITS, Conv, Dense

if TYPE_CHECKING:
    from .network import QuantizedNetwork

LARGEST_STEPS = 255
NEURON = ("leak", "reset", "shift", "factor", "reset_value", "fraction", "membrane_bits", "spiking")


def content(network: QuantizedNetwork) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Header and arrays, without notes and placing; None for a network that version 1 cannot hold."""
    if not (network.is_chain and network.steps <= LARGEST_STEPS and network.input.name == Input.name):
        return None
    if network.input.kind not in ("static", "spikes") or network.readout.kind not in ("count", "membrane"):
        return None
    layers, arrays = [], {}
    for index, layer in enumerate(network.layers):
        synapses, neuron = layer.synapses, layer.neuron
        if not _is_plain(layer) or layer.shape != network.populations[index].shape:
            return None
        arrays[f"layer{index}.weight"] = synapses.weight
        arrays[f"layer{index}.bias"] = synapses.bias
        arrays[f"layer{index}.threshold"] = neuron.threshold
        geometry: dict[str, Any] = {"kind": "dense"}
        if isinstance(synapses, Conv):
            geometry = {"kind": "conv", "stride": list(synapses.stride), "padding": list(synapses.padding)}
        scalars = {field: int(getattr(neuron.parameters, field)[0]) for field in ("factor", "reset_value")}
        layers.append(
            {
                "name": layer.name,
                "input_shape": list(layer.input_shape),
                "weight_bits": layer.weight_bits,
                "synapses": geometry,
                "neuron": {field: scalars.get(field, getattr(neuron, field)) for field in NEURON},
                "pool": {"kind": layer.pool.kind, "size": layer.pool.size} if layer.pool else None,
            }
        )
    header = {
        "input": {"shape": list(network.input.shape), "bits": network.input.bits, "kind": network.input.kind},
        "layers": layers,
        "steps": network.steps,
        "readout": {"kind": network.readout.kind, "group": network.readout.group},
        "notes": {},
    }
    return header, arrays


def _is_plain(layer: Layer) -> bool:
    """Whether version 1 can hold the neurons of `layer`."""
    neuron, given = layer.neuron, layer.neuron.parameters
    one = given.factor.size == given.reset_value.size == 1
    by_channel = given.threshold.size in (1, layer.channels) and layer.synapses.bias.size == layer.channels
    plain = not neuron.has_state and neuron.rounding == Rounding.FLOOR and neuron.reset != Reset.NONE
    starts = np.array_equal(given.start_value, given.reset_value)
    falls = neuron.reset != Reset.SOFT or np.array_equal(given.reset_amount, given.threshold)
    return one and by_channel and plain and starts and falls


@dataclass(frozen=True)
class LayerPlan:
    """A layer of a file but for its arrays: `neuron` lacks its threshold; `geometry` is None for a dense layer."""

    name: str
    input_shape: tuple[int, ...]
    geometry: Conv2dGeometry | None
    neuron: dict[str, Any]
    weight_bits: int
    pool: Pool | None

    def layer(self, weight: np.ndarray, bias: np.ndarray, threshold: np.ndarray) -> Layer:
        synapses: Dense | Conv
        if self.geometry is None:
            synapses = Dense(weight, bias)
        else:
            synapses = Conv(weight, bias, self.geometry.stride, self.geometry.padding)
        neuron = IntNeuron(threshold=threshold, **self.neuron)
        return Layer(self.name, self.input_shape, synapses, neuron, self.weight_bits, self.pool)


@dataclass(frozen=True)
class Plan:
    """A network file but for its arrays, its fields checked one by one."""

    layers: tuple[LayerPlan, ...]
    others: dict[str, Any]  # arguments of `QuantizedNetwork.chain`
    with_rates: bool

    def network(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """The arguments of `QuantizedNetwork.chain` that the arrays of the file complete."""
        parts = "weight", "bias", "threshold"
        layers = [
            layer.layer(*(arrays[f"layer{index}.{part}"] for part in parts)) for index, layer in enumerate(self.layers)
        ]
        rates = tuple(arrays[f"layer{index}.rates"] for index in range(len(layers))) if self.with_rates else None
        return {**self.others, "layers": tuple(layers), "rates": rates}


def read(header: dict[str, Any], claims: Claims) -> Plan:
    """What a file's header says, if its arrays claim to be what follows from that; else `UserError`."""
    fields("header", header, ("input", "layers", "steps", "readout", "notes"), ("placement",))
    given = fields("input", header["input"], ("shape", "bits", "kind"))
    readout = fields("readout", header["readout"], ("kind", "group"))
    placement = header.get("placement")
    if not isinstance(header["notes"], dict):
        raise UserError.of("notes", header["notes"], "an object")
    others = {
        "input": Input(given["shape"], given["bits"], given["kind"]),
        "steps": whole("steps", header["steps"], 1, LARGEST_STEPS),
        "readout": Readout(readout["kind"], readout["group"]),
        "notes": header["notes"],
        "placement": None if placement is None else Placement.from_json(placement),
    }
    with_rates = "layer0.rates" in claims
    entries = items("layers", header["layers"], LARGEST_LAYERS)
    require(len(entries) >= 1, "layers", 0, f"1 to {LARGEST_LAYERS}")
    parts = ("weight", "bias", "threshold", *(("rates",) if with_rates else ()))
    expected = {f"layer{index}.{part}" for index in range(len(entries)) for part in parts}
    missing, unknown = sorted(expected - set(claims)), sorted(set(claims) - expected)
    require(not missing, "arrays", f"incomplete: {missing[:1]} is missing", f"those of {len(entries)} layers")
    require(not unknown, "arrays", unknown[:1], f"those of {len(entries)} layers")
    layers = []
    for index, entry in enumerate(entries):
        with within(f"layers[{index}]"):
            layers.append(_layer(entry, {part: claims[f"layer{index}.{part}"] for part in parts}))
    return Plan(tuple(layers), others, with_rates)


def _layer(entry: Any, claims: dict[str, Claim]) -> LayerPlan:
    """A layer's header, and whether its arrays claim to be what it needs."""
    fields("layer", entry, ("name", "input_shape", "weight_bits", "synapses", "neuron", "pool"))
    shape = shape_of("input_shape", entry["input_shape"])
    synapses = entry["synapses"]
    kind = synapses.get("kind") if isinstance(synapses, dict) else None
    if not isinstance(kind, str) or kind not in ("dense", "conv"):
        raise UserError.of("synapses", kind if isinstance(synapses, dict) else synapses, "dense or conv")
    convolves = kind == "conv"
    fields("synapses", synapses, ("kind", "stride", "padding") if convolves else ("kind",))
    weight = claims["weight"]
    rank = 4 if convolves else 2
    require(len(weight.shape) == rank, "weight dimensions", len(weight.shape), f"{rank} for {kind}")
    out, sources = weight.shape[:2]
    fits = sources == (shape[0] if convolves else prod(shape)) and (not convolves or len(shape) == 3)
    require(fits, "weight shape", weight.shape, f"that of a {kind} layer behind {shape}")
    geometry = None
    if convolves:
        height, width = weight.shape[2:]
        geometry = Conv2dGeometry((height, width), synapses["stride"], synapses["padding"])
        output: tuple[int, ...] = geometry.output_shape(out, shape)
    else:
        output = shape_of("neurons", (out,))
    sizes: dict[str, tuple[type, list[tuple[int, ...]]]] = {
        "weight": (np.int8, [weight.shape]),
        "bias": (np.int64, [(out,)]),
        "threshold": (np.int64, [(1,), (out,)]),
        "rates": (np.float64, [(prod(shape),)]),
    }
    for part, claim in claims.items():
        dtype, shapes = sizes[part]
        require(claim.dtype == dtype, f"{part} dtype", claim.dtype, np.dtype(dtype).name)
        require(claim.shape in shapes, f"{part} shape", claim.shape, " or ".join(map(str, shapes)))
    pool = None
    if entry["pool"] is not None:
        pool = Pool(**fields("pool", entry["pool"], ("kind", "size")))
        pool.output_shape(output)
    neuron = fields("neuron", entry["neuron"], ("leak", "reset"), NEURON[2:])
    bits = whole("weight_bits", entry["weight_bits"], WEIGHT_BITS[0], WEIGHT_BITS[-1])
    IntNeuron(threshold=np.zeros(1, np.int64), **neuron)  # raises what is wrong with all else
    return LayerPlan(name("name", entry["name"]), shape, geometry, neuron, bits, pool)
