"""The engine equals the reference, bit for bit, on everything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import random_graphs
import random_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from limit_networks import CHANGES, at_limit

from gradrtl.errors import UserError
from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, Pool, QuantizedNetwork, Readout
from gradrtl.sim import engine, operations, reference
from gradrtl.sim.program import compile_network


def assert_equal(network: QuantizedNetwork, frames: np.ndarray, threads: int = 1) -> None:
    expected, got = reference.run(network, frames), engine.run(network, frames, trace=True, threads=threads)
    assert expected.trace is not None
    assert got.trace is not None
    for layer, ours, theirs in zip(network.populations, got.trace.spikes, expected.trace.spikes, strict=True):
        np.testing.assert_array_equal(ours, theirs, f"spikes of {layer.name}")
    for layer, ours, theirs in zip(network.populations, got.trace.membranes, expected.trace.membranes, strict=True):
        np.testing.assert_array_equal(ours, theirs, f"membranes of {layer.name}")
    np.testing.assert_array_equal(got.counts, expected.counts)
    np.testing.assert_array_equal(got.classes, expected.classes)
    # Without membranes the first layer may be done by tables.
    spikes, bare = (engine.run(network, frames, trace=trace, threads=threads) for trace in ("spikes", False))
    for layer, ours, theirs in zip(network.populations, spikes.trace.spikes, expected.trace.spikes, strict=True):
        np.testing.assert_array_equal(ours, theirs, f"spikes of {layer.name}, no membranes")
    for outcome in (spikes, bare):
        np.testing.assert_array_equal(outcome.counts, expected.counts)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(random_networks.networks(), st.integers(0, 5))
def test_equals_reference(network, count):
    assert_equal(network, random_networks.frames(network, count))


@pytest.mark.parametrize("seed", range(80))
def test_equals_reference_on_seeded_networks(seed):
    network = random_networks.network(seed)
    assert_equal(network, random_networks.frames(network, 4, seed))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(random_graphs.graphs(), st.integers(0, 5))
def test_equals_reference_on_graphs(network, count):
    assert_equal(network, random_networks.frames(network, count))


@pytest.mark.parametrize("seed", range(120))
def test_equals_reference_on_seeded_graphs(seed):
    network = random_graphs.graph(seed)
    assert_equal(network, random_networks.frames(network, 4, seed))


@pytest.mark.parametrize("seed", range(12))
def test_frames_of_graphs_begin_anew(seed):
    """Three blocks by one thread: nothing that is delayed or kept passes from one to the next."""
    network = random_graphs.graph(seed, replace(random_graphs.SMALL, largest=12, most_steps=4))
    frames = random_networks.frames(network, 130, seed)
    np.testing.assert_array_equal(engine.run(network, frames, threads=1).counts, reference.run(network, frames).counts)


def test_recipe_of_graphs_covers_every_kind():
    networks = [random_graphs.graph(seed) for seed in range(200)]
    edges = [edge for network in networks for edge in network.edges]
    assert 70 < sum(map(random_graphs.has_cycle, networks)) < 130
    assert {edge.connection.delay for edge in edges} == {0, 1, 2, 3}
    assert {0, 1, 2, 4, 6} <= {edge.connection.shift for edge in edges}
    assert {(type(edge.synapses), edge.pool and edge.pool.kind, len(edge.connection.sources)) for edge in edges} == {
        (kind, pool, sources) for kind in (Dense, Conv) for pool in (None, "max", "average") for sources in (1, 2)
    }
    assert {edge.held for edge in edges} == {True, False}
    assert any(
        {edge.held for edge in network.graph.into(index)} == {True, False}
        for network in networks
        for index in range(len(network.populations))
    )
    assert any(network.order != tuple(sorted(network.order)) for network in networks)
    assert {len(network.inputs) for network in networks} == {1, 2, 3}
    assert {len(network.readouts) for network in networks} >= {1, 2, 3}
    kinds = {tuple(sorted({given.kind for given in network.inputs})) for network in networks}
    assert ("graded", "spikes", "static") in kinds
    assert {readout.kind for network in networks for readout in network.readouts} == {
        "count", "first", "membrane", "largest", "sum"
    }  # fmt: skip
    neurons = [population.neuron for network in networks for population in network.populations]
    assert {neuron.leak for neuron in neurons} == {"none", "shift", "multiply", "decaying_input"}
    assert {neuron.current and neuron.current.enters for neuron in neurons} == {None, "new", "old"}
    assert {neuron.adaptation is None for neuron in neurons} == {True, False}
    assert any(population.neurons == 1 for network in networks for population in network.populations)
    assert {compile_network(network).tabled >= 0 for network in networks} == {True, False}


@pytest.mark.parametrize("seed", range(48))
def test_equals_reference_at_the_limits(seed):
    network = random_networks.network(seed, random_networks.Options(largest=60, limits=True))
    assert_equal(network, random_networks.frames(network, 4, seed))


def test_every_limit_is_reached():
    """Of 120 networks, most can be driven to the limit that is their turn."""
    found = [at_limit(random_networks.network(seed), seed) for seed in range(120)]
    reached = Counter(name for name, _ in found)
    assert reached.keys() >= CHANGES.keys()
    assert reached["none"] <= 12
    sums = [network.ranges[-1].membrane for name, network in found if name == "group_sums"]
    groups = [network.readout.group for name, network in found if name == "group_sums"]
    assert max(max(map(abs, pair)) * group for pair, group in zip(sums, groups, strict=True)) > 2**30
    extremes = [max(map(abs, ranges.potential)) for _, network in found for ranges in network.ranges]
    assert max(extremes) > 2**29


def test_recipe_covers_every_kind():
    networks = [random_networks.network(seed) for seed in range(200)]
    layers = [layer for network in networks for layer in network.layers]
    assert {type(layer.synapses) for layer in layers} == {Dense, Conv}
    assert {layer.pool and layer.pool.kind for layer in layers} == {None, "max", "average"}
    assert {layer.neuron.leak for layer in layers} == {"none", "shift", "multiply", "decaying_input"}
    assert {layer.neuron.reset for layer in layers} == {"hard", "soft", "none"}
    assert {layer.neuron.rounding for layer in layers} == {"floor", "nearest"}
    assert {layer.neuron.refractory for layer in layers} == {0, 1, 2, 3}
    assert {layer.neuron.current and layer.neuron.current.enters for layer in layers} == {None, "new", "old"}
    assert {layer.neuron.adaptation is None for layer in layers} == {True, False}
    sizes = [(values.size, layer) for layer in layers for values in layer.neuron.parameters]
    assert any(layer.channels < size == layer.neurons for size, layer in sizes)
    assert any(1 < size == layer.channels < layer.neurons for size, layer in sizes)
    assert {layer.weight_bits for layer in layers} == set(range(2, 9))
    assert {layer.neuron.membrane_bits is None for layer in layers} == {True, False}
    assert {network.input.kind for network in networks} == {"static", "spikes", "graded"}
    assert {network.readout.kind for network in networks} == {"count", "first", "membrane", "largest", "sum"}
    assert {compile_network(network).weight.dtype for network in networks} == {np.dtype("i2"), np.dtype("i4")}
    assert {compile_network(network).wide.dtype for network in networks} == {np.dtype("i4"), np.dtype("i8")}
    assert any(layer.neurons == 1 for layer in layers)
    assert any(not layer.synapses.weight.any() for layer in layers)


def test_tables_are_used_and_a_program_is_kept():
    networks = [random_networks.network(seed) for seed in range(200)]
    tables = [compile_network(network).turn for network in networks]
    assert 20 < sum(turn.size > 0 for turn in tables) < 180
    assert {1, 2, 3} < {turn.size for turn in tables}
    again = replace(networks[-1], notes={"same": "content"})
    assert compile_network(again) is compile_network(networks[-1])
    assert compile_network(networks[0]) is not compile_network(networks[-1])


@pytest.mark.parametrize(("weight", "threshold", "kind"), [(7, 140, "i2"), (127, 2540, "i2"), (127, 60_000, "i4")])
def test_first_layer_by_table_beyond_16_bits(weight, threshold, kind):
    """Its sums pass 16 bits, those of a few synapses, of one at least, do not; its turns are of `kind`."""
    random = np.random.default_rng(weight)
    sources = 2000 // weight  # so that the table stays below its largest size
    weights = random.integers(-weight, weight + 1, (20, sources)).astype(np.int8)
    weights[0], weights[1], weights[2, 0] = weight, -weight, weight
    first = Dense(weights, np.full(20, 40))
    second = Dense(random.integers(-3, 4, (5, 20)).astype(np.int8), np.zeros(5, np.int64))
    neurons = (IntNeuron("decaying_input", "hard", np.array([threshold]), shift=1) for threshold in (threshold, 2))
    layers = tuple(
        Layer(f"fc{index}", (synapses.weight.shape[1],), synapses, neuron, bits)
        for index, (synapses, neuron, bits) in enumerate(zip((first, second), neurons, (8, 4), strict=True))
    )
    network = QuantizedNetwork.chain(Input((sources,)), layers, steps=8)
    program = compile_network(network)
    assert program.turn.size > 1
    assert program.weight.dtype == np.dtype("i2")
    assert program.turn.dtype == np.dtype(kind)
    frames = random.integers(0, 256, (67, sources), dtype=np.uint8)
    frames[0], frames[1], frames[2, ::2], frames[3] = 255, 0, 255, frames[3] // 64
    assert_equal(network, frames)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 65, 130])
@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_frames_and_threads(count, threads):
    assert_equal(random_networks.network(2), random_networks.frames(random_networks.network(2), count), threads)


def small(weight: int = 1, bits: int = 8, **neuron) -> QuantizedNetwork:
    """One neuron that reads one pixel through one weight."""
    given = {"leak": "none", "reset": "hard", "threshold": np.array([1000]), **neuron}
    synapses = Dense(np.array([[weight]], np.int8), np.zeros(1, np.int64))
    return QuantizedNetwork.chain(Input((1,), bits), (Layer("only", (1,), synapses, IntNeuron(**given), 8),), steps=3)


@pytest.mark.parametrize("leak", ["none", "shift", "multiply", "decaying_input"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("bits", [None, 2, 9])
def test_every_pixel_through_every_arithmetic(leak, reset, bits):
    frames = np.arange(256, dtype=np.uint8)[:, None]
    for weight in (-128, -1, 0, 3, 127):
        network = small(
            weight, leak=leak, reset=reset, membrane_bits=bits, threshold=np.array([77]), shift=3, factor=5, fraction=1
        )
        assert_equal(network, frames)


@pytest.mark.parametrize("leak", ["none", "shift", "multiply", "decaying_input"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("threshold", [-32000, -1, 32766, 32767, 32768, (1 << 30) - 1])
def test_edges_of_the_narrow_and_wide_types(leak, reset, threshold):
    """Sums up to 128 * 128 * 2 - ... walk across the limits of 16 bits, where the engine changes its type."""
    weight = np.concatenate([np.full(128, 127), np.full(128, -128)]).astype(np.int8)
    synapses = Dense(weight[None], np.array([250]))
    neuron = IntNeuron(leak, reset, np.array([threshold]), shift=15, factor=1 << 15, membrane_bits=17)
    layer = Layer("only", (256,), synapses, neuron, 8)
    network = QuantizedNetwork.chain(Input((256,), bits=1), (layer,), steps=4)
    frames = np.zeros((6, 256), np.uint8)
    frames[0, :128], frames[1, 128:], frames[2], frames[3, 64:192] = 255, 255, 255, 255
    assert_equal(network, frames)
    assert_equal(replace(network, steps=1), frames)


def test_counts_of_a_large_voting_group_do_not_wrap():
    neurons, steps = 600, 200  # 120,000 votes in one class
    synapses = Dense(np.ones((neurons, 1), np.int8), np.ones(neurons, np.int64))
    layer = Layer("only", (1,), synapses, IntNeuron("none", "hard", np.array([1])), 2)
    network = QuantizedNetwork.chain(Input((1,)), (layer,), steps, Readout("count", neurons))
    assert engine.run(network, np.zeros((1, 1), np.uint8), threads=1).counts.tolist() == [[neurons * steps]]


def test_a_trace_does_not_change_the_answers():
    network = random_networks.network(3)
    frames = random_networks.frames(network, 70)
    plain, traced = engine.run(network, frames), engine.run(network, frames, trace=True)
    assert plain.trace is None
    np.testing.assert_array_equal(plain.counts, traced.counts)
    spikes = engine.run(network, frames, trace="spikes").trace
    assert spikes.membranes == ()
    for ours, theirs in zip(spikes.spikes, traced.trace.spikes, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_blocks_are_the_run_in_pieces():
    network = random_networks.network(3)
    frames = random_networks.frames(network, 70)
    whole = engine.run(network, frames, trace=True)
    pieces = list(engine.blocks(network, frames, size=32))
    assert [part for part, _ in pieces] == [slice(0, 32), slice(32, 64), slice(64, 70)]
    for index, spikes in enumerate(whole.trace.spikes):
        np.testing.assert_array_equal(np.concatenate([got.trace.spikes[index] for _, got in pieces]), spikes)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([[0]], "frames is list, expected a NumPy array"),
        (np.zeros((2, 1)), "frames dtype is float64, expected uint8"),
        (np.zeros((2, 2), np.uint8), r"frames shape is \(2, 2\), expected \[n, 1\]"),
        (np.zeros(1, np.uint8), r"frames shape is \(1,\), expected \[n, 1\]"),
        (np.zeros((2, 3, 1), np.uint8), r"frames shape is \(2, 3, 1\), expected \[n, 1\]"),
        (np.array(0, np.uint8), r"frames shape is \(\), expected \[n, 1\]"),
    ],
)
def test_refuses_static_frames_that_do_not_fit(frames, message):
    with pytest.raises(UserError, match=message):
        engine.run(small(), frames)


def test_refuses_spike_frames_that_do_not_fit():
    network = small().changed(input=Input((1,), kind="spikes"))
    with pytest.raises(UserError, match="frames largest spike is 2, expected 0 or 1"):
        engine.run(network, np.full((1, 3, 1), 2, np.uint8))
    with pytest.raises(UserError, match=r"frames shape is \(1, 1\), expected \[n, 3, 1\]"):
        engine.run(network, np.zeros((1, 1), np.uint8))


def test_refuses_a_senseless_number_of_threads():
    with pytest.raises(UserError, match="threads is -1, expected at least 1"):
        engine.run(small(), np.zeros((1, 1), np.uint8), threads=-1)


@pytest.mark.parametrize("seed", range(40))
def test_operations_are_those_of_the_reference(seed):
    """Events and synaptic operations, counted again from the reference's own lists of synapses."""
    network = random_networks.network(seed)
    frames = random_networks.frames(network, 3, seed)
    trace = reference.run(network, frames).trace
    counted = operations.count(network, frames, threads=1)
    fan_outs = []
    for layer in network.layers:
        reached = [0] * layer.sources
        for synapses in reference._fan_in(layer):
            for source, _ in synapses:
                reached[source] += 1
        fan_outs.append(reached)
    for index in range(len(network.layers)):
        for frame in range(len(frames)):
            for step in range(counted.events[index].shape[1]):
                if index:
                    before = network.layers[index - 1]
                    values = trace.spikes[index - 1][frame, step].tolist()
                    if before.pool:
                        values = reference._pool(before.pool, values, before.shape)
                elif network.input.kind == "static":
                    values = [int(pixel >> 8 - network.input.bits > 0) for pixel in frames[frame]]
                else:  # a graded event is one event, whatever its count
                    values = (frames[frame, step] > 0).tolist()
                assert counted.events[index][frame, step] == sum(values)
                synaptic = sum(value * reached for value, reached in zip(values, fan_outs[index], strict=True))
                assert counted.synaptic[index][frame, step] == synaptic


