"""The hardware neuron against `IntNeuron.update`: every number of small formats, for every kind of neuron."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.sim import Simulator

from gradrtl.quantize.neuron import Adaptation, IntNeuron, Parameters, State, SynapticCurrent
from gradrtl.rtl.neuron import (
    after_reset,
    decayed,
    next_adaptation,
    next_current,
    next_refractory,
    potential,
    saturate,
    scaled,
    spike,
)

BITS = 4
NUMBERS = range(-(1 << BITS - 1), 1 << BITS - 1)
FEW = range(-4, 4)
THRESHOLDS = (-3, 0, 1, 5)
WIDE = 24  # more than any of these numbers needs
LEAKS = (
    ("none", 1, 0),
    ("shift", 1, 0),
    ("shift", 3, 0),
    ("multiply", 3, 7),
    ("multiply", 2, 4),
    ("decaying_input", 1, 0),
    ("decaying_input", 2, 0),
)

NEURONS = [
    IntNeuron(
        leak, reset, np.array([1]), shift=shift, factor=factor, fraction=fraction, reset_value=value, membrane_bits=bits
    )
    for leak, shift, factor in LEAKS
    for reset, value in (("hard", 0), ("hard", -2), ("soft", 0))
    for fraction, bits in ((0, None), (2, None), (0, 4), (2, 5))
]
NEW = [
    IntNeuron(leak, reset, np.array([1]), shift=shift, factor=factor, reset_amount=amount, rounding="nearest")
    for leak, shift, factor in LEAKS
    for reset, amount in (("none", None), ("soft", 3), ("soft", -1), ("hard", None))
]
STATEFUL = [
    IntNeuron(
        leak,
        reset,
        np.array([1]),
        shift=2,
        factor=3,
        fraction=1,
        membrane_bits=bits,
        rounding=rounding,
        current=current,
        adaptation=adaptation,
        refractory=refractory,
    )
    for (leak, reset, bits), rounding in itertools.product(
        (("multiply", "hard", None), ("shift", "soft", 3), ("none", "none", 4)), ("floor", "nearest")
    )
    for current, adaptation, refractory in (
        (SynapticCurrent(3, 2, "new"), None, 0),
        (SynapticCurrent(1, 1, "old"), Adaptation(7, 3, 2), 0),
        (None, Adaptation(3, 2, 1), 2),
        (SynapticCurrent(5, 3, "new"), Adaptation(1, 1, 3), 1),
    )
]


def name_of(neuron: IntNeuron) -> str:
    parts = [
        f"{neuron.leak}{neuron.shift}",
        f"{neuron.reset}{neuron.reset_value[0]}",
        f"{neuron.reset_amount[0]}",
        f"f{neuron.fraction}",
        f"b{neuron.membrane_bits}",
        neuron.rounding,
    ]
    return "-".join(parts + ([neuron.current.enters] if neuron.current else []) + [str(neuron.refractory)])


def outputs(inputs: Sequence[Signal], formulas: Sequence[Value], ranges: Sequence[Sequence[int]]) -> np.ndarray:
    """Values of `formulas`, int64 `[numbers, formulas]`, for every choice of `inputs` out of `ranges`."""
    shown = [Signal(signed(WIDE)) for _ in formulas]
    m = Module()
    m.d.comb += [signal.eq(formula) for signal, formula in zip(shown, formulas, strict=True)]
    found = []

    async def bench(ctx):
        for numbers in itertools.product(*ranges):
            for signal, number in zip(inputs, numbers, strict=True):
                ctx.set(signal, number)
            found.append([ctx.get(signal) for signal in shown])

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(found)


def columns(ranges: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The same choices, int64 `[numbers]` of each input."""
    return list(np.array(list(itertools.product(*ranges)), np.int64).T)


def equal(inputs: Sequence[Signal], found: np.ndarray, expected: Sequence[np.ndarray], ranges) -> None:
    wanted = np.stack([np.broadcast_to(e, len(found)).astype(np.int64) for e in expected], axis=1)
    wrong = np.flatnonzero((found != wanted).any(axis=1))
    if wrong.size:
        numbers = [int(column[wrong[0]]) for column in columns(ranges)]
        names = [signal.name for signal in inputs]
        pytest.fail(f"{dict(zip(names, numbers, strict=True))}: {found[wrong[0]]}, expected {wanted[wrong[0]]}")


