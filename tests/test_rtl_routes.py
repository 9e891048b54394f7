"""Graphs on cores: what hears what, the deadlock rule, and graphs that there is no hardware for."""

from __future__ import annotations

from dataclasses import replace

import dense_graphs
import numpy as np
import pytest
from graphs import population, recurrent, weights

from gradrtl.errors import UserError
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.routes import NOBODY, Late, Route, least_rows, ports_of, rates_of


def network(*populations, kind: str = "spikes", readouts=None, shape=(6,)) -> QuantizedNetwork:
    return QuantizedNetwork((Input(shape, kind=kind),), populations, 4, readouts or (Readout(),))


def loop(*more: Connection, delay: int = 1, **neuron) -> QuantizedNetwork:
    """`a` hears the input, itself and `b`, which it leads to."""
    return network(
        population("a", 5, Connection("b", weights(5, 3, 4), 4, delay, 2), Connection("input", weights(5, 6, 1), 4),
                   Connection("a", weights(5, 5, 2), 4, delay), *more, **neuron),
        population("b", 3, Connection("a", weights(3, 5, 3), 4)),
    )  # fmt: skip


def test_the_input_is_first_and_what_comes_back_last():
    into = ports_of(loop())[0]
    assert [(port.number, port.source, port.back, port.shift) for port in into] == [
        (0, None, False, 0),
        (1, 1, True, 2),
        (2, 0, True, 0),
    ]


def test_lists_of_all_ports_follow_each_other():
    layer = map_network(loop(), (2, 2)).layers[0]
    assert [port.first for port in layer.heard] == [0, 6, 6 + len(layer.heard[1].addresses)]
    assert np.array_equal(layer.lists, np.arange(len(layer.addresses)))
    assert np.array_equal(layer.addresses[:6], np.arange(6))


def test_two_sources_of_one_connection_are_two_ports():
    graph = network(
        population("a", 5, Connection("input", weights(5, 6, 1), 4)),
        population("b", 5, Connection("input", weights(5, 6, 2), 4)),
        population("c", 3, Connection(("a", "b"), weights(3, 5, 3), 4)),
    )
    assert [port.source for port in ports_of(graph)[2]] == [0, 1]
    assert [port.edge.sources for port in map_network(graph, (1, 1, 1)).layers[2].heard] == [5, 5]
    rates = [np.arange(6.0), np.arange(6.0), np.arange(5.0)]
    by_port = [[values.tolist() for values in into] for into in rates_of(graph, rates)]
    assert by_port == [[[0, 1, 2, 3, 4, 5]], [[0, 1, 2, 3, 4, 5]], [[0, 0.5, 1, 1.5, 2]] * 2]


def test_rows_of_the_deadlock_rule():
    """At least so many as nothing can stand still with; placements may ask for more."""
    for delay in (1, 2, 3):
        made = map_network(loop(delay=delay), Placement((1, 1), row_queue_depth=2))
        rows = [layer.rows for layer in made.layers]
        assert rows == [5, 4]
        assert made.routes == (
            Route(0, 0, 2, delay, 5 * delay),
            Route(0, 1, 0, 0, 5),
            Route(1, 0, 1, delay, 4 * delay),
            Route(1, None, 0, 0, 4),
        )
        for route in made.routes[:-1]:
            port = made.ports[route.target][route.port]
            assert route.depth >= least_rows(rows[route.source], route.delay, port.back)
    assert all(route.depth == 64 for route in map_network(loop(), Placement((1, 1), row_queue_depth=64)).routes)


def test_a_mapping_that_may_stand_still_is_none():
    made = map_network(loop(), (1, 1))
    with pytest.raises(AssertionError, match="core 0 to core 0 may stand still"):
        replace(made, routes=(replace(made.routes[0], depth=4), *made.routes[1:]))


def test_a_chain_keeps_its_queues():
    graph = network(
        population("a", 30, Connection("input", weights(30, 6, 1), 4)),
        population("b", 3, Connection("a", weights(3, 30, 3), 4)),
    )
    made = map_network(graph, Placement((1, 1), row_queue_depth=3))
    assert made.routes == (Route(0, 1, 0, 0, 3), Route(1, None, 0, 0, 3))


def test_what_nobody_hears_is_let_go():
    graph = network(
        population("a", 5, Connection("input", weights(5, 6, 1), 4)),
        population("b", 3, Connection("input", weights(3, 6, 3), 4)),
        readouts=(Readout(source="a"),),
    )
    made = map_network(graph, (1, 1))
    assert [route.target for route in made.routes] == [None, NOBODY]
    assert made.read == (0,)


