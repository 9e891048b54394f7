"""The neuron of the arithmetic contract as Amaranth expressions: `IntNeuron.step`, spike, reset and saturation.

Every function takes and returns signed values. The widths of the two registers, potential and membrane, are those
proven in `quantize.network.Ranges`, so assignments to them truncate nothing.
"""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Value, signed

from ..bits import signed_range
from ..quantize.network import IntNeuron, LeakKind


def potential(neuron: IntNeuron, v: Value, current: Value) -> Value:
    """`u` from the membrane `v` and the sum `current`, both signed."""
    scaled = (current << neuron.fraction).as_signed()
    if neuron.leak == LeakKind.DECAYING_INPUT:
        return v + ((scaled - v) >> neuron.shift)
    if neuron.leak == LeakKind.SHIFT:
        return v - (v >> neuron.shift) + scaled
    if neuron.leak == LeakKind.MULTIPLY:
        return ((v * Const(neuron.factor, signed(neuron.shift + 2))) >> neuron.shift) + scaled
    return v + scaled


def spike(neuron: IntNeuron, u: Value, threshold: Value) -> Value:
    """One bit: the potential has reached the threshold."""
    return u >= threshold if neuron.spiking else Const(0, 1)


def after_reset(neuron: IntNeuron, u: Value, threshold: Value, spiked: Value) -> Value:
    """The membrane: reset where `spiked`, then clipped to `membrane_bits` if the layer has that width."""
    to = Const(neuron.reset_value, signed(32)) if neuron.reset == "hard" else u - threshold
    v = Mux(spiked, to, u)
    return v if neuron.membrane_bits is None else saturate(v, neuron.membrane_bits)


def saturate(value: Value, bits: int) -> Value:
    """`value` clipped to a signed number of `bits`."""
    low, top = signed_range(bits)
    return Mux(value > top, Const(top, signed(bits)), Mux(value < low, Const(low, signed(bits)), value))
