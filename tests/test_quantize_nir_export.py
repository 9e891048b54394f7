"""What is exported as NIR comes back as the same integers; what NIR cannot say is refused by name."""

from __future__ import annotations

import re
from dataclasses import replace

import nir_files
import numpy as np
import pytest
import random_graphs
import random_networks
from random_networks import Options

from gradrtl.errors import UserError
from gradrtl.model.importing import hdf5, reference
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import import_graph
from gradrtl.model.importing.records import METADATA
from gradrtl.quantize.imported import Asked, quantize_imported
from gradrtl.quantize.network import (
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    LeakKind,
    Pool,
    Population,
    QuantizedNetwork,
    Readout,
)
from gradrtl.quantize.neuron import Adaptation, SynapticCurrent
from gradrtl.quantize.nir_export import exported
from gradrtl.quantize.nir_formats import Kept
from gradrtl.quantize.nir_restored import restored
from gradrtl.quantize.population import fewest
from gradrtl.sim import engine


def imported(record, reset="value", compare="gt"):
    graph = import_graph(record, Convention(reset=reset, compare=compare))
    return quantize_imported(graph, Asked(7))


def back(record):
    """The network of an exported graph."""
    kept = Kept.from_text(record.fields[METADATA])
    found = restored(kept, import_graph(kept.applied(record), kept.convention, as_written=True))
    assert found is not None
    return found


def used(network):
    """`network` without the numbers that nothing uses, each parameter as short as it can be."""
    populations = []
    for one in network.populations:
        neuron = one.neuron
        if not neuron.spiking:
            neuron = replace(neuron, reset="none", threshold=1, reset_value=0, reset_amount=None)
        if neuron.leak != LeakKind.MULTIPLY:
            neuron = replace(neuron, factor=0)
        neuron = neuron.with_parameters(lambda values, one=one: fewest(one.per_neuron(values), one.channels))
        bias = fewest(one.per_neuron(one.bias), one.channels)
        inputs = tuple(
            replace(connection, pool=None) if connection.pool == Pool("average", 1) else connection
            for connection in one.inputs
        )
        bias = np.broadcast_to(bias, (one.channels,)) if bias.size == 1 else bias
        populations.append(replace(one, neuron=neuron, bias=bias, inputs=inputs))
    return replace(network, populations=tuple(populations))


REFUSED = re.compile(r"population \w+: (adaptation|refractory|current enters|start_value|reset_amount) is [^\n]+$")


def sayable(network):
    """`network` with neurons that NIR has in place of those that it has not."""
    populations = []
    for one in network.populations:
        neuron = replace(one.neuron, adaptation=None, refractory=0, reset_amount=None, start_value=0, reset_value=0)
        if neuron.current is not None:
            neuron = replace(neuron, current=replace(neuron.current, enters="new"))
        populations.append(replace(one, neuron=neuron))
    return replace(network, populations=tuple(populations))


@pytest.mark.parametrize("reset", ["value", "subtract", "subtract-delayed"])
@pytest.mark.parametrize("seed", set(range(25)) - {36})
def test_the_same_integers_come_back(tmp_path, seed, reset):
    network = imported(nir_files.random_neurons(seed), reset, "ge" if seed % 2 else "gt")
    record, _ = exported(network)
    hdf5.write(tmp_path / "network.nir", record)
    again = back(hdf5.read(tmp_path / "network.nir"))
    assert again.digest == network.digest


@pytest.mark.parametrize("drawn", [random_graphs.graph, random_networks.network])
def test_random_chains_and_graphs_come_back_or_are_refused(drawn):
    """Every one with neurons that NIR has; of the others those that can be."""
    options = Options(largest=40, most_steps=5)
    refused = []
    for seed in range(120):
        network = drawn(seed, options)
        for one in (network, sayable(network)):
            try:
                record, told = exported(one)
            except UserError as error:
                refused.append((one is network, str(error)))
                continue
            assert told
            assert used(back(record)).digest == used(one).digest, seed
    assert 10 < len(refused) < 120
    assert all(is_drawn and REFUSED.match(message) for is_drawn, message in refused), refused


