"""Network files: a `QuantizedNetwork` as a JSON header and arrays, and back.

A header is read in full before an array is unpacked (`read`): the types and ranges of all fields, and that the arrays
of the file are those that the header speaks of, of the shapes that follow from it. Files of version 1 are read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..archive import Claim, Claims
from ..checks import fields, items, name, whole
from ..errors import UserError, require, within
from ..shapes import LARGEST_FAN, LARGEST_LAYERS, LARGEST_STEPS, Conv2dGeometry, Pool, shape_of
from . import network_file_1
from .interface import Input, Readout
from .neuron import Adaptation, IntNeuron, Parameters, SynapticCurrent
from .placement import Placement
from .population import Connection, Population
from .synapses import Conv, Dense

if TYPE_CHECKING:
    from .network import QuantizedNetwork

KIND = "network"
VERSION = 2
NEURON = ("leak", "reset", "shift", "fraction", "membrane_bits", "spiking", "rounding", "refractory")
CONNECTION = ("sources", "synapses", "weight_bits", "delay", "shift", "pool")


def content(network: QuantizedNetwork, meaning: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a network file; with `meaning`, those that the digest is of, notes and placing left out."""
    arrays: dict[str, np.ndarray] = {}
    populations = []
    for number, population in enumerate(network.populations):
        own = f"population{number}"
        arrays[f"{own}.bias"] = population.bias
        for field in parameters_of(population.neuron):
            arrays[f"{own}.{field}"] = getattr(population.neuron.parameters, field)
        for index, connection in enumerate(population.inputs):
            arrays[f"{own}.input{index}.weight"] = connection.synapses.weight
        populations.append(
            {
                "name": population.name,
                "shape": list(population.shape),
                "neuron": _neuron_header(population.neuron),
                "inputs": [_connection_header(connection) for connection in population.inputs],
            }
        )
    header = {
        "inputs": [
            {"name": one.name, "shape": list(one.shape), "bits": one.bits, "kind": one.kind} for one in network.inputs
        ],
        "populations": populations,
        "readouts": [{"kind": one.kind, "group": one.group, "source": one.source} for one in network.readouts],
        "steps": network.steps,
        "notes": {} if meaning else network.notes,
    }
    if meaning:
        return header, arrays
    for edge, rates in zip(network.edges, network.rates or (), strict=bool(network.rates)):
        arrays[f"population{edge.population}.input{edge.index}.rates"] = rates
    if network.placement is not None:
        header["placement"] = network.placement.to_json()
    return header, arrays


def parameters_of(neuron: IntNeuron) -> tuple[str, ...]:
    """The parameters that have a meaning for `neuron`, and so an array in the file."""
    without = {"current_factor"} if neuron.current is None else set()
    without |= {"adaptation_factor", "adaptation_jump"} if neuron.adaptation is None else set()
    return tuple(field for field in Parameters._fields if field not in without)


def _neuron_header(neuron: IntNeuron) -> dict[str, Any]:
    current, adaptation = neuron.current, neuron.adaptation
    return {
        **{field: getattr(neuron, field) for field in NEURON},
        "current": {"shift": current.shift, "enters": current.enters} if current else None,
        "adaptation": {"shift": adaptation.shift} if adaptation else None,
    }


def _connection_header(connection: Connection) -> dict[str, Any]:
    synapses, pool = connection.synapses, connection.pool
    geometry: dict[str, Any] = {"kind": "dense"}
    if isinstance(synapses, Conv):
        geometry = {"kind": "conv", "stride": list(synapses.stride), "padding": list(synapses.padding)}
    return {
        "sources": list(connection.sources),
        "synapses": geometry,
        "weight_bits": connection.weight_bits,
        "delay": connection.delay,
        "shift": connection.shift,
        "pool": {"kind": pool.kind, "size": pool.size} if pool else None,
    }


@dataclass(frozen=True)
class ConnectionPlan:
    """A connection of a file but for its weights: `geometry` is None for dense synapses."""

    fields: dict[str, Any]  # arguments of `Connection`
    geometry: Conv2dGeometry | None

    def connection(self, weight: np.ndarray) -> Connection:
        if self.geometry is None:
            return Connection(synapses=Dense(weight), **self.fields)
        synapses = Conv(weight, stride=self.geometry.stride, padding=self.geometry.padding)
        return Connection(synapses=synapses, **self.fields)


