"""Convolution in hardware: memories and address arithmetic hold the kernel; random networks are exact."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from random_cases import case, check
from random_networks import Options

from gradrtl.errors import UserError
from gradrtl.quantize.network import Connection, Conv, Input, IntNeuron, Population, QuantizedNetwork
from gradrtl.rtl import convolution, place_convolution
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.sim import geometry

CACHE = Path(__file__).parent.parent / "build" / "cache"
OPTIONS = Options(largest=60, most_layers=3)
# strides, paddings, pools that do not divide, both inputs, two convolutions, windows that fire before their end
MACHINES = (5, 16, 26, 45, 785, 906)


def convolutions() -> list[tuple[int, int]]:
    """Seed and layer of every convolution among the first random networks."""
    cases = {seed: case(seed, OPTIONS).network.layers for seed in range(80)}
    return [(s, i) for s, layers in cases.items() for i, x in enumerate(layers) if isinstance(x.synapses, Conv)]


def reached(layer: LayerMapping, address: int) -> dict[int, int]:
    """Neurons that an event at `address` reaches, and their weights, through lists, bases, taps and tables."""
    kernel, sources = layer.kernel, layer.heard[0].sources
    assert kernel is not None
    assert sources is not None
    _, y, x = np.unravel_index(layer.addresses[address], layer.heard[0].edge.input_shape)
    found: dict[int, int] = {}
    number = layer.lists[address]
    for pe in range(layer.pes):
        start = layer.counts[pe, :number].sum()
        run = layer.synapse_words(pe)[start : start + layer.counts[pe, number]]
        fields = layer.synapse_format.synapse.unpack(run)
        synapses = np.stack([fields[name] for name in ("group", "x", "y", "weight")], axis=1)
        for group, tap_x, tap_y, weight in synapses.tolist():
            row = kernel.rows.reached[sources.rows.bases[y] + tap_y]
            column = kernel.columns.reached[sources.columns.bases[x] + tap_x]
            if row >= 0 and column >= 0:
                neuron = int(layer.slots[group * layer.scan.group_rows + row + column, pe])
                assert neuron not in found
                found[neuron] = weight
    return found


def leaving(layer: LayerMapping) -> list[int]:
    """The outputs, pooled, of the channels that are built."""
    channels = np.unique(layer.slots[layer.used] // (layer.population.neurons // layer.population.channels))
    pooled = layer.outgoing[0].height * layer.outgoing[0].width
    outputs = np.arange(layer.population.channels * pooled).reshape(layer.population.channels, -1)
    return outputs[channels].ravel().tolist()


@pytest.mark.parametrize(("seed", "index"), convolutions())
def test_every_event_reaches_its_neurons(seed, index):
    mapping = case(seed, OPTIONS).mapping
    layer = mapping.layers[index]
    offsets, weights, fan_in = geometry.synapses(layer.heard[0].edge)
    offsets, weights = (np.split(values, np.cumsum(fan_in)[:-1]) for values in (offsets, weights))
    origins, padded = geometry.origins(layer.heard[0].edge), geometry.places(layer.heard[0].edge)
    built = set(layer.slots[layer.used].tolist())
    live = np.flatnonzero(layer.addresses >= 0)
    assert sorted(layer.addresses[live]) == (
        leaving(mapping.layers[index - 1]) if index else list(range(layer.heard[0].edge.sources))
    )
    for address in live[:: max(1, len(live) // 25)]:
        expected = {}
        for channel in range(layer.population.channels):
            position, at = np.nonzero(origins[:, None] + offsets[channel] == padded[layer.addresses[address]])
            for p, a in zip(position, at, strict=True):
                expected[channel * len(origins) + int(p)] = int(weights[channel][a])
        assert reached(layer, address) == {n: w for n, w in expected.items() if n in built}


@pytest.mark.parametrize(("seed", "index"), convolutions())
def test_what_leaves_arrives_under_its_address(seed, index):
    layer = case(seed, OPTIONS).mapping.layers[index]
    assert sorted(layer.sent[0][layer.sent[0] >= 0]) == leaving(layer)
    assert len(layer.sent[0]) <= 1 << layer.output_address_bits()


@pytest.mark.rtl
@pytest.mark.parametrize("seed", MACHINES)
def test_all_machines_agree(seed):
    finding = check(case(seed, OPTIONS), CACHE, seed)
    assert finding.wrong is None, f"{finding.wrong}; repeat with: python -m pytest {__file__} -k {seed}"
    assert finding.membranes > 0


def test_a_stride_that_reaches_padding_alone_has_no_more_phases_than_sources():
    """Every source reaches through every kernel row the target row of the formula, also where strides are shortened."""
    for size, kernel, stride, padding in itertools.product(range(1, 5), range(1, 5), range(1, 12), range(4)):
        axis = convolution._axis(size, kernel, stride, padding)
        assert 1 << axis.phase_bits <= 2 * max(size + padding, kernel)
        targets = max(0, (size + 2 * padding - kernel) // stride + 1)
        for y, i in itertools.product(range(size), range(kernel)):
            whole, rest = divmod(y + padding - i, stride)
            wanted = whole if rest == 0 and 0 <= whole < targets else None
            row = int(axis.bases[y]) - i // axis.stride
            found = row if axis.phases[y] == i % axis.stride and 0 <= row < targets else None
            assert found == wanted, (size, kernel, stride, padding, y, i)


def test_large_strides_take_no_memory(monkeypatch):
    synapses = Conv(np.ones((1, 1, 2, 2), np.int8), stride=(65536, 65536), padding=(1, 1))
    neuron = IntNeuron("none", "hard", threshold=1)
    population = Population("maps", (1, 1, 1), neuron, 0, (Connection("input", synapses),))
    network = QuantizedNetwork(Input((1, 4, 4)), (population,), 2)
    assert map_network(network, (1,)).layers[0].counts.shape[1] == 64
    monkeypatch.setattr(place_convolution, "MOST_LISTS", 63)
    with pytest.raises(UserError, match="lists of synapses from input is 64, expected at most 63"):
        map_network(network, (1,))