def test_addresses_and_values_of_all_ports():
    made = map_network(loop(), (2, 2))
    layer, into = made.layers[0], made.ports[0]
    assert [made.offset(port) for port in into] == [0, 6, 6 + len(made.layers[1].sent[0])]
    heard = np.concatenate([np.arange(6), 6 + made.layers[1].sent[0], 6 + 3 + made.layers[0].sent[0]])
    gaps = np.concatenate([np.zeros(6), made.layers[1].sent[0], made.layers[0].sent[0]]) < 0
    assert np.array_equal(layer.addresses, np.where(gaps, -1, heard))
    assert layer.value_bits == 3, "a spike of b counts four times"
    assert layer.shift == 0


def test_a_shift_that_all_ports_have_costs_nothing():
    """It moves the sum's addend; only what is above it goes with each event."""
    made = map_network(loop(delay=1), (1, 1))
    moved = [replace(c, shift=c.shift + 3) for c in made.network.populations[0].inputs]
    graph = replace(made.network, populations=(replace(made.network.populations[0], inputs=tuple(moved)),
                                               made.network.populations[1]))  # fmt: skip
    layer = map_network(graph, (1, 1)).layers[0]
    assert (layer.shift, layer.value_bits) == (3, 3)


def refused(*populations, match: str, **more) -> None:
    with pytest.raises(UserError, match=match) as told:
        map_network(network(*populations, **more), (1,) * len(populations))
    assert "\n" not in str(told.value)


def test_every_read_out_has_its_edge():
    pixels = Connection("input", weights(5, 6, 1), 4)
    made = map_network(
        network(
            population("a", 5, pixels),
            population("b", 3, Connection("a", weights(3, 5, 2), 4)),
            readouts=(Readout(source="b"), Readout(source="a")),
        ),
        (1, 1),
    )
    assert made.read == (1, 0)
    assert [(route.source, route.target) for route in made.routes] == [(0, 1), (0, None), (1, None)]


def test_what_is_held_is_first_then_inputs_by_delay():
    pixels = Connection("input", weights(5, 6, 1), 4)
    loop = Connection("a", weights(5, 5, 2), 4, 1)
    held = map_network(network(population("a", 5, loop, pixels), kind="static"), (1,))
    assert [port.source for port in held.ports[0]] == [None, 0]
    layer = held.layers[0]
    assert (layer.held_ports, layer.is_held, layer.is_mixed, layer.banks) == (1, False, True, 3)
    assert layer.memories["accumulators"].number == 3
    assert not held.late
    late = network(population("a", 5, loop, replace(pixels, delay=2), pixels, replace(pixels, delay=1)))
    made = map_network(late, (1,))
    assert [port.delay for port in made.ports[0]] == [0, 1, 2, 1]
    assert made.late == (Late(0, 1, 1, 2 * 7), Late(0, 2, 2, 3 * 7))
    assert made.listeners == (0,)
    with pytest.raises(AssertionError, match="input to core 0 may stand still"):
        replace(made, late=(made.late[0], replace(made.late[1], depth=20)))


def two_inputs(*kinds: str) -> QuantizedNetwork:
    return QuantizedNetwork(
        tuple(Input((size,), kind=kind, name=name) for size, kind, name in zip((6, 4), kinds, "xy", strict=True)),
        (population("a", 5, Connection("x", weights(5, 6, 1), 4), Connection("y", weights(5, 4, 1), 4)),),
        4,
    )


def test_sources_of_several_inputs_follow_each_other():
    made = map_network(two_inputs("spikes", "graded"), (1,))
    assert (made.sources, made.input.kind, made.value_bits, made.input.ranges) == (
        10,
        "graded",
        8,
        (range(6), range(6, 10)),
    )
    assert made.listeners == (0,)
    assert made.late == (Late(0, 1, 0, 5),)


def test_pixels_are_heard_before_events_whatever_the_order_of_the_inputs():
    for kinds in (("static", "graded"), ("graded", "static")):
        made = map_network(two_inputs(*kinds), (1,))
        assert [port.edge.held for port in made.ports[0]] == [True, False]
        assert [late.delay for late in made.late] == [0]
        assert (made.segments, made.layers[0].is_mixed) == (5, True)


def test_where_neurons_sit_does_not_depend_on_what_comes_back():
    """A core that comes later is placed twice: for its addresses, and for its synapses."""
    for seed in range(20):
        graph = dense_graphs.graph(seed)
        made = map_network(graph, (2,) * len(graph.populations))
        for into, layer in zip(made.ports, made.layers, strict=True):
            for port in into:
                if port.source is not None:
                    begin = made.offset(port)
                    first = sum(other.edge.sources for other in into[: port.number])
                    outputs = made.layers[port.source].sent[0]
                    found = layer.addresses[begin : begin + len(outputs)]
                    assert np.array_equal(found, np.where(outputs >= 0, first + outputs, -1))


def test_recurrent_networks_of_the_tests_are_placed():
    assert len(map_network(recurrent(), (2, 1)).routes) == 3
