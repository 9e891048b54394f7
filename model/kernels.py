"""Compiled loops over spikes: the work of `fused.py` on a CPU, in a few passes over memory.

Arrays are channels last. Values are float32, float64, or bfloat16 as its bits in uint16. Arithmetic uses the
float type of the neuron's fields. Each kernel works on the images `first:last`, so that several threads can share them
(`in_parts`). Sums over a batch are stored per image, so they do not depend on the threads.

The rows of one line of pooling windows are processed together. Values are ordered by their position (*place*) in the
window: one row per position, with the channels of all windows. So loops are long and contiguous, and pooling compares
rows. The neurons of an incomplete window fire like others, and their spikes are dropped.

Scratch rows are indexed, not unpacked: Numba treats unpacked rows as strided, and their loops run at a third of the
speed. Small loops are separate functions, so that LLVM can see that their arrays do not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ..compiled import kernel
from .rows import (
    by_channel,
    count,
    gather,
    keep_largest,
    mark,
    neurons_at,
    repeated,
    scatter,
    stored,
    unpool,
    widened,
)

SMALLEST_PART = 1 << 15  # fewest elements per thread


def in_parts(loop: Callable, images: int, elements: int, *arguments: Any) -> None:
    """`loop(first, last, *arguments)` for parts that cover `0:images`, on as many threads as torch uses.

    The number of `elements` limits the number of threads.
    """
    threads = max(1, min(torch.get_num_threads(), elements // SMALLEST_PART, images))
    if threads == 1:
        loop(0, images, *arguments)
        return
    ends = np.linspace(0, images, threads + 1).astype(int).tolist()
    for done in [_pool(threads).submit(loop, *part, *arguments) for part in pairwise(ends)]:
        done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "spikes")


@kernel(error_model="numpy")
def moments(first, last, x, base, sums):
    """Sums over each image of `x - base` and of its square, channel by channel.

    `x` is `[n, height, width, channels]`, `base` `[1, channels]`; `sums` `[n, 2, channels]`, float64, is filled.
    """
    _, height, width, channels = x.shape
    wide = width * channels
    near = repeated(base, wide)[0]
    total, squares = np.empty(wide, base.dtype), np.empty(wide, base.dtype)
    for n in range(first, last):
        total[:] = 0
        squares[:] = 0
        for y in range(height):
            row = x[n, y].reshape(-1)
            for i in range(wide):
                over = widened(row[i]) - near[i]
                total[i] += over
                squares[i] += over * over
        by_channel(total, squares, sums[n])


@kernel(error_model="numpy")
def _drive(held, gain, scale, shift, over, drive):
    """`gain` times the current of an input whose distance from its mean is `over`."""
    for i in range(held):
        drive[i] = gain * (scale[i] * over[i] + shift[i])


@kernel(error_model="numpy")
def _update(held, decay, threshold, v_reset, soft, drive, v, u):
    """One step of neurons: from `drive`, computes `u` and updates `v`."""
    for i in range(held):
        u[i] = decay * v[i] + drive[i]
    if soft:
        for i in range(held):
            v[i] = u[i] - threshold if u[i] >= threshold else u[i]
    else:
        for i in range(held):
            v[i] = v_reset if u[i] >= threshold else u[i]


@kernel(error_model="numpy")
def _update_backward(held, decay, gain, threshold, kept, slope, u, to_spike, to_v, to_current):
    """The gradient through `_update`; `kept` is the fraction that passes a reset, `slope` that of `fire_backward`."""
    pi, unit, none = u.dtype.type(math.pi), u.dtype.type(1), u.dtype.type(0)
    for i in range(held):
        over, carried = u[i] - threshold, to_v[i]
        if slope:
            far = unit + slope * abs(over)
            under = far * far
        else:
            far = pi * over
            under = unit + far * far
        to_u = to_spike[i] / under + (carried if over < none else kept * carried)
        to_current[i] += gain * to_u
        to_v[i] = decay * to_u


@kernel(error_model="numpy")
def _subtract(held, mean, values):
    for i in range(held):
        values[i] -= mean[i]


@kernel(error_model="numpy")
def _affine_backward(held, scale, over, to_current, to_scale, to_shift):
    """`to_current` becomes the gradient with respect to `over`."""
    for i in range(held):
        to_scale[i] += to_current[i] * over[i]
        to_shift[i] += to_current[i]
    for i in range(held):
        to_current[i] *= scale[i]


@kernel(error_model="numpy")
def fire_forward(first, last, x, norm, neuron, soft, size, one, spikes, rates):
    """Currents, neurons and max pool of all steps.

    `x` is `[steps or 1, n, height, width, channels]`; the current is `scale * (x - mean) + shift` with the three rows
    `mean`, `scale`, `shift` of `norm`, `[3, channels]`. `neuron` holds `decay, gain, threshold, v_reset`;
    membranes start at the last, which is all that it does if the reset is `soft`. It fills
    `spikes`, `[steps, n, height // size, width // size, channels]`, where `one` is the bit pattern of a spike. Unless
    it is empty, it also fills `rates`, `[n, height, width, channels]`, each neuron's mean over the steps.
    """
    decay, gain, threshold, v_reset = neuron
    steps, static, channels = len(spikes), len(x) == 1, spikes.shape[4]
    height, width = x.shape[2], x.shape[3]
    wide = (width + size - 1) // size * channels
    complete = width // size * channels
    tiled = repeated(norm, wide)
    mean, scale, shift = tiled[0], tiled[1], tiled[2]
    rows = np.zeros((5, wide), norm.dtype)
    over, drive, v, u, fired = rows[0], rows[1], rows[2], rows[3], rows[4]
    pooled = np.empty((steps, wide), spikes.dtype)
    for n in range(first, last):
        for y in range(0, height, size):
            pooled[:] = 0
            for place in range(size * min(size, height - y)):
                row, column, held = neurons_at(place, size, y, width, channels)
                v[:] = v_reset
                fired[:] = 0
                for t in range(steps):
                    if t == 0 or not static:
                        gather(x[t, n, row], column, size, over)
                        _subtract(held, mean, over)
                        _drive(held, gain, scale, shift, over, drive)
                    _update(held, decay, threshold, v_reset, soft, drive, v, u)
                    mark(held, threshold, u, one, pooled[t])
                    if len(rates):
                        count(held, threshold, u, fired)
                if len(rates):
                    fired /= norm.dtype.type(steps)
                    scatter(fired, column, size, rates[n, row])
            if y + size <= height:
                for t in range(steps):
                    spikes[t, n, y // size].reshape(-1)[:] = pooled[t, :complete]


@kernel(error_model="numpy")
def fire_backward(first, last, gradient, to_rates, x, norm, neuron, slope, soft, size, to_x, sums):
    """The gradient of `fire_forward`, whose intermediate values are computed again.

    `gradient` is that of the spikes; a window's goes to its largest membrane, the first of equal ones, row by row.
    `to_rates`, that of the rates, may be empty. The surrogate is the fast sigmoid of this `slope`, or that of `step` if
    it is 0; the reset is that of `step`. `to_x`, of the shape of `x`, is filled with the gradient for a constant norm;
    `sums` `[n, 2, channels]`, float64, with the sums over each image of the gradients of `scale` and of `shift`.
    """
    decay, gain, threshold, v_reset = neuron
    steps, static, channels = len(gradient), len(x) == 1, x.shape[4]
    height, width = x.shape[2], x.shape[3]
    wide = (width + size - 1) // size * channels
    tiled = repeated(norm, wide)
    mean, scale, shift = tiled[0], tiled[1], tiled[2]
    kind = norm.dtype.type
    kept = kind(1) if soft else kind(0)
    over = np.zeros((len(x), size * size, wide), norm.dtype)  # the mean
    u = np.empty((steps, size * size, wide), norm.dtype)
    largest, at = np.empty((steps, wide), norm.dtype), np.empty((steps, wide), np.int32)
    pooled = np.zeros((steps, wide), norm.dtype)
    rows = np.zeros((8, wide), norm.dtype)
    drive, v, to_rate, to_spike = rows[0], rows[1], rows[2], rows[3]
    to_v, to_current, to_scale, to_shift = rows[4], rows[5], rows[6], rows[7]
    for n in range(first, last):
        to_scale[:] = 0
        to_shift[:] = 0
        for y in range(0, height, size):
            places = size * min(size, height - y)
            largest[:] = -np.inf
            for place in range(places - 1, -1, -1):
                row, column, held = neurons_at(place, size, y, width, channels)
                v[:] = v_reset
                for t in range(steps):
                    if t == 0 or not static:
                        gather(x[t, n, row], column, size, over[t, place])
                        _subtract(held, mean, over[t, place])
                        _drive(held, gain, scale, shift, over[t, place], drive)
                    _update(held, decay, threshold, v_reset, soft, drive, v, u[t, place])
                    keep_largest(held, np.int32(place), u[t, place], largest[t], at[t])
            if y + size <= height:
                for t in range(steps):
                    gather(gradient[t, n, y // size], 0, 1, pooled[t])
            else:
                pooled[:] = 0
            for place in range(places):
                row, column, held = neurons_at(place, size, y, width, channels)
                if len(to_rates):
                    gather(to_rates[n, row], column, size, to_rate)
                    to_rate /= kind(steps)
                to_v[:] = 0
                to_current[:] = 0
                for t in range(steps - 1, -1, -1):
                    unpool(held, np.int32(place), at[t], pooled[t], to_rate, to_spike)
                    _update_backward(held, decay, gain, threshold, kept, slope, u[t, place], to_spike, to_v, to_current)
                    if t == 0 or not static:
                        _affine_backward(held, scale, over[t, place], to_current, to_scale, to_shift)
                        scatter(to_current, column, size, to_x[t, n, row])
                        to_current[:] = 0
        by_channel(to_scale, to_shift, sums[n])


@kernel(error_model="numpy")
def through_statistics(first, last, x, factors, to_x):
    """Add to `to_x` the gradient through the mean and variance of the batch, `slope * (x - mean) + offset`.

    `x` and `to_x` are `[n, height, width, channels]`, `factors` the rows `mean, slope, offset`, `[3, channels]`.
    """
    _, height, width, channels = x.shape
    wide = width * channels
    tiled = repeated(factors, wide)
    mean, slope, offset = tiled[0], tiled[1], tiled[2]
    for n in range(first, last):
        for y in range(height):
            row, out = x[n, y].reshape(-1), to_x[n, y].reshape(-1)
            for i in range(wide):
                out[i] = stored(widened(out[i]) + slope[i] * (widened(row[i]) - mean[i]) + offset[i], out[i])