def test_operations_of_no_frames():
    counted = operations.count(small(), np.zeros((0, 1), np.uint8))
    assert counted.events[0].shape == (0, 1)


def test_a_pool_drops_the_border_and_counts_a_window():
    """A 3 x 3 map, pooled by 2: only the upper left window counts; all four spikes arrive in an average pool."""
    first = Layer(
        "map",
        (1, 3, 3),
        Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64)),
        IntNeuron("none", "hard", np.array([1])),
        2,
        Pool("average", 2),
    )
    second = Layer(
        "sum",
        (1, 1, 1),
        Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int64)),
        IntNeuron("none", "hard", np.array([4])),
        2,
    )
    network = QuantizedNetwork.chain(Input((1, 3, 3)), (first, second), steps=1)
    frames = np.full((1, 9), 9, np.uint8)
    outcome = engine.run(network, frames, trace=True)
    assert outcome.trace.spikes[1].tolist() == [[[1]]]
    assert operations.count(network, frames).events[1].tolist() == [[4]]


def test_compiles_from_a_clean_cache_in_time(tmp_path):
    """A first call, nothing cached, answers right; the time is printed, not judged."""
    script = (
        "import time, numpy as np, random_networks\n"
        "from gradrtl.sim import engine, reference\n"
        "network = random_networks.network(4)\n"
        "frames = random_networks.frames(network, 3)\n"
        "begin = time.perf_counter()\n"
        "counts = engine.run(network, frames).counts\n"
        "print(f'{time.perf_counter() - begin:.1f} s')\n"
        "np.testing.assert_array_equal(counts, reference.run(network, frames).counts)\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert any(tmp_path.rglob("*.nbc"))


def test_counts_of_the_largest_average_pool_do_not_wrap():
    """256 spikes in one window: one more than a byte holds."""
    ones = Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))
    first = Layer("map", (1, 16, 16), ones, IntNeuron("none", "hard", np.array([1])), 2, Pool("average", 16))
    reader = Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int64))
    second = Layer("sum", (1, 1, 1), reader, IntNeuron("none", "hard", np.array([256])), 2)
    network = QuantizedNetwork.chain(Input((1, 16, 16)), (first, second), steps=2)
    frames = np.full((2, 256), 9, np.uint8)
    frames[1, 0] = 0
    assert_equal(network, frames)
    assert engine.run(network, frames).counts.tolist() == [[2], [1]]


def test_memory_does_not_grow_with_the_frames():
    """The process's own high water mark: a hundred times the frames, a few megabytes for the answers."""
    script = (
        "import resource, numpy as np, random_networks\n"
        "from gradrtl.sim import engine\n"
        "network = random_networks.network(38)\n"
        "frames = np.zeros((200_000, 6), np.uint8)\n"
        "engine.run(network, frames[:2000])\n"
        "begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sums = engine.run(network, frames).counts\n"
        "grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin)\n"
        "allowed = 2 * (sums.nbytes + frames.nbytes) + (16 << 20)\n"
        "assert grown < allowed, (grown, allowed)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
