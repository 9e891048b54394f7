"""Which integers are wide enough for a run: proven from the ranges of a network, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..quantize.network import Edge, LeakKind, Population, QuantizedNetwork, Ranges
from ..quantize.neuron import LIMIT


def narrowest(network: QuantizedNetwork, tabled: int) -> tuple[type, type]:
    """Types of the numbers of a run and of the products of its decays: int16 or int32, and int32 or int64.

    Population number `tabled` (-1: none) goes by its table: its membranes are never made.
    """
    made = [
        (population, network.graph.into(index), ranges)
        for index, (population, ranges) in enumerate(zip(network.populations, network.ranges, strict=True))
        if index != tabled
    ]
    kind = np.int16 if all(extreme(*parts) < np.iinfo(np.int16).max for parts in made) else np.int32
    wide = (
        np.int32 if all(largest_product(one, ranges) <= np.iinfo(np.int32).max for one, _, ranges in made) else np.int64
    )
    return kind, wide


def extreme(population: Population, edges: Sequence[Edge], ranges: Ranges) -> int:
    """Bound on the magnitude of every number that an update of `population` makes, products aside.

    `edges` lead to it.

    What is made for all neurons and kept for some counts as well: a soft reset is made where nothing spikes.
    """
    neuron, own = population.neuron, population.neuron.parameters
    sums = _magnitude(ranges.current) << neuron.fraction
    membrane, potential = _magnitude(ranges.membrane), _magnitude(ranges.potential)
    synaptic = _magnitude(ranges.synaptic)
    half = neuron.rounding.half(neuron.shift)
    found = [sums, membrane, potential, synaptic, int(ranges.adaptation[1])]
    found += [potential + _largest(own.reset_amount), neuron.refractory]
    if neuron.spiking:
        found += [_largest(own.threshold) + int(ranges.adaptation[1]), _largest(own.adaptation_jump)]
    found.append(ranges.farthest(neuron))
    if neuron.leak == LeakKind.SHIFT:
        found.append(membrane + half)
    for edge in edges:
        weight = _largest(edge.synapses.weight.astype(np.int64))
        found.append(weight << edge.connection.shift + neuron.fraction)
    return max(found)


def largest_product(population: Population, ranges: Ranges) -> int:
    """Bound on the magnitude of a state times the factor of its decay, with what rounds it."""
    neuron, found = population.neuron, [0]
    decays = [(_magnitude(ranges.membrane), neuron.parameters.factor, neuron.shift)] * (
        neuron.leak == LeakKind.MULTIPLY
    )
    if neuron.current is not None:
        decays.append((_magnitude(ranges.synaptic), neuron.current.factor, neuron.current.shift))
    if neuron.adaptation is not None:
        decays.append((int(ranges.adaptation[1]), neuron.adaptation.factor, neuron.adaptation.shift))
    for state, factor, shift in decays:
        found.append(state * _largest(factor) + neuron.rounding.half(shift))
    assert max(found) < LIMIT << 17, "a state below LIMIT times a factor of 16 bits"
    return max(found)


def _magnitude(bounds: tuple[int, int]) -> int:
    return max(map(abs, bounds))


def _largest(values: np.ndarray) -> int:
    return int(np.abs(values).max())
