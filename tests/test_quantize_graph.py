"""Graphs: what follows from their connections, files, and each mistake in one line that names it."""

from __future__ import annotations

from dataclasses import replace

import graphs
import numpy as np
import pytest

from gradrtl.errors import UserError
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


def two(*inputs: Connection, read: str = "b", others: tuple[Connection, ...] = (), **network) -> QuantizedNetwork:
    """`a` of four neurons reads six spiking sources and `others`; `b` of two reads `inputs`."""
    populations = (
        graphs.population("a", 4, Connection("input", graphs.weights(4, 6)), *others),
        graphs.population("b", 2, *(inputs or (Connection("a", graphs.weights(2, 4)),))),
    )
    given = {"inputs": Input((6,), kind="spikes"), "populations": populations, "steps": 3, "readouts": Readout()}
    return QuantizedNetwork(**{**given, **network})


def image(name: str, *inputs: Connection, shape=(2, 4, 4), **neuron) -> Population:
    fields = {"leak": "none", "reset": "hard", "threshold": 2, **neuron}
    return Population(name, shape, IntNeuron(**fields), 0, inputs)


CONV = Conv(np.ones((2, 1, 3, 3), np.int8), padding=(1, 1))
WIDE = Dense(np.ones((2, 4), np.int8))

REFUSED = [
    (
        lambda: two(others=(Connection("b", graphs.weights(4, 2)),)),
        "cycle of populations is a -> b -> a, expected a delay of a step or more in it",
    ),
    (lambda: two(others=(Connection("a", graphs.weights(4, 4)),)), "cycle of populations is a -> a, expected a delay"),
    (
        lambda: two(Connection("b", graphs.weights(2, 2), delay=1)),
        "population b inputs is without a path from any input, expected a connection that leads to it",
    ),
    (lambda: two(Connection("c", WIDE)), "population b, connection source is c, expected one of input, a, b"),
    (
        lambda: two(Connection("a", graphs.weights(2, 5))),
        "population b, connection from a: dense weight columns is 5, expected 4 sources",
    ),
    (
        lambda: two(Connection("a", graphs.weights(3, 4))),
        r"population b, connection from a output shape is \(3,\), expected \(2,\), that of the population",
    ),
    (lambda: two(Connection(("a", "input"), WIDE)), r"population b, connection from a \+ input shapes is"),
    (
        lambda: two(Connection("a", WIDE, pool=Pool())),
        r"population b, connection from a: pool input shape is \(4,\), expected \(channels, height, width\)",
    ),
    (
        lambda: two(inputs=Input((6,)), others=(Connection("input", graphs.weights(4, 6), delay=1),)),
        "population a, connection from input delay is 1, expected 0: a static input is held",
    ),
    (
        lambda: two(inputs=(Input((6,), kind="spikes"), Input((4,), name="other", kind="spikes"))),
        "input other is read by no population",
    ),
    (lambda: two(inputs=Input((6,), kind="spikes", name="a")), "name is a, expected names .* each once"),
    (lambda: two(readouts=Readout(source="c")), "readout source is c, expected one of a, b"),
    (lambda: two(readouts=(Readout(), Readout(source="b"))), "readout source is b, expected populations, each read"),
    (lambda: two(readouts=Readout("sum")), "population b spiking is True, expected False for sum"),
    (
        lambda: QuantizedNetwork(
            Input((4,)),
            (
                graphs.population("a", 4, Connection("input", graphs.weights(4, 4)), spiking=False),
                graphs.population("b", 2, Connection("a", WIDE)),
            ),
            2,
        ),
        "population a spiking is False, expected True, or a read-out of its membranes",
    ),
    (
        lambda: QuantizedNetwork(
            Input((4,)),
            (
                graphs.population("a", 4, Connection("input", graphs.weights(4, 4)), spiking=False),
                graphs.population("b", 2, Connection("a", WIDE)),
            ),
            2,
            (Readout("membrane", source="a"), Readout(source="b")),
        ),
        "connection from a source spiking is False, expected True",
    ),
    (
        lambda: QuantizedNetwork(
            Input((6,)),
            (graphs.population("a", 4, Connection("input", graphs.weights(4, 6), shift=16), fraction=8),),
            2,
        ),
        "population a largest sum is .*, expected less than 1073741824",
    ),
    (lambda: Connection("a", WIDE, delay=-1), "connection from a delay is -1, expected 0 to 255"),
    (lambda: Connection("a", WIDE, shift=17), "connection from a shift is 17, expected 0 to 16"),
    (lambda: Connection("a", WIDE, weight_bits=9), "connection from a weight_bits is 9"),
    (lambda: Connection("a", Dense(np.full((1, 1), 9, np.int8)), 4), "connection from a weights is .* at 4 bits"),
    (lambda: Connection("a", Dense(np.ones((1, 1), np.int8), np.ones(1, np.int64))), "connection from a bias is not 0"),
    (lambda: Connection("a", None), "connection from a synapses is NoneType, expected a Dense or Conv"),
    (lambda: Connection((), WIDE), "connection sources is 0, expected 1 to 16 names"),
    (lambda: Connection(("a", "a"), WIDE), "connection sources is .*, expected names, each once"),
    (lambda: Connection(3, WIDE), "connection sources is 3, expected the name of an input or population"),
    (lambda: graphs.population("a", 4), "population a inputs is 0, expected 1 to 16"),
    (
        lambda: graphs.population("a", 4, Connection("b", WIDE), threshold=np.ones(3, np.int64)),
        "population a threshold size is 3, expected 1 or 4",
    ),
    (
        lambda: graphs.population("a", 4, Connection("b", WIDE), current=SynapticCurrent(np.ones(3, np.int64), 2)),
        "population a current_factor size is 3, expected 1 or 4",
    ),
    (lambda: Population("a", (2,), IntNeuron("none", "hard", 1), np.zeros(3, np.int64), (Connection("b", WIDE),)),
     "population a bias size is 3, expected 2"),
    (lambda: SynapticCurrent(5, 2), r"neuron.current.factor is 5, expected 0 to 2\*\*shift = 4"),
    (lambda: SynapticCurrent(1, 16), "neuron.current.shift is 16"),
    (lambda: SynapticCurrent(1, 2, "late"), "neuron.current.enters is late, expected new or old"),
    (lambda: Adaptation(1, 2, -1), "neuron.adaptation.jump is -1, expected 0 to"),
    (lambda: IntNeuron("none", "hard", 1, refractory=256), "neuron.refractory is 256, expected 0 to 255 steps"),
    (lambda: IntNeuron("none", "hard", 1, current=3), "neuron.current is int, expected a SynapticCurrent, or None"),
    (lambda: IntNeuron("none", "none", 1, reset_value=1), "neuron.reset_value is 1, expected 0 with the reset none"),
    (lambda: IntNeuron("none", "hard", 1, reset_amount=1), "neuron.reset_amount is 1, expected 0 with the reset hard"),
    (lambda: IntNeuron("none", "hard", 1, rounding="up"), "neuron.rounding is up, expected floor or nearest"),
    (
        lambda: IntNeuron("none", "hard", 1, spiking=False, refractory=1),
        "neuron.spiking is False, expected True with adaptation or refractory steps",
    ),
    (
        lambda: IntNeuron("none", "soft", 1, membrane_bits=3, start_value=np.array([0, 4])),
        r"neuron.start_value is \[0, 4\], expected -4 to 3, the membrane's 3 bits",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_refuses(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_is_no_chain_has_no_layers():
    network = graphs.recurrent()
    assert not network.is_chain
    for ask in (lambda: network.layers, lambda: network.input, lambda: network.readout):
        with pytest.raises(UserError, match="network is a graph, expected a chain of layers"):
            ask()


def test_order_follows_connections_without_delay():
    network = two()
    turned = replace(network, populations=network.populations[::-1], readouts=(Readout(source="b"),))
    assert (network.order, turned.order) == ((0, 1), (1, 0))
    frames = np.random.default_rng(0).integers(0, 2, (5, 3, 6), dtype=np.uint8)
    assert np.array_equal(reference.run(network, frames).counts, reference.run(turned, frames).counts)


def test_populations_in_a_cycle_and_what_is_reached():
    """`c` and `d` are in one cycle, `b` leads to it and `e` comes behind it."""
    network = QuantizedNetwork(
        Input((6,), kind="spikes"),
        (
            graphs.population("e", 2, Connection("d", graphs.weights(2, 2))),
            graphs.population("b", 2, Connection("input", graphs.weights(2, 6))),
            graphs.population(
                "c", 2, Connection("b", graphs.weights(2, 2)), Connection("d", graphs.weights(2, 2), delay=1)
            ),
            graphs.population("d", 2, Connection("c", graphs.weights(2, 2))),
        ),
        3,
        Readout(source="e"),
    )
    assert network.graph.recurrent == {"c", "d"}
    assert network.graph.reached({"d"}) == {"c", "d", "e"}
    assert network.graph.reached({"input"}) == {"input", "b", "c", "d", "e"}
    assert two(others=(Connection("a", graphs.weights(4, 4), delay=1),)).graph.recurrent == {"a"}
    assert two().graph.recurrent == set()


def test_edges_tell_shapes_and_largest_values():
    network = QuantizedNetwork(
        (Input((1, 4, 4), bits=3), Input((2, 4, 4), bits=2, kind="graded", name="events")),
        (
            image("a", Connection("input", CONV)),
            image("b", Connection("events", Dense(np.ones((32, 32), np.int8)))),
            image(
                "c",
                Connection(("a", "b"), Dense(np.ones((2, 8), np.int8)), pool=Pool("average", 2)),
                Connection("a", Dense(np.ones((2, 2), np.int8)), pool=Pool("max", 4), delay=3),
                shape=(2,),
            ),
        ),
        2,
    )
    assert [edge.largest for edge in network.edges] == [7, 3, 8, 1]
    assert [edge.held for edge in network.edges] == [True, False, False, False]
    assert [edge.input_shape for edge in network.edges] == [(1, 4, 4), (2, 4, 4), (2, 2, 2), (2, 1, 1)]
    assert [edge.population for edge in network.consumers("a")] == [2, 2]
    assert network.ranges[2].current == (0, 8 * 8 + 2)
    assert (network.classes, network.connected) == (2, 18 + 32 * 32 + 16 + 4)


def test_a_graph_survives_its_file(tmp_path):
    given = graphs.recurrent()
    neuron = IntNeuron(
        "multiply", "soft", np.array([5, 6, 7, 8, 9]), shift=4, factor=np.array([13, 12, 11, 10, 9]), fraction=2,
        membrane_bits=12, reset_amount=3, start_value=np.array([1, 2, 3, 4, 5]), rounding="nearest",
        current=SynapticCurrent(np.array([3, 2, 1, 0, 4]), 2, "old"), adaptation=Adaptation(7, 3, np.arange(5)),
        refractory=2,
    )  # fmt: skip
    hidden = replace(given.populations[0], neuron=neuron, bias=np.arange(5))
    rates = tuple(np.full(edge.sources, 0.5) for edge in given.edges)
    network = replace(given, populations=(hidden, given.populations[1]), rates=rates, notes={"made": "here"})
    network.save(tmp_path / "graph.npz")
    read = QuantizedNetwork.load(tmp_path / "graph.npz")
    read.save(tmp_path / "again.npz")
    assert (tmp_path / "graph.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert (read.digest, read.notes, read.steps) == (network.digest, network.notes, network.steps)
    assert [values.tolist() for values in read.rates] == [values.tolist() for values in rates]
    frames = np.random.default_rng(0).integers(0, 4, (9, 8, 6), dtype=np.uint8)
    expected, got = reference.run(network, frames), reference.run(read, frames)
    assert np.array_equal(expected.trace.membranes[0], got.trace.membranes[0])
    assert expected.trace.spikes[0].any()
    assert replace(network, populations=given.populations).digest != network.digest
    assert replace(network, notes={"made": "there"}).digest == network.digest


def test_a_chain_keeps_the_digest_of_version_1():
    """Verilog that was generated before graphs existed names this digest."""
    layer = Layer("one", (2,), Dense(np.array([[1, -1]], np.int8)), IntNeuron("shift", "hard", 3), 2)
    chain = QuantizedNetwork.chain(Input((2,)), (layer,), 4)
    assert chain.digest == "03812d5a07932d33e45cc00ad1b2c7fe75c003be23d0f5b7624a6f97f9af10af"
    longer = replace(chain, steps=300)
    assert longer.digest != chain.digest
    slower = replace(layer, neuron=replace(layer.neuron, start_value=1))
    assert chain.changed(layers=(slower,)).digest != chain.digest


def test_a_shift_or_a_delay_makes_no_chain():
    network = two()
    assert network.is_chain
    (only,) = network.populations[1].inputs
    for other in ({"shift": 1}, {"delay": 1}):
        last = replace(network.populations[1], inputs=(replace(only, **other),))
        changed = replace(network, populations=(network.populations[0], last))
        assert not changed.is_chain
        assert changed.digest != network.digest


def test_networks_of_different_resets_have_different_digests():
    network = two()
    first, last = network.populations
    for other in (replace(first.neuron, reset_amount=3), replace(first.neuron, reset="none", reset_amount=None)):
        changed = replace(network, populations=(replace(first, neuron=other), last))
        assert changed.digest != network.digest


def test_frames_of_several_inputs_are_checked():
    spikes, pixels = Input((6,), kind="spikes"), Input((4,), name="pixels")
    network = two(Connection("pixels", WIDE), Connection("a", WIDE), inputs=(spikes, pixels))
    given = np.zeros((3, 3, 6), np.uint8), np.zeros((3, 4), np.uint8)
    assert reference.run(network, given).counts.shape == (3, 2)
    for frames, message in (
        (given[0], "frames is ndarray, expected a NumPy array, or 2 of them"),
        ((given[0], given[1][:2]), "frames of pixels is 2, expected 3, as of the first"),
        ((given[0], given[1].astype(np.int64)), "frames of pixels dtype is int64, expected uint8"),
        ((given[0] + np.uint8(2), given[1]), "frames of input largest spike is 2, expected 0 or 1"),
    ):
        with pytest.raises(UserError, match=message):
            reference.run(network, frames)
