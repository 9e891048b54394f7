"""Compiled loops over one row of a map, used by the kernels over whole maps (`kernels.py` and
`quantize/kernels.py`).

Rows are channels last: `[width, channels]`, or the values of one position (*place*) in all pooling windows, one after
another. They are separate functions, so that LLVM can see that their arrays do not overlap. Values are float32,
float64, or bfloat16 as its bits in uint16.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from ..compiled import kernel


def widened(value):
    """A stored value as a float."""
    if isinstance(value, np.uint16):
        return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return value


def stored(value, like):
    """A float, rounded to nearest even, in the type of `like`."""
    if isinstance(like, np.uint16):
        bits = np.float32(value).view(np.uint32)
        even = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return np.uint16(np.uint32(bits + even) >> np.uint32(16))
    return value


@overload(widened, inline="always")
def _widened_of(value):
    if value == types.uint16:
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


@overload(stored, inline="always")
def _stored_of(value, like):
    if like == types.uint16:

        def rounded(value, like):
            bits = np.float32(value).view(np.uint32)
            even = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            return np.uint16(np.uint32(bits + even) >> np.uint32(16))

        return rounded
    return lambda value, like: value


@kernel(error_model="numpy")
def neurons_at(place, size, y, width, channels):
    """Row and first column of the neurons at `place` of the windows from row `y` on, and how many values they have."""
    column = place % size
    return y + place // size, column, (width - column + size - 1) // size * channels


@kernel(error_model="numpy")
def gather(pixels, column, size, values):
    """Every `size`-th pixel of a row `[width, channels]`, from `column` on, into `values`."""
    width, channels = pixels.shape
    start = 0
    for x in range(column, width, size):
        pixel, out = pixels[x], values[start : start + channels]
        for c in range(channels):
            out[c] = widened(pixel[c])
        start += channels


@kernel(error_model="numpy")
def scatter(values, column, size, pixels):
    """Inverse of `gather`."""
    width, channels = pixels.shape
    start = 0
    for x in range(column, width, size):
        pixel, out = values[start : start + channels], pixels[x]
        for c in range(channels):
            out[c] = stored(pixel[c], out[c])
        start += channels


@kernel(error_model="numpy")
def repeated(rows, wide):
    """`[k, channels]` repeated to `[k, wide]`."""
    tiled = np.empty((len(rows), wide), rows.dtype)
    for i in range(wide):
        tiled[:, i] = rows[:, i % rows.shape[1]]
    return tiled


@kernel(error_model="numpy")
def mark(held, threshold, u, one, marks):
    """Write `one` for each neuron that fires."""
    for i in range(held):
        before = marks[i]
        marks[i] = one if u[i] >= threshold else before


@kernel(error_model="numpy")
def count(held, threshold, u, counts):
    """Count the neurons that fire."""
    unit, none = counts.dtype.type(1), counts.dtype.type(0)
    for i in range(held):
        counts[i] += unit if u[i] >= threshold else none


@kernel(error_model="numpy")
def keep_largest(held, place, u, largest, at):
    """Where a membrane is at least the largest so far, keep it and its `place`."""
    for i in range(held):
        before, known = largest[i], at[i]
        at[i] = place if u[i] >= before else known
        largest[i] = max(u[i], before)


@kernel(error_model="numpy")
def unpool(held, place, at, pooled, to_rate, to_spike):
    """The gradient of the neurons at a `place`: that of their rate, and that of the window if their membrane is
    largest.
    """
    none = pooled.dtype.type(0)
    for i in range(held):
        window = pooled[i]
        to_spike[i] = to_rate[i] + (window if at[i] == place else none)


@kernel(error_model="numpy")
def by_channel(first, second, sums):
    """Fill `sums`, `[2, channels]`, with the sums of two rows over their windows."""
    channels = sums.shape[1]
    sums[:] = 0
    for i in range(len(first)):
        sums[0, i % channels] += first[i]
        sums[1, i % channels] += second[i]
