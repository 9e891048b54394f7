"""Linear nodes compose exactly: integers of random graphs whose weights are whole units equal the float meaning."""

from __future__ import annotations

from dataclasses import replace

import nir_files
import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model.importing import reference
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import import_graph
from gradrtl.quantize.imported import Asked, quantize_imported, thresholds
from gradrtl.sim import engine

STEPS = 6


def both(record, frames, convention=None, **asked):
    """Spikes of the float reference and of the integers, by population."""
    graph = import_graph(record, convention or Convention.of("nir"))
    network = quantize_imported(graph, Asked(frames.shape[1], **asked))
    floats = reference.run(graph.structure, {next(iter(graph.inputs)): frames.astype(float)})
    trace = engine.run(network, frames[:, : network.steps].astype(np.uint8), trace=True).trace
    integers = dict(zip([one.name for one in network.populations], trace.spikes, strict=True))
    return network, floats.spikes, integers


def frames_for(record, seed, count=2, steps=STEPS):
    sources = int(np.prod(record.nodes["input"].fields["shape"]))
    return (np.random.default_rng(seed).random((count, steps, sources)) < 0.5).astype(np.uint8)


@pytest.mark.parametrize("seed", set(range(60)) - {36})  # 36: all weights are 0
def test_random_graphs_are_exact(seed):
    record = nir_files.random_graph(seed)
    _, floats, integers = both(record, frames_for(record, seed))
    for name, spikes in floats.items():
        np.testing.assert_array_equal(spikes, integers[name], err_msg=name)


def max_pooled(pools, between, size=9):
    """IF neurons of maps, nodes `between` them and max pools of `pools` pixels, and IF neurons behind all of them.

    `size`: of the maps that are pooled.
    """
    weight = np.random.default_rng(3).integers(-3, 5, (2, 1, 3, 3)) / 4
    nodes = {"input": nir_files.given(1, 9, 9), "conv": nir_files.node("Conv2d", weight=weight, stride=1, padding=1),
             "first": nir_files.integrate(1.0), **between}  # fmt: skip
    for number, pool in enumerate(pools):
        nodes[f"pool{number}"] = nir_files.node("MaxPool2d", kernel_size=pool, stride=pool)
        size //= pool
    weight = np.random.default_rng(4).integers(-3, 5, (5, 2 * size * size)) / 4
    nodes |= {"fc": nir_files.node("Linear", weight=weight), "second": nir_files.integrate(2.0)}
    nodes["output"] = nir_files.taken(5)
    return nir_files.graph(nodes, " -> ".join(nodes))


@pytest.mark.parametrize(
    ("pools", "between"),
    [
        ([2], {}),
        ([4], {}),
        ([2, 2], {}),
        ([3], {"delay": nir_files.node("Delay", delay=2e-4), "scale": nir_files.node("Scale", scale=2.0)}),
    ],
)
def test_max_pools_are_exact(pools, between):
    record = max_pooled(pools, between)
    network, floats, integers = both(record, frames_for(record, 5, 4))
    (connection,) = network.population("second").inputs
    assert (connection.pool.kind, connection.pool.size) == ("max", np.prod(pools))
    assert 0.05 < floats["second"].mean() < 0.6
    np.testing.assert_array_equal(floats["second"], integers["second"])


@pytest.mark.parametrize(
    ("between", "message"),
    [
        ({"scale": nir_files.node("Scale", scale=-1.0)}, "node pool0 is a max pool of sums or inputs, expected one of"),
        ({"scale": nir_files.node("Scale", scale=[1.0, 2.0])}, "node pool0 is a max pool of sums or inputs"),
        ({"points": nir_files.node("Conv2d", weight=np.ones((2, 2, 1, 1)), stride=1)}, "node pool0 is a max pool of"),
        ({"sum": nir_files.node("SumPool2d", kernel_size=2, stride=2)}, "node pool0 is a max pool of sums"),
        ({"wait": nir_files.node("Delay", delay=[1e-4, 2e-4])}, "node pool0 is a max pool of sums or inputs"),
        ({"pool": nir_files.node("MaxPool2d", kernel_size=3, stride=2)}, "node pool windows is 3 pixels, expected sq"),
    ],
)
def test_max_pools_of_other_things_are_refused(between, message):
    with pytest.raises(UserError, match=message):
        import_graph(max_pooled([2], between, 4 if {"sum", "pool"} & {*between} else 9), Convention())


