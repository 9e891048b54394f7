"""An integer network as a NIR graph: what NIR can say of it, and what is lost.

Weights count in units of their population's sum and a step takes a time of 1. A delay is a Delay, an average pool a
SumPool2d, a max pool one with a Threshold behind it, neurons that spike and are never reset an LI with a Threshold.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..checks import LONGEST_NAME
from ..errors import UserError, require, within
from ..model.importing.records import GRAPH, METADATA, Record
from ..shapes import LARGEST_FAN, OF_MEMBRANES
from .network import Conv, Edge, IntNeuron, LeakKind, Population, QuantizedNetwork
from .neuron import Reset
from .nir_formats import Kept, KeptConnection, KeptPopulation

LARGEST_BIAS = 1 << 22  # weights of zero that carry a bias which differs within the maps of a convolution
LEAST = 1e-2  # units between the bounds of a threshold that is not whole
ROOM = LONGEST_NAME - 8  # characters of a node's name before a number


def exported(network: QuantizedNetwork) -> tuple[Record, list[str]]:
    """The NIR graph of a network, and a line on each thing that other programs will not know.

    Raises
    ------
    UserError
        NIR cannot say it; the message names the population.
    """
    made = _Exporter(network)
    for number, population in enumerate(network.populations):
        with within(f"population {population.name}"):
            last, edges = made.neurons(population), network.graph.into(number)
            ends = [made.connection(population, edge, last) for edge in edges]
            made.bias(population, edges[0], ends[0], last)
            ways = sum(len(edge.connection.sources) for edge in edges)
            ways += len(edges[0].connection.sources) if _has_bias_of_its_own(population, edges[0]) else 0
            require(ways <= LARGEST_FAN, "ways from sources", ways, f"at most {LARGEST_FAN} to import again")
    for readout in network.readouts:
        name = "output" if len(network.readouts) == 1 else f"output {readout.source}"
        shape = np.array(network.population(readout.source).shape)
        made.edges.append((readout.source, made.add(name, Record("Output", {"shape": shape}))))
    kept = Kept(
        network.steps,
        {one.name: (one.kind, one.bits) for one in network.inputs},
        tuple((readout.source, readout.kind, readout.group) for readout in network.readouts),
        made.kept,
    )
    return Record(GRAPH, {METADATA: kept.to_text()}, made.nodes, tuple(made.edges)), _lost(network, kept)


def _lost(network: QuantizedNetwork, kept: Kept) -> list[str]:
    resets = {name: one.reset for name, one in kept.populations.items() if one.reset != "none"}
    told = [
        f"convention {kept.convention.line}",
        f"{network.steps} steps of a frame",
        "widths of weights and roundings",
    ]
    if len({*resets.values()}) > 1:
        told.append(f"resets that differ: {', '.join(f'{name} {reset}' for name, reset in resets.items())}")
    for one in network.inputs:
        if one.kind == "static":
            told.append(f"pixels of {one.name} are the same at every step; a largest pixel is 1")
        elif one.kind == "graded":
            told.append(f"{one.name} has counts of {one.bits} bits")
    if any(one.neuron.membrane_bits is not None for one in network.populations):
        told.append("membranes saturate")
    if any(readout.group > 1 for readout in network.readouts):
        told.append("outputs are summed in groups")
    kinds = [readout.kind for readout in network.readouts]
    if not set(OF_MEMBRANES).isdisjoint(kinds):
        told.append(f"read-outs of membranes: {', '.join(kinds)}")
    if "first" in kinds:
        told.append("read-outs of first spikes")
    return told


class _Exporter:
    """The graph that is being made: nodes by name, edges, and the formats of each population."""

    def __init__(self, network: QuantizedNetwork):
        self.network = network
        self.names = {*(one.name for one in network.inputs), *(one.name for one in network.populations)}
        for name in sorted(self.names):
            require("/" not in name and name != ".", "name", name, "a name without /, as HDF5 has")
        self.nodes = {one.name: Record("Input", {"shape": np.array(one.shape)}) for one in network.inputs}
        self.edges: list[tuple[str, str]] = []
        self.kept: dict[str, KeptPopulation] = {}

    def add(self, name: str, record: Record) -> str:
        """Add a node under `name`, shortened, with a number behind it if a node has it; the name that it has."""
        name = name if len(name) <= ROOM else f"{name[: ROOM - 3]}..."
        found, number = name, 1
        while found in self.names:
            number += 1
            found = f"{name} {number}"
        self.names.add(found)
        self.nodes[found] = record
        return found

    def neurons(self, population: Population) -> str:
        """Add the nodes of a population's neurons; the name of the one that takes the sum."""
        neuron, own, unit = population.neuron, population.parameters, 1 << population.neuron.fraction
        _check(neuron)
        decays = _decays(neuron, own.factor)
        reset, threshold = _after(neuron, own, decays)
        silent = reset == "none"
        kind, full = "IF", {"r": np.ones(population.neurons)}
        if decays is not None or neuron.current is not None:
            tau = _constants(np.ones(population.neurons) if decays is None else decays)
            r = np.ones_like(tau) if neuron.leak == LeakKind.DECAYING_INPUT else tau
            kind, full = "LIF", {"tau": tau, "r": r, "v_leak": np.zeros(population.neurons)}
        if neuron.current is not None:
            tau_syn = _constants(own.current_factor / (1 << neuron.current.shift))
            kind = f"Cuba{kind}"
            full = {"tau_mem": full["tau"], "tau_syn": tau_syn, "r": full["r"], "v_leak": full["v_leak"]}
            full["w_in"] = tau_syn
        if not silent:
            full |= {"v_threshold": threshold / unit, "v_reset": own.reset_value / unit}
        start = own.reset_value if kind == "IF" and reset in ("value", "value-held") else np.zeros_like(own.start_value)
        same = bool((own.start_value == start).all())
        require(same, "start_value", own.start_value.tolist()[:4], f"{start.tolist()[:4]}: NIR has no other")
        shaped = {name: np.asarray(values, np.float64).reshape(population.shape) for name, values in full.items()}
        record = Record(kind.replace("IF", "I") if silent else kind, shaped)
        self.kept[population.name] = _formats(population, reset)
        if not (silent and neuron.spiking):
            self.nodes[population.name] = record
            return population.name
        membrane = self.add(f"{population.name} membrane", record)
        self.nodes[population.name] = Record("Threshold", {"threshold": (threshold / unit).reshape(population.shape)})
        self.edges.append((membrane, population.name))
        return membrane

    def connection(self, population: Population, edge: Edge, last: str) -> list[str]:
        """Add the nodes of a connection, from its sources to the node `last`; those behind which its weights are."""
        connection, way = edge.connection, _way(population, edge)
        together = [[source] for source in connection.sources] if _largest(edge) else [[*connection.sources]]
        ends = [end for names in together for end in self._pooled(edge, names, way)]
        pixels = (1 << self._bits(edge)) - 1 if edge.held else 1
        weight = connection.synapses.weight.astype(np.float64) * (1 << connection.shift) * pixels
        bias = population.bias.astype(np.float64) if edge.index == 0 else np.zeros(1)
        if isinstance(connection.synapses, Conv):
            fields: dict[str, Any] = {"input_shape": np.array(edge.input_shape[1:]), "weight": weight}
            fields |= {"stride": np.array(connection.synapses.stride), "padding": np.array(connection.synapses.padding)}
            fields |= {"dilation": np.ones(2, np.int64), "groups": np.array(1)}
            fields["bias"] = np.zeros(len(weight)) + (bias if bias.size in (1, len(weight)) else 0.0)
            self._behind(ends, [(f"weights {way}", Record("Conv2d", fields))], last)
            return ends
        nodes = [_flat(way)] if len(edge.input_shape) > 1 else []
        full = np.repeat(bias, population.neurons // bias.size) if bias.any() else bias
        kind, more = ("Affine", {"bias": full}) if full.any() else ("Linear", {})
        self._behind(ends, [*nodes, (f"weights {way}", Record(kind, {"weight": weight, **more}))], last)
        return ends

    def bias(self, population: Population, edge: Edge, ends: list[str], last: str) -> None:
        """Add a bias that differs within the maps of the convolution `edge`, as an Affine whose weights are 0."""
        if not _has_bias_of_its_own(population, edge):
            return
        size = population.neurons * prod(edge.input_shape)
        accepted = f"one for each map, or at most {LARGEST_BIAS} weights of 0 to carry it"
        require(size <= LARGEST_BIAS, "bias", f"{size} weights of 0", accepted)
        fields = {
            "weight": np.zeros((population.neurons, prod(edge.input_shape))),
            "bias": population.bias.astype(float),
        }
        way = f"bias {_way(population, edge)}"
        self._behind(ends, [_flat(way), (way, Record("Affine", fields))], last)

    def _bits(self, edge: Edge) -> int:
        """Of the pixels of the sources of a connection."""
        found = {one.bits for one in self.network.inputs if one.name in edge.connection.sources}
        require(len(found) == 1, f"{edge.connection.label} input bits", sorted(found), "one width, or two connections")
        return found.pop()

    def _pooled(self, edge: Edge, ends: list[str], way: str) -> list[str]:
        """Add a delay and a pool behind the nodes `ends`; those that lead on."""
        nodes = []
        if edge.connection.delay:
            delay = np.full(edge.source_shape, float(edge.connection.delay))
            nodes.append((f"delay {way}", Record("Delay", {"delay": delay})))
        if edge.pool is not None:
            size = np.array([edge.pool.size] * 2)
            fields = {"kernel_size": size, "stride": size, "padding": np.zeros(2, np.int64)}
            nodes.append((f"pool {way}", Record("SumPool2d", fields)))
        if _largest(edge):
            nodes.append((f"any {way}", Record("Threshold", {"threshold": np.full(edge.input_shape, 0.5)})))
        return [self._behind(ends, nodes)] if nodes else ends

    def _behind(self, ends: list[str], nodes: list[tuple[str, Record]], last: str | None = None) -> str:
        """Add `nodes`, each behind the one before, the first behind `ends`; the name of the last of them."""
        for name, record in nodes:
            found = self.add(name, record)
            self.edges += [(end, found) for end in ends]
            ends = [found]
        if last is not None:
            self.edges.append((ends[0], last))
        return ends[0]


def _has_bias_of_its_own(population: Population, edge: Edge) -> bool:
    """Whether the bias is not one for each map of the convolution `edge`."""
    return isinstance(edge.synapses, Conv) and population.bias.size != population.channels


def _way(population: Population, edge: Edge) -> str:
    return " + ".join(edge.connection.sources) + f" to {population.name}"


def _flat(way: str) -> tuple[str, Record]:
    return f"flat {way}", Record("Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)})


def _largest(edge: Edge) -> bool:
    """Whether the sources of a connection are pooled by their largest value."""
    return edge.pool is not None and edge.pool.kind == "max"


def _check(neuron: IntNeuron) -> None:
    """`UserError` for neurons that NIR does not have."""
    require(neuron.adaptation is None, "adaptation", "an Adaptation", "None: NIR has no adaptive thresholds")
    held = neuron.refractory == 1 and neuron.reset == Reset.HARD
    accepted = "0, or 1 with a hard reset: NIR has no refractory neurons"
    require(neuron.refractory == 0 or held, "refractory", neuron.refractory, accepted)
    old = neuron.current is not None and neuron.current.enters == "old"
    require(not old, "current enters", "old", "new: the current of NIR enters in its own step")


def _formats(population: Population, reset: str) -> KeptPopulation:
    neuron = population.neuron
    return KeptPopulation(
        tuple(KeptConnection((*one.sources,), one.shift, one.weight_bits) for one in population.inputs),
        reset,
        neuron.fraction,
        neuron.leak,
        neuron.shift,
        1 if neuron.current is None else neuron.current.shift,
        neuron.rounding,
        neuron.membrane_bits,
    )


def _decays(neuron: IntNeuron, factor: np.ndarray) -> np.ndarray | None:
    """What a membrane keeps of itself, by neuron; None if all of it."""
    if neuron.leak == LeakKind.NONE:
        return None
    if neuron.leak in (LeakKind.SHIFT, LeakKind.DECAYING_INPUT):
        return np.full(factor.shape, 1 - 2.0**-neuron.shift)
    return np.asarray(factor / (1 << neuron.shift))


def _constants(decays: np.ndarray) -> np.ndarray:
    """Time constants, in steps; infinite for a decay of 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(1 / (1 - decays))


def _after(neuron: IntNeuron, own: Any, decays: np.ndarray | None) -> tuple[str, np.ndarray]:
    """What neurons do after a spike, as a convention calls it, and float64 thresholds in units of the membrane."""
    threshold = own.threshold.astype(np.float64)
    if not neuron.spiking or neuron.reset == Reset.NONE:
        return "none", threshold
    if neuron.reset == Reset.HARD:
        return "value-held" if neuron.refractory else "value", threshold
    try:
        return "subtract", _amounts(threshold, own.reset_amount, None)
    except UserError:
        return "subtract-delayed", _amounts(threshold, own.reset_amount, decays)


def _amounts(threshold: np.ndarray, amount: np.ndarray, decays: np.ndarray | None) -> np.ndarray:
    """Thresholds from which an import finds threshold and reset amount again: `amount` is that over the decay."""
    kept = np.ones(threshold.shape) if decays is None else decays
    low = np.maximum(threshold - 1, (amount - 0.5) * kept)  # a threshold above it, up to `high`
    high = np.minimum(threshold, (amount + 0.5) * kept)
    whole = (kept > 0) & (np.rint(threshold / np.where(kept > 0, kept, np.inf)) == amount)
    fits = whole | (high - low > LEAST)
    worst = int(fits.argmin())
    accepted = f"its threshold {int(threshold[worst])}, or that over the decay"
    require(bool(fits.all()), "reset_amount", int(amount[worst]), accepted)
    return np.where(whole, threshold, (low + high) / 2)
