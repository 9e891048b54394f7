"""Compiled loops of the engine: `LANES` frames side by side, so that every inner loop is a vector operation.

State is `[neurons, LANES]` in the program's integer type; sources are `[places, LANES]`, one byte each, since the sweep
over synapses is bound by how fast they come. A synapse is visited once for all the lanes: on the widths of today's
vectors that beats following one frame's events, because a block of frames leaves few sources silent. Loops over lanes
stay in these types (Numba would widen to 64 bits and take four times the vectors); `program` has proven them wide
enough.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import intrinsic

from .geometry import NOWHERE
from .program import ADD, ASSIGN, LEAKS, OR, UNROLL, VOTE

LANES = 64
NONE, SHIFT, MULTIPLY, DECAYING_INPUT = range(len(LEAKS))
assert UNROLL == 4, "_accumulate takes four synapses at a time"


@njit(cache=True, nogil=True)
def run_range(program, frames, begin, end, sums, spikes, membranes):
    """Run frames `begin..end` of `frames`, uint8 `[n, 1 or steps, sources]`.

    Adds to `sums` int64 `[n, classes]`; fills `spikes` uint8 and `membranes` int32, `[n, steps, neurons]`, those that
    are not empty. Releases the interpreter's lock. Nothing is checked: see `engine.run`.
    """
    kind = program.weight.dtype
    opening, last = program.layers[0], program.layers[-1]
    neurons = program.place.size
    opened = opening.channels * opening.positions
    by_table = program.turn.size > 0  # no membranes of the first layer, only its spikes
    held = opened if program.held and not by_table else 0
    train = np.empty((opened if by_table else 0, LANES), np.uint8)
    buffer = np.zeros((last.source + last.sources, LANES), program.cell.dtype)
    voltage = np.empty((neurons, LANES), kind)
    current = np.empty((held + 1, LANES), kind)  # one row for each held sum, the last for all others
    votes = np.empty((program.classes, LANES), kind)
    spike = np.empty((neurons if spikes.size else 0, LANES), program.cell.dtype)
    for base in range(begin, end, LANES):
        lanes = min(LANES, end - base)
        votes[:] = 0
        for layer in program.layers[1:] if by_table else program.layers:
            voltage[layer.neuron : layer.neuron + layer.channels * layer.positions] = layer.reset
        for step in range(program.steps):
            if step == 0 or not program.held:
                _load(program, frames[base : base + lanes, step], buffer)
            if by_table:
                _follow_trains(program, step, buffer, train, spike)
            for index in range(1 if by_table else 0, program.layers.size):
                _advance(program, index, step, buffer, voltage, current, votes, spike)
            if spikes.size:
                _store(spike, spikes[base : base + lanes, step])
            if membranes.size:
                _store(voltage, membranes[base : base + lanes, step])
        if program.counting:
            for index in range(program.classes):
                for lane in range(lanes):
                    sums[base + lane, index] += votes[index, lane]
        else:
            for neuron in range(last.neuron, neurons):
                for lane in range(lanes):
                    sums[base + lane, (neuron - last.neuron) // program.group] += voltage[neuron, lane]


@njit(cache=True, nogil=True)
def _store(state, record):
    """Turn `[neurons, LANES]` into `[lanes, neurons]`."""
    for neuron in range(record.shape[1]):
        for lane in range(record.shape[0]):
            record[lane, neuron] = state[neuron, lane]


@njit(cache=True, nogil=True)
def _load(program, frames, buffer):
    """Put a step's input, uint8 `[lanes, sources]`, into the first layer's sources."""
    for source in range(frames.shape[1]):
        row = buffer[program.pixel[source]]
        for lane in range(frames.shape[0]):
            row[lane] = frames[lane, source] >> program.drop


@njit(cache=True, nogil=True)
def _follow_trains(program, step, buffer, train, spike):
    """One step of the first layer: its sums, at the first step, say which spikes come at all steps.

    A sum may need 32 bits, but `stretch` synapses of it do not: they are added in the narrow type first.
    """
    layer = program.layers[0]
    source = buffer[layer.source : layer.source + layer.sources]
    target = buffer[layer.source + layer.sources :]
    if layer.entry == OR or layer.entry == ADD:
        target[: program.layers[1].sources] = 0
    scratch = np.empty(LANES, buffer.dtype)
    part = np.empty(LANES, program.weight.dtype)
    row = np.empty(LANES, np.int32)
    bit = np.uint8(1 << step)
    for channel in range(layer.channels):
        for position in range(layer.positions):
            neuron = channel * layer.positions + position
            if step == 0:
                row[:] = program.bias[channel]
                begin, end = program.first[channel], program.first[channel + 1]
                for at in range(begin, end, program.stretch):
                    part[:] = 0
                    _accumulate(program, at, min(at + program.stretch, end), program.origin[position], source, part)
                    for lane in range(LANES):
                        row[lane] += part[lane]
                _look_up(program, row, train[neuron])
            place = program.place[neuron]
            fired = target[place] if layer.entry == ASSIGN else scratch
            for lane in range(LANES):
                fired[lane] = (train[neuron, lane] & bit) != 0
            _send(layer, place, fired, target)
            if spike.size:
                spike[neuron] = fired


@njit(cache=True, nogil=True, forceinline=True)
def _look_up(program, row, train):
    """Spike trains that the currents of `row` make."""
    train[:] = 0
    for index in range(program.turn.size):
        turn, flip = program.turn[index], program.flip[index]
        for lane in range(LANES):
            train[lane] ^= flip if row[lane] >= turn else np.uint8(0)


@njit(cache=True, nogil=True)
def _advance(program, index, step, buffer, voltage, current, votes, spike):
    """One step of one layer: sums, membranes, spikes into the next layer's sources (or the votes)."""
    layer = program.layers[index]
    source = buffer[layer.source : layer.source + layer.sources]
    target = buffer[layer.source + layer.sources :]
    if layer.entry == OR or layer.entry == ADD:
        target[: program.layers[index + 1].sources] = 0
    held = program.held and index == 0
    scratch = np.empty(LANES, buffer.dtype)
    for channel in range(layer.channels):
        number = layer.channel + channel
        begin, end = program.first[number], program.first[number + 1]
        for position in range(layer.positions):
            neuron = channel * layer.positions + position
            row = current[neuron] if held else current[-1]
            if step == 0 or not held:
                row[:] = program.bias[number]
                _accumulate(program, begin, end, program.origin[layer.origin + position], source, row)
            neuron += layer.neuron
            _leak(layer, row, voltage[neuron])
            place = program.place[neuron]
            fired = target[place] if layer.entry == ASSIGN else scratch
            _fire(layer, program.threshold[number], voltage[neuron], fired)
            if layer.entry == VOTE:
                _add(fired, votes[place])
            else:
                _send(layer, place, fired, target)
            if spike.size:
                spike[neuron] = fired


