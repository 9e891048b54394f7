"""Counts of events and synaptic operations of every frame, connection and step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ..quantize.network import Edge, Pool, QuantizedNetwork
from ..quantize.population import unique
from . import engine, geometry
from .frames import Frames, check
from .outcome import Trace


@dataclass(frozen=True)
class Operations:
    """Counts by connection, in the order of `network.edges`: `events[e]` and `synaptic[e]` are int64 `[frames, steps]`.

    An event is a nonzero pixel, or a spike that arrives; a graded event is one event, whatever its count, as it is one
    multiplication for each synapse in the hardware. A spike of a max pool's window arrives once for the window,
    in an average pool every spike arrives. A synaptic operation is one event at one nonzero synapse. A connection
    that reads static pixels adds them up once a frame: its arrays are `[frames, 1]`. In a chain there is one
    connection for each layer.
    """

    events: tuple[np.ndarray, ...]
    synaptic: tuple[np.ndarray, ...]

    @property
    def synaptic_per_frame(self) -> float:
        """Mean synaptic operations per frame, all connections."""
        return float(sum(s.sum(axis=1).mean() for s in self.synaptic))


def titles(network: QuantizedNetwork) -> tuple[str, ...]:
    """Each connection's name: that of its population, and of the sources too if the population has several.

    Connections between the same two are numbered.
    """
    found = []
    for edge in network.edges:
        population = network.populations[edge.population]
        several = len(population.inputs) > 1
        found.append(population.name + (f" from {' + '.join(edge.connection.sources)}" if several else ""))
    return tuple(unique(found))


def count(network: QuantizedNetwork, frames: Frames, *, threads: int | None = None) -> Operations:
    """Run `frames` (see `engine.run`) in blocks and count."""
    given = check(network, frames)
    fan_outs = [geometry.fan_out(edge) for edge in network.edges]
    events: list[list[np.ndarray]] = [[] for _ in network.edges]
    synaptic: list[list[np.ndarray]] = [[] for _ in network.edges]
    late: dict[int, np.ndarray] = {}
    for part, outcome in engine.blocks(network, given, trace="spikes", threads=threads):
        assert outcome.trace is not None
        for index, edge in enumerate(network.edges):
            values = arriving(network, edge, tuple(each[part] for each in given), outcome.trace, late)
            events[index].append(values.sum(axis=2, dtype=np.int64))
            synaptic[index].append(
                np.array([frame @ fan_outs[index] for frame in values])
            )  # frame by frame, without a wide copy of all
    return Operations(tuple(map(_join, events)), tuple(map(_join, synaptic)))


def source_rates(network: QuantizedNetwork, frames: Frames) -> tuple[np.ndarray, ...]:
    """Mean events per frame of each source of each connection: float `[sources]`, in the order of `network.edges`."""
    given = check(network, frames)
    totals = [np.zeros(edge.sources) for edge in network.edges]
    late: dict[int, np.ndarray] = {}
    for part, outcome in engine.blocks(network, given, trace="spikes"):
        assert outcome.trace is not None
        for total, edge in zip(totals, network.edges, strict=True):
            values = arriving(network, edge, tuple(each[part] for each in given), outcome.trace, late)
            total += values.sum(axis=(0, 1))
    return tuple(total / len(given[0]) for total in totals)


def arriving(
    network: QuantizedNetwork,
    edge: Edge,
    frames: tuple[np.ndarray, ...],
    trace: Trace,
    late: dict[int, np.ndarray] | None = None,
) -> np.ndarray:
    """Events that reach a connection's synapses in the run of `frames` with this `trace`: `[frames, steps, sources]`.

    Of a stream, `late` keeps what arrives only with the next frames, for the call with these: an empty one at first.
    Bool for one input (`[frames, 1, sources]` if it is static), uint8 for spikes and max pools, int64 for average pools
    and for several sources.
    """
    names = [given.name for given in network.inputs]
    found: list[np.ndarray] = []
    for source in edge.connection.sources:
        if source in names:
            given, values = network.inputs[names.index(source)], frames[names.index(source)]
            found.append(given.seen(values)[:, None] != 0 if given.kind == "static" else values != 0)
        else:
            spikes = trace.spikes[network.graph.index[source]]
            found.append(spikes if edge.pool is None else pooled(edge.pool, spikes, edge.source_shape))
    delay = edge.connection.delay
    seen = found[0] if len(found) == 1 else np.asarray(np.sum(found, axis=0, dtype=np.int64))
    if delay and network.stream:
        kept = {} if late is None else late
        number = network.edges.index(edge)
        waiting = np.concatenate([kept.get(number, np.zeros((delay, *seen.shape[1:]), seen.dtype)), seen])
        seen, kept[number] = waiting[: len(seen)], waiting[len(seen) :]
    elif delay:
        delayed = np.zeros_like(seen)
        delayed[:, delay:] = seen[:, : max(0, seen.shape[1] - delay)]
        seen = delayed
    return seen


def pooled(pool: Pool, spikes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The `spikes` of maps of `shape`, `[frames, steps, neurons]`, after pooling: `[frames, steps, pooled sources]`.

    Max pool: the OR of each window, with the type of `spikes`. Average pool: int64 numbers of spikes.
    """
    _, height, width = pool.output_shape(shape)
    size = pool.size
    maps = spikes.reshape(*spikes.shape[:2], *shape)[..., : height * size, : width * size]
    parts = [maps[..., row::size, column::size] for row in range(size) for column in range(size)]  # faster than an axis
    if pool.kind == "max":
        joined = reduce(np.maximum, parts)
    else:
        joined = reduce(np.add, [part.astype(np.int64) for part in parts])
    return joined.reshape(*spikes.shape[:2], -1)


def _join(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.int64)
