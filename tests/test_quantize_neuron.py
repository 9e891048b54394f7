"""A step of the array arithmetic equals the reference's own, from every state and sum of small formats."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from random_networks import Options, frames, network

from gradrtl.bits import signed_range
from gradrtl.quantize.network import IntNeuron, LeakKind
from gradrtl.quantize.neuron import Adaptation, Reset, Rounding, State, SynapticCurrent
from gradrtl.sim import reference

V, SUMS = range(-9, 9), range(-5, 6)
MEMBRANE_BITS = 4
CURRENTS = [None, SynapticCurrent(5, 3, "new"), SynapticCurrent(3, 2, "old")]
ADAPTATIONS = [None, Adaptation(5, 3, 2)]
PLAIN = IntNeuron("none", "hard", np.array([7]), reset_value=-3)


def _agree(neuron: IntNeuron) -> None:
    """One step, from every membrane and, where the neuron has them, every other state."""
    states = (
        V,
        range(-3, 4) if neuron.current else [0],
        range(4) if neuron.adaptation else [0],
        range(neuron.refractory + 1),
    )
    grid = np.array(list(product(*states, SUMS)), np.int64)
    own = {name: int(values[0]) for name, values in neuron.parameters._asdict().items()}
    found = neuron.update(State(*grid.T[:4]), grid.T[4], neuron.parameters)
    one = reference._Neuron(neuron, own)
    columns = grid.tolist(), found.spikes.tolist(), *(values.tolist() for values in found.state)
    for given, *expected in zip(*columns, strict=True):
        one.v, one.i, one.a, one.waiting = given[:4]
        spike = one.step(given[4])
        assert [spike, one.v, one.i, one.a, one.waiting] == expected, given


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("leak", LeakKind)
def test_a_step_of_every_kind_is_that_of_the_reference(leak: LeakKind, reset: Reset, rounding: Rounding) -> None:
    amounts = {Reset.HARD: {"reset_value": -2}, Reset.SOFT: {"reset_amount": 3}, Reset.NONE: {}}[reset]
    neuron = IntNeuron(leak, reset, np.array([2]), 2, 3, rounding=rounding, membrane_bits=MEMBRANE_BITS, **amounts)
    for current, adaptation, refractory in product(CURRENTS, ADAPTATIONS, (0, 2)):
        _agree(replace(neuron, current=current, adaptation=adaptation, refractory=refractory))


@pytest.mark.parametrize(
    "neuron",
    [
        PLAIN,
        replace(PLAIN, leak="shift", shift=3, fraction=2),
        replace(PLAIN, fraction=1, current=CURRENTS[1], spiking=False),
        replace(PLAIN, reset="soft", reset_value=0, reset_amount=None),
        IntNeuron("multiply", "hard", np.array([7]), 1, 2, membrane_bits=2, reset_value=-2),
        replace(PLAIN, leak="decaying_input", spiking=False, membrane_bits=5),
    ],
    ids=["exact", "fraction", "leaky read-out", "soft", "narrow", "silent"],
)
def test_a_step_of_other_formats_is_that_of_the_reference(neuron: IntNeuron) -> None:
    _agree(neuron)


@pytest.mark.parametrize("seed", range(12))
def test_layers_of_different_neurons_move_as_in_the_reference(seed: int) -> None:
    """Whole frames of a first layer: where a frame starts, and which neuron has which parameter."""
    net = network(seed, Options(largest=40, most_layers=1, most_steps=12))
    given = frames(net, 3, seed)
    layer, expected = net.layers[0], reference.run(net, given).trace
    assert expected is not None
    static = net.input.kind == "static"
    sums = reference_sums(net, given)
    state = layer.neuron.start(layer.parameters)
    state = State(*(np.broadcast_to(values, (len(given), layer.neurons)) for values in state))
    for t in range(net.steps):
        updated = layer.neuron.update(state, sums[:, 0 if static else t], layer.parameters)
        state = updated.state
        np.testing.assert_array_equal(state.membrane, expected.membranes[0][:, t])
        np.testing.assert_array_equal(updated.spikes, expected.spikes[0][:, t])


def reference_sums(net, given: np.ndarray) -> np.ndarray:
    """Sums of the first layer, int64 `[frames, steps or 1, neurons]`: membranes that integrate for one step."""
    layer = net.layers[0]
    silent = IntNeuron("none", "hard", np.zeros(1, np.int64), spiking=False)
    steps = given[:, None] if net.input.kind == "static" else given
    flat = steps.reshape(-1, steps.shape[-1])
    one = net.changed(layers=(replace(layer, neuron=silent),), steps=1, readout=replace(net.readout, kind="membrane"))
    trace = reference.run(one, flat if net.input.kind == "static" else flat[:, None]).trace
    return trace.membranes[0].astype(np.int64).reshape(*steps.shape[:2], layer.neurons)


def test_divisions_round_as_they_say() -> None:
    """Worked out by hand, in the reference: a floor keeps -1 for ever; to nearest, halves go up."""
    own = {name: int(values[0]) for name, values in PLAIN.parameters._asdict().items()}
    for value, floor, nearest in ((-3, -2, -1), (-2, -1, -1), (-1, -1, 0), (1, 0, 1), (2, 1, 1), (3, 1, 2)):
        for rounding, expected in (("floor", floor), ("nearest", nearest)):
            neuron = replace(PLAIN, rounding=rounding)
            assert reference._Neuron(neuron, own).divided(value, 1) == expected
            assert neuron.decayed(value, 1, 1) == expected


def test_with_parameters_changes_those_that_a_neuron_has() -> None:
    neuron = replace(PLAIN, current=CURRENTS[1], adaptation=ADAPTATIONS[1])
    spread = neuron.with_parameters(lambda values: np.repeat(values, 3))
    for values, value in zip(spread.parameters, neuron.parameters, strict=True):
        assert values.tolist() == [value[0]] * 3
    assert [values.size for values in PLAIN.with_parameters(lambda values: np.repeat(values, 2)).parameters] == (
        [2] * 5 + [1] * 3
    )


@pytest.mark.parametrize("bits", [2, 5, 30])
def test_bounds(bits: int) -> None:
    neuron = replace(PLAIN, reset_value=0, start_value=None, membrane_bits=bits)
    low, high = neuron.bounds
    assert (low, high) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) == signed_range(bits)
    assert [neuron.clipped(v) for v in (low - 1, low, 0, high, high + 1)] == [low, low, 0, high, high]
    assert neuron.clipped(np.array([low - 1, high + 1])).tolist() == [low, high]
    assert PLAIN.bounds is None
    assert PLAIN.clipped(1 << 40) == 1 << 40


def test_every_kind_of_leak_has_a_code_of_its_own() -> None:
    assert sorted(kind.code for kind in LeakKind) == list(range(len(LeakKind)))
