"""The hardware neuron against `IntNeuron.step` and the contract: every membrane, sum and threshold of small formats."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator

from gradrtl.quantize.network import IntNeuron
from gradrtl.rtl.neuron import after_reset, potential, saturate, spike

BITS = 4
NUMBERS = range(-(1 << BITS - 1), 1 << BITS - 1)
THRESHOLDS = (-3, 0, 1, 5)
WIDE = 24  # more than any of these potentials needs

NEURONS = [
    IntNeuron(
        leak, reset, np.array([1]), shift=shift, factor=factor, fraction=fraction, reset_value=value, membrane_bits=bits
    )
    for leak, shift, factor in (
        ("none", 1, 0),
        ("shift", 1, 0),
        ("shift", 3, 0),
        ("multiply", 3, 7),
        ("multiply", 2, 4),
        ("decaying_input", 1, 0),
        ("decaying_input", 2, 0),
    )
    for reset, value in (("hard", 0), ("hard", -2), ("soft", 0))
    for fraction, bits in ((0, None), (2, None), (0, 4), (2, 5))
]


def name_of(neuron: IntNeuron) -> str:
    return f"{neuron.leak}{neuron.shift}-{neuron.reset}{neuron.reset_value}-f{neuron.fraction}-b{neuron.membrane_bits}"


@pytest.mark.parametrize("neuron", NEURONS, ids=name_of)
def test_update_is_the_contract_for_all_inputs(neuron):
    v, current, threshold = (Signal(signed(BITS), name=name) for name in ("v", "current", "threshold"))
    u, spiked, after = Signal(signed(WIDE)), Signal(), Signal(signed(WIDE))
    m = Module()
    m.d.comb += [
        u.eq(potential(neuron, v, current)),
        spiked.eq(spike(neuron, u, threshold)),
        after.eq(after_reset(neuron, u, threshold, spiked)),
    ]
    failures = []

    async def bench(ctx):
        for a, b, c in itertools.product(NUMBERS, NUMBERS, THRESHOLDS):
            ctx.set(v, a)
            ctx.set(current, b)
            ctx.set(threshold, c)
            got = ctx.get(u), ctx.get(spiked), ctx.get(after)
            expected_u = neuron.step(a, b)
            expected_spike = int(expected_u >= c)
            left = expected_u
            if expected_spike:
                left = neuron.reset_value if neuron.reset == "hard" else expected_u - c
            if neuron.membrane_bits is not None:
                top = 1 << (neuron.membrane_bits - 1)
                left = max(-top, min(top - 1, left))
            if got != (expected_u, expected_spike, left):
                failures.append((a, b, c, got, (expected_u, expected_spike, left)))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    assert not failures, f"v, current, threshold, got, expected: {failures[0]}"


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_saturation_of_every_number(bits):
    wide, out = Signal(signed(8)), Signal(signed(8))
    m = Module()
    m.d.comb += out.eq(saturate(wide, bits))
    results = []

    async def bench(ctx):
        for number in range(-128, 128):
            ctx.set(wide, number)
            results.append(ctx.get(out))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    assert results == [max(low, min(high, number)) for number in range(-128, 128)]


def test_silent_neurons_never_spike():
    neuron = IntNeuron("none", "hard", np.array([0]), spiking=False)
    assert spike(neuron, Signal(signed(4)), Signal(signed(4))).value == 0
