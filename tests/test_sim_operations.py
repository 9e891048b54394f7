"""Counted operations of a network worked out by hand; `test_sim_engine.py` counts random ones again."""

from __future__ import annotations

import numpy as np
import pytest
import random_graphs
import random_networks

from gradrtl.quantize.network import (
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Layer,
    Pool,
    Population,
    QuantizedNetwork,
)
from gradrtl.sim import energy, operations, reference


def pooled(kind: str) -> QuantizedNetwork:
    """A 2 x 2 map whose neurons copy their pixels, pooled into one source that drives three neurons."""
    copy = Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))
    first = Layer("map", (1, 2, 2), copy, IntNeuron("none", "hard", np.array([1])), 2, Pool(kind, 2))
    reader = Dense(np.array([[1], [1], [0], [1]], np.int8), np.zeros(4, np.int64))
    second = Layer("sum", (1, 1, 1), reader, IntNeuron("none", "hard", np.array([9])), 2)
    return QuantizedNetwork.chain(Input((1, 2, 2)), (first, second), steps=2)


FRAMES = np.array([[9, 9, 9, 0], [0, 0, 0, 0]], np.uint8)


def test_every_spike_of_an_average_pool_is_an_event():
    counted = operations.count(pooled("average"), FRAMES, threads=1)
    assert counted.events[0].tolist() == [[3], [0]]
    assert counted.events[1].tolist() == [[3, 3], [0, 0]]
    assert counted.synaptic[1].tolist() == [[9, 9], [0, 0]]
    assert counted.synaptic_per_frame == (3 + 18) / 2


def test_a_window_of_a_max_pool_is_one_event():
    counted = operations.count(pooled("max"), FRAMES, threads=1)
    assert counted.events[1].tolist() == [[1, 1], [0, 0]]
    assert counted.synaptic[1].tolist() == [[3, 3], [0, 0]]


def test_rates_are_events_in_a_mean_frame():
    first, second = operations.source_rates(pooled("max"), FRAMES)
    assert first.tolist() == [0.5, 0.5, 0.5, 0]
    assert second.tolist() == [1]
    assert operations.source_rates(pooled("average"), FRAMES)[1].tolist() == [3]


def test_rates_count_the_events_of_all_sources():
    """Both neurons of both populations spike at both steps."""
    neuron = IntNeuron("none", "hard", 1)
    one = Dense(np.ones((2, 1), np.int8))
    named = [Population(name, (2,), neuron, 0, (Connection("input", one),)) for name in ("a", "b")]
    both = Population("c", (2,), neuron, 0, (Connection(("a", "b"), Dense(np.ones((2, 2), np.int8))),))
    network = QuantizedNetwork(Input((1,)), (*named, both), steps=2)
    assert operations.source_rates(network, np.array([[9]], np.uint8))[2].tolist() == [4, 4]


def test_connections_of_one_source_have_names_of_their_own():
    again = (Connection("input", Dense(np.ones((2, 1), np.int8)), delay=delay) for delay in range(3))
    twice = Population("a", (2,), IntNeuron("none", "hard", 1), 0, tuple(again))
    network = QuantizedNetwork(Input((1,), kind="spikes"), (twice,), steps=2)
    assert operations.titles(network) == ("a from input", "a from input (2)", "a from input (3)")


@pytest.mark.parametrize("seed", range(30))
def test_operations_of_graphs_are_those_of_the_reference(seed):
    """Events by connection: of each source apart, as late as the connection, at the synapses that the reference has."""
    network = random_graphs.graph(seed)
    frames = random_networks.frames(network, 3, seed)
    given = frames if isinstance(frames, tuple) else (frames,)
    trace, counted = reference.run(network, frames).trace, operations.count(network, frames, threads=1)
    inputs = [one.name for one in network.inputs]
    for index, edge in enumerate(network.edges):
        reached = [
            sum(j == source for row in reference._fan_in(edge) for j, _ in row) for source in range(edge.sources)
        ]
        for frame, step in np.ndindex(counted.events[index].shape):
            before = step - edge.connection.delay
            arriving = [0] * edge.sources
            for source in edge.connection.sources if before >= 0 else ():
                if source in inputs:
                    one, values = network.inputs[inputs.index(source)], given[inputs.index(source)][frame]
                    static = one.kind == "static"
                    seen = [int(value >> 8 - one.bits > 0) for value in values] if static else values[before] > 0
                else:
                    seen = trace.spikes[network.graph.index[source]][frame, before].tolist()
                    seen = reference._pool(edge.pool, seen, edge.source_shape) if edge.pool else seen
                arriving = [a + int(b) for a, b in zip(arriving, seen, strict=True)]
            assert counted.events[index][frame, step] == sum(arriving)
            assert counted.synaptic[index][frame, step] == sum(a * b for a, b in zip(arriving, reached, strict=True))
    assert energy.estimate(network, counted).nanojoules >= 0
    assert [rates.size for rates in operations.source_rates(network, frames)] == [e.sources for e in network.edges]
