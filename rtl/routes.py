"""From a graph to cores: the layer that each population is in hardware, and the routes of events between them.

NumPy only, no hardware description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import require
from ..quantize.network import Conv, Dense, Edge, Layer, Pool, QuantizedNetwork


def least_rows(rows: int, delay: int, back: bool) -> int:
    """The fewest entries of an edge's row queue with which no graph can stand still, if joins take their ports in any
    order in which what comes from outside a loop is first. An edge into a core that has no other may have fewer.

    `rows`: of a scan of the core that it leaves. `back`: it leads to the same core or to an earlier one, in a
    topological order of the edges without delay.
    """
    return max(1, rows * (delay - back + 1))


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
    """

    number: int
    source: int | None
    edge: Edge
    back: bool

    @property
    def delay(self) -> int:
        """Steps by which events come late."""
        return self.edge.connection.delay

    @property
    def shift(self) -> int:
        """Events count `2**shift` times."""
        return self.edge.connection.shift


@dataclass(frozen=True)
class Route:
    """An edge that leaves a core: to `port` of the core `target`, or to the read-out if `target` is None, or to NOBODY.

    `depth`: entries of its row queue.
    """

    source: int
    target: int | None
    port: int
    delay: int
    depth: int


def ports_of(network: QuantizedNetwork) -> tuple[tuple[Port, ...], ...]:
    """The ports of each population's core, in the order in which its join takes them.

    The input comes first, then what is heard from earlier cores, in the order of a step, and what comes back is last:
    so nothing waits for what a core itself has to send (see `least_rows`).

    Raises `UserError` for graphs that there is no hardware for.
    """
    place = {network.populations[number].name: turn for turn, number in enumerate(network.order)}
    index = network.graph.index
    require(len(network.inputs) == 1, "inputs", len(network.inputs), "1 in hardware")
    require(len(network.readouts) == 1, "readouts", len(network.readouts), "1 in hardware")
    found = []
    for number, population in enumerate(network.populations):
        own = place[population.name]
        ports = []
        for edge in network.graph.into(number):
            for source in edge.connection.sources:
                back = source in index and place[source] >= own
                ports.append(Port(0, index.get(source), edge, back))
        ports.sort(key=lambda port: (port.source is not None, port.back))
        _check(network, number, ports)
        found.append(tuple(replace(port, number=i) for i, port in enumerate(ports)))
    return tuple(found)


def _check(network: QuantizedNetwork, number: int, ports: Sequence[Port]) -> None:
    where = f"population {network.populations[number].name}"
    given = network.inputs[0].name
    from_input = [port for port in ports if port.source is None]
    held = any(port.edge.held for port in ports)
    require(
        not held or len(ports) == 1,
        f"{where} inputs", f"static pixels and {len(ports) - 1} more", "static pixels alone in hardware: let a "
        "population of its own read them",
    )  # fmt: skip
    require(len(from_input) <= 1, f"{where} connections from {given}", len(from_input), "1 in hardware")
    for port in from_input:
        require(port.delay == 0, f"{where}, {port.edge.connection.label} delay", port.delay, "0 in hardware: it comes "
                "from an input")  # fmt: skip
    convolves = any(isinstance(port.edge.synapses, Conv) for port in ports)
    require(
        not convolves or len(ports) == 1, f"{where} sources", len(ports), "1 in hardware, as its synapses are a Conv"
    )
    flat = convolves or len(ports) == 1 or len(network.populations[number].shape) == 1
    require(flat, f"{where} shape", network.populations[number].shape, "(neurons,) in hardware: it has several sources")


def pools_of(network: QuantizedNetwork, ports: Sequence[Sequence[Port]]) -> list[Pool | None]:
    """The pool behind each population's core; `UserError` if its readers do not have the same."""
    found: list[Pool | None] = []
    for number, population in enumerate(network.populations):
        pools = [port.edge.pool for into in ports for port in into if port.source == number]
        if any(readout.source == population.name for readout in network.readouts):
            pools.append(None)
        same = all(pool == pools[0] for pool in pools)
        require(same, f"population {population.name} pools", [pool and f"{pool.kind} {pool.size}" for pool in pools],
                "the same for all that read it, in hardware")  # fmt: skip
        pool = pools[0] if pools else None
        convolves = isinstance(population.inputs[0].synapses, Conv)
        require(pool is None or convolves, f"population {population.name} pool", pool, "none in hardware, as its "
                "synapses are Dense")  # fmt: skip
        found.append(pool)
    return found


def layers_of(network: QuantizedNetwork, ports: Sequence[Sequence[Port]] | None = None) -> tuple[Layer, ...]:
    """A layer for each population: its synapses are those of all its ports, side by side in their order."""
    if network.is_chain:
        return network.layers
    ports = ports_of(network) if ports is None else ports
    made = []
    for population, into, pool in zip(network.populations, ports, pools_of(network, ports), strict=True):
        first = into[0].edge
        shape, synapses = first.input_shape, replace(first.synapses, bias=population.bias)
        if len(into) > 1:
            weight = np.concatenate([port.edge.synapses.weight for port in into], axis=1)
            shape, synapses = weight.shape[1:], Dense(weight, population.bias)
        bits = max(port.edge.connection.weight_bits for port in into)
        made.append(Layer(population.name, shape, synapses, population.neuron, bits, pool))
    return tuple(made)


def rates_of(network: QuantizedNetwork, rates: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of `rates` by connection, those of each population's sources, in the order of its layer's synapses."""
    if network.is_chain:
        return list(rates)
    by_edge = {(edge.population, edge.index): values for edge, values in zip(network.edges, rates, strict=True)}
    return [
        np.concatenate([by_edge[port.edge.population, port.edge.index] for port in into]) for into in ports_of(network)
    ]


def routes_of(
    network: QuantizedNetwork, ports: Sequence[Sequence[Port]], rows: Sequence[int], depth: int
) -> tuple[Route, ...]:
    """The edges that leave cores, by core: to other cores by their numbers and ports, then to the read-out.

    `rows`: of a scan of each core. `depth`: entries of a row queue; in a graph that is no chain at least as many as the
    rule of `least_rows` asks for, of every edge.
    """
    found = []
    chain = network.is_chain
    for number, population in enumerate(network.populations):
        for into in ports:
            for port in into:
                if port.source == number:
                    least = 1 if chain else least_rows(rows[number], port.delay, port.back)
                    deep = max(depth, least)
                    found.append(Route(number, port.edge.population, port.number, port.delay, deep))
        deep = max(depth, 1 if chain else rows[number])
        if population.name == network.readouts[0].source:
            found.append(Route(number, None, 0, 0, deep))
        elif not any(route.source == number for route in found):
            found.append(Route(number, NOBODY, 0, 0, deep))
    return tuple(found)
