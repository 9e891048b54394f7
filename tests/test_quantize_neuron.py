"""The shared step, reset and saturation equal the reference's own arithmetic, over every number of small formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradrtl.bits import signed_range
from gradrtl.quantize.network import Dense, IntNeuron, Layer, LeakKind
from gradrtl.sim import reference

V, CURRENTS = range(-40, 41), range(-20, 21)
NEURONS = [
    IntNeuron("none", "hard", np.array([7]), reset_value=-3),
    IntNeuron("shift", "soft", np.array([5]), shift=1, membrane_bits=5),
    IntNeuron("shift", "hard", np.array([0]), shift=3, fraction=2),
    IntNeuron("multiply", "soft", np.array([-4]), shift=4, factor=13, membrane_bits=6),
    IntNeuron("multiply", "hard", np.array([9]), shift=3, factor=5, reset_value=2),
    IntNeuron("decaying_input", "hard", np.array([6]), shift=1),
    IntNeuron("decaying_input", "soft", np.array([3]), shift=2, fraction=1, membrane_bits=4),
    IntNeuron("decaying_input", "hard", np.array([6]), shift=2, spiking=False, membrane_bits=5),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda neuron: f"{neuron.leak}-{neuron.reset}")
def test_step_and_reset_are_those_of_the_reference(neuron: IntNeuron) -> None:
    layer = Layer("n", (1,), Dense(np.ones((1, 1), np.int8), np.zeros(1, np.int64)), neuron, 2)
    threshold = int(neuron.threshold[0])
    v, current = (grid.ravel() for grid in np.meshgrid(np.array(V), np.array(CURRENTS), indexing="ij"))
    u = neuron.step(v, current)
    spikes = (u >= threshold) & neuron.spiking
    after = neuron.after_reset(u, threshold, spikes)
    for i in range(len(v)):
        expected = reference._update(layer, int(v[i]), int(current[i]), threshold)
        assert (int(after[i]), int(spikes[i])) == expected
        assert neuron.step(int(v[i]), int(current[i])) == u[i]


def test_divisions_round_to_minus_infinity() -> None:
    """Worked out by hand, in the reference: -1 loses its half, and stays."""
    for leak, expected in (("shift", 0), ("multiply", -1), ("decaying_input", -1), ("none", -1)):
        neuron = IntNeuron(leak, "hard", np.array([7]), shift=1, factor=1)
        assert reference._potential(neuron, -1, 0) == expected
        assert neuron.step(-1, 0) == expected


@pytest.mark.parametrize("bits", [2, 5, 31])
def test_bounds(bits: int) -> None:
    neuron = replace(NEURONS[0], reset_value=0, membrane_bits=bits)
    low, high = neuron.bounds
    assert (low, high) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) == signed_range(bits)
    assert [neuron.clipped(v) for v in (low - 1, low, 0, high, high + 1)] == [low, low, 0, high, high]
    assert neuron.clipped(np.array([low - 1, high + 1])).tolist() == [low, high]
    assert NEURONS[0].bounds is None
    assert NEURONS[0].clipped(1 << 40) == 1 << 40


def test_every_kind_of_leak_has_a_code_of_its_own() -> None:
    assert sorted(kind.code for kind in LeakKind) == list(range(len(LeakKind)))
