"""Neurons that need not be built: removing them is exact for every input."""

from __future__ import annotations

from math import prod

import numpy as np

from ..quantize.network import Conv, Edge, Population, QuantizedNetwork
from .routes import are_maps

LONG = 1 << 14  # steps


def kept_neurons(network: QuantizedNetwork) -> list[np.ndarray]:
    """For each population, the ascending indices of the neurons to build; at least one, and all that are read out.

    Neurons that can never fire (their potential stays below threshold for any input) and those that no synapse reads
    are removed. Maps keep or lose whole channels. Where spikes come back, both are least fixpoints: from
    "nobody fires" on, and from "only what is read out is kept".
    """
    units = [_unit(network, number) for number in range(len(network.populations))]
    fires = _firing(network, units)
    read = {readout.source for readout in network.readouts}
    kept = [np.full(p.neurons, p.name in read) for p in network.populations]
    while True:
        _grow(network, fires, kept, units)
        empty = [number for number in network.order if not kept[number].any()]
        if not empty:
            return [np.flatnonzero(k) for k in kept]
        kept[empty[-1]][: units[empty[-1]]] = True


def _firing(network: QuantizedNetwork, units: list[int]) -> list[np.ndarray]:
    """For each population, which neurons can fire: bool `[neurons]`."""
    fires = [np.zeros(population.neurons, bool) for population in network.populations]
    names = {population.name: number for number, population in enumerate(network.populations)}
    inputs = {given.name: given.largest for given in network.inputs}
    changes = True
    while changes:
        changes = False
        for number in network.order:
            population = network.populations[number]
            highest = population.per_neuron(population.bias)
            for edge in network.graph.into(number):
                largest = np.zeros(edge.sources, np.int64)
                for source in edge.connection.sources:
                    sends = inputs.get(source)
                    largest += (
                        _largest_sent(edge, network.populations[names[source]], fires[names[source]])
                        if sends is None
                        else sends
                    )
                highest = highest + (_highest(edge, population, largest) << edge.connection.shift)
            steps = None if network.stream else network.steps
            found = fires[number] | _can_fire(population, highest, steps, units[number])
            changes |= bool((found != fires[number]).any())
            fires[number] = found
        changes &= not network.is_chain  # in which one pass sees every source before its listener
    return fires


def _grow(network: QuantizedNetwork, fires: list[np.ndarray], kept: list[np.ndarray], units: list[int]) -> None:
    """Keep what can fire and is heard by what is kept, until nothing changes."""
    names = {population.name: number for number, population in enumerate(network.populations)}
    changes = True
    while changes:
        changes = False
        for number in reversed(network.order):
            for edge in network.graph.into(number):
                heard = _heard(edge, kept[number], units[number])
                for source in edge.connection.sources:
                    if source not in names:
                        continue
                    at = names[source]
                    found = kept[at] | fires[at] & _neurons(network.populations[at], edge, heard, units[at])
                    changes |= bool((found != kept[at]).any())
                    kept[at] = found


def _unit(network: QuantizedNetwork, number: int) -> int:
    """Neurons of a population that are kept or lost together: a neuron, or a channel of maps."""
    population = network.populations[number]
    return population.neurons // population.channels if are_maps(network, number) else 1


def _highest(edge: Edge, population: Population, largest: np.ndarray) -> np.ndarray:
    """The highest sum that a connection gives each neuron, int64 `[neurons]`, of sources that send up to `largest`."""
    weight = np.maximum(edge.synapses.weight, 0).astype(np.int64)
    if isinstance(edge.synapses, Conv):
        weight, largest = weight.sum(axis=(2, 3)), largest.reshape(edge.input_shape).max(axis=(1, 2))
    return np.repeat(weight @ largest, population.neurons // len(weight))


def _can_fire(population: Population, highest: np.ndarray, steps: int | None, unit: int) -> np.ndarray:
    """Bool `[neurons]`: False where the potential stays below threshold, of sums up to `highest`, int64 `[neurons]`.

    In any number of `steps`, if there is none: a neuron whose state still grows after `LONG` steps may fire.
    """
    neuron, parameters = population.neuron, population.parameters
    v, i = parameters.start_value, np.zeros(population.neurons, dtype=np.int64)
    fires = np.zeros(population.neurons, dtype=bool)
    for _ in range(LONG if steps is None else steps):
        before = v, i
        i, x = neuron.entering(i, highest, parameters.current_factor)
        u = neuron.potential(v, x, parameters.factor)
        fires |= u >= parameters.threshold
        v = neuron.clipped(u)
        grows = (v != before[0]) | (i != before[1])
        if not grows.any():
            break  # nothing changes any more
    fires |= grows if steps is None else False
    return np.repeat(fires.reshape(-1, unit).any(axis=1), unit)


def _largest_sent(edge: Edge, population: Population, fires: np.ndarray) -> np.ndarray:
    """The largest value that each source of `edge` sends, int64, if the neurons `fires` are those that can."""
    if edge.pool is None:
        return fires.astype(np.int64)
    by_channel = fires.reshape(population.channels, -1).any(axis=1).astype(np.int64) * edge.pool.largest
    return np.repeat(by_channel, prod(edge.input_shape[1:]))


def _heard(edge: Edge, kept: np.ndarray, unit: int) -> np.ndarray:
    """Bool `[sources]`: True where a neuron that is `kept` has a synapse from what `edge` sees."""
    if isinstance(edge.synapses, Conv):
        used = edge.synapses.weight[kept[::unit]] != 0
        return np.repeat(used.any(axis=(0, 2, 3)), edge.sources // edge.input_shape[0])
    return (edge.synapses.weight[kept] != 0).any(axis=0)


def _neurons(population: Population, edge: Edge, heard: np.ndarray, unit: int) -> np.ndarray:
    """Bool `[neurons]` of `population`: whose output is among the sources of `edge` that are `heard`."""
    if unit == 1 and edge.pool is None:
        return heard
    return np.repeat(heard.reshape(population.channels, -1).any(axis=1), population.neurons // population.channels)
