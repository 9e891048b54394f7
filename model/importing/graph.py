"""`ImportedGraph`: an imported network as float populations with composed connections, ready to be rounded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from ...errors import require
from ...shapes import LARGEST_DELAY, LARGEST_FAN, Pool
from .convention import Convention
from .geometry import BIASED, bias
from .linear import Kernel, Operator
from .neurons import Rule
from .records import Findings, Record
from .shapes import Shape
from .structure import Neurons, Path, Structure, structure


@dataclass(frozen=True)
class ImportedConnection:
    """Float synapses from a source.

    weight
        float64 `[out, in]`, or `[out, in, kh, kw]` with `stride` and `padding`.
    delay
        In steps.
    pool
        Of the source; its values are the sums of its windows.
    """

    source: str
    weight: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    delay: int = 0
    pool: Pool | None = None

    @property
    def convolves(self) -> bool:
        return self.weight.ndim == 4


@dataclass(frozen=True)
class ImportedPopulation:
    """Neurons that follow `rule`; `bias` float64 `[neurons]`, added to the sum of each step."""

    name: str
    shape: Shape
    rule: Rule
    bias: np.ndarray
    inputs: tuple[ImportedConnection, ...]


@dataclass(frozen=True)
class ImportedGraph:
    """An imported network: `inputs` by name, populations in the order of a step, the populations that are read out.

    `structure` is the graph as the file has it, which `reference.run` runs.
    """

    structure: Structure
    inputs: dict[str, Shape]
    populations: tuple[ImportedPopulation, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def convention(self) -> Convention:
        return self.structure.convention

    def to_json(self) -> dict[str, Any]:
        """What a network's notes tell of its origin."""
        return {"convention": self.convention.to_json(), "notes": list(self.notes)}


def import_graph(
    record: Record, convention: Convention, findings: Findings | None = None, as_written: bool = False
) -> ImportedGraph:
    """The network that `record`, a NIR graph, means under `convention`.

    With `findings` all that stands in the way is gathered there, and what is noticed; the first is raised. If
    `as_written`, connections that are alike are not added up, and populations keep their maps.

    Raises
    ------
    UserError
        The graph cannot be imported; the message names the node, the value and what is expected.
    """
    findings = Findings() if findings is None else findings
    found = structure(record, convention, findings)
    populations = []
    for one in found.populations:
        with findings.gathered():
            populations.append(_population(found, one, as_written))
    findings.stop()
    outputs = tuple(dict.fromkeys(found.outputs.values()))
    every = tuple(populations) if as_written else _plain_shapes(populations)
    return ImportedGraph(found, found.inputs, every, outputs, tuple(findings.notes))


def _plain_shapes(populations: list[ImportedPopulation]) -> tuple[ImportedPopulation, ...]:
    """Without maps where neither a connection into a population nor one from it needs them."""
    every = [connection for population in populations for connection in population.inputs]
    needed = {connection.source for connection in every if connection.convolves or connection.pool}
    return tuple(
        replace(one, shape=(one.bias.size,))
        if one.name not in needed and not any(connection.convolves for connection in one.inputs)
        else one
        for one in populations
    )


def _population(found: Structure, one: Neurons, as_written: bool) -> ImportedPopulation:
    connections: list[ImportedConnection] = []
    total, seen = np.zeros(prod(one.shape)), set()
    for path in one.paths:
        connections += _connections(found, one, path)
        for number, name in enumerate(path.nodes):
            way = path.nodes[number:]
            if found.plain.nodes[name].type in BIASED and way not in seen:
                seen.add(way)
                total = total + _bias(found, way)
    merged = connections if as_written else _merged(connections)
    where = f"node {one.name} connections"
    require(len(merged) <= LARGEST_FAN, where, len(merged), f"at most {LARGEST_FAN}, one for each delay of a source")
    return ImportedPopulation(one.name, one.shape, one.rule, total, tuple(merged))


def _operator(found: Structure, where: str, shape: Shape, nodes: tuple[str, ...], poolable: bool) -> Operator:
    made = Operator.start(where, shape, poolable)
    for name in nodes:
        made = made.then(name, found.plain.nodes[name], found.shapes[name], found.delays.get(name))
    return made


def _bias(found: Structure, way: tuple[str, ...]) -> np.ndarray:
    """What the bias of the first node of `way` adds to the sum behind it."""
    name, node, shape = way[0], found.plain.nodes[way[0]], found.shapes[way[0]]
    values = np.repeat(bias(f"node {name}", node, shape[0]), prod(shape) // shape[0])
    if not values.any():
        return np.zeros(1)
    for behind in way[1:]:
        later = behind in found.delays and found.delays[behind].any()
        require(
            not later, f"node {name} bias", "not 0", f"0 in front of the Delay {behind}, before which nothing has come"
        )
    made = _operator(found, f"node {name}", shape, way[1:], False)
    return made.applied(values)


def _connections(found: Structure, one: Neurons, path: Path) -> list[ImportedConnection]:
    """The connections along a path: one for each delay."""
    poolable = path.source not in found.inputs
    made = _operator(found, f"node {one.name}", found.shapes[path.source], path.nodes, poolable)
    weights, pool = made.weights(one.shape)
    steps = made.delays + path.steps
    slowest = int(steps.max())
    require(slowest <= LARGEST_DELAY, f"node {one.name} delay", f"{slowest} steps", f"at most {LARGEST_DELAY}")
    every = np.unique(steps)
    connections = []
    for delay in every:
        mine = weights
        if every.size > 1:
            kept = steps == delay
            if isinstance(weights, Kernel):
                by_map = kept.reshape(weights.weight.shape[1], -1)
                whole = bool((by_map == by_map[:, :1]).all())
                if not whole:
                    weights, pool = made.as_matrix(), None
                    mine = np.where(kept, weights, 0.0)
                else:
                    mine = replace(weights, weight=np.where(by_map[None, :, :1, None], weights.weight, 0.0))
            else:
                mine = np.where(kept, weights, 0.0)
        if isinstance(mine, Kernel):
            connection = ImportedConnection(path.source, mine.weight, mine.stride, mine.padding, int(delay), pool)
        else:
            connection = ImportedConnection(path.source, mine, delay=int(delay), pool=pool)
        connections.append(connection)
    return connections


def _merged(connections: list[ImportedConnection]) -> list[ImportedConnection]:
    """Connections of one source, delay and geometry added up; those of zeros left out, unless nothing would be left."""
    found: list[ImportedConnection] = []
    for connection in connections:
        for number, other in enumerate(found):
            if _placed(connection) == _placed(other):
                found[number] = replace(other, weight=other.weight + connection.weight)
                break
        else:
            found.append(connection)
    living = [connection for connection in found if connection.weight.any()]
    return living or found[:1]


def _placed(connection: ImportedConnection) -> tuple[Any, ...]:
    """All of a connection but its weights."""
    c = connection
    return c.source, c.weight.shape, c.stride, c.padding, c.delay, c.pool
