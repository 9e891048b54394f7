"""Graphs shrink to what makes them fail."""

from __future__ import annotations

import graph_shrinking
import numpy as np
import pytest
from graph_cases import case
from random_cases import Case, machines_differ
from random_graphs import has_cycle
from shrinking import plainer, shrink

from gradrtl.quantize.network import Conv


@pytest.mark.parametrize("seed", range(10))
def test_every_simpler_case_is_valid_and_smaller(seed):
    one = case(seed, 3)
    names = {part.name for part in (*one.network.inputs, *one.network.populations)}
    for smaller in graph_shrinking.simpler(one):
        assert size(smaller) < size(one)
        assert smaller.count > 0
        assert {part.name for part in (*smaller.network.inputs, *smaller.network.populations)} <= names
        assert not smaller.built or smaller.mapping.layers
        assert machines_differ(smaller) is None  # the frames fit


def size(one: Case) -> int:
    net = one.network
    frames = (one.frames,) if isinstance(one.frames, np.ndarray) else one.frames
    connections = [connection for population in net.populations for connection in population.inputs]
    parts = len(net.inputs) + len(net.populations) + len(net.readouts)
    synapses = sum(connection.synapses.weight.size for connection in connections)
    rules = sum(connection.delay + connection.shift + len(connection.sources) for connection in connections)
    biases = sum(np.count_nonzero(population.bias) for population in net.populations)
    kinds = sum(1 for population in net.populations for _ in plainer(population.neuron))
    depths = abs(one.queue_depth - 16) + abs(one.row_queue_depth - 8) + abs(one.pixels_a_beat - 4)
    return (
        sum(values.size for values in frames)
        + parts + synapses + rules + biases + kinds + depths + net.steps + sum(one.pes)
    )  # fmt: skip


def test_shrinks_to_the_cycle_that_matters():
    large = next(one for one in map(case, range(1, 99, 2)) if len(one.network.edges) > 8)
    small = shrink(large, lambda less: has_cycle(less.network), 1000, graph_shrinking.simpler)
    assert has_cycle(small.network)
    assert len(small.network.edges) == len(small.network.populations) + 1
    assert all(population.channels == 1 for population in small.network.populations)
    assert small.network.steps == small.count == max(small.pes) == 1


def test_shrinks_several_inputs_and_maps():
    """What matters is a synapse of a convolution, in a graph with an input that is heard through another connection."""
    large = next(one for one in map(case, range(99)) if len(one.network.inputs) > 1 and has_largest_weight(one))
    small = shrink(large, has_largest_weight, 1000, graph_shrinking.simpler)
    assert has_largest_weight(small)
    assert len(small.network.inputs) == len(small.network.populations) == 1
    assert small.network.edges[0].connection.synapses.weight.shape[:2] == (1, 1)


def has_largest_weight(one: Case) -> bool:
    return any(
        isinstance(edge.synapses, Conv) and edge.synapses.weight.max() == (1 << edge.connection.weight_bits - 1) - 1
        for edge in one.network.edges
    )
