"""One step of a population, forwards and backwards, compiled: what `recurrent.py` calls for each step.

Rows are neurons, `[neurons]`, one an image; every loop runs over one row and does one thing, which LLVM turns into
vector instructions. Each kernel works on the images `first:last`. The meaning is that of `dynamics.step`.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiled import kernel

HARD, SOFT, NONE = range(3)  # resets
ATAN, FAST_SIGMOID, MEMBRANE = range(3)  # surrogates


@kernel(error_model="numpy")
def _decayed(decay, before, new, out):
    for n in range(len(out)):
        out[n] = decay[n] * before[n] + new[n]


@kernel(error_model="numpy")
def _scaled(decay, before, jump, spikes, out):
    for n in range(len(out)):
        out[n] = decay[n] * before[n] + jump * spikes[n]


@kernel(error_model="numpy")
def _spike(threshold, u, out):
    one, none = out.dtype.type(1), out.dtype.type(0)
    for n in range(len(out)):
        out[n] = one if u[n] >= threshold else none


@kernel(error_model="numpy")
def _spike_over(threshold, a, u, out):
    one, none = out.dtype.type(1), out.dtype.type(0)
    for n in range(len(out)):
        out[n] = one if u[n] - threshold - a[n] >= none else none


@kernel(error_model="numpy")
def _reset(reset, value, spikes, u, out):
    none = out.dtype.type(0)
    if reset == HARD:
        for n in range(len(out)):
            out[n] = value if spikes[n] > none else u[n]
    elif reset == SOFT:
        for n in range(len(out)):
            out[n] = u[n] - value if spikes[n] > none else u[n]
    else:
        for n in range(len(out)):
            out[n] = u[n]


@kernel(error_model="numpy")
def _rest(refractory, waiting, before, spikes, v, free):
    """Refractory neurons neither fire nor move."""
    one, none = v.dtype.type(1), v.dtype.type(0)
    for n in range(len(v)):
        is_free = waiting[n] == 0
        free[n] = is_free
        spikes[n] = spikes[n] if is_free else none
        v[n] = v[n] if is_free else before[n]
        waiting[n] = refractory if spikes[n] == one else max(waiting[n] - 1, 0)


@kernel(error_model="numpy")
def forward(
    first, last, t, current, decays, numbers, rule, start, u, v, spikes, i, a, waiting, free
):  # fmt: skip
    """Step `t` of a population.

    `current` `[images, neurons]`; `decays` `[3, neurons]`: of membrane, current, adaptation; `numbers`: threshold,
    value or amount of the reset, jump; `rule`: reset, whether it spikes, 0 without a synaptic current, 1 where the new
    and 2 where the old one enters, whether it adapts, refractory steps; `start` `[neurons]` is where membranes start,
    and `[images, neurons]` of zeros. Filled is step `t` of `u`, `v`, `spikes`, of `i` and `a` if there are such
    (`[steps, images, neurons]`; `a` as it raises the threshold), and of `free`.
    """
    threshold, value, jump = numbers
    reset, spiking, enters, adapts, refractory = rule
    begin, zero = start[0], start[1]
    for b in range(first, last):
        before = v[t - 1, b] if t else begin
        entering = current[b]
        if enters:
            held = i[t - 1, b] if t else zero
            _decayed(decays[1], held, current[b], i[t, b])
            entering = i[t, b] if enters == 1 else held
        _decayed(decays[0], before, entering, u[t, b])
        if not spiking:
            v[t, b] = u[t, b]
            continue
        if adapts:
            if t:
                _scaled(decays[2], a[t - 1, b], jump, spikes[t - 1, b], a[t, b])
            else:
                a[t, b] = zero
            _spike_over(threshold, a[t, b], u[t, b], spikes[t, b])
        else:
            _spike(threshold, u[t, b], spikes[t, b])
        _reset(reset, value, spikes[t, b], u[t, b], v[t, b])
        if refractory:
            _rest(refractory, waiting[b], before, spikes[t, b], v[t, b], free[t, b])


@kernel(error_model="numpy")
def _above(threshold, u, out):
    for n in range(len(u)):
        out[n] = u[n] - threshold


@kernel(error_model="numpy")
def _above_raised(threshold, a, u, out):
    for n in range(len(u)):
        out[n] = u[n] - threshold - a[n]


@kernel(error_model="numpy")
def _atan(to_spike, to_u):
    """`to_u` is how far membranes are above the threshold, and becomes their gradient; so in the next two."""
    pi, one = to_u.dtype.type(math.pi), to_u.dtype.type(1)
    for n in range(len(to_u)):
        far = pi * to_u[n]
        to_u[n] = to_spike[n] / (one + far * far)


@kernel(error_model="numpy")
def _fast_sigmoid(slope, to_spike, to_u):
    one = to_u.dtype.type(1)
    for n in range(len(to_u)):
        far = one + slope * abs(to_u[n])
        to_u[n] = to_spike[n] / (far * far)


@kernel(error_model="numpy")
def _active(threshold, fired, to_spike, to_u):
    none = to_u.dtype.type(0)
    for n in range(len(to_u)):
        to_u[n] = to_spike[n] / threshold if fired[n] else none


@kernel(error_model="numpy")
def _adaptation_backward(decay, jump, a, to_spike, to_a, sums):
    """`to_a` is the gradient of what adaptation is after the step: here it reaches spike and decay."""
    for n in range(len(a)):
        to_spike[n] += jump * to_a[n]
        sums[n] += to_a[n] * a[n]
        to_a[n] *= decay[n]


@kernel(error_model="numpy")
def _masked(free, to_u):
    for n in range(len(to_u)):
        to_u[n] *= free[n]


@kernel(error_model="numpy")
def _minus(values, out):
    for n in range(len(out)):
        out[n] -= values[n]


@kernel(error_model="numpy")
def _through_reset(reset, spikes, to_v, to_u):
    none = to_u.dtype.type(0)
    if reset == HARD:
        for n in range(len(to_u)):
            to_u[n] += none if spikes[n] > none else to_v[n]
    else:
        for n in range(len(to_u)):
            to_u[n] += to_v[n]


@kernel(error_model="numpy")
def _through_rest(reset, free, spikes, to_v, to_u, kept):
    none = to_u.dtype.type(0)
    for n in range(len(to_u)):
        through = none if reset == HARD and spikes[n] > none else to_v[n]
        to_u[n] += through if free[n] else none
        kept[n] = none if free[n] else to_v[n]


@kernel(error_model="numpy")
def _decay_backward(decay, before, to_new, to_before, sums):
    for n in range(len(decay)):
        sums[n] += to_new[n] * before[n]
        to_before[n] = decay[n] * to_new[n]


@kernel(error_model="numpy")
def backward(
    first, last, t, gradient, decays, numbers, rule, start, surrogate, u, v, spikes, i, a, free, fired, adjoints, sums,
    to_current
):  # fmt: skip
    """The gradient of `forward`, of step `t`, from that of its `gradient` `[images, neurons]`: of spikes, or, of a
    population that does not spike, of membranes.

    `surrogate`: which, and the slope. `fired` `[images, neurons]`: whether neurons fire in this frame, for `MEMBRANE`.
    `adjoints` `[3, images, neurons]` are the gradients of membrane, current and adaptation after the step, and become
    those before it. `sums` `[3, images, neurons]`: to them are added the gradients of the three decays.
    `to_current` `[images, neurons]` is filled.
    """
    threshold, _, jump = numbers
    reset, spiking, enters, adapts, refractory = rule
    which, slope = surrogate
    carries = which != MEMBRANE or not spiking
    begin, zero = start[0], start[1]
    to_u, to_spike, kept = np.zeros_like(begin), np.zeros_like(begin), np.zeros_like(begin)
    for b in range(first, last):
        to_v, to_i, to_a = adjoints[0, b], adjoints[1, b], adjoints[2, b]
        before = v[t - 1, b] if t else begin
        if spiking:
            to_spike[:] = gradient[b]
            if adapts:
                _adaptation_backward(decays[2], jump, a[t, b], to_spike, to_a, sums[2, b])
                _above_raised(threshold, a[t, b], u[t, b], to_u)
            else:
                _above(threshold, u[t, b], to_u)
            if which == ATAN:
                _atan(to_spike, to_u)
            elif which == FAST_SIGMOID:
                _fast_sigmoid(slope, to_spike, to_u)
            else:
                _active(threshold, fired[b], to_spike, to_u)
            if refractory:
                _masked(free[t, b], to_u)
            if adapts:
                _minus(to_u, to_a)
            if refractory:
                _through_rest(reset, free[t, b], spikes[t, b], to_v, to_u, kept)
            else:
                _through_reset(reset, spikes[t, b], to_v, to_u)
        else:
            to_u[:] = gradient[b]
            to_u += to_v
        if carries:
            _decay_backward(decays[0], before, to_u, to_v, sums[0, b])
        else:
            to_v[:] = 0
        if refractory:
            to_v += kept
        if enters == 0:
            to_current[b] = to_u
            continue
        if enters == 1:
            to_i += to_u
        to_current[b] = to_i
        held = i[t - 1, b] if t else zero
        _decay_backward(decays[1], held, to_current[b], to_i, sums[1, b])
        if enters == 2:
            to_i += to_u
