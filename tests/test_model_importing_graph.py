"""Linear nodes compose exactly: integers of random graphs whose weights are whole units equal the float meaning."""

from __future__ import annotations

import nir_files
import numpy as np
import pytest

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
