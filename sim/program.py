"""A `QuantizedNetwork` flattened into arrays for the compiled kernels.

Spikes and pixels lie in one buffer. Each *path*, the synapses of a connection, reads a part of the buffer of its own:
the sources of the connection with the zero padding already around them, once for each step that the connection's delay
asks for. Neuron `n` of the population behind a path has there a list of `(offset, weight)` and reads source
`offset + origin[n]`; a dense connection is the case of origin 0. What a neuron or an input sends goes along *edges*:
each leads to one path, or to the sums of a read-out, and says at which `place`, behind pool, padding or voting group.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..errors import require
from ..quantize.network import Edge, LeakKind, Population, QuantizedNetwork
from ..quantize.neuron import Rounding
from . import geometry
from .trains import trains
from .vectors import record
from .widths import narrowest

ASSIGN, OR, ADD, VOTE = range(4)  # how a spike enters its place: no pool, max, average, read-out
COUNT, MEMBRANE, LARGEST, SUM, FIRST = range(5)  # kinds of read-outs
READOUTS = {"count": COUNT, "membrane": MEMBRANE, "largest": LARGEST, "sum": SUM, "first": FIRST}
PROGRAMS = 8  # that are kept
NO_TABLE = np.empty(0, np.int32), np.empty(0, np.uint8)


def population_type(kind: type) -> np.dtype:
    """The record of a population; states have the integer type `kind`."""
    return record(
        [
            ("leak", np.int64),  # LeakKind.code
            ("shift", np.int64),
            ("half", kind),  # what rounds a shift of the membrane
            ("reset", np.int64),  # Reset.code
            ("low", kind),  # saturation, inclusive
            ("high", kind),
            ("has_state", np.bool_),  # of more than the membrane
            ("has_current", np.bool_),
            ("enters_new", np.bool_),
            ("current_shift", np.int64),
            ("has_adaptation", np.bool_),
            ("adaptation_shift", np.int64),
            ("refractory", kind),
            ("nearest", np.bool_),  # decays round to the nearest integer
            ("neurons", np.int64),
            ("neuron", np.int64),  # where its part begins: in neurons, and in all state by neuron
            ("current", np.int64),  # and in the states beyond the membrane
            ("adaptation", np.int64),
            ("waiting", np.int64),
            ("held", np.int64),  # in the sums that are held over a frame; -1 if none are
            ("path", np.int64),  # its paths: of held sources from here
            ("stepped", np.int64),  # of sources that change from here
            ("path_end", np.int64),
            ("edge", np.int64),  # its edges
            ("edge_end", np.int64),
        ]
    )


def neuron_type(kind: type) -> np.dtype:
    """The record of what every step of a neuron needs."""
    return record(
        [
            ("bias", np.int32),  # in units of the membrane, but for a population with a table
            ("threshold", kind),  # out of reach for a neuron that does not spike
            ("reset_value", kind),
            ("reset_amount", kind),
        ]
    )


def rarer_type(kind: type, wide: type) -> np.dtype:
    """The record of a neuron's other parameters, in memory of their own; products of decays have the type `wide`."""
    return record(
        [
            ("start_value", kind),
            ("jump", kind),
            ("factor", wide),
            ("current_factor", wide),
            ("adaptation_factor", wide),
        ]
    )


PATH = record(
    [
        ("walk", np.int64),  # where its neurons begin in `walk`
        ("source", np.int64),  # in the buffer
        ("sources", np.int64),  # length of the part of one step, padding included
        ("parts", np.int64),  # steps that are kept: one more than the delay, if there is one
        ("delay", np.int64),
    ]
)
WALK = record([("first", np.int32), ("end", np.int32), ("origin", np.int32)])  # a neuron's synapses in a path
EDGE = record(
    [
        ("entry", np.int64),  # ASSIGN, OR, ADD or VOTE
        ("place", np.int64),  # where the places of what it sends begin in `place`
        ("path", np.int64),  # that it leads to
        ("clears", np.bool_),  # its path's part of this step is zeroed first
    ]
)
INPUT = record(
    [
        ("held", np.bool_),
        ("column", np.int64),  # where its sources begin in the frames
        ("sources", np.int64),
        ("drop", np.int64),  # low bits of a static pixel that the network does not see
        ("edge", np.int64),
        ("edge_end", np.int64),
    ]
)
READOUT = record(
    [
        ("kind", np.int64),  # COUNT, MEMBRANE, LARGEST, SUM or FIRST
        ("neuron", np.int64),  # the first that is read
        ("neurons", np.int64),
        ("group", np.int64),
        ("begin", np.int64),  # where its sums begin
        ("largest", np.int64),  # where its largest membranes begin
    ]
)


