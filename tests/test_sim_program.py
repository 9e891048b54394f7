"""Networks flattened: which integer type every number of a run fits, and what is done when one does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, Pool, QuantizedNetwork, Readout
from gradrtl.sim import engine, reference
from gradrtl.sim.program import compile_network


def one(weight: list[list[int]], neuron: IntNeuron, steps: int = 4, bias: int = 0, group: int = 1) -> QuantizedNetwork:
    """One layer of dense spike input."""
    values = np.array(weight, np.int8)
    synapses = Dense(values, np.full(len(values), bias))
    layer = Layer("only", (values.shape[1],), synapses, neuron, 8)
    return QuantizedNetwork(Input((values.shape[1],), kind="spikes"), (layer,), steps, Readout("count", group))


def same_as_reference(network: QuantizedNetwork, frames: np.ndarray) -> None:
    expected, got = reference.run(network, frames), engine.run(network, frames, trace=True, threads=1)
    for ours, theirs in zip(got.trace.membranes, expected.trace.membranes, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for trace in (True, "spikes", False):
        np.testing.assert_array_equal(engine.run(network, frames, trace=trace, threads=1).counts, expected.counts)


@pytest.mark.parametrize(("threshold", "kind"), [(-32_000, "i4"), (-30_000, "i2"), (32_000, "i4"), (30_000, "i2")])
def test_a_soft_reset_that_passes_16_bits(threshold, kind):
    """Membranes of 12 bits, sums of one synapse: only what the reset subtracts is large."""
    neuron = IntNeuron("none", "soft", np.array([threshold]), membrane_bits=12)
    network = one([[100], [-100]], neuron, steps=20)
    assert compile_network(network).weight.dtype == np.dtype(kind)
    same_as_reference(network, np.ones((2, 20, 1), np.uint8))


@pytest.mark.parametrize(("bias", "kind"), [(31_000, "i4"), (15_000, "i2")])
def test_a_decay_towards_the_input_that_passes_16_bits(bias, kind):
    """The difference of sum and membrane is twice as large as either."""
    neuron = IntNeuron("decaying_input", "hard", np.array([32_000]), shift=1, reset_value=-bias)
    network = one([[1], [2]], neuron, bias=bias)
    assert compile_network(network).weight.dtype == np.dtype(kind)
    same_as_reference(network, np.ones((2, 4, 1), np.uint8))


@pytest.mark.parametrize(("neurons", "kind"), [(128, "i2"), (129, "i4")])
def test_votes_that_pass_16_bits(neurons, kind):
    """255 steps of 128 votes for a class are 32,640, of 129 they are 32,895."""
    network = one([[1]] * neurons, IntNeuron("none", "hard", np.array([1])), 255, bias=1, group=neurons)
    assert compile_network(network).weight.dtype == np.dtype(kind)
    counts = engine.run(network, np.ones((1, 255, 1), np.uint8), threads=1).counts
    assert counts.tolist() == [[255 * neurons]]


@pytest.mark.parametrize(("size", "kind"), [(15, "u1"), (16, "u2")])
def test_a_window_of_more_spikes_than_a_byte_counts(size, kind):
    ones = Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))
    first = Layer("map", (1, size, size), ones, IntNeuron("none", "hard", np.array([1])), 2, Pool("average", size))
    reader = Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int64))
    second = Layer("sum", (1, 1, 1), reader, IntNeuron("none", "hard", np.array([size**2])), 2)
    network = QuantizedNetwork(Input((1, size, size)), (first, second), steps=1)
    assert compile_network(network).cell.dtype == np.dtype(kind)
    assert engine.run(network, np.full((1, size**2), 1, np.uint8), threads=1).counts.tolist() == [[1]]


def pixels(thresholds: list[int]) -> QuantizedNetwork:
    """Two layers of static input; what the first does may be looked up."""
    first = Dense(np.full((2, 600), 127, np.int8), np.zeros(2, np.int64))
    second = Dense(np.ones((2, 2), np.int8), np.zeros(2, np.int64))
    layers = (
        Layer("first", (600,), first, IntNeuron("decaying_input", "hard", np.array(thresholds)), 8),
        Layer("second", (2,), second, IntNeuron("none", "hard", np.array([1])), 2),
    )
    return QuantizedNetwork(Input((600,), bits=3), layers, steps=8)


def bright(network: QuantizedNetwork) -> np.ndarray:
    """Frames whose sums walk across all that 600 pixels of 3 bits give."""
    return (np.arange(600)[None, :] < np.arange(0, 601, 12)[:, None]).astype(np.uint8) * 255


@pytest.mark.parametrize("threshold", [1_000, 20_000, 40_000, 60_000, 200_000])
def test_a_table_of_currents_of_any_size(threshold):
    network = pixels([threshold])
    program = compile_network(network)
    assert program.turn.size > 1
    assert program.weight.dtype == np.dtype("i2")
    assert program.stretch * 127 * 7 <= np.iinfo(np.int16).max
    assert program.stretch < 600  # a sum is made of several parts
    same_as_reference(network, bright(network))


def test_no_table_for_several_thresholds():
    network = pixels([20_000, 300_000])
    assert compile_network(network).turn.size == 0
    same_as_reference(network, bright(network))


def test_a_program_is_made_anew_for_another_network():
    network = pixels([1_000])
    assert compile_network(network) is compile_network(replace(network, notes={"same": 1}))
    assert compile_network(network) is not compile_network(network, membranes=True)