def test_an_exported_graph_means_the_network(tmp_path):
    """The float meaning of a graph without decays is that of the integers, without what is kept beside it."""
    for seed in range(60):
        network = sayable(random_graphs.graph(seed, Options(largest=30, kinds=("spikes",), readouts=("count",))))
        plain = [
            replace(one, neuron=replace(one.neuron, leak="none", factor=0, current=None, membrane_bits=None))
            for one in network.populations
        ]
        network = replace(network, populations=tuple(plain))
        record, _ = exported(network)
        kept = Kept.from_text(record.fields[METADATA])
        structure = import_graph(kept.applied(record), kept.convention).structure
        frames = random_networks.frames(network, 3, seed)
        frames = frames if isinstance(frames, tuple) else (frames,)
        given = {one.name: values.astype(float) for one, values in zip(network.inputs, frames, strict=True)}
        floats = reference.run(structure, given).spikes
        trace = engine.run(network, frames if len(frames) > 1 else frames[0], trace=True).trace
        for population, spikes in zip(network.populations, trace.spikes, strict=True):
            np.testing.assert_array_equal(floats[population.name], spikes, err_msg=f"{seed} {population.name}")


NEURON = IntNeuron("none", "soft", 4)


def one(neuron=NEURON, bias=0, name="p", inputs=None, shape=(3,), given=None, steps=3, kind="count", group=1):
    """A network of one population."""
    given = given or (Input((2,), kind="spikes", name="x"),)
    inputs = inputs or (Connection("x", Dense(np.ones((3, 2), np.int8))),)
    populations = (Population(name, shape, neuron, bias, inputs),)
    return QuantizedNetwork(given, populations, steps, (Readout(kind, group, name),))


def neuron(**changes):
    return replace(NEURON, reset_amount=changes.pop("reset_amount", None), **changes)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (one(neuron(adaptation=Adaptation(1, 1, 2))), "population p: adaptation is an Adaptation, expected None: NIR"),
        (one(neuron(refractory=1)), "population p: refractory is 1, expected 0, or 1 with a hard reset: NIR has no"),
        (one(neuron(reset="hard", refractory=2)), "population p: refractory is 2, expected 0, or 1 with a hard"),
        (one(neuron(current=SynapticCurrent(1, 1, "old"))), "population p: current enters is old, expected new: the"),
        (one(neuron(start_value=2)), "population p: start_value is [2, 2, 2], expected [0, 0, 0]: NIR has no other"),
        (
            one(neuron(leak="shift", shift=2, reset="hard", reset_value=1, start_value=1)),
            "population p: start_value is [1, 1, 1], expected [0, 0, 0]",
        ),
        (one(neuron(reset_amount=2)), "population p: reset_amount is 2, expected its threshold 4, or that over the"),
        (
            one(neuron(leak="shift", shift=1, reset_amount=9)),
            "population p: reset_amount is 9, expected its threshold 4, or that over the decay",
        ),
        (
            one(neuron(leak="multiply", factor=0, shift=3, reset_amount=0)),
            "population p: reset_amount is 0, expected its threshold 4, or that over the decay",
        ),
        (one(name="a/b"), "name is a/b, expected a name without /, as HDF5 has"),
        (
            one(
                given=(Input((2,), 4, "static", "x"), Input((2,), 8, "static", "y")),
                inputs=(Connection(("x", "y"), Dense(np.ones((3, 2), np.int8))),),
            ),
            "population p: connection from x + y input bits is [4, 8], expected one width, or two connections",
        ),
        (
            one(
                given=(Input((1, 50, 50), kind="spikes", name="x"),),
                inputs=(Connection("x", Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))),),
                shape=(1, 50, 50),
                bias=np.arange(2500),
            ),
            "population p: bias is 6250000 weights of 0, expected one for each map, or at most",
        ),
    ],
)
def test_what_nir_has_no_words_for_is_refused(network, message):
    with pytest.raises(UserError) as caught:
        exported(network)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "3 steps of a frame"),
        ({"given": (Input((2,), 4, "static", "x"),)}, "pixels of x are the same at every step; a largest pixel is 1"),
        ({"given": (Input((2,), 4, "graded", "x"),)}, "x has counts of 4 bits"),
        ({"neuron": neuron(membrane_bits=12)}, "membranes saturate"),
        ({"group": 3}, "outputs are summed in groups"),
        ({"neuron": neuron(spiking=False), "kind": "largest"}, "read-outs of membranes: largest"),
        ({"kind": "first"}, "read-outs of first spikes"),
    ],
)
def test_what_is_lost_is_said(changes, line):
    network = one(**changes)
    record, told = exported(network)
    assert line in told
    assert ("widths of weights and roundings" in told) is True
    assert used(back(record)).digest == used(network).digest