class Program(NamedTuple):
    """Flat arrays; `kind` is int16 or int32, wide enough for every number that can occur.

    A population that goes by its table has no membranes, and its sums are 32-bit in any `kind`.
    """

    populations: np.ndarray  # population_type(kind), in the order of the network
    order: np.ndarray  # int64: in which they are updated
    neurons: np.ndarray  # neuron_type(kind)
    rarer: np.ndarray  # rarer_type(kind, wide), as many
    paths: np.ndarray  # PATH
    walk: np.ndarray  # WALK [neurons of all paths]
    offset: np.ndarray  # int32 [synapses]
    weight: np.ndarray  # kind [synapses], shifted left into units of the membrane, but for a population with a table
    edges: np.ndarray  # EDGE
    place: np.ndarray  # int32: in a path's part of the buffer, or in the sums read out
    inputs: np.ndarray  # INPUT
    readouts: np.ndarray  # READOUT
    cell: np.ndarray  # empty: its type is that of a source, uint8, or uint16 for larger counts
    wide: np.ndarray  # empty: its type is that of products
    turn: np.ndarray  # int16 or int32 [trains]: sums from which a neuron of `tabled` has another spike train
    train: np.ndarray  # uint8 [trains]: which one, bit t for step t; both are empty where there is no table
    tabled: int  # the population that goes by its table, or -1
    stretch: int  # synapses of it whose sum fits `kind`
    rows: int  # of the buffer
    states: int  # rows of states beyond the membrane
    held: int  # rows of sums that are held over a frame
    largest: int  # rows of largest membranes
    recorded: bool  # a read-out needs the spikes of each step
    sums: int  # read out
    steps: int


_programs: dict[tuple[str, bool, bool], Program] = {}  # by digest, `membranes` and whether a stream; the oldest first


def compile_network(network: QuantizedNetwork, membranes: bool = False) -> Program:
    """Flatten `network`, or return the kept program.

    `membranes`: with the membranes of all populations, so without a table.
    """
    key = network.digest, membranes, network.stream
    program = _programs.pop(key, None) or _flatten(network, membranes)
    _programs[key] = program
    if len(_programs) > PROGRAMS:
        del _programs[next(iter(_programs))]
    return program


@dataclass(frozen=True)
class Path:
    """The synapses of a connection, and who sends along it: numbers of inputs, then of populations."""

    edge: Edge
    senders: tuple[int, ...]

    @property
    def target(self) -> int:
        return self.edge.population

    @property
    def shift(self) -> int:
        return self.edge.connection.shift

    @property
    def width(self) -> int:
        """Sources, padding included."""
        return prod(geometry.padded(self.edge))

    @property
    def delay(self) -> int:
        return self.edge.connection.delay

    @property
    def parts(self) -> int:
        """Steps that are kept: what a step writes is not what it reads."""
        return self.delay + 1

    @property
    def largest(self) -> int:
        """What one synapse adds at most, in units of the population's sum."""
        weight = int(np.abs(self.edge.synapses.weight.astype(np.int64)).max())
        return weight * self.edge.largest << self.shift


def _paths(network: QuantizedNetwork) -> list[Path]:
    """All paths: by population, those of held sources first.

    Max pools of several sources are added, each the OR of its own windows: such a connection has a path for each.
    """
    names = [given.name for given in network.inputs]
    numbers = {name: number for number, name in enumerate(names)}
    numbers.update({one.name: len(names) + number for number, one in enumerate(network.populations)})
    turn = [*range(len(names)), *(len(names) + number for number in network.order)]
    found = []
    for edge in sorted(network.edges, key=lambda edge: (edge.population, not edge.held)):
        senders = sorted((numbers[source] for source in edge.connection.sources), key=turn.index)
        if edge.pool is not None and edge.pool.kind == "max":
            found += [Path(edge, (sender,)) for sender in senders]
        else:
            found.append(Path(edge, tuple(senders)))
    return found