@pytest.mark.parametrize("neuron", NEURONS + NEW, ids=name_of)
def test_update_is_the_contract_for_all_inputs(neuron):
    inputs = v, current, threshold = [Signal(signed(BITS), name=name) for name in ("v", "current", "threshold")]
    amount = threshold if neuron in NEURONS else int(neuron.reset_amount[0])
    u = potential(neuron, v, scaled(neuron, current), int(neuron.factor[0]))
    spiked = spike(neuron, u, threshold)
    after = after_reset(neuron, u, int(neuron.reset_value[0]), amount, spiked)
    ranges = (NUMBERS, NUMBERS, THRESHOLDS)
    a, b, c = columns(ranges)
    parameters = neuron.parameters._replace(threshold=c)
    if neuron in NEURONS and neuron.reset == "soft":
        parameters = parameters._replace(reset_amount=c)
    updated = neuron.update(State(a, 0 * a, 0 * a, 0 * a), b, parameters)
    expected = updated.potential, updated.spikes, updated.state.membrane
    equal(inputs, outputs(inputs, (u, spiked, after), ranges), expected, ranges)


@pytest.mark.parametrize("neuron", STATEFUL, ids=name_of)
def test_all_states_are_the_contract(neuron):
    """The formulas of `rtl/update.py`, in its order, from every state of a small format."""
    ranges = [FEW, FEW, range(4) if neuron.adaptation else (0,), range(neuron.refractory + 1), (-3, 0, 2, 3)]
    names = (("v", 1), ("i", 1), ("a", 0), ("left", 0), ("current", 1))
    inputs = v, i, a, left, current = [Signal(signed(4) if s else unsigned(3), name=name) for name, s in names]
    own = Parameters(*(int(values[0]) for values in neuron.parameters))
    new_i, x = i, scaled(neuron, current)
    if neuron.current is not None:
        new_i = next_current(neuron, i, current, own.current_factor)
        x = new_i if neuron.current.enters == "new" else i
    u = potential(neuron, v, x, own.factor)
    free = left == 0
    spiked = spike(neuron, u, own.threshold + a) & free
    after = after_reset(neuron, u, own.reset_value, own.reset_amount, spiked)
    kept = a if neuron.adaptation is None else decayed(neuron, a, own.adaptation_factor, neuron.adaptation.shift)
    new_a = a if neuron.adaptation is None else next_adaptation(kept, Value.cast(own.adaptation_jump), spiked)
    new_left = next_refractory(neuron, left, spiked)
    found = outputs(inputs, (spiked, after, new_i, new_a, new_left, free), ranges)
    found[:, 1] = np.where(found[:, 5] != 0, found[:, 1], columns(ranges)[0])  # a refractory neuron keeps its membrane
    *states, sums = columns(ranges)
    updated = neuron.update(State(*states), sums, neuron.parameters)
    expected = (updated.spikes, *updated.state, states[3] == 0)
    equal(inputs, found, expected, ranges)


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_factors_that_come_from_a_memory(shift, rounding):
    neuron = IntNeuron("multiply", "none", np.array([1]), shift=shift, factor=1, rounding=rounding)
    inputs = value, factor = Signal(signed(BITS), name="value"), Signal(signed(shift + 2), name="factor")
    ranges = (NUMBERS, range((1 << shift) + 1))
    a, b = columns(ranges)
    found = outputs(inputs, (decayed(neuron, value, factor, shift),), ranges)
    equal(inputs, found, (neuron.decayed(a, b, shift),), ranges)


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_saturation_of_every_number(bits):
    wide = Signal(signed(8))
    found = outputs([wide], (saturate(wide, bits),), (range(-128, 128),))
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    assert found[:, 0].tolist() == [max(low, min(high, number)) for number in range(-128, 128)]


def test_silent_neurons_never_spike():
    neuron = IntNeuron("none", "hard", np.array([0]), spiking=False)
    assert spike(neuron, Signal(signed(4)), Signal(signed(4))).value == 0
