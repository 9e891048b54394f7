"""Leaving out the dead and putting them back changes no spike."""

from __future__ import annotations

from dataclasses import replace

import float_networks
import numpy as np
import pytest

from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network
from gradrtl.quantize import ptq
from gradrtl.quantize.fold import FloatLayer, FloatNetwork, fold
from gradrtl.quantize.living import without_dead
from gradrtl.quantize.rounding import Formats
from gradrtl.sim import engine


def sparse(seed: int, bias: bool = False, neuron: FloatNeuron = float_networks.NEURONS[0]) -> FloatNetwork:
    layers = (
        LayerSpec(ConvSpec(2)),
        LayerSpec(DenseSpec(30, bias), neuron),
        LayerSpec(DenseSpec(20), neuron),
        LayerSpec(DenseSpec(5)),
    )
    return fold(float_networks.checkpoint(Network("sparse", (1, 4, 4), layers, 5), seed, connectivity=0.05))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("per_channel", [False, True])
def test_no_spike_of_the_living_and_no_count_changes(seed: int, per_channel: bool) -> None:
    whole = sparse(seed)
    living = without_dead(whole)
    formats = Formats(6, per_channel=per_channel)
    scales = ptq.weight_scales(whole, formats)
    own = tuple(s[rows] if per_channel else s for s, rows in zip(scales, living.neurons, strict=True))
    full, small = ptq.at_scales(whole, formats, scales), ptq.at_scales(living.network, formats, own)
    frames = np.random.default_rng(seed).integers(0, 256, (20, 16), dtype=np.uint8)
    outcomes = [engine.run(n, frames, trace=True, threads=1) for n in (full, small, living.expand(small))]
    assert sum(len(neurons) for neurons in living.neurons) < sum(layer.channels for layer in whole.layers)
    for outcome in outcomes[1:]:
        np.testing.assert_array_equal(outcome.counts, outcomes[0].counts)
    traces = [outcome.trace for outcome in outcomes]
    for index in (1, 2, 3):
        chosen = living.neurons[index]
        np.testing.assert_array_equal(traces[1].spikes[index], traces[0].spikes[index][:, :, chosen])
        np.testing.assert_array_equal(traces[2].spikes[index][:, :, chosen], traces[0].spikes[index][:, :, chosen])
    expanded = living.expand(small)
    assert [layer.synapses.weight.shape for layer in expanded.layers] == [layer.weight.shape for layer in whole.layers]
    assert expanded.notes["synapses"]["trained"] == full.notes["synapses"]["trained"]
    assert expanded.notes["synapses"]["kept"] == [np.count_nonzero(layer.synapses.weight) for layer in expanded.layers]


def test_biased_neurons_live_without_sources() -> None:
    assert len(without_dead(sparse(1, bias=True)).neurons[1]) > len(without_dead(sparse(1)).neurons[1])


def test_a_network_without_a_path_is_left_alone() -> None:
    whole = sparse(2)
    first, second = np.zeros((30, 32)), np.zeros((20, 30))
    first[0, 0] = second[0, 1] = 1.0
    layers = (whole.layers[0], replace(whole.layers[1], weight=first), replace(whole.layers[2], weight=second))
    whole = replace(whole, layers=(*layers, whole.layers[3]))
    assert without_dead(whole).network is whole


def test_who_is_heard_by_the_dead_alone_is_left_out() -> None:
    """Of two parallel chains the second ends before the output."""
    pair, neuron = np.eye(2), FloatNeuron()
    layers = (
        FloatLayer("a", (2,), pair, np.zeros(2), neuron),
        FloatLayer("b", (2,), pair, np.zeros(2), neuron),
        FloatLayer("c", (2,), np.array([[1.0, 0.0]]), np.zeros(1), neuron),
    )
    found = without_dead(FloatNetwork((2,), layers, 3))
    assert [rows.tolist() for rows in found.neurons] == [[0], [0], [0]]