def _flatten(network: QuantizedNetwork, membranes: bool) -> Program:
    paths = _paths(network)
    tabled, turn, train = (-1, *NO_TABLE) if membranes else _table(network, paths)
    kind, wide = narrowest(network, tabled)
    first = [0, *np.cumsum([population.neurons for population in network.populations]).tolist()]
    edges, senders, place = _edges(network, paths)
    populations = np.zeros(len(network.populations), population_type(kind))
    neurons, rarer = np.zeros(first[-1], neuron_type(kind)), np.zeros(first[-1], rarer_type(kind, wide))
    states = held = 0
    for index, one in enumerate(network.populations):
        for records in (neurons, rarer):
            part, parameters = records[first[index] : first[index + 1]], _parameters(one, kind, index == tabled)
            _fill(part, {name: values for name, values in parameters.items() if name in records.dtype.names})
        fields, states = _states(one, states)
        own = [path.edge.held for path in paths if path.target == index]
        path = sum(path.target < index for path in paths)
        is_held = any(own) and index != tabled
        sender = len(network.inputs) + index
        edge, edge_end = np.searchsorted(senders, [sender, sender + 1])
        _fill(
            populations[index : index + 1],
            {
                **_rule(one, kind),
                **fields,
                "neurons": one.neurons,
                "neuron": first[index],
                "held": held if is_held else -1,
                "path": path,
                "stepped": path + sum(own),
                "path_end": path + len(own),
                "edge": edge,
                "edge_end": edge_end,
            },
        )
        held += one.neurons if is_held else 0
    walk, offset, weight = _walk(network, paths, tabled)
    path_records, rows = _placed(paths)
    largest = max(path.edge.largest for path in paths)
    require(largest < 1 << 16, "events of one source in a step", largest, "at most 65,535: take smaller pools")
    readouts, kept = _readouts(network, first)
    return Program(
        populations=populations,
        order=np.array(network.order),
        neurons=neurons,
        rarer=rarer,
        paths=path_records,
        walk=walk,
        offset=offset,
        weight=weight.astype(kind),
        edges=edges,
        place=place,
        inputs=_inputs(network, senders),
        readouts=readouts,
        cell=np.empty(0, np.uint16 if largest > 255 else np.uint8),
        wide=np.empty(0, wide),
        turn=turn,
        train=train,
        tabled=tabled,
        stretch=_stretch(paths, tabled, np.iinfo(kind)),
        rows=rows,
        states=states,
        held=held,
        largest=kept,
        recorded=any(readout.kind == "first" for readout in network.readouts),
        sums=sum(network.classes_of),
        steps=network.steps,
    )


def _table(network: QuantizedNetwork, paths: list[Path]) -> tuple[int, np.ndarray, np.ndarray]:
    """The first population with a table of all that it reads, which is held; -1 if there is none. Its table.

    What one synapse adds must fit 16 bits, whatever the type of the others.
    """
    for index, population in enumerate(network.populations):
        own = [path for path in paths if path.target == index]
        if all(path.edge.held and path.largest <= np.iinfo(np.int16).max for path in own):
            table = trains(population.neuron, network.ranges[index].current, network.steps)
            if table is not None:
                return index, *table
    return -1, *NO_TABLE


def _fill(records: np.ndarray, fields: dict[str, Any]) -> None:
    for name, values in fields.items():
        records[name] = values


def _rule(population: Population, kind: type) -> dict[str, Any]:
    """What the neurons of a population have in common."""
    neuron, limits = population.neuron, np.iinfo(kind)
    low, high = neuron.bounds or (limits.min, limits.max)
    current, adaptation = neuron.current, neuron.adaptation
    return {
        "leak": neuron.leak.code,
        "shift": neuron.shift,
        "half": neuron.rounding.half(neuron.shift) if neuron.leak != LeakKind.MULTIPLY else 0,
        "reset": neuron.reset.code,
        "low": max(limits.min, low),
        "high": min(limits.max, high),
        "has_state": neuron.has_state,
        "has_current": current is not None,
        "enters_new": current is not None and current.enters == "new",
        "current_shift": current.shift if current else 1,
        "has_adaptation": adaptation is not None,
        "adaptation_shift": adaptation.shift if adaptation else 1,
        "refractory": neuron.refractory,
        "nearest": neuron.rounding == Rounding.NEAREST,
    }


def _states(population: Population, states: int) -> tuple[dict[str, Any], int]:
    """Where a population's states beyond the membrane begin, if there are `states` rows before; rows up to its end."""
    neuron, found = population.neuron, {}
    kept = neuron.current is not None, neuron.adaptation is not None, neuron.refractory > 0
    for name, is_kept in zip(("current", "adaptation", "waiting"), kept, strict=True):
        found[name] = states
        states += population.neurons if is_kept else 0
    return found, states


def _parameters(population: Population, kind: type, tabled: bool) -> dict[str, Any]:
    """The fields of a population's neurons; with a table only their biases matter, unshifted."""
    bias = population.per_neuron(population.bias)
    if tabled:
        return {"bias": bias}
    own = population.parameters
    return {
        "bias": bias << population.neuron.fraction,
        "threshold": own.threshold if population.neuron.spiking else np.iinfo(kind).max,
        "reset_value": own.reset_value,
        "reset_amount": own.reset_amount,
        "start_value": own.start_value,
        "jump": own.adaptation_jump,
        "factor": own.factor,
        "current_factor": own.current_factor,
        "adaptation_factor": own.adaptation_factor,
    }