@pytest.mark.parametrize(
    ("threshold", "compare", "size", "stride", "is_pool"),
    [
        (0.5, "gt", 2, 2, True),
        (0.0, "gt", 2, 2, True),
        (1.0, "gt", 2, 2, False),  # two spikes in a window
        (1.0, "ge", 2, 2, True),
        (0.0, "ge", 2, 2, False),  # no spike at all
        (0.5, "gt", 3, 2, False),
        (0.5, "gt", 1, 1, True),
    ],
)
@pytest.mark.parametrize("read", [False, True])
def test_a_threshold_behind_a_sum_of_spikes_is_a_max_pool(threshold, compare, size, stride, is_pool, read):
    between = {"sum": nir_files.node("SumPool2d", kernel_size=size, stride=stride),
               "any": nir_files.node("Threshold", threshold=threshold)}  # fmt: skip
    record = max_pooled([], between, (9 - size) // stride + 1)
    if read:
        record = replace(
            record, nodes={**record.nodes, "o": nir_files.taken(2, 1, 1)}, edges=(*record.edges, ("any", "o"))
        )
    network, floats, integers = both(record, frames_for(record, 6, 3), Convention(compare=compare))
    (connection,) = network.population("second").inputs
    assert (connection.pool is not None and connection.pool.kind == "max") == (is_pool and not read)
    for name, spikes in floats.items():
        np.testing.assert_array_equal(spikes, integers[name], err_msg=name)


DENSE = {"input": nir_files.given(4), "fc": nir_files.node("Linear", weight=np.array([[1.0, -1, 2, 1], [2, 1, 0, -1]])),
         "lif": nir_files.integrate(2.0), "output": nir_files.taken(2)}  # fmt: skip
MAPS = {**DENSE, "input": nir_files.given(2, 5, 5)}
CHAIN = "input -> fc -> lif -> output"


def convolution(groups=1, **fields):
    return nir_files.node("Conv2d", weight=np.ones((4, 2 // groups, 3, 2)), groups=groups, **fields)


def nested(deep):
    made = nir_files.integrate(2.0)
    for _ in range(deep):
        nodes = {"input": nir_files.given(2), "lif": made, "output": nir_files.taken(2)}
        made = nir_files.graph(nodes, "input -> lif -> output")
    return made


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ({**DENSE, "lif": nested(3)}, ()),
        ({**DENSE, "lif": nested(1), "lif2": nested(1), "fc2": nir_files.node("Linear", weight=np.eye(2) * 3)},
         ("lif -> fc2 -> lif2 -> output",)),
        ({**DENSE, "other": nir_files.given(2), "fc2": nir_files.node("Linear", weight=np.eye(2))},
         ("other -> fc2 -> lif",)),
        ({**DENSE, "o2": nir_files.taken(2)}, ("lif -> o2",)),
        ({**DENSE, "fc": nir_files.node("Linear", weight=np.ones((2, 4), np.int16))}, ()),
        ({**DENSE, "fc": nir_files.node("Linear", weight=np.ones((2, 4), np.float16))}, ()),
        ({**DENSE, "fc": nir_files.node("Linear", weight=np.ones((2, 4), ">f4"))}, ()),
        (DENSE, ("lif -> lif",)),
        ({**DENSE, "l2": nir_files.integrate(), "a": nir_files.node("Linear", weight=np.eye(2)),
          "b": nir_files.node("Linear", weight=-np.eye(2))}, ("lif -> a -> l2 -> b -> lif",)),
        ({**DENSE, "fc": nir_files.node("Linear", weight=np.ones((1, 4)))}, ()),
        ({**DENSE, "d": nir_files.node("Delay", delay=np.arange(4) * 1e-4)}, ("input -> d -> fc",)),
        ({**DENSE, "fc": nir_files.node("Linear", weight=np.ones((1, 2, 4)))}, ()),
        *(({**MAPS, "fc": convolution(groups, padding=padding, dilation=dilation)}, ())
          for padding in ("same", "valid", (1, 2)) for dilation in (1, 2) for groups in (1, 2)),
        ({**DENSE, "input": nir_files.given(4, 9), "fc": nir_files.node(
            "Conv1d", weight=np.ones((4, 2, 3)), padding=2, dilation=2, stride=3, groups=2)}, ()),
    ],
)  # fmt: skip
def test_odd_graphs_are_exact(nodes, edges):
    record = nir_files.graph(nodes, "fc -> lif -> output" if edges and edges[0].startswith("input") else CHAIN, *edges)
    imported = import_graph(record, Convention())
    network = quantize_imported(imported, Asked(STEPS))
    generator = np.random.default_rng(5)
    frames = {name: generator.integers(0, 2, (3, STEPS, int(np.prod(shape))), np.uint8)
              for name, shape in imported.inputs.items()}  # fmt: skip
    floats = reference.run(imported.structure, {name: values.astype(float) for name, values in frames.items()}).spikes
    given = tuple(frames[one.name] for one in network.inputs)
    trace = engine.run(network, given if len(given) > 1 else given[0], trace=True).trace
    for population, spikes in zip(network.populations, trace.spikes, strict=True):
        if population.neuron.spiking:
            np.testing.assert_array_equal(floats[population.name], spikes, err_msg=population.name)


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ({**DENSE, "lif": nested(17)}, (), "nested graphs is 16 deep, expected at most 16"),
        (DENSE, ("fc -> fc",), "cycle of nodes is fc -> fc, expected a neuron in it"),
        (
            {**DENSE, "fc": nir_files.node("Linear", weight=2.0)},
            (),
            "node fc weight is ndarray of float64 (), expected an",
        ),
        (
            {**DENSE, "fc": nir_files.node("Linear", weight=np.ones((2, 4), bool))},
            (),
            "node fc weight is ndarray of bool",
        ),
        (
            {**DENSE, "fc": nir_files.node("Linear", weight=np.full((2, 4), 1e300))},
            (),
            "population lif largest weight is",
        ),
        (
            {**DENSE, "fc": nir_files.node("Linear", weight=np.full((2, 4), 5e-324))},
            (),
            "population lif largest weight is",
        ),
        ({**MAPS, "fc": convolution(padding="SAME")}, (), "node fc padding is SAME, expected same, valid or numbers"),
        (
            {**MAPS, "fc": convolution(padding=-1)},
            (),
            "node fc padding is [-1.0], expected whole numbers of at least 0",
        ),
        ({**MAPS, "fc": convolution(padding=1.5)}, (), "node fc padding is [1.5], expected whole numbers"),
        ({**MAPS, "fc": convolution(padding="same", stride=2)}, (), "node fc stride is (2, 2), expected 1 with the"),
        (
            {**MAPS, "fc": convolution(dilation=60000, padding=60000)},
            (),
            "node fc kernel is 8 of 120001 x 60001, expected",
        ),
        ({**MAPS, "fc": convolution(padding=60000, stride=60000)}, (), "kernel with its padding kernel is 8 of "),
        ({**MAPS, "fc": nir_files.node("Conv2d", weight=np.ones((4, 1, 3, 3)), groups=3)}, (), "node fc groups is 3"),
        ({**DENSE, "lif": nir_files.node("LIF", tau=1.0, r=1.0, v_threshold=1.0)}, (), "node lif v_leak is missing"),
    ],
)
def test_hostile_graphs_are_one_line(nodes, edges, message):
    with pytest.raises(UserError) as caught:
        quantize_imported(import_graph(nir_files.graph(nodes, CHAIN, *edges), Convention()), Asked(STEPS))
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


def test_thresholds_are_the_least_integers_that_spike():
    exact = np.array([2.0, 2.5, 2.0 + 1e-8])
    assert thresholds(exact, 1.0, equal=False).tolist() == [3, 3, 3]
    assert thresholds(exact, 1.0, equal=True).tolist() == [2, 3, 2]


def test_a_bias_counts_once_though_two_sources_lead_to_it():
    nodes = {
        "input": nir_files.given(4),
        "a": nir_files.integrate(),
        "b": nir_files.integrate(),
        "fc": nir_files.node("Affine", weight=np.ones((2, 4)), bias=np.array([1.0, 0.0])),
        "lif": nir_files.integrate(3.0),
        "output": nir_files.taken(2),
    }
    record = nir_files.graph(nodes, "input -> a -> fc -> lif -> output", "input -> b -> fc")
    network, floats, integers = both(record, frames_for(record, 0))
    assert network.population("lif").bias.tolist() == [1, 0]
    np.testing.assert_array_equal(floats["lif"], integers["lif"])