@dataclass(frozen=True)
class PopulationPlan:
    """A population of a file but for its arrays."""

    name: str
    shape: tuple[int, ...]
    neuron: dict[str, Any]  # as in the header, checked
    inputs: tuple[ConnectionPlan, ...]

    def population(self, own: str, arrays: dict[str, np.ndarray]) -> Population:
        """The population whose arrays have names that begin with `own`."""
        given = {field: arrays[f"{own}.{field}"] for field in Parameters._fields if f"{own}.{field}" in arrays}
        inputs = (made.connection(arrays[f"{own}.input{i}.weight"]) for i, made in enumerate(self.inputs))
        return Population(self.name, self.shape, neuron_of(self.neuron, given), arrays[f"{own}.bias"], tuple(inputs))


@dataclass(frozen=True)
class Plan:
    """A network file without its arrays; every field has been checked."""

    populations: tuple[PopulationPlan, ...]
    others: dict[str, Any]  # arguments of `QuantizedNetwork`
    with_rates: bool

    def network(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """The arguments of `QuantizedNetwork` that the arrays of the file complete."""
        made = [plan.population(f"population{n}", arrays) for n, plan in enumerate(self.populations)]
        rates = None
        if self.with_rates:
            numbered = ((n, i) for n, plan in enumerate(self.populations) for i in range(len(plan.inputs)))
            rates = tuple(arrays[f"population{n}.input{i}.rates"] for n, i in numbered)
        return {**self.others, "populations": tuple(made), "rates": rates}


def neuron_of(header: dict[str, Any], parameters: Mapping[str, Any]) -> IntNeuron:
    """The neuron of a header and its parameters; where one is missing, 0."""
    given = {field: parameters.get(field, 0) for field in Parameters._fields}
    current, adaptation = header["current"], header["adaptation"]
    return IntNeuron(
        **{field: header[field] for field in NEURON},
        **{field: given[field] for field in ("threshold", "factor", "reset_value", "reset_amount", "start_value")},
        current=SynapticCurrent(given["current_factor"], **current) if current else None,
        adaptation=Adaptation(given["adaptation_factor"], adaptation["shift"], given["adaptation_jump"])
        if adaptation
        else None,
    )


def read(header: dict[str, Any], claims: Claims) -> Plan | network_file_1.Plan:
    """What a file's header says, if its arrays claim to be what follows from that; else `UserError`."""
    if "layers" in header:
        return network_file_1.read(header, claims)
    fields("header", header, ("inputs", "populations", "readouts", "steps", "notes"), ("placement",))
    if not isinstance(header["notes"], dict):
        raise UserError.of("notes", header["notes"], "an object")
    placement = header.get("placement")
    inputs, readouts = [], []
    for number, entry in enumerate(items("inputs", header["inputs"], LARGEST_LAYERS)):
        with within(f"inputs[{number}]"):
            inputs.append(Input(**fields("input", entry, ("name", "shape", "bits", "kind"))))
    for number, entry in enumerate(items("readouts", header["readouts"], LARGEST_LAYERS)):
        with within(f"readouts[{number}]"):
            readouts.append(Readout(**fields("readout", entry, ("kind", "group", "source"))))
    others = {
        "inputs": tuple(inputs),
        "readouts": tuple(readouts),
        "steps": whole("steps", header["steps"], 1, LARGEST_STEPS),
        "notes": header["notes"],
        "placement": None if placement is None else Placement.from_json(placement),
    }
    entries = items("populations", header["populations"], LARGEST_LAYERS)
    shapes = {one.name: one.shape for one in inputs}
    for number, entry in enumerate(entries):
        with within(f"populations[{number}]"):
            fields("population", entry, ("name", "shape", "neuron", "inputs"))
            shapes[name("name", entry["name"])] = shape_of("shape", entry["shape"])
    with_rates = "population0.input0.rates" in claims
    left = dict(claims)
    plans = []
    for number, entry in enumerate(entries):
        with within(f"populations[{number}]"):
            plans.append(_population(entry, f"population{number}", shapes, left, with_rates))
    require(not left, "arrays", sorted(left)[:1], "those of the populations")
    return Plan(tuple(plans), others, with_rates)


def _population(
    entry: Any, own: str, shapes: dict[str, tuple[int, ...]], claims: Claims, rates: bool
) -> PopulationPlan:
    """A population's header; takes its arrays, of names that begin with `own`, out of `claims`."""
    neuron = fields("neuron", entry["neuron"], (*NEURON, "current", "adaptation"))
    for field, names in (("current", ("shift", "enters")), ("adaptation", ("shift",))):
        if neuron[field] is not None:
            fields(f"neuron.{field}", neuron[field], names)
    shape = shapes[entry["name"]]
    sizes: list[tuple[int, ...]] = [(size,) for size in sorted({1, shape[0], prod(shape)})]
    for field in ("bias", *parameters_of(neuron_of(neuron, {}))):
        _taken(claims, f"{own}.{field}", np.int64, sizes)
    inputs = []
    for index, given in enumerate(items("inputs", entry["inputs"], LARGEST_FAN)):
        with within(f"inputs[{index}]"):
            inputs.append(_connection(given, f"{own}.input{index}", shape, shapes, claims, rates))
    return PopulationPlan(entry["name"], shape, neuron, tuple(inputs))


def _connection(
    entry: Any, own: str, shape: tuple[int, ...], shapes: dict[str, tuple[int, ...]], claims: Claims, rates: bool
) -> ConnectionPlan:
    """A connection's header, into a population of `shape`, from sources of `shapes`."""
    fields("connection", entry, CONNECTION)
    sources = tuple(name("source", source) for source in items("sources", entry["sources"], LARGEST_FAN))
    for source in sources:
        require(source in shapes, "source", source, f"one of {', '.join(shapes)}")
    require(len(sources) > 0, "sources", 0, f"1 to {LARGEST_FAN} names")
    pool = entry["pool"]
    pool = Pool(**fields("pool", pool, ("kind", "size"))) if pool is not None else None
    seen = pool.output_shape(shapes[sources[0]]) if pool else shapes[sources[0]]
    synapses = entry["synapses"]
    kind = synapses.get("kind") if isinstance(synapses, dict) else None
    if not isinstance(kind, str) or kind not in ("dense", "conv"):
        raise UserError.of("synapses", kind if isinstance(synapses, dict) else synapses, "dense or conv")
    geometry = None
    expected: tuple[int, ...] = (prod(shape), prod(seen))
    if kind == "conv":
        fields("synapses", synapses, ("kind", "stride", "padding"))
        require(len(seen) == 3, "source shape", seen, "(channels, height, width) for conv")
        claim = claims.get(f"{own}.weight")
        kernel = claim.shape[2:] if claim is not None and len(claim.shape) == 4 else (1, 1)
        geometry = Conv2dGeometry(kernel, synapses["stride"], synapses["padding"])
        expected = (shape[0], seen[0], *kernel)
        made = geometry.output_shape(shape[0], seen)
        require(made == shape, "conv output shape", made, f"{shape}, that of the population")
    else:
        fields("synapses", synapses, ("kind",))
    _taken(claims, f"{own}.weight", np.int8, [expected])
    if rates:
        _taken(claims, f"{own}.rates", np.float64, [(prod(seen),)])
    others = {field: entry[field] for field in ("weight_bits", "delay", "shift")}
    return ConnectionPlan({"sources": sources, "pool": pool, **others}, geometry)


def _taken(claims: Claims, name: str, dtype: type, shapes: list[tuple[int, ...]]) -> Claim:
    """Take the claim `name` out of `claims`, if it is of this type and one of these shapes."""
    require(name in claims, "arrays", f"incomplete: {name} is missing", "those of the populations")
    claim = claims.pop(name)
    require(claim.dtype == dtype, f"{name} dtype", claim.dtype, np.dtype(dtype).name)
    require(claim.shape in shapes, f"{name} shape", claim.shape, " or ".join(map(str, shapes)))
    return claim
