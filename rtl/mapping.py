"""Mapping of a `QuantizedNetwork` to processing elements: NumPy only, no hardware description.

The generator, the timing model and the tests read placement only from the frozen `Mapping`: the slot of each neuron,
the contents of each memory, and all widths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from ..bits import unsigned_bits
from ..quantize.network import Conv, Input, QuantizedNetwork, Readout
from ..quantize.placement import Placement, checked_rates
from .layer_mapping import LayerMapping, Memories
from .parameters import parameters_of
from .place_convolution import place_convolution
from .place_dense import place_dense
from .pruning import kept_neurons
from .routes import NOBODY, Port, Route, layers_of, least_rows, ports_of, rates_of, routes_of
from .slots import Slots, outputs
from .synapse_format import run_starts, stride_for

__all__ = ["LayerMapping", "Mapping", "Memories", "map_network"]


@dataclass(frozen=True)
class Mapping:
    """A whole network placed: a `LayerMapping` for each population, by its number.

    Attributes
    ----------
    ports
        What each core hears, in the order in which its join takes it.
    routes
        The edges that leave cores, in the order of the cores and of their edges.
    """

    network: QuantizedNetwork
    layers: tuple[LayerMapping, ...]
    placement: Placement
    ports: tuple[tuple[Port, ...], ...]
    routes: tuple[Route, ...]

    def __post_init__(self) -> None:
        for route in self.routes:
            if route.target not in (None, NOBODY) and len(self.ports[route.target]) > 1:
                back = self.ports[route.target][route.port].back
                least = least_rows(self.layers[route.source].rows, route.delay, back)
                assert route.depth >= least, f"core {route.source} to core {route.target} may stand still"

    @property
    def input(self) -> Input:
        """The network's one input."""
        return self.network.inputs[0]

    @property
    def readout(self) -> Readout:
        """The network's one read-out."""
        return self.network.readouts[0]

    @property
    def sources(self) -> int:
        """Sources of the input."""
        return prod(self.input.shape)

    @property
    def source_bits(self) -> int:
        """Width of the address of a source of the input."""
        return unsigned_bits(self.sources - 1)

    @property
    def value_bits(self) -> int:
        """Width of the value of an event of the input."""
        return unsigned_bits(self.input.largest)

    @property
    def listeners(self) -> tuple[tuple[int, int], ...]:
        """Cores that hear the input, and by which port."""
        return tuple(
            (number, port.number) for number, into in enumerate(self.ports) for port in into if port.source is None
        )

    @property
    def read(self) -> int:
        """The core that is read out."""
        return next(route.source for route in self.routes if route.target is None)

    def leaving(self, core: int) -> tuple[Route, ...]:
        """The edges that leave a core."""
        return tuple(route for route in self.routes if route.source == core)

    def offset(self, port: Port) -> int:
        """Where the addresses of `port` begin in those of its core."""
        before = self.ports[port.edge.population][: port.number]
        return sum(len(self._heard(other)) for other in before)

    def _heard(self, port: Port) -> np.ndarray:
        return np.arange(self.sources) if port.source is None else self.layers[port.source].outputs

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
        return sha.hexdigest()


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

    Raises `UserError` for graphs that there is no hardware for.
    """
    ports = ports_of(network)
    layers = layers_of(network, ports)
    placement = placement or network.placement or (16, *[4] * (len(layers) - 1))
    if not isinstance(placement, Placement):
        placement = Placement(tuple(placement))
    placement.check(len(layers))
    rates = network.rates if rates is None else rates
    if rates is None:
        rates = tuple(np.ones(edge.sources) for edge in network.edges)
    by_layer = rates_of(network, checked_rates(tuple(rates), [edge.sources for edge in network.edges]))
    kept = kept_neurons(network)
    mapped: dict[int, LayerMapping] = {}

    def place(index: int, addresses: np.ndarray, before: LayerMapping | None) -> Slots:
        layer, of_neurons = layers[index], (layers[index], kept[index])
        if isinstance(layer.synapses, Conv):
            return place_convolution(*of_neurons, addresses, by_layer[index], placement.pes[index], before)
        return place_dense(*of_neurons, addresses, by_layer[index], placement.pes[index])

    def heard(port: Port) -> np.ndarray:
        """The source, in the order of the connection, behind each address of a port."""
        if port.source is None:
            return np.arange(port.edge.sources)
        if port.source in mapped:
            return mapped[port.source].outputs
        # What comes back is of a core that has not been placed: where its neurons sit does not depend on addresses.
        return outputs(layers[port.source], place(port.source, np.arange(layers[port.source].sources), None))

    for index in network.order:
        layer, into = layers[index], ports[index]
        before = mapped.get(into[0].source) if into[0].source is not None else None
        first = np.cumsum([0, *(port.edge.sources for port in into)])  # of each port's synapses in the layer's
        found = [heard(port) for port in into]
        addresses = np.concatenate([np.where(a >= 0, a + first[i], -1) for i, a in enumerate(found)])
        placed = place(index, addresses, before)
        stride_bits = stride_for(placed.counts) if index in placement.strided else None
        shift = min(port.shift for port in into)
        is_read = network.populations[index].name == network.readouts[0].source
        mapped[index] = LayerMapping(
            index=index,
            layer=layer,
            ranges=network.ranges[index],
            scan=placed.scan,
            slots=placed.slots,
            addresses=addresses,
            outputs=outputs(layer, placed),
            lists=placed.lists,
            starts=run_starts(placed.counts, stride_bits),
            counts=placed.counts,
            targets=placed.targets,
            weights=placed.weights,
            parameters=parameters_of(layer, placed.slots, placed.scan.group_rows),
            every_step=is_read and network.readouts[0].kind in ("largest", "sum"),
            value_bits=max(_value_bits(network, port) - shift for port in into),
            queue_depth=placement.queue_depth,
            row_queue_depth=placement.row_queue_depth,
            kernel=placed.kernel,
            stride_bits=stride_bits,
            shift=shift,
        )
    made = tuple(mapped[index] for index in range(len(layers)))
    routes = routes_of(network, ports, [layer.rows for layer in made], placement.row_queue_depth)
    return Mapping(network, made, placement, ports, routes)


def _value_bits(network: QuantizedNetwork, port: Port) -> int:
    """Width of the value of an event of a port, moved by all of its shift."""
    return (1 if port.source is not None else unsigned_bits(network.inputs[0].largest)) + port.shift
