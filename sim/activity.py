"""What each core of a placed network does in a frame: spikes, additions, and how busy its processing elements are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rtl.latency import READ
from ..rtl.routes import Port
from .measure import Measured


@dataclass(frozen=True)
class Activity:
    """One core, means per frame.

    `spikes`: of its neurons. `events`: that it takes. `synapses`: that its processing elements read, each with an
    addition. `mean`, `busiest`: cycles in which a processing element reads synapses, of all and of the busiest one.
    `cycles`: from one result to the next, or of a single frame. `updates`: rows of neurons that are updated, one a
    cycle.
    """

    population: str
    pes: int
    spikes: float
    events: float
    synapses: float
    mean: float
    busiest: float
    updates: int
    cycles: float

    @property
    def utilisation(self) -> float:
        """The fraction of all cycles of all processing elements in which a synapse is read."""
        return self.mean / self.cycles

    @property
    def waiting(self) -> float:
        """Cycles of a frame in which not even the busiest processing element reads a synapse."""
        return self.cycles - self.busiest


def activity(measured: Measured) -> tuple[Activity, ...]:
    """The activity of every core in a run, counted from the same events as the timing model's cycles."""
    mapping, outcome = measured.mapping, measured.outcome
    count = len(outcome.classes)
    assert outcome.trace is not None
    found = []
    for layer, ports, spikes in zip(mapping.layers, mapping.ports, outcome.trace.spikes, strict=True):
        heard = np.zeros(len(layer.lists), np.int64)  # how often each address came, in all frames
        for port in ports:
            heard += _heard(measured, port, len(heard))
        reads = layer.counts[:, layer.lists] @ heard * READ / count
        found.append(
            Activity(
                layer.population.name,
                layer.pes,
                float(spikes.sum(dtype=np.int64) / count),
                float(heard.sum() / count),
                float(reads.sum() / READ),
                float(reads.mean()),
                float(reads.max()),
                layer.rows * mapping.network.steps,
                measured.cycles_per_frame,
            )
        )
    return tuple(found)


def _heard(measured: Measured, port: Port, addresses: int) -> np.ndarray:
    """How often each address of a core came through one of its ports, int64 `[addresses]`."""
    mapping = measured.mapping
    if port.source is None:
        assert port.given is not None
        sent, own = measured.events[0], mapping.input.ranges[port.given]
    else:
        target = port.edge.population, port.number
        route = next(route for route in mapping.routes if (route.target, route.port) == target)
        sent, own = measured.events[mapping.stream(route.source, route.way)], range(addresses)
    segments = sent.counts.shape[1]
    events = sent.counts.sum(axis=2, dtype=np.int64)  # [frames, segments]
    segment = np.repeat(np.tile(np.arange(segments), len(events)), events.ravel())
    ends = segments if mapping.network.stream else segments - port.delay  # it leads the last steps out of a frame
    taken = segment < ends
    taken &= (sent.addresses >= own.start) & (sent.addresses < own.stop)
    return np.bincount(sent.addresses[taken] - own.start + mapping.offset(port), minlength=addresses)
