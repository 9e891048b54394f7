"""Compiled loops over integer neurons: the work of `fire.py`, in a few passes over memory.

The structure is that of `model/kernels.py`, which explains the order of the loops. Integers are stored as floats. A
`rule` is a tuple: the `kind` of leak, a `LeakKind.code`; `worth`, `factor` and `fraction` (how many units of the
membrane a unit of the current is), of the arrays' type; the flags `soft` and `clips`; and the bounds of membranes,
`low` and `high`.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiled import kernel
from ..model.rows import by_channel, count, gather, keep_largest, mark, neurons_at, repeated, scatter, unpool
from .neuron import LeakKind

SHIFT, MULTIPLY, DECAYING_INPUT = (kind.code for kind in (LeakKind.SHIFT, LeakKind.MULTIPLY, LeakKind.DECAYING_INPUT))


@kernel(error_model="numpy")
def _integrate(held, kind, worth, factor, scaled, v, u):
    """`u` after one update, as in `network.IntNeuron.step`."""
    if kind == DECAYING_INPUT:
        for i in range(held):
            u[i] = np.floor((scaled[i] - v[i]) * worth) + v[i]
    elif kind == MULTIPLY:
        for i in range(held):
            u[i] = np.floor(v[i] * factor) + scaled[i]
    elif kind == SHIFT:
        for i in range(held):
            u[i] = np.ceil(v[i] * -worth) + v[i] + scaled[i]
    else:
        for i in range(held):
            u[i] = v[i] + scaled[i]


@kernel(error_model="numpy")
def _reset(held, threshold, reset, soft, u, v, over):
    """The distance of `u` from its threshold, and the membrane after the spike."""
    none = u.dtype.type(0)
    for i in range(held):
        over[i] = u[i] - threshold[i]
    if soft:
        for i in range(held):
            far, kept = over[i], u[i]
            v[i] = far if far >= none else kept
    else:
        for i in range(held):
            fallen, kept = reset[i], u[i]
            v[i] = fallen if over[i] >= none else kept


@kernel(error_model="numpy")
def _clip(held, low, high, v, within):
    """Clip membranes; `within` is 1 where clipping changed nothing."""
    unit, none = v.dtype.type(1), v.dtype.type(0)
    for i in range(held):
        within[i] = unit if (v[i] >= low) & (v[i] <= high) else none
        v[i] = min(max(v[i], low), high)


@kernel(error_model="numpy")
def _times(held, factor, values):
    for i in range(held):
        values[i] *= factor


@kernel(error_model="numpy")
def _back(held, by_v, soft, unit, over, to_spike, to_v, to_scaled, to_threshold, to_unit):
    """The gradient through one update without its clipping; the surrogate is taken at `unit * over`."""
    pi, one, none = over.dtype.type(math.pi), over.dtype.type(1), over.dtype.type(0)
    for i in range(held):
        far = pi * unit[i] * over[i]
        to_x = to_spike[i] / (one + far * far)
        to_unit[i] += to_x * over[i]
        to_u = to_x * unit[i]
        carried = to_v[i]
        fallen = carried if over[i] >= none else none
        to_threshold[i] -= to_u + fallen if soft else to_u
        to_u += carried if soft else carried - fallen
        to_scaled[i] += to_u
        to_v[i] = by_v * to_u


@kernel(error_model="numpy")
def fire_forward(first, last, x, neurons, rule, size, spikes, rates):
    """Neurons and max pool of all steps of integer currents `x`, `[steps or 1, n, height, width, channels]`.

    `neurons` are the rows `threshold`, `reset`, `unit`, `[3, channels]`. It fills `spikes`, `[steps, n,
    height // size, width // size, channels]`, with 0 or 1. Unless it is empty, it also fills `rates`, `[n, height,
    width, channels]`, each neuron's mean over the steps.
    """
    kind, worth, factor, fraction, soft, clips, low, high = rule
    steps, static, channels = len(spikes), len(x) == 1, spikes.shape[4]
    height, width = x.shape[2], x.shape[3]
    wide = (width + size - 1) // size * channels
    complete = width // size * channels
    whole = repeated(neurons, wide)
    threshold, reset = whole[0], whole[1]
    rows = np.zeros((6, wide), x.dtype)
    scaled, v, u, over, fired, within = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    pooled = np.empty((steps, wide), spikes.dtype)
    unit, none = x.dtype.type(1), x.dtype.type(0)
    for n in range(first, last):
        for y in range(0, height, size):
            pooled[:] = 0
            for place in range(size * min(size, height - y)):
                row, column, held = neurons_at(place, size, y, width, channels)
                v[:] = reset
                fired[:] = 0
                for t in range(steps):
                    if t == 0 or not static:
                        gather(x[t, n, row], column, size, scaled)
                        _times(held, fraction, scaled)
                    _integrate(held, kind, worth, factor, scaled, v, u)
                    _reset(held, threshold, reset, soft, u, v, over)
                    if clips:
                        _clip(held, low, high, v, within)
                    mark(held, none, over, unit, pooled[t])
                    if len(rates):
                        count(held, none, over, fired)
                if len(rates):
                    fired /= x.dtype.type(steps)
                    scatter(fired, column, size, rates[n, row])
            if y + size <= height:
                for t in range(steps):
                    spikes[t, n, y // size].reshape(-1)[:] = pooled[t, :complete]


@kernel(error_model="numpy")
def fire_backward(first, last, gradient, to_rates, x, neurons, rule, by_v, size, to_x, sums):
    """The gradient of `fire_forward`, whose intermediate values are computed again.

    `gradient` is that of the spikes; a window's goes to its largest membrane, the first of equal ones, row by row.
    `to_rates`, that of the rates, may be empty. Floors are ignored. The reset has no gradient, except that of a
    threshold that is subtracted. `by_v` is the derivative of `u` with respect to `v`. `to_x`, of the shape of `x`, is
    filled with the gradient of the scaled currents; `sums`, `[n, 2, channels]`, float64, with the sums over each image
    of the gradients of `threshold` and of `unit`.
    """
    kind, worth, factor, fraction, soft, clips, low, high = rule
    steps, static, channels = len(gradient), len(x) == 1, x.shape[4]
    height, width = x.shape[2], x.shape[3]
    wide = (width + size - 1) // size * channels
    whole = repeated(neurons, wide)
    threshold, reset, unit = whole[0], whole[1], whole[2]
    over = np.empty((steps, size * size, wide), x.dtype)
    within = np.empty((steps, size * size, wide), x.dtype)
    largest, at = np.empty((steps, wide), x.dtype), np.empty((steps, wide), np.int32)
    pooled = np.zeros((steps, wide), x.dtype)
    rows = np.zeros((9, wide), x.dtype)
    scaled, v, u, to_rate, to_spike = rows[0], rows[1], rows[2], rows[3], rows[4]
    to_v, to_scaled, to_threshold, to_unit = rows[5], rows[6], rows[7], rows[8]
    for n in range(first, last):
        to_threshold[:] = 0
        to_unit[:] = 0
        for y in range(0, height, size):
            places = size * min(size, height - y)
            largest[:] = -np.inf
            for place in range(places - 1, -1, -1):
                row, column, held = neurons_at(place, size, y, width, channels)
                v[:] = reset
                for t in range(steps):
                    if t == 0 or not static:
                        gather(x[t, n, row], column, size, scaled)
                        _times(held, fraction, scaled)
                    _integrate(held, kind, worth, factor, scaled, v, u)
                    _reset(held, threshold, reset, soft, u, v, over[t, place])
                    if clips:
                        _clip(held, low, high, v, within[t, place])
                    keep_largest(held, np.int32(place), over[t, place], largest[t], at[t])
            if y + size <= height:
                for t in range(steps):
                    gather(gradient[t, n, y // size], 0, 1, pooled[t])
            else:
                pooled[:] = 0
            for place in range(places):
                row, column, held = neurons_at(place, size, y, width, channels)
                if len(to_rates):
                    gather(to_rates[n, row], column, size, to_rate)
                    to_rate /= x.dtype.type(steps)
                to_v[:] = 0
                to_scaled[:] = 0
                for t in range(steps - 1, -1, -1):
                    unpool(held, np.int32(place), at[t], pooled[t], to_rate, to_spike)
                    if clips:
                        to_v[:held] *= within[t, place, :held]
                    _back(held, by_v, soft, unit, over[t, place], to_spike, to_v, to_scaled, to_threshold, to_unit)
                    if t == 0 or not static:
                        scatter(to_scaled, column, size, to_x[t, n, row])
                        to_scaled[:] = 0
        by_channel(to_threshold, to_unit, sums[n])
