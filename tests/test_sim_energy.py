"""The energy estimate: published points hit, counts from a network worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradrtl.quantize.network import (
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Layer,
    Population,
    QuantizedNetwork,
)
from gradrtl.quantize.neuron import Adaptation, SynapticCurrent
from gradrtl.sim import energy, operations


def test_published_points():
    assert energy.addition(8) == pytest.approx(0.03)
    assert energy.addition(32) == pytest.approx(0.1)
    assert energy.multiplication(32, 32) == pytest.approx(3.1)
    assert energy.multiplication(8, 8) == pytest.approx(0.2, rel=0.05)
    for size, value in ((8, 10), (32, 20), (1024, 100)):
        assert energy.access(64, size * 1024 * 8) == pytest.approx(value)
    assert energy.access(64, 8) == pytest.approx(10)
    assert energy.access(32, 8 * 1024 * 8) == pytest.approx(5)
    assert 20 < energy.access(64, 100 * 1024 * 8) < 100
    assert energy.addition(1) >= 0


def network(weight: list[list[int]]) -> QuantizedNetwork:
    synapses = Dense(np.array(weight, np.int8), np.zeros(len(weight), np.int64))
    layer = Layer("only", (2,), synapses, IntNeuron("none", "hard", np.array([1000])), 4)
    return QuantizedNetwork.chain(Input((2,)), (layer,), steps=3)


def test_counts_of_a_small_network():
    """Two pixels, one of them black; the other drives two of three neurons."""
    given = network([[1, 2], [0, 3], [5, 0]])
    counted = operations.count(given, np.array([[0, 9]], np.uint8), threads=1)
    items = {item.name: item.count for item in energy.estimate(given, counted).items}
    assert items == {
        "only multiplications": 2,
        "only pointer reads": 1,
        "only synapse reads": 2,
        "only additions": 2,
        "only sum reads and writes": 4 + 9,
        "only membrane reads and writes": 18,
        "only neuron additions": 27,
    }
    dense = {item.name: item.count for item in energy.dense(given).items}
    assert dense == {
        "only weight reads": 6,
        "only multiplications": 6,
        "only additions": 6,
        "only activation reads and writes": 5,
    }


def test_states_beyond_the_membrane_cost_more():
    """Three neurons in three steps: nine updates."""
    plain = network([[1, 2], [0, 3], [5, 0]])
    layer = plain.layers[0]
    states = {"current": SynapticCurrent(3, 2), "adaptation": Adaptation(3, 2, 5), "refractory": 2}
    given = plain.changed(layers=(replace(layer, neuron=replace(layer.neuron, **states)),))
    estimates = [
        energy.estimate(each, operations.count(each, np.array([[0, 9]], np.uint8), threads=1))
        for each in (plain, given)
    ]
    known = {item.name for item in estimates[0].items}
    items = {item.name.removeprefix("only "): item.count for item in estimates[1].items if item.name not in known}
    assert items == {
        "current reads and writes": 18,
        "current additions": 9,
        "current multiplications": 9,
        "adaptation reads and writes": 18,
        "adaptation additions": 18,
        "adaptation multiplications": 9,
        "refractory reads and writes": 18,
        "refractory additions": 9,
    }
    assert estimates[0].nanojoules < estimates[1].nanojoules


def test_black_frames_cost_less_and_floats_cost_more():
    given = network([[1, 2], [0, 3], [5, 0]])
    black, white = (
        energy.estimate(given, operations.count(given, np.full((1, 2), value, np.uint8), threads=1)).nanojoules
        for value in (0, 255)
    )
    assert 0 < black < white
    assert energy.dense(given, 8).nanojoules < energy.dense(given, None).nanojoules


def test_a_dense_convolution_uses_its_weights_at_every_position():
    """A kernel of 2 x 2 over two channels, at six positions of three maps."""
    synapses = Conv(np.ones((3, 2, 2, 2), np.int8), np.zeros(3, np.int64))
    layer = Layer("map", (2, 3, 4), synapses, IntNeuron("none", "hard", np.array([1])), 4)
    given = QuantizedNetwork.chain(Input((2, 3, 4)), (layer,), steps=1)
    items = {item.name: item.count for item in energy.dense(given).items}
    assert items["map multiplications"] == items["map weight reads"] == 8 * 3 * 6
    assert items["map activation reads and writes"] == 24 + 18


PLAIN = IntNeuron("none", "hard", 9)


def ones(neurons: int, sources: int) -> Dense:
    return Dense(np.ones((neurons, sources), np.int8))


def dense_items(kind: str, again: tuple[Connection, ...]) -> list[tuple[str, float]]:
    """Three sources, two hidden neurons that read `again` besides, four outputs; five steps.

    Counted are the weights, as often as the products, and the activations read and written.
    """
    hidden = Population("hidden", (2,), PLAIN, 0, (Connection("in", ones(2, 3)), *again))
    output = Population("out", (4,), PLAIN, 0, (Connection("hidden", ones(4, 2)),))
    given = QuantizedNetwork(Input((3,), bits=1, kind=kind, name="in"), (hidden, output), steps=5)
    items = energy.dense(given).items
    for weights, products, additions in zip(items[::4], items[1::4], items[2::4], strict=True):
        assert weights.count == products.count == additions.count
    return [(item.name, item.count) for item in items if item.name.endswith(("weight reads", "reads and writes"))]


def test_a_dense_recurrent_network_counts_each_step():
    """6, 4 and 8 weights; 3, 2 and 2 sources; the hidden neurons are written with their last connection."""
    assert dense_items("spikes", (Connection("hidden", ones(2, 2), delay=1),)) == [
        ("hidden from in weight reads", 5 * 6),
        ("hidden from in activation reads and writes", 5 * 3),
        ("hidden from hidden weight reads", 5 * 4),
        ("hidden from hidden activation reads and writes", 5 * (2 + 2)),
        ("out weight reads", 5 * 8),
        ("out activation reads and writes", 5 * (2 + 4)),
    ]


def test_a_dense_network_reads_what_is_held_once_beside_a_cycle():
    counts = [count for _, count in dense_items("static", (Connection("hidden", ones(2, 2), delay=1),))]
    assert counts == [6, 3, 5 * 4, 5 * (2 + 2), 5 * 8, 5 * (2 + 4)]


@pytest.mark.parametrize("kind", ["static", "spikes"])
def test_a_dense_network_without_a_delay_takes_a_frame_as_a_whole(kind):
    """A second connection from the input adds no second writing."""
    items = dense_items(kind, (Connection("in", ones(2, 3)),))
    assert [count for _, count in items] == [6, 3, 6, 3 + 2, 8, 2 + 4]
    assert items[2][0] == "hidden from in (2) weight reads"


def test_late_events_count_each_step():
    counts = [count for _, count in dense_items("spikes", (Connection("in", ones(2, 3), delay=2),))]
    assert counts == [5 * 6, 5 * 3, 5 * 6, 5 * (3 + 2), 5 * 8, 5 * (2 + 4)]