def test_resets_that_differ_are_kept_beside_the_graph():
    second = Population(
        "q", (2,), neuron(reset="hard", refractory=1), 0, (Connection("p", Dense(np.ones((2, 3), np.int8))),)
    )
    first = one()
    network = replace(first, populations=(*first.populations, second), readouts=(Readout("count", 1, "q"),))
    record, told = exported(network)
    assert "resets that differ: p subtract, q value-held" in told
    assert back(record).digest == network.digest


def test_names_that_the_nodes_of_connections_would_have():
    first = one(name="a")
    second = Population("weights x to a", (2,), NEURON, 0, (Connection("a", Dense(np.ones((2, 3), np.int8))),))
    network = replace(first, populations=(*first.populations, second), readouts=(Readout("count", 1, second.name),))
    assert back(exported(network)[0]).digest == network.digest


def wide(sources, bias=0):
    """Populations that one population hears through two connections."""
    first = one().populations[0]
    heard = [replace(first, name=f"{number} {'x' * 230}") for number in range(sources)]
    names, shape = [population.name for population in heard], (1, 3, 1)
    heard = [replace(population, shape=shape) for population in heard]
    weight = Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))
    inputs = Connection(tuple(names[:9]), weight), Connection(tuple(names[9:]), weight)
    last = Population("z" * 256, shape, NEURON, bias, inputs)
    return replace(one(), populations=(*heard, last), readouts=(Readout("count", 1, last.name),))


def test_long_names_are_shortened(tmp_path):
    network = wide(16)
    record, _ = exported(network)
    assert max(map(len, record.nodes)) == 256
    hdf5.write(tmp_path / "network.nir", record)
    assert used(back(hdf5.read(tmp_path / "network.nir"))).digest == used(network).digest


def test_more_ways_into_a_population_than_an_import_reads_are_refused():
    with pytest.raises(UserError, match="ways from sources is 17, expected at most 16 to import again"):
        exported(wide(17))
    with pytest.raises(UserError, match="ways from sources is 19, expected at most 16 to import again"):
        exported(wide(10, np.arange(3)))
    few = wide(10)
    inputs = (*few.populations[-1].inputs, few.populations[-1].inputs[-1])
    back(exported(replace(few, populations=(*few.populations[:-1], replace(few.populations[-1], inputs=inputs))))[0])


def test_edges_in_another_order_are_the_same_network():
    given = Input((2,), kind="spikes", name="x"), Input((2,), kind="spikes", name="y")
    inputs = tuple(Connection(source, Dense(np.full((3, 2), n + 1, np.int8))) for n, source in enumerate("xy"))
    network = one(given=given, inputs=inputs)
    record, _ = exported(network)
    assert back(replace(record, edges=record.edges[::-1])).digest == network.digest


@pytest.mark.parametrize(
    ("node", "field", "change"),
    [
        ("weights x to p", "weight", 0.5),
        ("weights x to p", "weight", 200.0),
        ("p", "r", 1.0),
        ("p", "v_reset", 0.25),
    ],
)
def test_a_graph_that_was_changed_is_not_the_exported_one(node, field, change):
    network = one(neuron(reset="hard"))
    record, _ = exported(network)
    kept = Kept.from_text(record.fields[METADATA])

    def again(values):
        nodes = {**record.nodes, node: replace(record.nodes[node], fields={**record.nodes[node].fields, field: values})}
        graph = import_graph(kept.applied(replace(record, nodes=nodes)), kept.convention, as_written=True)
        return restored(kept, graph)

    values = record.nodes[node].fields[field]
    assert again(values).digest == network.digest
    assert again(values + change) is None


def test_a_graph_without_a_node_is_not_the_exported_one():
    record, _ = exported(one())
    kept = Kept.from_text(record.fields[METADATA])
    graph = import_graph(kept.applied(record), kept.convention, as_written=True)
    for other in (
        replace(kept, inputs={}),
        replace(kept, populations={}),
        replace(kept, readouts=()),
        replace(kept, populations={"p": replace(kept.populations["p"], connections=())}),
        replace(kept, populations={"p": replace(kept.populations["p"], leak="shift")}),
        replace(
            kept, populations={"p": replace(kept.populations["p"], connections=kept.populations["p"].connections * 2)}
        ),
    ):
        assert restored(other, graph) is None
