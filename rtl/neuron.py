"""The neuron of the arithmetic contract as Amaranth expressions: the six points of `IntNeuron`.

Every function takes and returns signed values, the adaptation and the refractory steps aside, which are never negative.
The widths at the registers are those that `quantize.network.Ranges` proves, so that the assignments to them truncate
nothing.
"""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Value, signed, unsigned

from ..bits import signed_range, unsigned_bits
from ..quantize.neuron import IntNeuron, LeakKind, Reset


def decayed(neuron: IntNeuron, value: Value, factor: Value, shift: int) -> Value:
    """`value` times `factor / 2**shift`, rounded."""
    return rounded(neuron, value * factor, shift)


def rounded(neuron: IntNeuron, value: Value, shift: int) -> Value:
    """`value` divided by `2**shift`."""
    half = neuron.rounding.half(shift)
    return (value + half if half else value) >> shift


def scaled(neuron: IntNeuron, current: Value) -> Value:
    """The sum `current` in units of the membrane."""
    return (current << neuron.fraction).as_signed()


def next_current(neuron: IntNeuron, i: Value, current: Value, factor: Value) -> Value:
    """The synaptic current after a step from `i` and the sum `current`."""
    assert neuron.current is not None
    return decayed(neuron, i, factor, neuron.current.shift) + scaled(neuron, current)


def potential(neuron: IntNeuron, v: Value, x: Value, factor: Value) -> Value:
    """`u` from the membrane `v` and what enters it, `x`, both in units of the membrane."""
    if neuron.leak == LeakKind.DECAYING_INPUT:
        return v + rounded(neuron, x - v, neuron.shift)
    if neuron.leak == LeakKind.SHIFT:
        return v - rounded(neuron, v, neuron.shift) + x
    if neuron.leak == LeakKind.MULTIPLY:
        return decayed(neuron, v, factor, neuron.shift) + x
    return v + x


def spike(neuron: IntNeuron, u: Value, threshold: Value) -> Value:
    """One bit: the potential has reached the threshold, adaptation included."""
    return u >= threshold if neuron.spiking else Const(0, 1)


def after_reset(neuron: IntNeuron, u: Value, reset_value: Value, reset_amount: Value, spiked: Value) -> Value:
    """The membrane: reset where `spiked`, then clipped to `membrane_bits` if the network asks for that."""
    v = u
    if neuron.reset == Reset.HARD:
        v = Mux(spiked, reset_value, u)
    elif neuron.reset == Reset.SOFT:
        v = Mux(spiked, u - reset_amount, u)
    return v if neuron.membrane_bits is None else saturate(v, neuron.membrane_bits)


def saturate(value: Value, bits: int) -> Value:
    """`value` clipped to a signed number of `bits`."""
    low, top = signed_range(bits)
    return Mux(value > top, Const(top, signed(bits)), Mux(value < low, Const(low, signed(bits)), value))


def next_adaptation(kept: Value, jump: Value, spiked: Value) -> Value:
    """The adaptation after a step: what its decay has left, `kept`, and `jump` after a spike."""
    return kept + Mux(spiked, jump, 0)


def next_refractory(neuron: IntNeuron, left: Value, spiked: Value) -> Value:
    """Refractory steps that are left after a step that began with `left`."""
    steps = Const(neuron.refractory, unsigned(unsigned_bits(neuron.refractory)))
    return Mux(spiked, steps, Mux(left == 0, 0, left - 1))
