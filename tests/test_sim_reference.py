"""The reference against traces worked out by hand: one for each rule of `docs/design.md`, section 2."""

from __future__ import annotations

import numpy as np
import pytest

from gradrtl.quantize.network import (
    Adaptation,
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Layer,
    Pool,
    Population,
    QuantizedNetwork,
    Readout,
    SynapticCurrent,
)
from gradrtl.sim import reference


def neuron(**given) -> IntNeuron:
    return IntNeuron(**{"leak": "none", "reset": "hard", "threshold": np.array([10]), **given})


def one(steps: int, weight: int = 1, bias: int = 0, bits: int = 8, **given) -> QuantizedNetwork:
    """One neuron that reads one pixel."""
    synapses = Dense(np.array([[weight]], np.int8), np.array([bias]))
    readout = Readout("count" if given.get("spiking", True) else "membrane")
    return QuantizedNetwork.chain(
        Input((1,), bits), (Layer("only", (1,), synapses, neuron(**given), 8),), steps, readout
    )


def trace(network: QuantizedNetwork, pixel: int) -> tuple[list[int], list[int]]:
    outcome = reference.run(network, np.array([[pixel]], np.uint8))
    assert outcome.trace is not None
    return outcome.trace.membranes[0].ravel().tolist(), outcome.trace.spikes[0].ravel().tolist()


@pytest.mark.parametrize(
    ("given", "membranes", "spikes"),
    [
        # u = v + 4: 4, 8, 12 -> fires
        ({}, [4, 8, 0, 4], [0, 0, 1, 0]),
        ({"reset": "soft"}, [4, 8, 2, 6], [0, 0, 1, 0]),
        ({"reset_value": 3}, [7, 3, 7, 3], [0, 1, 0, 1]),
        # u = v - (v >> 1) + 4: 4, 6, 7, 8
        ({"leak": "shift"}, [4, 6, 7, 8], [0, 0, 0, 0]),
        # u = (3 v >> 2) + 4: 4, 7, 9, 10 -> fires
        ({"leak": "multiply", "factor": 3, "shift": 2}, [4, 7, 9, 0], [0, 0, 0, 1]),
        # u = v + ((4 - v) >> 1): 2, 3, 3 (the half is lost), 3
        ({"leak": "decaying_input"}, [2, 3, 3, 3], [0, 0, 0, 0]),
        # one fractional bit keeps it: thresholds count in halves; u = v + ((8 - v) >> 1): 4, 6, 7, 7
        ({"leak": "decaying_input", "fraction": 1}, [4, 6, 7, 7], [0, 0, 0, 0]),
        # 4 bits hold up to 7: the membrane stays there and never reaches 12
        ({"membrane_bits": 4, "threshold": np.array([12])}, [4, 7, 7, 7], [0, 0, 0, 0]),
        # the threshold is compared before saturation: 7 + 4 fires at 10
        ({"membrane_bits": 4}, [4, 7, 0, 4], [0, 0, 1, 0]),
        ({"spiking": False}, [4, 8, 12, 16], [0, 0, 0, 0]),
        ({"reset": "none"}, [4, 8, 12, 16], [0, 0, 1, 1]),
        ({"reset": "soft", "reset_amount": 3}, [4, 8, 9, 10], [0, 0, 1, 1]),
        ({"start_value": 5}, [9, 0, 4, 8], [0, 1, 0, 0]),
        # u = v - (v + 1 >> 1) + 4
        ({"leak": "shift", "rounding": "nearest"}, [4, 6, 7, 7], [0, 0, 0, 0]),
        # u = (3 v + 2 >> 2) + 4: 4, 7, 9, 11 -> fires
        ({"leak": "multiply", "factor": 3, "shift": 2, "rounding": "nearest"}, [4, 7, 9, 0], [0, 0, 0, 1]),
        # u = v + ((4 - v) + 1 >> 1): 2, 3, 4, 4
        ({"leak": "decaying_input", "rounding": "nearest"}, [2, 3, 4, 4], [0, 0, 0, 0]),
        # i = (i >> 1) + 4: 4, 6, 7, 7
        ({"current": SynapticCurrent(1, 1)}, [4, 0, 7, 0], [0, 1, 0, 1]),
        ({"current": SynapticCurrent(1, 1, "old")}, [0, 4, 0, 7], [0, 0, 1, 0]),
        # above the threshold of 4: 6, 3, 1 + 6, 3
        ({"threshold": 4, "adaptation": Adaptation(1, 1, 6)}, [0, 4, 0, 4], [1, 0, 1, 0]),
        ({"threshold": 4, "refractory": 2}, [0, 0, 0, 0], [1, 0, 0, 1]),
    ],
)
def test_trace_of_one_neuron(given, membranes, spikes):
    assert trace(one(4, **given), pixel=4) == (membranes, spikes)


