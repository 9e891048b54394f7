"""An integer network as a NIR graph: what NIR can say of it, and what is lost.

Weights count in units of their population's sum, a step takes a time of 1, and every gain is 1. A delay is a Delay, an
average pool a SumPool2d, neurons that spike and are never reset an LI with a Threshold behind it.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import UserError, require
from ..model.importing.convention import Convention
from ..model.importing.records import GRAPH, METADATA, Record
from .network import Conv, Edge, IntNeuron, LeakKind, Population, QuantizedNetwork
from .neuron import Reset
from .nir_formats import Kept, KeptPopulation

LARGEST_BIAS = 1 << 22  # weights of zero that carry a bias which differs within the maps of a convolution
LEAST = 1e-2  # units between the bounds of a threshold that is not whole


def exported(network: QuantizedNetwork) -> tuple[Record, list[str]]:
    """The NIR graph of a network, and a line on each thing that other programs will not know.

    Raises
    ------
    UserError
        NIR cannot say it; the message names the population.
    """
    reset = _reset(network)
    convention = Convention(dt=1.0, reset=reset, compare="ge")
    nodes: dict[str, Record] = {}
    edges: list[tuple[str, str]] = []
    for name in [*(one.name for one in network.inputs), *(one.name for one in network.populations)]:
        require("/" not in name and name != ".", "name", name, "a name without /, as HDF5 has")
    kinds = {(one.kind, one.bits) for one in network.inputs}
    require(len(kinds) == 1, "inputs", sorted(kinds), "of one kind and width")
    kind, bits = next(iter(kinds))
    for given in network.inputs:
        nodes[given.name] = Record("Input", {"shape": np.array(given.shape)})
    for number, population in enumerate(network.populations):
        last = _neurons(nodes, edges, population, reset)
        for edge in network.graph.into(number):
            _connection(network, nodes, edges, population, edge, last)
    for readout in network.readouts:
        name = _free(nodes, "output" if len(network.readouts) == 1 else f"output {readout.source}")
        nodes[name] = Record("Output", {"shape": np.array(network.population(readout.source).shape)})
        edges.append((readout.source, name))
    kept = Kept(
        convention,
        network.steps,
        kind,
        bits,
        tuple((readout.source, readout.kind, readout.group) for readout in network.readouts),
        {one.name: _formats(one) for one in network.populations},
    )
    return Record(GRAPH, {METADATA: kept.to_text()}, nodes, tuple(edges)), _lost(network, convention)


def _lost(network: QuantizedNetwork, convention: Convention) -> list[str]:
    told = [f"convention {convention.line}", f"{network.steps} steps of a frame", "widths of weights and roundings"]
    if any(one.kind == "static" for one in network.inputs):
        told.append("pixels of the input are the same at every step; a largest pixel is 1")
    if any(one.neuron.membrane_bits is not None for one in network.populations):
        told.append("membranes saturate")
    if any(readout.group > 1 for readout in network.readouts):
        told.append("outputs are summed in groups")
    if any(readout.kind != "count" for readout in network.readouts):
        told.append(f"read-outs of membranes: {', '.join(readout.kind for readout in network.readouts)}")
    return told


def _formats(population: Population) -> KeptPopulation:
    neuron = population.neuron
    return KeptPopulation(
        1.0,
        tuple(connection.shift for connection in population.inputs),
        tuple(connection.weight_bits for connection in population.inputs),
        neuron.fraction,
        neuron.leak,
        neuron.shift,
        1 if neuron.current is None else neuron.current.shift,
        neuron.rounding,
        neuron.membrane_bits,
    )


def _neurons(nodes: dict[str, Record], edges: list[tuple[str, str]], population: Population, reset: str) -> str:
    """Add the nodes of a population's neurons; the name of the one that takes the sum."""
    neuron, where = population.neuron, f"population {population.name}"
    fits = neuron.adaptation is None and neuron.refractory == 0
    require(fits, where, "with adaptation or refractory steps", "neither: NIR has no such neuron")
    old = neuron.current is not None and neuron.current.enters == "old"
    require(not old, f"{where} current", "that of the step before", "the new one: NIR has no other")
    wrong = neuron.leak == LeakKind.DECAYING_INPUT
    require(not wrong, f"{where} leak", neuron.leak, "none, shift or multiply: its rounding has no other form")
    unit = 1 << neuron.fraction
    own = population.parameters
    full: dict[str, Any] = {"r": np.ones(population.neurons)}
    decays = _decays(neuron, own.factor)
    silent = not neuron.spiking or neuron.reset == Reset.NONE
    kind = "I" if silent else "IF"
    if decays is not None or neuron.current is not None:
        tau = np.full(population.neurons, np.inf) if decays is None else 1 / (1 - decays)
        kind = "LI" if silent else "LIF"
        full = {"tau": tau, "r": tau, "v_leak": np.zeros(population.neurons)}
    if neuron.current is not None:
        kept = own.current_factor / (1 << neuron.current.shift)
        require(bool((kept < 1).all()), f"{where} current factor", "1", "below 1")
        tau_syn = 1 / (1 - kept)
        kind = f"Cuba{kind}"
        full = {"tau_mem": full["tau"], "tau_syn": tau_syn, "r": full["r"], "v_leak": full["v_leak"], "w_in": tau_syn}
    hard = neuron.reset == Reset.HARD and neuron.spiking
    start = own.reset_value if kind == "IF" and hard else np.zeros_like(own.start_value)
    same = bool((own.start_value == start).all())
    require(same, f"{where} start_value", own.start_value.tolist()[:4], f"{start.tolist()[:4]}: NIR has no other")
    threshold = _thresholds(neuron, own, reset, decays) / unit if neuron.spiking else np.zeros(0)
    if not silent:
        full |= {"v_threshold": threshold, "v_reset": own.reset_value / unit}
    shaped = {name: np.asarray(values, np.float64).reshape(population.shape) for name, values in full.items()}
    if silent and neuron.spiking:
        membrane = _free(nodes, f"{population.name} membrane")
        nodes[membrane] = Record(kind, shaped)
        nodes[population.name] = Record("Threshold", {"threshold": threshold.reshape(population.shape)})
        edges.append((membrane, population.name))
        return membrane
    nodes[population.name] = Record(kind, shaped)
    return population.name


