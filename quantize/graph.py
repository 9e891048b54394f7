"""How populations are connected: resolved connections, the order of a step, and what is wrong with a graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from ..errors import UserError, require
from ..shapes import Pool
from .interface import Input
from .population import Connection, Population
from .synapses import Conv, Dense


@dataclass(frozen=True)
class Edge:
    """A connection with what follows from the graph around it.

    population, index
        The connection is `inputs[index]` of the population of this number.
    input_shape
        Of what the synapses see, after the connection's pool.
    source_shape
        Of each of its sources, before the pool.
    shape
        Of the population.
    largest
        Largest value of one source that the synapses see, in one step.
    held
        Whether its sources are static inputs, the same at every step of a frame.
    """

    population: int
    index: int
    connection: Connection
    input_shape: tuple[int, ...]
    source_shape: tuple[int, ...]
    shape: tuple[int, ...]
    largest: int
    held: bool

    @property
    def synapses(self) -> Dense | Conv:
        return self.connection.synapses

    @property
    def pool(self) -> Pool | None:
        return self.connection.pool

    @property
    def sources(self) -> int:
        """Sources that the synapses see."""
        return prod(self.input_shape)

    @property
    def neurons(self) -> int:
        return prod(self.shape)

    @property
    def channels(self) -> int:
        return self.synapses.weight.shape[0]

    @property
    def possible(self) -> int:
        """Weights, zeros included."""
        return self.synapses.weight.size

    @cached_property
    def connected(self) -> int:
        """Weights that are not zero."""
        return int(np.count_nonzero(self.synapses.weight))


class Graph:
    """Inputs and populations whose connections have been looked up and checked.

    Attributes: `index`, the number of each population by name; `edges`, by population; `order`, populations in the
    order of a step: a population comes after those that it reads without delay, otherwise as they were given.
    """

    def __init__(self, inputs: tuple[Input, ...], populations: tuple[Population, ...]):
        self.inputs, self.populations = inputs, populations
        self.given = {one.name: one for one in inputs}
        self.index = {population.name: number for number, population in enumerate(populations)}
        names = [*(one.name for one in inputs), *(population.name for population in populations)]
        for name in names:
            require(names.count(name) == 1, "name", name, "names of inputs and populations, each once")
        self.edges = tuple(
            self._edge(number, place, connection)
            for number, population in enumerate(populations)
            for place, connection in enumerate(population.inputs)
        )
        self.order = self._ordered()
        self._check_reached()

    def into(self, population: int) -> tuple[Edge, ...]:
        """The edges that lead to a population, in its own order."""
        return tuple(edge for edge in self.edges if edge.population == population)

    def reached(self, names: Iterable[str]) -> set[str]:
        """`names` of inputs and populations, and those of all populations that they lead to."""
        found = set(names)
        for _ in self.populations:
            for edge in self.edges:
                if found.intersection(edge.connection.sources):
                    found.add(self.populations[edge.population].name)
        return found

    @cached_property
    def recurrent(self) -> frozenset[str]:
        """Names of the populations in a cycle."""
        found = set()
        for one in self.populations:
            read = [edge for edge in self.edges if one.name in edge.connection.sources]
            if one.name in self.reached(self.populations[edge.population].name for edge in read):
                found.add(one.name)
        return frozenset(found)

    def _edge(self, number: int, place: int, connection: Connection) -> Edge:
        population = self.populations[number]
        where = f"population {population.name}, {connection.label}"
        shapes = []
        for source in connection.sources:
            known = source in self.index or source in self.given
            require(known, f"population {population.name}, connection source", source, f"one of {self._names()}")
            shapes.append(self._source(source).shape)
        require(len(set(shapes)) == 1, f"{where} shapes", shapes, "sources of equal shape")
        held = [source in self.given and self.given[source].kind == "static" for source in connection.sources]
        require(all(held) or not any(held), f"{where} sources", connection.sources, "static inputs only, or none")
        require(not (held[0] and connection.delay), f"{where} delay", connection.delay, "0: a static input is held")
        pooled = connection.pool and any(source in self.given for source in connection.sources)
        require(not pooled, f"{where} pool", connection.pool, "none: inputs are not pooled")
        for source in connection.sources:
            spiking = source in self.given or self.populations[self.index[source]].neuron.spiking
            require(
                spiking, f"{where} source spiking", False, "True: a population that does not spike is only read out"
            )
        try:
            seen = connection.input_shape(shapes[0])
            made = connection.synapses.output_shape(seen)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        same = made == population.shape or (isinstance(connection.synapses, Dense) and made == (population.neurons,))
        require(same, f"{where} output shape", made, f"{population.shape}, that of the population")
        largest = sum(self.given[source].largest if source in self.given else 1 for source in connection.sources)
        largest *= connection.pool.size**2 if connection.pool and connection.pool.kind == "average" else 1
        return Edge(number, place, connection, seen, shapes[0], population.shape, largest, held[0])

    def _source(self, name: str) -> Input | Population:
        return self.given[name] if name in self.given else self.populations[self.index[name]]

    def _names(self) -> str:
        return ", ".join([*self.given, *self.index])

    def _ordered(self) -> tuple[int, ...]:
        """`UserError` if a cycle has no delay."""
        before: list[set[int]] = [set() for _ in self.populations]
        for edge in self.edges:
            if edge.connection.delay == 0:
                before[edge.population].update(self.index[s] for s in edge.connection.sources if s in self.index)
        order: list[int] = []
        left = list(range(len(self.populations)))
        while left:
            ready = next((number for number in left if before[number] <= set(order)), None)
            if ready is None:
                cycle = self._cycle(before, left)
                raise UserError.of("cycle of populations", " -> ".join(cycle), "a delay of a step or more in it")
            order.append(ready)
            left.remove(ready)
        return tuple(order)

    def _cycle(self, before: list[set[int]], left: list[int]) -> list[str]:
        """The names along one cycle among the populations `left`."""
        path = [left[0]]
        while path[-1] not in path[:-1]:
            path.append(min(before[path[-1]] & set(left)))
        path = path[path.index(path[-1]) :]
        return [self.populations[number].name for number in reversed(path)]

    def _check_reached(self) -> None:
        """`UserError` for a population that no input reaches, or an input that nothing reads."""
        reached = self.reached(self.given)
        read = {source for edge in self.edges for source in edge.connection.sources}
        for one in self.inputs:
            require(one.name in read, f"input {one.name}", "read by no population", "a connection from it")
        for population in self.populations:
            require(population.name in reached, f"population {population.name} inputs", "without a path from any input",
                    "a connection that leads to it from an input")  # fmt: skip
