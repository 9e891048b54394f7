"""Proven ranges of a population's numbers, by interval arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bits import signed_bits
from .graph import Edge, Graph
from .neuron import LIMIT, IntNeuron, LeakKind, Parameters, Reset
from .population import Population, spread

ROWS = 1 << 22  # weights that are summed at a time: the sums need eight times the memory

ENDLESS = 1 << 18  # updates after which states that still grow count as without bound

Bounds = tuple[int, int]  # inclusive


@dataclass(frozen=True)
class Ranges:
    """Proven bounds, inclusive, of a population's numbers over all inputs and all its neurons."""

    current: Bounds  # I: partial sums and the whole sum, bias included
    potential: Bounds  # u, before the spike
    membrane: Bounds  # v, after reset and saturation
    synaptic: Bounds = (0, 0)  # i, the synaptic current
    adaptation: Bounds = (0, 0)  # a, above the threshold
    settled: bool = True  # more steps would change nothing; of interest where steps have no end

    @property
    def current_bits(self) -> int:
        return signed_bits(*self.current)

    @property
    def potential_bits(self) -> int:
        return signed_bits(*self.potential)

    @property
    def membrane_bits(self) -> int:
        return signed_bits(*self.membrane)

    @property
    def synaptic_bits(self) -> int:
        return signed_bits(*self.synaptic)

    @property
    def adaptation_bits(self) -> int:
        return signed_bits(*self.adaptation)

    def farthest(self, neuron: IntNeuron) -> int:
        """Bound on the distance of what enters from the membrane, with what rounds it, of neurons that leak by it."""
        if neuron.leak != LeakKind.DECAYING_INPUT:
            return 0
        entering = [bound << neuron.fraction for bound in self.current] if neuron.current is None else self.synaptic
        return max(map(abs, entering)) + max(map(abs, self.membrane)) + neuron.rounding.half(neuron.shift)


def ranges_of_graph(graph: Graph, steps: int | None) -> tuple[Ranges, ...]:
    """Bounds over `steps` updates, None for any number, one for each population.

    Exact for sums, conservative for all else.
    """
    return tuple(
        neuron_ranges(population.neuron, _current(population, graph.into(number)), steps)
        for number, population in enumerate(graph.populations)
    )


def neuron_ranges(neuron: IntNeuron, current: Bounds, steps: int | None) -> Ranges:
    """Bounds over `steps` updates of neurons whose sums stay within `current`: every state within an interval.

    Without end (None) they hold for any number of updates if they are `settled`.
    """
    low, high = (Parameters(*(int(end(values)) for values in neuron.parameters)) for end in (np.min, np.max))
    v, i, a = (low.start_value, high.start_value), (0, 0), 0
    all_u, all_v, all_i = (0, 0), v, (0, 0)
    settled = False
    for _ in range(ENDLESS if steps is None else steps):
        before = v, i, a
        x = current[0] << neuron.fraction, current[1] << neuron.fraction
        if neuron.current is not None:
            old, kept = i, _decayed(neuron, i, low.current_factor, high.current_factor)
            i = kept[0] + x[0], kept[1] + x[1]
            x = i if neuron.current.enters == "new" else old
        u = (
            min(neuron.potential(v[0], x[0], factor) for factor in (low.factor, high.factor)),
            max(neuron.potential(v[1], x[1], factor) for factor in (low.factor, high.factor)),
        )
        new = _after_spike(neuron, u, low, high, high.threshold + a)
        new = neuron.clipped(new[0]), neuron.clipped(new[1])
        v = _union(new, v) if neuron.refractory else (new[0], max(new))
        if neuron.adaptation is not None:
            shift = neuron.adaptation.shift
            a = max(neuron.decayed(a, p.adaptation_factor, shift) for p in (low, high)) + high.adaptation_jump
        all_u, all_v, all_i = _union(all_u, u), _union(all_v, v), _union(all_i, i)
        settled = (v, i, a) == before
        if settled or max(a, *map(abs, (*v, *i))) >= LIMIT:
            break  # nothing changes any more, or the network is refused
    return Ranges(current, all_u, neuron.bounds or all_v, all_i, (0, a), settled)


def _decayed(neuron: IntNeuron, i: Bounds, *factors: int) -> Bounds:
    """Synaptic currents after their decay, for all factors between the two."""
    assert neuron.current is not None
    low, high = ([neuron.decayed(end, factor, neuron.current.shift) for factor in factors] for end in i)
    return min(low), max(high)


def _after_spike(neuron: IntNeuron, u: Bounds, low: Parameters, high: Parameters, highest: int) -> Bounds:
    """Membranes after potentials within `u`, before saturation; `highest`: the largest threshold, `a` included."""
    if not neuron.spiking or neuron.reset == Reset.NONE:
        return u
    quiet = min(u[1], highest - 1)
    if neuron.reset == Reset.HARD:
        return min(u[0], low.reset_value), max(quiet, high.reset_value)
    return min(u[0], max(u[0], low.threshold) - high.reset_amount), max(quiet, u[1] - low.reset_amount)


def _union(a: Bounds, b: Bounds) -> Bounds:
    return min(a[0], b[0]), max(a[1], b[1])


def _current(population: Population, edges: tuple[Edge, ...]) -> Bounds:
    """Smallest and largest partial sum of any neuron, its bias counted where it leads away from zero."""
    bias = population.per_neuron(population.bias)
    low, high = np.minimum(bias, 0), np.maximum(bias, 0)
    for edge in edges:
        sums = _sums(edge.synapses.weight.reshape(edge.channels, -1))
        negative, positive = (
            spread(part * edge.largest << edge.connection.shift, edge.channels, edge.neurons) for part in sums
        )
        low, high = low + negative, high + positive
    return int(low.min()), int(high.max())


def _sums(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the negative and of the positive weights of each row: int64 `[rows]`."""
    sums = np.zeros((2, len(weight)), np.int64)
    rows = max(1, ROWS // weight.shape[1])
    for first in range(0, len(weight), rows):
        part = weight[first : first + rows]
        sums[0, first : first + rows] = np.minimum(part, 0).sum(axis=1, dtype=np.int64)
        sums[1, first : first + rows] = np.maximum(part, 0).sum(axis=1, dtype=np.int64)
    return sums[0], sums[1]