@njit(cache=True, nogil=True, forceinline=True)
def _send(layer, place, fired, target):
    """Spikes to where the pool of `layer` puts them; without one they are there already."""
    if layer.entry == ADD and place != NOWHERE:
        _add(fired, target[place])
    elif layer.entry == OR and place != NOWHERE:
        _or(fired, target[place])


@njit(cache=True, nogil=True, forceinline=True)
def _accumulate(program, begin, end, origin, source, row):
    """Add synapses `begin..end` to `row`, `UNROLL` at a time: fewer loads and stores of the sums."""
    for k in range(begin, end, UNROLL):
        a = source[program.offset[k] + origin]
        b = source[program.offset[k + 1] + origin]
        c = source[program.offset[k + 2] + origin]
        d = source[program.offset[k + 3] + origin]
        wa, wb, wc, wd = program.weight[k], program.weight[k + 1], program.weight[k + 2], program.weight[k + 3]
        for lane in range(LANES):
            row[lane] += (wa * a[lane] + wb * b[lane]) + (wc * c[lane] + wd * d[lane])


@njit(cache=True, nogil=True, forceinline=True)
def _leak(layer, row, v):
    """`u` in place of `v`: the four kinds of `quantize.network.Neuron`."""
    kind, shift, factor = v.dtype.type, layer.shift, layer.factor
    if layer.leak == NONE:
        for lane in range(LANES):
            v[lane] += row[lane]
    elif layer.leak == SHIFT:
        for lane in range(LANES):
            v[lane] += row[lane] - _shift_right(v[lane], shift)  # type: ignore[call-arg]
    elif layer.leak == MULTIPLY:
        for lane in range(LANES):
            v[lane] = ((factor * v[lane]) >> shift) + row[lane]
    else:
        for lane in range(LANES):
            v[lane] += _shift_right(kind(row[lane] - v[lane]), shift)  # type: ignore[call-arg]


@njit(cache=True, nogil=True, forceinline=True)
def _fire(layer, threshold, u, fired):
    """Spikes 0/1 into `fired`; reset and saturation in place."""
    kind, reset, low, high = u.dtype.type, layer.reset, layer.low, layer.high
    if layer.soft:
        for lane in range(LANES):
            spike = u[lane] >= threshold
            fired[lane] = spike
            u[lane] = _clip(kind(u[lane] - threshold) if spike else u[lane], low, high)
    else:
        for lane in range(LANES):
            spike = u[lane] >= threshold
            fired[lane] = spike
            u[lane] = _clip(reset if spike else u[lane], low, high)


@njit(cache=True, nogil=True, forceinline=True)
def _clip(v, low, high):
    raised = low if v < low else v
    return high if raised > high else raised


@njit(cache=True, nogil=True, forceinline=True)
def _add(fired, place):
    for lane in range(LANES):
        place[lane] += fired[lane]


@njit(cache=True, nogil=True, forceinline=True)
def _or(fired, place):
    for lane in range(LANES):
        place[lane] |= fired[lane]


@intrinsic
def _shift_right(typingctx, value, bits):
    """Arithmetic shift in the type of `value`."""

    def generate(context, builder, signature, arguments):
        shift = context.cast(builder, arguments[1], bits, value)
        return builder.ashr(arguments[0], shift)

    return value(value, bits), generate