def _walk(network: QuantizedNetwork, paths: list[Path], tabled: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The synapses of each neuron in each path; all offsets, and all weights."""
    walks, offsets, weights, before = [], [], [], 0
    for path in paths:
        offset, weight, fan_in = geometry.synapses(path.edge)
        origin = geometry.origins(path.edge)
        ends = before + fan_in.cumsum()
        walk = np.empty(fan_in.size * origin.size, WALK)
        walk["first"], walk["end"] = np.repeat(ends - fan_in, origin.size), np.repeat(ends, origin.size)
        walk["origin"] = np.tile(origin, fan_in.size)
        walks.append(walk)
        offsets.append(offset)
        fraction = 0 if path.target == tabled else network.populations[path.target].neuron.fraction
        weights.append(weight.astype(np.int64) << (path.shift + fraction))
        before += offset.size
    require(before < 1 << 31, "synapses", before, "at most 2,147,483,647")
    return np.concatenate(walks), np.concatenate(offsets), np.concatenate(weights)


def _placed(paths: list[Path]) -> tuple[np.ndarray, int]:
    """The records of `paths`, and the rows of the buffer that they read."""
    found, walk, row = np.zeros(len(paths), PATH), 0, 0
    for number, path in enumerate(paths):
        found[number] = walk, row, path.width, path.parts, path.delay
        walk += path.edge.neurons
        row += path.width * path.parts
    return found, row


def _edges(network: QuantizedNetwork, paths: list[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All edges by who sends: their records, and int64 the numbers of the senders; and the places that they lead to."""
    found: list[tuple[int, tuple[int, int, bool], np.ndarray]] = []
    for number, path in enumerate(paths):
        entry, target, pool = ASSIGN if len(path.senders) == 1 else ADD, geometry.places(path.edge), path.edge.pool
        if pool is not None:
            entry = OR if pool.kind == "max" else ADD
            into = geometry.pooled(pool, path.edge.source_shape)
            target = np.where(into == geometry.NOWHERE, geometry.NOWHERE, target[into])
        for turn, sender in enumerate(path.senders):
            found.append((sender, (entry, number, turn == 0 and entry != ASSIGN), target))
    for index, begin in _counted(network):
        population, readout = network.population(network.readouts[index].source), network.readouts[index]
        voted = begin + np.arange(population.neurons, dtype=np.int32) // readout.group
        found.append((len(network.inputs) + network.graph.index[readout.source], (VOTE, 0, False), voted))
    found.sort(key=lambda edge: edge[0])
    records, begin = np.zeros(len(found), EDGE), 0
    for number, (_, (entry, path_number, clears), target) in enumerate(found):
        records[number] = entry, begin, path_number, clears
        begin += target.size
    return records, np.array([edge[0] for edge in found]), np.concatenate([edge[2] for edge in found])


def _begins(network: QuantizedNetwork) -> list[int]:
    """Where the sums of each read-out begin."""
    return [0, *np.cumsum(network.classes_of).tolist()][:-1]


def _counted(network: QuantizedNetwork) -> list[tuple[int, int]]:
    """The read-outs that count spikes, and where their sums begin."""
    begins = enumerate(_begins(network))
    return [(index, begin) for index, begin in begins if network.readouts[index].kind == "count"]


def _inputs(network: QuantizedNetwork, senders: np.ndarray) -> np.ndarray:
    """The records of the inputs; their columns are counted among those that are held, and among the others."""
    found, column = np.zeros(len(network.inputs), INPUT), {True: 0, False: 0}
    for number, given in enumerate(network.inputs):
        held, sources = given.kind == "static", prod(given.shape)
        edge, edge_end = np.searchsorted(senders, [number, number + 1])
        found[number] = held, column[held], sources, given.dropped, edge, edge_end
        column[held] += sources
    return found


def _readouts(network: QuantizedNetwork, first: list[int]) -> tuple[np.ndarray, int]:
    """The records of the read-outs, and the number of neurons whose largest membranes are kept."""
    found, largest = np.zeros(len(network.readouts), READOUT), 0
    for number, (readout, begin) in enumerate(zip(network.readouts, _begins(network), strict=True)):
        index = network.graph.index[readout.source]
        neurons = network.populations[index].neurons
        found[number] = READOUTS[readout.kind], first[index], neurons, readout.group, begin, largest
        largest += neurons if readout.kind == "largest" else 0
    return found, largest


def _stretch(paths: list[Path], tabled: int, limits: np.iinfo) -> int:
    """How many synapses of the population with a table have a sum within `limits` whatever their sources."""
    return limits.max // max(1, *(path.largest for path in paths if path.target == tabled), 1)