def test_shifts_round_to_minus_infinity():
    """v = -3: -3 - (-3 >> 1) - 3 = -3 + 2 - 3 = -4, then -4 + 2 - 3 = -5, then -5 + 3 - 3 = -5."""
    assert trace(one(4, weight=-1, leak="shift"), pixel=3) == ([-3, -4, -5, -5], [0] * 4)
    assert trace(one(2, weight=-1, leak="decaying_input"), pixel=3) == ([-2, -3], [0, 0])


def test_a_spike_needs_the_threshold_and_no_more():
    assert trace(one(1), pixel=9) == ([9], [0])
    assert trace(one(1), pixel=10) == ([0], [1])


def test_narrow_pixels_lose_low_bits():
    assert trace(one(1, bits=4), pixel=0x9F) == ([9], [0])


def test_bias_adds_at_every_step():
    assert trace(one(3, weight=0, bias=4), pixel=200) == ([4, 8, 0], [0, 0, 1])


def test_spike_input_is_read_anew_at_each_step():
    given = one(3)
    network = QuantizedNetwork.chain(Input((1,), kind="spikes"), given.layers, 3)
    outcome = reference.run(network, np.array([[[1], [0], [1]]], np.uint8))
    assert outcome.trace.membranes[0].ravel().tolist() == [1, 1, 2]


def test_layers_see_spikes_of_the_same_step_and_ties_go_to_the_lowest_index():
    first = Layer("first", (1,), Dense(np.array([[1]], np.int8), np.zeros(1, np.int64)), neuron(), 2)
    weight = np.array([[0], [1], [1]], np.int8)
    second = Layer("second", (1,), Dense(weight, np.zeros(3, np.int64)), neuron(threshold=np.array([1])), 2)
    network = QuantizedNetwork.chain(Input((1,)), (first, second), steps=2)
    outcome = reference.run(network, np.array([[10]], np.uint8))
    assert outcome.trace.spikes[1].tolist() == [[[0, 1, 1], [0, 1, 1]]]
    assert outcome.counts.tolist() == [[0, 2, 2]]
    assert outcome.classes.tolist() == [1]


def test_votes_and_membranes_are_summed_in_neighbouring_groups():
    weight = np.array([[1], [2], [3], [4]], np.int8)
    layer = Layer("only", (1,), Dense(weight, np.zeros(4, np.int64)), neuron(spiking=False), 4)
    network = QuantizedNetwork.chain(Input((1,)), (layer,), 1, Readout("membrane", 2))
    outcome = reference.run(network, np.array([[5]], np.uint8))
    assert outcome.counts.tolist() == [[15, 35]]
    assert outcome.classes.tolist() == [1]


def test_convolution_with_stride_and_padding():
    """A 2 x 3 map padded by one, a 2 x 2 kernel, stride 2 down and 1 along: 2 x 4 targets."""
    kernel = np.array([[[[1, 2], [3, 4]]]], np.int8)
    synapses = Conv(kernel, np.zeros(1, np.int64), stride=(2, 1), padding=(1, 1))
    layer = Layer("map", (1, 2, 3), synapses, neuron(spiking=False), 4)
    network = QuantizedNetwork.chain(Input((1, 2, 3)), (layer,), 1, Readout("membrane"))
    assert layer.shape == (1, 2, 4)
    outcome = reference.run(network, np.array([[1, 2, 3, 4, 5, 6]], np.uint8))
    #  0 0 0 0 0      upper row of targets reads the zeros and 1 2 3, the lower one 4 5 6 and the zeros
    #  0 1 2 3 0
    #  0 4 5 6 0
    #  0 0 0 0 0
    assert outcome.counts.tolist() == [[4, 3 + 8, 6 + 12, 9, 8, 4 + 10, 5 + 12, 6]]


