"""Proven ranges of a layer's numbers, by interval arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bits import signed_bits
from .layer import Layer

ROWS = 1 << 22  # weights that are summed at a time: the sums need eight times the memory


@dataclass(frozen=True)
class Ranges:
    """Proven bounds, inclusive, of a layer's numbers over all inputs and all its neurons."""

    current: tuple[int, int]  # I: partial sums and the whole sum, bias included
    potential: tuple[int, int]  # u, before the spike
    membrane: tuple[int, int]  # v, after reset and saturation

    @property
    def current_bits(self) -> int:
        return signed_bits(*self.current)

    @property
    def potential_bits(self) -> int:
        return signed_bits(*self.potential)

    @property
    def membrane_bits(self) -> int:
        return signed_bits(*self.membrane)


def ranges_of(layer: Layer, largest: int, steps: int) -> Ranges:
    """Bounds over `steps` updates, by channel extremes, for sources of 0 to `largest`.

    Exact for sums, conservative for membranes.
    """
    low, high = _current(layer, largest)
    neuron = layer.neuron
    thresholds = (int(neuron.threshold.min()), int(neuron.threshold.max()))
    v_low = v_high = neuron.reset_value
    u_low, u_high, m_low, m_high = 0, 0, v_low, v_high
    for _ in range(steps):
        a, b = neuron.step(v_low, low), neuron.step(v_high, high)
        u_low, u_high = min(u_low, a), max(u_high, b)
        if not neuron.spiking:
            v_low, v_high = a, b
        elif neuron.reset == "hard":
            v_low = min(a, neuron.reset_value)
            v_high = max(min(b, thresholds[1] - 1), neuron.reset_value)
        else:
            v_low = min(a, max(a, thresholds[0]) - thresholds[1])
            v_high = max(min(b, thresholds[1] - 1), b - thresholds[0])
        v_low, v_high = neuron.clipped(v_low), neuron.clipped(v_high)
        v_high = max(v_low, v_high)
        m_low, m_high = min(m_low, v_low), max(m_high, v_high)
    return Ranges((low, high), (u_low, u_high), neuron.bounds or (m_low, m_high))


def _current(layer: Layer, largest: int) -> tuple[int, int]:
    """Smallest and largest partial sum of any neuron; the bias counts only if it moves the bound away from zero."""
    weight, bias = layer.synapses.weight.reshape(layer.channels, -1), layer.synapses.bias
    rows = max(1, ROWS // weight.shape[1])
    lows, highs = [], []
    for first in range(0, layer.channels, rows):
        part, offset = weight[first : first + rows], bias[first : first + rows]
        low = int((np.minimum(part, 0).sum(axis=1, dtype=np.int64) * largest + np.minimum(offset, 0)).min())
        high = int((np.maximum(part, 0).sum(axis=1, dtype=np.int64) * largest + np.maximum(offset, 0)).max())
        lows.append(low)
        highs.append(high)
    return min(lows), max(highs)
