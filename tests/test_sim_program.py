"""Networks flattened: which integer type every number of a run fits, and what is done when one does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, Pool, QuantizedNetwork, Readout
from gradrtl.quantize.neuron import Adaptation, SynapticCurrent
from gradrtl.sim import engine, reference
from gradrtl.sim.program import compile_network

PLAIN = IntNeuron("none", "hard", np.array([500]))


def one(weight: list[list[int]], neuron: IntNeuron, steps: int = 4, bias: int = 0, group: int = 1) -> QuantizedNetwork:
    """One layer of dense spike input."""
    values = np.array(weight, np.int8)
    synapses = Dense(values, np.full(len(values), bias))
    layer = Layer("only", (values.shape[1],), synapses, neuron, 8)
    return QuantizedNetwork.chain(Input((values.shape[1],), kind="spikes"), (layer,), steps, Readout("count", group))


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


@pytest.mark.parametrize("neurons", [128, 129])
def test_votes_that_pass_16_bits(neurons):
    """255 steps of 128 votes for a class are 32,640, of 129 they are 32,895; membranes stay narrow."""
    network = one([[1]] * neurons, IntNeuron("none", "hard", np.array([1])), 255, bias=1, group=neurons)
    assert compile_network(network).weight.dtype == np.dtype("i2")
    counts = engine.run(network, np.ones((1, 255, 1), np.uint8), threads=1).counts
    assert counts.tolist() == [[255 * neurons]]


FAR = np.array([30_000])
SHORT = replace(PLAIN, membrane_bits=12)
SLOW = replace(PLAIN, leak="shift", shift=15, start_value=20_000)
EMPTY = replace(PLAIN, leak="multiply")
WIDE = {  # steps; a neuron of which one number passes 16 bits, and one of which it does not
    "start": (12, replace(PLAIN, start_value=32_767), replace(PLAIN, start_value=31_000)),
    "amount": (12, *(replace(SHORT, reset="soft", reset_amount=n) for n in (32_000, 30_000))),
    "rounding": (12, replace(SLOW, rounding="nearest"), SLOW),
    "threshold": (12, *(replace(PLAIN, adaptation=Adaptation(0, 1, n)) for n in (32_400, 32_000))),
    "high": (12, *(replace(PLAIN, threshold=FAR, adaptation=Adaptation(0, 1, n)) for n in (2_800, 2_700))),
    "current": (164, *(replace(EMPTY, current=SynapticCurrent(n, 15, "old")) for n in (1 << 15, 1 << 14))),
}


@pytest.mark.parametrize("name", WIDE)
def test_every_number_of_a_neuron_counts(name):
    """One neuron in 32 bits, another in 16."""
    steps, *neurons = WIDE[name]
    for neuron, kind in zip(neurons, ("i4", "i2"), strict=True):
        network = one([[100], [-100]], neuron, steps=steps, bias=100)
        assert compile_network(network).weight.dtype == np.dtype(kind)
        same_as_reference(network, np.ones((2, steps, 1), np.uint8))


def test_products_of_decays_that_pass_32_bits():
    """A membrane of 16 bits and more times a factor of 15: a product of 32 bits wraps, and 64 hold it."""
    for start, kind in ((65_534, "i4"), (65_600, "i8")):
        neuron = IntNeuron("multiply", "none", FAR, 15, (1 << 15) - 1, start_value=start)
        network = one([[1], [-1]], neuron)
        assert compile_network(network).wide.dtype == np.dtype(kind)
        same_as_reference(network, np.ones((2, 4, 1), np.uint8))


@pytest.mark.parametrize(("size", "kind"), [(15, "u1"), (16, "u2")])
def test_a_window_of_more_spikes_than_a_byte_counts(size, kind):
    ones = Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))
    first = Layer("map", (1, size, size), ones, IntNeuron("none", "hard", np.array([1])), 2, Pool("average", size))
    reader = Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int64))
    second = Layer("sum", (1, 1, 1), reader, IntNeuron("none", "hard", np.array([size**2])), 2)
    network = QuantizedNetwork.chain(Input((1, size, size)), (first, second), steps=1)
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
    return QuantizedNetwork.chain(Input((600,), bits=3), layers, steps=8)


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


def test_a_table_of_neurons_with_more_states():
    """The spikes are a function of the sum still."""
    first, second = pixels([20_000]).layers
    states = {"current": SynapticCurrent(3, 2), "adaptation": Adaptation(7, 3, 9_000), "refractory": 2}
    neuron = replace(first.neuron, **states, rounding="nearest", start_value=-4_000)
    network = pixels([20_000]).changed(layers=(replace(first, neuron=neuron), second))
    program = compile_network(network)
    assert program.turn.size > 3
    assert program.states == 0 or program.tabled == 0
    same_as_reference(network, bright(network))


@pytest.mark.parametrize(("steps", "has_table"), [(8, True), (9, False)])
def test_a_table_holds_the_spikes_of_eight_steps(steps, has_table):
    network = replace(pixels([40_000]), steps=steps)
    assert (compile_network(network).turn.size > 0) == has_table
    same_as_reference(network, bright(network))


def test_no_table_for_several_thresholds():
    network = pixels([20_000, 300_000])
    assert compile_network(network).turn.size == 0
    same_as_reference(network, bright(network))


def test_a_program_is_made_anew_for_another_network():
    network = pixels([1_000])
    assert compile_network(network) is compile_network(replace(network, notes={"same": 1}))
    assert compile_network(network) is not compile_network(network, membranes=True)