def _decays(neuron: IntNeuron, factor: np.ndarray) -> np.ndarray | None:
    """What a membrane keeps of itself, by neuron; None if all of it."""
    if neuron.leak == LeakKind.NONE:
        return None
    if neuron.leak == LeakKind.SHIFT:
        return np.full(factor.shape, 1 - 2.0**-neuron.shift)
    decays = factor / (1 << neuron.shift)
    require(bool((decays < 1).all()), "factor", int(factor.max()), f"less than 2**{neuron.shift}, or the leak none")
    return decays


def _reset(network: QuantizedNetwork) -> str:
    """The reset of a convention that says what all neurons of a network do."""
    spiking = [one for one in network.populations if one.neuron.spiking and one.neuron.reset != Reset.NONE]
    resets = {one.neuron.reset for one in spiking}
    names = ", ".join(f"{one.name} {one.neuron.reset}" for one in spiking)
    require(len(resets) <= 1, "reset", names, "one reset for all populations: NIR has one convention")
    if resets != {Reset.SOFT}:
        return "value"
    for reset in ("subtract", "subtract-delayed"):
        try:
            for one in spiking:
                _thresholds(one.neuron, one.parameters, reset, _decays(one.neuron, one.parameters.factor))
            return reset
        except UserError as error:
            last = error
    raise last


def _thresholds(neuron: IntNeuron, own: Any, reset: str, decays: np.ndarray | None) -> np.ndarray:
    """float64 thresholds, in units of the membrane, from which an import finds threshold and reset amount again."""
    threshold = own.threshold.astype(np.float64)
    if neuron.reset != Reset.SOFT:
        return threshold
    kept = np.ones(threshold.shape) if decays is None or reset == "subtract" else decays
    low = np.maximum(threshold - 1, (own.reset_amount - 0.5) * kept)  # a threshold above it, up to `high`
    high = np.minimum(threshold, (own.reset_amount + 0.5) * kept)
    whole = np.rint(threshold / np.where(kept > 0, kept, np.inf)) == own.reset_amount
    fits = whole | (high - low > LEAST)
    worst = int(fits.argmin())
    accepted = f"its threshold {int(threshold[worst])}, or that over the decay"
    require(bool(fits.all()), "reset_amount", int(own.reset_amount[worst]), accepted)
    return np.where(whole, threshold, (low + high) / 2)