@pytest.mark.parametrize(("kind", "expected"), [("max", [1, 0]), ("average", [3, 0])])
def test_pools_drop_a_border_that_fills_no_window(kind, expected):
    """A 2 x 5 map by 2: two windows, the last column is dropped; the reader's membranes show what it saw."""
    ones = Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))
    first = Layer("map", (1, 2, 5), ones, neuron(), 2, Pool(kind, 2))
    reader = Dense(np.eye(2, dtype=np.int8), np.zeros(2, np.int64))
    second = Layer("reader", (1, 1, 2), reader, neuron(spiking=False), 2)
    network = QuantizedNetwork.chain(Input((1, 2, 5)), (first, second), 1, Readout("membrane"))
    frame = [10, 10, 0, 0, 10, 10, 9, 0, 0, 10]
    assert reference.run(network, np.array([frame], np.uint8)).counts.tolist() == [expected]


def test_no_frames():
    outcome = reference.run(one(2), np.zeros((0, 1), np.uint8))
    assert outcome.classes.shape == (0,)
    assert outcome.counts.shape == (0, 1)
    assert outcome.trace.spikes[0].shape == (0, 2, 1)


def weight(value: int) -> Dense:
    return Dense(np.array([[value]], np.int8))


def test_connections_add_with_their_delays_and_shifts():
    """An event in step 0: 3 + (2 << 1) a step later, again and again.

    `late` hears that two steps later, and the pixel at once.
    """
    network = QuantizedNetwork(
        (Input((1,), bits=2, kind="graded", name="event"), Input((1,), name="pixel")),
        (
            Population(
                "late",
                (1,),
                neuron(leak="none", reset="none", threshold=1000),
                -1,
                (Connection("again", weight(7), delay=2), Connection("pixel", weight(1))),
            ),
            Population(
                "again",
                (1,),
                neuron(reset="hard", threshold=4),
                0,
                (Connection("event", weight(3)), Connection("again", weight(2), delay=1, shift=1)),
            ),
        ),
        steps=5,
        readouts=(Readout(source="again"), Readout(source="late")),
    )
    assert network.order == (0, 1)
    events, pixel = np.array([[[2], [0], [0], [1], [0]]], np.uint8), np.array([[10]], np.uint8)
    outcome = reference.run(network, (events, pixel))
    assert outcome.trace.spikes[1].ravel().tolist() == [1, 1, 1, 1, 1]
    assert outcome.trace.membranes[0].ravel().tolist() == [9, 18, 34, 50, 66]
    assert outcome.counts.tolist() == [[5, 0]]


def test_sources_of_one_connection_are_pooled_and_added():
    source = Population("first", (1, 2, 2), neuron(reset="none", threshold=2), 0, (Connection("input", np_eye(4)),))
    other = Population("second", (1, 2, 2), neuron(reset="none", threshold=1), 0, (Connection("input", np_eye(4)),))
    read = Population(
        "read",
        (1,),
        neuron(spiking=False),
        0,
        (Connection(("first", "second"), weight(1), pool=Pool("average", 2)),),
    )
    network = QuantizedNetwork(Input((4,), bits=2, kind="graded"), (source, other, read), 1, Readout("membrane"))
    assert network.ranges[2].current == (0, 8)
    outcome = reference.run(network, np.array([[[0, 1, 2, 3]]], np.uint8))
    assert outcome.counts.tolist() == [[2 + 3]]


def np_eye(size: int) -> Dense:
    return Dense(np.eye(size, dtype=np.int8))


@pytest.mark.parametrize(("kind", "expected"), [("membrane", [-3]), ("largest", [6]), ("sum", [5])])
def test_read_outs_of_membranes(kind, expected):
    """No leak, weights of 1 and -1 on two sources: membranes 2, 6, 0, -3."""
    synapses = Dense(np.array([[1, -1]], np.int8), np.array([0]))
    layer = Layer("only", (2,), synapses, neuron(spiking=False), 8)
    network = QuantizedNetwork.chain(Input((2,), bits=3, kind="graded"), (layer,), 4, Readout(kind))
    events = np.array([[[2, 0], [5, 1], [0, 6], [0, 3]]], np.uint8)
    assert reference.run(network, events).counts.tolist() == [expected]
