"""Lists of synapses of graphs: whatever a port hears reaches the neurons of its connection, by memories and tables."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from graph_cases import case
from map_graphs import GRAPHS

from gradrtl.quantize.network import Edge
from gradrtl.rtl.layer_mapping import LayerMapping
from gradrtl.rtl.lists import Heard
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.pruning import kept_neurons
from gradrtl.sim import geometry

SEEDS = range(12)


def mappings() -> dict[str, Mapping]:
    drawn = {f"random {seed}": case(seed, built=True).mapping for seed in SEEDS}
    return drawn | {name: map_network(made, (2,) * len(made.populations)) for name, made in GRAPHS.items()}


def reached(layer: LayerMapping, heard: Heard, at: int) -> Counter:
    """Neurons that an event at address `at` of a port reaches, and their weights, through lists, bases and tables."""
    found: Counter = Counter()
    number, kernel = heard.lists[at], layer.kernel
    for pe in range(layer.pes):
        start = layer.starts[pe, number]
        fields = layer.synapse_format.synapse.unpack(layer.synapse_words(pe)[start : start + layer.counts[pe, number]])
        if kernel is None:
            rows = fields["row"]
        else:
            y, x = kernel.rows.first_base, kernel.columns.first_base
            if heard.sources is not None:
                _, y, x = np.unravel_index(heard.addresses[at], heard.edge.input_shape)
                y, x = heard.sources.rows.bases[y], heard.sources.columns.bases[x]
            row, column = kernel.rows.reached[y + fields["y"]], kernel.columns.reached[x + fields["x"]]
            rows = np.where((row >= 0) & (column >= 0), fields["group"] * layer.scan.group_rows + row + column, -1)
        for row, weight in zip(rows.tolist(), fields["weight"].tolist(), strict=True):
            if row >= 0:
                found[int(layer.slots[row, pe])] += weight
    return found


def meant(edge: Edge, source: int) -> Counter:
    """Neurons that hear the source `source` of a connection."""
    offsets, weights, fan_in = geometry.synapses(edge)
    offsets, weights = (np.split(values, np.cumsum(fan_in)[:-1]) for values in (offsets, weights))
    origins, place = geometry.origins(edge), geometry.places(edge)[source]
    found: Counter = Counter()
    for channel in range(edge.channels):
        position, at = np.nonzero(origins[:, None] + offsets[channel] == place)
        for p, a in zip(position.tolist(), at.tolist(), strict=True):
            found[channel * len(origins) + p] += int(weights[channel][a])
    return found


@pytest.mark.parametrize("name", [*GRAPHS, *(f"random {seed}" for seed in SEEDS)])
def test_every_event_reaches_its_neurons(name):
    mapping = mappings()[name]
    kept = kept_neurons(mapping.network)
    for number, (layer, into) in enumerate(zip(mapping.layers, mapping.ports, strict=True)):
        built = set(layer.slots[layer.used].tolist())
        assert built <= set(kept[number].tolist())
        assert len(layer.heard) == len(into)
        for heard in layer.heard:
            live = np.flatnonzero(heard.addresses >= 0)
            for at in live[:: max(1, len(live) // 12)]:
                expected = {n: w for n, w in meant(heard.edge, int(heard.addresses[at])).items() if n in built}
                assert reached(layer, heard, at) == expected


@pytest.mark.parametrize("name", [*GRAPHS, *(f"random {seed}" for seed in SEEDS)])
def test_what_leaves_is_what_is_heard(name):
    """Each output that is built has an address of its own on every way, that of the source which a reader sees."""
    mapping = mappings()[name]
    for layer in mapping.layers:
        for way, (outgoing, sent) in enumerate(zip(layer.outgoing, layer.sent, strict=True)):
            assert len(sent) <= 1 << layer.output_address_bits(way)
            sources = sent[sent >= 0].tolist()
            assert len(sources) == len(set(sources))
            channels, height, width = (*layer.population.shape, 1, 1)[:3]
            size = outgoing.size
            neurons = np.arange(layer.population.neurons).reshape(channels, height, width)
            for source in sources[:: max(1, len(sources) // 12)]:
                c, y, x = np.unravel_index(source, (channels, height // size, width // size))
                window = neurons[c, y * size : (y + 1) * size, x * size : (x + 1) * size].ravel()
                rows, lanes = np.nonzero(np.isin(layer.slots, window))
                address = int(np.flatnonzero(sent == source)[0])
                assert set(outgoing.outputs[rows] << layer.lane_bits | lanes) == {address}
                assert outgoing.sends[rows].sum() == (1 if outgoing.joined else size * size)
