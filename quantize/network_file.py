"""Network files: a `QuantizedNetwork` as a JSON header and arrays, and back.

The header is checked completely before an array is unpacked (`read`): types and ranges of all fields, the shapes along
the chain of layers, and that the file has the arrays that the header names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..archive import Claim, Claims
from ..checks import fields, items, name, whole
from ..errors import UserError, require, within
from ..shapes import LARGEST_LAYERS, Conv2dGeometry, Pool, shape_of
from .interface import LARGEST_STEPS, Input, Readout
from .layer import Layer
from .neuron import IntNeuron
from .placement import Placement
from .synapses import WEIGHT_BITS, Conv, Dense

if TYPE_CHECKING:
    from .network import QuantizedNetwork

KIND = "network"
NEURON = ("leak", "reset", "shift", "factor", "reset_value", "fraction", "membrane_bits", "spiking")


def content(network: QuantizedNetwork, meaning: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a network file; with `meaning`, only those in the digest, without notes, rates and
    placement.
    """
    layers, arrays = [], {}
    for index, layer in enumerate(network.layers):
        synapses, neuron = layer.synapses, layer.neuron
        arrays[f"layer{index}.weight"] = synapses.weight
        arrays[f"layer{index}.bias"] = synapses.bias
        arrays[f"layer{index}.threshold"] = neuron.threshold
        geometry: dict[str, Any] = {"kind": "dense"}
        if isinstance(synapses, Conv):
            geometry = {"kind": "conv", "stride": list(synapses.stride), "padding": list(synapses.padding)}
        layers.append(
            {
                "name": layer.name,
                "input_shape": list(layer.input_shape),
                "weight_bits": layer.weight_bits,
                "synapses": geometry,
                "neuron": {field: getattr(neuron, field) for field in NEURON},
                "pool": {"kind": layer.pool.kind, "size": layer.pool.size} if layer.pool else None,
            }
        )
    header = {
        "input": {"shape": list(network.input.shape), "bits": network.input.bits, "kind": network.input.kind},
        "layers": layers,
        "steps": network.steps,
        "readout": {"kind": network.readout.kind, "group": network.readout.group},
        "notes": {} if meaning else network.notes,
    }
    if meaning:
        return header, arrays
    for index, rates in enumerate(network.rates or ()):
        arrays[f"layer{index}.rates"] = rates
    if network.placement is not None:
        header["placement"] = network.placement.to_json()
    return header, arrays


@dataclass(frozen=True)
class LayerPlan:
    """A layer of a file without its arrays: `neuron` has a dummy threshold; `geometry` is None for a dense layer."""

    name: str
    input_shape: tuple[int, ...]
    geometry: Conv2dGeometry | None
    neuron: IntNeuron
    weight_bits: int
    pool: Pool | None

    def layer(self, weight: np.ndarray, bias: np.ndarray, threshold: np.ndarray) -> Layer:
        synapses: Dense | Conv
        if self.geometry is None:
            synapses = Dense(weight, bias)
        else:
            synapses = Conv(weight, bias, self.geometry.stride, self.geometry.padding)
        neuron = replace(self.neuron, threshold=threshold)
        return Layer(self.name, self.input_shape, synapses, neuron, self.weight_bits, self.pool)


@dataclass(frozen=True)
class Plan:
    """A network file without its arrays; every field has been checked."""

    layers: tuple[LayerPlan, ...]
    others: dict[str, Any]  # fields of `QuantizedNetwork`
    with_rates: bool


def read(header: dict[str, Any], claims: Claims) -> Plan:
    """The header of a file, if its arrays have the types and shapes that follow from it; else `UserError`."""
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


def fields_of(plan: Plan, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields of the `QuantizedNetwork` that `plan` and the arrays of its file make."""
    numbers = range(len(plan.layers))
    layers = [
        layer.layer(*(arrays[f"layer{index}.{part}"] for part in ("weight", "bias", "threshold")))
        for index, layer in zip(numbers, plan.layers, strict=True)
    ]
    rates = tuple(arrays[f"layer{index}.rates"] for index in numbers) if plan.with_rates else None
    return {**plan.others, "layers": tuple(layers), "rates": rates}


def _layer(entry: Any, claims: dict[str, Claim]) -> LayerPlan:
    """A layer's header, checked against the types and shapes of its arrays."""
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
    unknown = np.zeros(1, np.int64)
    title = name("name", entry["name"])
    return LayerPlan(title, shape, geometry, IntNeuron(threshold=unknown, **neuron), bits, pool)