def _connection(
    network: QuantizedNetwork,
    nodes: dict[str, Record],
    edges: list[tuple[str, str]],
    population: Population,
    edge: Edge,
    last: str,
) -> None:
    """Add the nodes of a connection, from its sources to the node `last`."""
    connection, where = edge.connection, f"population {population.name}, {edge.connection.label}"
    way = " + ".join(connection.sources) + f" to {population.name}"
    require(edge.pool is None or edge.pool.kind == "average", f"{where} pool", "max", "average: NIR has no max pool")
    names: list[str] = []

    def add(name: str, record: Record) -> None:
        names.append(_free(nodes, name))
        nodes[names[-1]] = record

    if connection.delay:
        add(f"delay {way}", Record("Delay", {"delay": np.full(edge.source_shape, float(connection.delay))}))
    if edge.pool is not None:
        size = np.array([edge.pool.size] * 2)
        add(f"pool {way}", Record("SumPool2d", {"kernel_size": size, "stride": size, "padding": np.zeros(2, np.int64)}))
    pixels = (1 << network.inputs[0].bits) - 1 if edge.held else 1
    weight = connection.synapses.weight.astype(np.float64) * (1 << connection.shift) * pixels
    bias = population.bias.astype(np.float64) if edge.index == 0 else np.zeros(1)
    if isinstance(connection.synapses, Conv):
        by_map = bias.size in (1, len(weight))
        fields: dict[str, Any] = {"input_shape": np.array(edge.input_shape[1:]), "weight": weight}
        fields |= {"stride": np.array(connection.synapses.stride), "padding": np.array(connection.synapses.padding)}
        fields |= {"dilation": np.ones(2, np.int64), "groups": np.array(1)}
        fields["bias"] = np.array(np.broadcast_to(bias, (len(weight),))) if by_map else np.zeros(len(weight))
        before = names[-1] if names else None
        add(f"weights {way}", Record("Conv2d", fields))
        if not by_map:
            _bias(nodes, edges, population, edge, before, way, bias, last)
    else:
        if len(edge.input_shape) > 1:
            add(f"flat {way}", Record("Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)}))
        full = np.repeat(bias, population.neurons // bias.size) if bias.any() else bias
        kind, more = ("Affine", {"bias": full}) if full.any() else ("Linear", {})
        add(f"weights {way}", Record(kind, {"weight": weight, **more}))
    edges += [(source, names[0]) for source in connection.sources]
    edges += list(zip(names, [*names[1:], last], strict=True))


def _bias(
    nodes: dict[str, Record], edges: list[tuple[str, str]], population: Population, edge: Edge, before: str | None,
    way: str, bias: np.ndarray, last: str,
) -> None:  # fmt: skip
    """A bias that differs within maps, as an Affine whose weights are 0."""
    size = population.neurons * prod(edge.input_shape)
    accepted = f"one for each map, or at most {LARGEST_BIAS} weights of 0 to carry it"
    require(size <= LARGEST_BIAS, f"population {population.name} bias", f"{size} weights of 0", accepted)
    flat, name = _free(nodes, f"flat bias {way}"), _free(nodes, f"bias {way}")
    nodes[flat] = Record("Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)})
    nodes[name] = Record("Affine", {"weight": np.zeros((population.neurons, prod(edge.input_shape))), "bias": bias})
    edges += [(source, flat) for source in ([before] if before else edge.connection.sources)]
    edges += [(flat, name), (name, last)]


def _free(nodes: dict[str, Record], name: str) -> str:
    """`name`, or with a number behind it if a node has it."""
    found, number = name, 1
    while found in nodes:
        number += 1
        found = f"{name} {number}"
    return found
