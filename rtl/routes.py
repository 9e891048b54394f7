"""From a graph to cores: what each core hears, and the routes of events between them.

NumPy only, no hardware description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..quantize.network import Conv, Edge, Pool, QuantizedNetwork


def least_rows(rows: int, delay: int, back: bool) -> int:
    """The fewest entries of an edge's row queue with which no graph can stand still, if joins take their ports in any
    order in which what comes from outside a loop is first. An edge into a core that has no other may have fewer.

    `rows`: of a scan of the core that it leaves. `back`: it leads to the same core or to an earlier one, in a
    topological order of the edges without delay.
    """
    return max(1, rows * (delay - back + 1))


def least_entries(sources: int, delay: int) -> int:
    """The same of the queue of an input's events for a port that does not hear the input itself: all that may come in
    `delay` steps and one more, tokens included.
    """
    return (delay + 1) * (sources + 1)


NOBODY = -1  # the target of what leaves a core that nothing hears


@dataclass(frozen=True)
class Port:
    """What a core's port `number` hears: one source of one connection.

    source
        Number of the population, None for the network's input.
    edge
        The connection. `edge.population` is the core's number.
    back
        The source is the core itself or comes after it in a step.
    given
        Number of the input, if the source is one.
    """

    number: int
    source: int | None
    edge: Edge
    back: bool
    given: int | None = None

    @property
    def delay(self) -> int:
        """Steps by which events come late."""
        return self.edge.connection.delay

    @property
    def shift(self) -> int:
        """Events count `2**shift` times."""
        return self.edge.connection.shift

    @property
    def direct(self) -> bool:
        """The port hears an input without a queue between: the first one of its core, if there is no delay."""
        return self.source is None and self.number == 0 and self.delay == 0


@dataclass(frozen=True)
class Route:
    """An edge that leaves a core: to `port` of the core `target`, or to its read-out if `target` is None, or to NOBODY.

    `depth`: entries of its row queue. `way`: of `LayerMapping.outgoing`.
    """

    source: int
    target: int | None
    port: int
    delay: int
    depth: int
    way: int = 0


def _turn(port: Port) -> tuple[bool, bool, bool, int]:
    """What decides which of two ports is first; else the order of the connections does."""
    given = port.source is None
    return not port.edge.held, not given, port.back, port.delay if given else 0


@dataclass(frozen=True)
class Late:
    """A queue of the input's events in front of `port` of the core `target`: its delay in steps, its entries."""

    target: int
    port: int
    delay: int
    depth: int


def ports_of(network: QuantizedNetwork) -> tuple[tuple[Port, ...], ...]:
    """The ports of each population's core, in the order in which its join takes them.

    What is held for the frame comes first, then other inputs, then what is heard from earlier cores, in the order of a
    step, and what comes back is last: so nothing waits for what a core itself has to send (see `least_rows`).

    """
    place = {network.populations[number].name: turn for turn, number in enumerate(network.order)}
    index = network.graph.index
    names = [given.name for given in network.inputs]
    found = []
    for number, population in enumerate(network.populations):
        own = place[population.name]
        ports = []
        for edge in network.graph.into(number):
            for source in edge.connection.sources:
                back = source in index and place[source] >= own
                given = None if source in index else names.index(source)
                ports.append(Port(0, index.get(source), edge, back, given))
        ports.sort(key=_turn)
        found.append(tuple(replace(port, number=i) for i, port in enumerate(ports)))
    return tuple(found)


def are_maps(network: QuantizedNetwork, number: int) -> bool:
    """Whether a population is built map by map: it hears a convolution, or is heard by one or through a pool."""
    population = network.populations[number]
    if any(isinstance(connection.synapses, Conv) for connection in population.inputs):
        return True
    readers = network.consumers(population.name)
    return any(edge.pool is not None or isinstance(edge.synapses, Conv) for edge in readers)


def pools_of(network: QuantizedNetwork, number: int) -> tuple[Pool | None, ...]:
    """The pools through which a population is heard, each once: first that of the read-out, which is none."""
    name = network.populations[number].name
    read = [None] if any(readout.source == name for readout in network.readouts) else []
    found = dict.fromkeys([*read, *(edge.pool for edge in network.consumers(name))])
    return tuple(found) or (None,)


def rates_of(network: QuantizedNetwork, rates: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Of `rates` by connection, those of the sources of each port of each population's core.

    A connection with several sources has a port for each, with an equal part of the connection's rates.
    """
    by_edge = {
        (edge.population, edge.index): values / len(edge.connection.sources)
        for edge, values in zip(network.edges, rates, strict=True)
    }
    return [[by_edge[port.edge.population, port.edge.index] for port in into] for into in ports_of(network)]


def late_inputs(network: QuantizedNetwork, ports: Sequence[Sequence[Port]]) -> tuple[Late, ...]:
    """The queues of inputs, by core: of every port that hears one, but does not hear it itself."""
    return tuple(
        Late(number, port.number, port.delay, least_entries(port.edge.sources, port.delay))
        for number, into in enumerate(ports)
        for port in into
        if port.source is None and not port.direct
    )


def routes_of(
    network: QuantizedNetwork, ports: Sequence[Sequence[Port]], rows: Sequence[int], depth: int
) -> tuple[Route, ...]:
    """The edges that leave cores, by core: to other cores by their numbers and ports, then to its read-out.

    `rows`: of a scan of each core. `depth`: entries of a row queue; in a graph that is no chain at least as many as the
    rule of `least_rows` asks for, of every edge.
    """
    found = []
    chain = network.is_chain
    read = {readout.source for readout in network.readouts}
    for number, population in enumerate(network.populations):
        pools = pools_of(network, number)
        for into in ports:
            for port in into:
                if port.source == number:
                    least = 1 if chain else least_rows(rows[number], port.delay, port.back)
                    way = pools.index(port.edge.pool)
                    deep = max(depth, least)
                    found.append(Route(number, port.edge.population, port.number, port.delay, deep, way))
        deep = max(depth, 1 if chain else rows[number])
        if population.name in read:
            found.append(Route(number, None, 0, 0, deep))
        elif not any(route.source == number for route in found):
            found.append(Route(number, NOBODY, 0, 0, deep))
    return tuple(found)
