"""Removed neurons: every one that is left out can never fire or is never heard, so nothing changes without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_cases import case
from random_networks import Options, frames

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
from gradrtl.rtl.pruning import kept_neurons
from gradrtl.sim import engine

CONVOLUTIONS = Options(largest=60, most_layers=3)


def lif(threshold: int) -> IntNeuron:
    return IntNeuron("none", "soft", np.array([threshold]))


def two_layers(first: list[list[int]], second: list[list[int]], threshold: int, steps: int = 1) -> QuantizedNetwork:
    hidden, out = np.array(first, np.int8), np.array(second, np.int8)
    return QuantizedNetwork.chain(
        Input((hidden.shape[1],), bits=1),
        (
            Layer("hidden", (hidden.shape[1],), Dense(hidden, np.zeros(len(hidden), np.int64)), lif(threshold), 4),
            Layer("out", (len(hidden),), Dense(out, np.zeros(len(out), np.int64)), lif(1), 4),
        ),
        steps,
    )


def test_the_silent_and_the_unheard_are_left_out():
    # IntNeuron 0 reaches 7 of 7; 1 reaches 6; 2 fires but nobody listens.
    network = two_layers([[7, 0], [6, -1], [7, 7]], [[1, 1, 0]], threshold=7)
    assert [k.tolist() for k in kept_neurons(network)] == [[0], [0]]


def test_what_a_silent_neuron_cannot_reach_in_one_step_it_may_in_two():
    network = two_layers([[4, 0]], [[1]], threshold=7)
    longer = replace(network, steps=2)
    assert engine.run(network, np.array([[255, 255]], np.uint8), trace=True).trace.spikes[0].sum() == 0
    assert engine.run(longer, np.array([[255, 255]], np.uint8), trace=True).trace.spikes[0].sum() == 1
    assert kept_neurons(longer)[0].tolist() == [0]


def test_who_hears_only_the_silent_falls_silent_too():
    hidden = two_layers([[7, 0], [1, 1]], [[0, 7], [7, 0]], threshold=7)
    out = hidden.layers[1]
    third = Layer("last", (2,), Dense(np.array([[1, 1]], np.int8), np.zeros(1, np.int64)), lif(1), 4)
    network = hidden.changed(layers=(hidden.layers[0], out, third))
    assert [k.tolist() for k in kept_neurons(network)] == [[0], [1], [0]]


def test_one_neuron_stays_where_none_is_needed_and_the_last_layer_stays_whole():
    network = two_layers([[0, 0], [0, 0]], [[0, 0], [0, 0]], threshold=7)
    assert [k.tolist() for k in kept_neurons(network)] == [[0], [0, 1]]


@pytest.mark.parametrize("seed", range(40))
def test_results_are_the_same_without_them(seed):
    network = case(seed).network
    images = frames(network, 24, seed)
    layers = list(network.layers)
    trace = engine.run(network, images, trace=True).trace
    for index, kept in enumerate(kept_neurons(network)[:-1]):
        left_out = np.setdiff1d(np.arange(layers[index].neurons), kept)
        listener = layers[index + 1]
        weight = listener.synapses.weight.copy()
        heard = (weight[kept_neurons(network)[index + 1]][:, left_out] != 0).any(axis=0)
        assert not trace.spikes[index][:, :, left_out][:, :, heard].any(), "a neuron that is heard fires"
        weight[:, left_out] = 0
        layers[index + 1] = replace(listener, synapses=Dense(weight, listener.synapses.bias))
    without = network.changed(layers=tuple(layers))
    assert np.array_equal(engine.run(network, images).counts, engine.run(without, images).counts)


def without(listener: Layer, layer: Layer, left_out: np.ndarray) -> Layer:
    """`listener` deaf to the channels of `layer` that have neurons in `left_out`."""
    channels = np.unique(left_out // (layer.neurons // layer.channels))
    weight = listener.synapses.weight.copy()
    per_channel = weight.reshape(len(weight), layer.output_shape[0], -1)  # a view
    per_channel[:, channels] = 0
    return replace(listener, synapses=replace(listener.synapses, weight=weight))


@pytest.mark.parametrize("seed", range(60))
def test_convolutions_lose_channels_and_nothing_else(seed):
    network = case(seed, CONVOLUTIONS).network
    images = frames(network, 12, seed)
    layers = list(network.layers)
    for index, kept in enumerate(kept_neurons(network)[:-1]):
        left_out = np.setdiff1d(np.arange(layers[index].neurons), kept)
        if isinstance(layers[index].synapses, Conv):
            assert len(left_out) % (layers[index].neurons // layers[index].channels) == 0
        layers[index + 1] = without(layers[index + 1], layers[index], left_out)
    deaf = network.changed(layers=tuple(layers))
    assert np.array_equal(engine.run(network, images).counts, engine.run(deaf, images).counts)


def test_a_silent_channel_and_an_unheard_one():
    """Channel 0 reaches 6 of 7, 1 reaches 7, 2 is not heard, pools in between."""
    first = np.array([6, 7, 7], np.int8).reshape(3, 1, 1, 1)
    second = np.array([[1, 1, 0]], np.int8).reshape(1, 3, 1, 1)
    nothing = np.zeros(3, np.int64)
    layers = (
        Layer("c0", (1, 4, 4), Conv(first, nothing), lif(7), 4, Pool("max", 2)),
        Layer("c1", (3, 2, 2), Conv(second, nothing[:1]), lif(1), 4),
        Layer("out", (1, 2, 2), Dense(np.ones((1, 4), np.int8), nothing[:1]), lif(1), 4),
    )
    kept = kept_neurons(QuantizedNetwork.chain(Input((1, 4, 4), bits=1), layers, 1))
    assert [k.tolist() for k in kept] == [list(range(16, 32)), [0, 1, 2, 3], [0]]


def looped(shift: int = 0) -> QuantizedNetwork:
    """Who hears the input fires; 1 fires as 0 does a step before, and 2 as 1 does; 3 only hears itself. All are read by
    one neuron but 3, which nobody hears."""
    back = np.zeros((4, 4), np.int8)
    back[1, 0] = back[2, 1] = back[3, 3] = 5
    given = np.array([[7], [0], [0], [0]], np.int8)
    return QuantizedNetwork(
        (Input((1,), kind="spikes"),),
        (
            Population("loop", (4,), lif(5 << shift), 0, (
                Connection("input", Dense(given), 4, shift=shift), Connection("loop", Dense(back), 4, 1, shift))),
            Population("out", (1,), lif(1), 0, (Connection("loop", Dense(np.array([[0, 0, 1, 1]], np.int8)), 4),)),
        ),
        6,
    )  # fmt: skip


@pytest.mark.parametrize("shift", [0, 3])
def test_least_fixpoints_of_a_loop(shift):
    """Neurons that fire through others in the loop stay, and those that are heard through others; 3 hears itself
    alone and never fires."""
    assert [k.tolist() for k in kept_neurons(looped(shift))] == [[0, 1, 2], [0]]
