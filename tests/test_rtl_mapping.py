"""Mapping: the memories hold the network, whatever the placement; widths hold every number; bad input is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_cases import case

from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.rtl.pruning import kept_neurons

SEEDS = range(24)


def weights_in(layer: LayerMapping) -> np.ndarray:
    """The weight matrix `[neurons, sources]` read back from pointer and synapse memories as the reader reads them."""
    found = np.zeros((layer.population.neurons, layer.heard[0].edge.sources), np.int64)
    for pe in range(layer.pes):
        counts = layer.counts[pe]
        address = np.repeat(np.arange(len(counts)), counts)
        within_run = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        words = layer.synapse_words(pe)[np.repeat(layer.starts[pe], counts) + within_run]
        synapse = layer.synapse_format.synapse.unpack(words)
        np.add.at(found, (layer.slots[synapse["row"], pe], layer.addresses[address]), synapse["weight"])
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strided", [False, True])
def test_memories_hold_the_weights_of_the_neurons_that_are_kept(seed, strided):
    one = case(seed)
    layers = range(len(one.network.layers))
    mapping = map_network(one.network, Placement(one.pes, strided=tuple(layers) if strided else ()))
    kept = kept_neurons(one.network)
    sources = np.arange(one.network.layers[0].sources)
    for layer in mapping.layers:
        expected = np.zeros((layer.population.neurons, layer.heard[0].edge.sources), np.int64)
        here = np.ix_(kept[layer.index], sources)
        expected[here] = layer.heard[0].edge.synapses.weight[here]
        assert np.array_equal(weights_in(layer), expected)
        sources = kept[layer.index]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kept_neuron_has_one_slot_with_its_parameters(seed):
    one = case(seed)
    for layer, kept in zip(one.mapping.layers, kept_neurons(one.network), strict=True):
        assert sorted(layer.slots[layer.used].tolist()) == kept.tolist()
        assert layer.used[: layer.used.sum(axis=0).max()].any(axis=1).all()
        assert (np.diff(layer.used.astype(int), axis=0) <= 0).all(), "unused slots come last in their column"
        neurons = layer.slots[layer.used]
        own = layer.population.parameters._asdict()
        own["bias"] = layer.population.per_neuron(layer.population.bias)
        for name, parameter in layer.parameters.items():
            rows = np.repeat(parameter.values, layer.rows // len(parameter.values), axis=0)
            assert np.array_equal(np.broadcast_to(rows, layer.slots.shape)[layer.used], own[name][neurons])


@pytest.mark.parametrize("seed", SEEDS)
def test_widths_hold_every_number(seed):
    for layer in case(seed).mapping.layers:
        assert layer.rows - 1 < 1 << layer.row_bits
        count, start = layer.synapse_format.pointer.fields
        assert layer.counts.max() <= count.range[1]
        assert layer.starts.max() <= start.range[1]
        assert (layer.starts + layer.counts).max() - 1 < 1 << layer.synapse_address_bits
        assert len(layer.sent[0]) <= 1 << layer.output_address_bits()
        low, high = layer.synapse_format.synapse.fields[-1].range
        for weights in layer.weights:
            assert ((low <= weights) & (weights <= high)).all()


def test_same_arguments_same_digest_other_placement_other_digest():
    one = case(3)
    assert one.mapping.digest == one.mapping.digest
    others = [{"pes": tuple(p + 1 for p in one.pes)}, {"pixels_a_beat": 8}, {"queue_depth": 7}, {"row_queue_depth": 7}]
    digests = {map_network(one.network, Placement(**{"pes": one.pes} | other)).digest for other in ({}, *others)}
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([(4, 4)], "pes"),
        ([(0,)], "pes"),
        ([Placement((4, 4))], "pes"),
        ([(2,), ()], "rates"),
        ([(2,), (np.ones(3),)], r"rates\[0\]"),
    ],
)
def test_refuses(arguments, message):
    layer = Layer("only", (2,), Dense(np.ones((3, 2), np.int8), np.zeros(3, np.int64)), lif(), 4)
    with pytest.raises(UserError, match=message):
        map_network(QuantizedNetwork.chain(Input((2,)), (layer,), 2), *arguments)


def test_a_network_brings_its_rates_and_its_placement():
    """What the file of a network holds is what it is placed by; arguments go first."""
    one = next(one for one in map(case, range(99)) if one.mapping.layers[0].rows > 5 and one.pes[0] > 2)
    layers = one.network.layers
    rates = tuple(np.random.default_rng(0).random(layer.sources) for layer in layers)
    network = replace(one.network, rates=rates, placement=Placement(one.pes, queue_depth=7))
    by_argument = map_network(one.network, network.placement, rates)
    assert map_network(network).digest == by_argument.digest
    assert by_argument.digest != map_network(one.network, network.placement).digest, "rates decide"
    alike = [np.ones(layer.sources) for layer in layers]
    assert map_network(network, one.pes, alike).digest == map_network(one.network, one.pes).digest


def lif() -> IntNeuron:
    return IntNeuron("decaying_input", "hard", np.array([10]))
