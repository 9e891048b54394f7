"""Mapping of a `QuantizedNetwork` to processing elements: NumPy only, no hardware description.

The generator, the timing model and the tests read placement only from the frozen `Mapping`: the slot of each neuron,
the contents of each memory, and all widths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..bits import lane_bits, unsigned_bits
from ..errors import UserError, require
from ..quantize.network import Conv, QuantizedNetwork
from ..quantize.placement import Placement, checked_rates
from .convolution import Kernel, Sources
from .inputs import Inputs
from .layer_mapping import LayerMapping, Memories
from .lists import Heard, joined
from .outputs import Outputs
from .parameters import parameters_of
from .place_convolution import convolution_lists
from .place_dense import dense_lists
from .pruning import kept_neurons
from .routes import (
    NOBODY,
    Late,
    Port,
    Route,
    are_maps,
    late_inputs,
    least_entries,
    least_rows,
    pools_of,
    ports_of,
    rates_of,
    routes_of,
)
from .scan import Outgoing
from .slots import place, sources_of
from .synapse_format import run_starts, stride_for

__all__ = ["LayerMapping", "Mapping", "Memories", "map_network", "refusal"]


@dataclass(frozen=True)
class Mapping:
    """A whole network placed: a `LayerMapping` for each population, by its number.

    Attributes
    ----------
    ports
        What each core hears, in the order in which its join takes it.
    routes
        The edges that leave cores, in the order of the cores and of their edges.
    late
        The queues through which inputs come to ports that do not hear them themselves.
    """

    network: QuantizedNetwork
    layers: tuple[LayerMapping, ...]
    placement: Placement
    ports: tuple[tuple[Port, ...], ...]
    routes: tuple[Route, ...]
    late: tuple[Late, ...] = ()

    def __post_init__(self) -> None:
        for route in self.routes:
            if route.target not in (None, NOBODY) and len(self.ports[route.target]) > 1:
                back = self.ports[route.target][route.port].back
                least = least_rows(self.layers[route.source].rows, route.delay, back)
                assert route.depth >= least, f"core {route.source} to core {route.target} may stand still"
        for queue in self.late:
            least = least_entries(self.ports[queue.target][queue.port].edge.sources, queue.delay)
            assert queue.depth >= least, f"input to core {queue.target} may stand still"

    @cached_property
    def input(self) -> Inputs:
        """The network's inputs, on one stream."""
        return Inputs.of(self.network)

    @property
    def steps(self) -> int | None:
        """Steps of a frame; None in a stream, which has no frames."""
        return None if self.network.stream else self.network.steps

    @cached_property
    def output(self) -> Outputs:
        """The network's read-outs, in one packet."""
        return Outputs.of(self.network)

    @property
    def sources(self) -> int:
        """Sources of all inputs."""
        return self.input.sources

    @property
    def source_bits(self) -> int:
        """Width of the address of a source of the input."""
        return unsigned_bits(self.sources - 1)

    @property
    def value_bits(self) -> int:
        """Width of the value of an event of the input."""
        return unsigned_bits(self.input.largest)

    @property
    def segments(self) -> int:
        """Tokens of a frame at the input."""
        return self.input.segments(self.network.steps)

    @property
    def listeners(self) -> tuple[int, ...]:
        """Cores that hear the input without a queue between, by their first ports."""
        return tuple(number for number, into in enumerate(self.ports) if into[0].direct)

    @property
    def read(self) -> tuple[int, ...]:
        """The core of each read-out."""
        return tuple(self.network.graph.index[readout.source] for readout in self.network.readouts)

    def leaving(self, core: int) -> tuple[Route, ...]:
        """The edges that leave a core."""
        return tuple(route for route in self.routes if route.source == core)

    def offset(self, port: Port) -> int:
        """Where the addresses of `port` begin in those of its core."""
        heard = self.layers[port.edge.population].heard
        return sum(len(other.addresses) for other in heard[: port.number])

    def way(self, port: Port) -> int:
        """Of `outgoing` of its source, the way that leads to `port`."""
        target = port.edge.population, port.number
        return next(route.way for route in self.routes if (route.target, route.port) == target)

    def stream(self, core: int, way: int) -> int:
        """The number of what leaves `core` by `outgoing[way]`, among all, counted from 1 on; the input is 0."""
        return 1 + sum(len(layer.outgoing) for layer in self.layers[:core]) + way

    @property
    def pixels_a_beat(self) -> int:
        return self.placement.pixels_a_beat

    @property
    def beats(self) -> int:
        """Input beats per frame (static input)."""
        return -(-self.sources // self.pixels_a_beat)

    @property
    def memory_bits(self) -> int:
        return sum(sum(layer.memory_bits.values()) for layer in self.layers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network and of its placement."""
        sha = hashlib.sha256(self.network.digest.encode())
        for layer in self.layers:
            sha.update(f"{layer.pes} {layer.queue_depth} {layer.row_queue_depth} {self.pixels_a_beat}".encode())
            sha.update(f"stride {layer.stride_bits}".encode() if layer.stride_bits is not None else b"")
            sha.update(np.ascontiguousarray(layer.slots).tobytes())
        sha.update(b"stream" if self.network.stream else b"")
        sha.update(b"cancel" if self.placement.cancel else b"")
        return sha.hexdigest()


def refusal(network: QuantizedNetwork) -> str | None:
    """Why there is no hardware for `network`, in one line; None if there is."""
    try:
        Inputs.of(network)
    except UserError as error:
        return str(error)
    return None


def map_network(
    network: QuantizedNetwork,
    placement: Placement | Sequence[int] | None = None,
    rates: Sequence[np.ndarray] | None = None,
) -> Mapping:
    """Place `network` on processing elements (PEs).

    Parameters
    ----------
    placement
        Numbers of PEs alone, one for each population, stand for a `Placement` of those. Default: the network's own, or
        else 16 PEs for the first population and 4 for each other.
    rates
        For each connection, in the order of `network.edges`, how often each source has an event per frame (float
        [sources], any unit): the loads that the assignment equalises. Default: the network's own, or else all alike.

    With `placement.stream`, or of a stream, there are no frames: `Mapping.network` is the stream. Raises `UserError`
    for graphs that there is no hardware for: see `refusal`.
    """
    numbers = range(len(network.populations))
    placement = placement or network.placement or (16, *[4] * (len(numbers) - 1))
    if not isinstance(placement, Placement):
        placement = Placement(tuple(placement))
    placement.check(len(numbers))
    placement = replace(placement, stream=placement.stream or network.stream)
    network = network.streamed if placement.stream else network
    Inputs.of(network)  # refuses what has no hardware
    if placement.cancel:
        _check_cancel(network)
    ports = ports_of(network)
    rates = network.rates if rates is None else rates
    if rates is None:
        rates = tuple(np.ones(edge.sources) for edge in network.edges)
    by_port = rates_of(network, checked_rates(tuple(rates), [edge.sources for edge in network.edges]))
    kept = kept_neurons(network)
    pools = [pools_of(network, number) for number in numbers]
    placed = []
    for number, population in enumerate(network.populations):
        edges, maps, own = [port.edge for port in ports[number]], are_maps(network, number), pools[number]
        pool = own[0] if len(own) == 1 else None
        placed.append(place(population, edges, by_port[number], kept[number], placement.pes[number], maps, pool))
    ways = [
        (Outgoing(one.scan),) if len(own) == 1 else tuple(Outgoing(one.scan, pool) for pool in own)
        for one, own in zip(placed, pools, strict=True)
    ]
    sent = [
        tuple(sources_of(population.shape, one, outgoing) for outgoing in leaving)
        for population, one, leaving in zip(network.populations, placed, ways, strict=True)
    ]

    def heard(port: Port, kernel: Kernel | None) -> tuple[np.ndarray, Sources | None]:
        """The source behind each address of a port, and its address arithmetic."""
        convolves = isinstance(port.edge.synapses, Conv)
        if port.source is None:
            made = Sources.of(port.edge, kernel) if convolves and kernel else None
            return np.arange(port.edge.sources), made
        way = pools[port.source].index(port.edge.pool)
        lanes = lane_bits(placed[port.source].neurons.shape[1])
        made = Sources.of(port.edge, kernel, ways[port.source][way], lanes) if convolves and kernel else None
        return sent[port.source][way], made

    made = []
    for number, population in enumerate(network.populations):
        into, one = ports[number], placed[number]
        kernel = Kernel.of([port.edge for port in into], one.scan)
        parts, lists = [], []
        for port in into:
            addresses, sources = heard(port, kernel)
            parts.append((addresses, sources))
            lists.append(
                convolution_lists(port.edge, addresses, one, sources)
                if sources
                else dense_lists(port.edge, addresses, one, kernel)
            )
        whole = joined(lists)
        ends = np.cumsum([len(addresses) for addresses, _ in parts])
        firsts = np.cumsum([0, *(part.counts.shape[1] for part in lists)]).tolist()
        stride_bits = stride_for(whole.counts) if number in placement.strided else None
        shift = min(port.shift for port in into)
        every_step = any(one.source == population.name and one.kind in ("largest", "sum") for one in network.readouts)
        made.append(
            LayerMapping(
                index=number,
                population=population,
                ranges=network.ranges[number],
                scan=one.scan,
                slots=one.neurons,
                heard=tuple(
                    Heard(port.edge, addresses, values, first, sources)
                    for port, (addresses, sources), values, first in zip(
                        into, parts, np.split(whole.lists, ends[:-1]), firsts[:-1], strict=True
                    )
                ),
                outgoing=ways[number],
                sent=sent[number],
                starts=run_starts(whole.counts, stride_bits),
                counts=whole.counts,
                targets=whole.targets,
                weights=whole.weights,
                parameters=parameters_of(population, one.neurons, one.scan.group_rows),
                every_step=every_step,
                value_bits=max(_value_bits(network, port) - shift for port in into),
                queue_depth=placement.queue_depth,
                row_queue_depth=placement.row_queue_depth,
                kernel=kernel,
                stride_bits=stride_bits,
                shift=shift,
            )
        )
    routes = routes_of(network, ports, [layer.rows for layer in made], placement.row_queue_depth)
    return Mapping(network, tuple(made), placement, ports, routes, late_inputs(network, ports))


def _check_cancel(network: QuantizedNetwork) -> None:
    """Raise `UserError` for a network whose frames cannot be cancelled."""
    accepted = "False for {}: a chain that reads spikes, and is itself read out by the first, can cancel the rest"
    reads = network.is_chain and network.inputs[0].kind
    for holds, what in (
        (not network.stream, "a stream"),
        (network.is_chain, "a graph"),
        (network.answers_early, "this read-out"),
        (reads != "static", "pixels, which are in before the first step"),
    ):
        require(holds, "cancel", True, accepted.format(what))


def _value_bits(network: QuantizedNetwork, port: Port) -> int:
    """Width of the value of an event of a port, moved by all of its shift."""
    return (1 if port.given is None else unsigned_bits(network.inputs[port.given].largest)) + port.shift
