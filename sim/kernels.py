"""Compiled loops of the engine: `LANES` frames side by side, so that every inner loop is a vector operation.

State is `[neurons, LANES]` and sources are `[places, LANES]`, in the program's integer type. A synapse is visited once
for all the lanes: on the widths of today's vectors that beats following one frame's events, because a block of frames
leaves few sources silent.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .program import ADD, ASSIGN, LEAKS

LANES = 32
NONE, SHIFT, MULTIPLY, DECAYING_INPUT = range(len(LEAKS))


@njit(cache=True, nogil=True)
def run_range(program, frames, begin, end, sums, spikes, membranes):
    """Run frames `begin..end` of `frames`, uint8 `[n, 1 or steps, sources]`.

    Adds to `sums` int64 `[n, classes]`; fills `spikes` uint8 and `membranes` int32, `[n, steps, neurons]`, unless
    they are empty. Releases the interpreter's lock. Nothing is checked: see `engine.run`.
    """
    last = program.layers[-1]
    buffer = np.zeros((last.source + last.sources, LANES), program.weight.dtype)
    voltage = np.empty((program.place.size, LANES), program.weight.dtype)
    votes = np.zeros((program.classes, LANES), program.weight.dtype)
    opening = program.layers[0]
    held = opening.channels * opening.positions if program.held else 0
    current = np.empty((held + 1, LANES), program.weight.dtype)  # one row for each held sum, the last for all others
    spike = np.zeros((program.place.size if spikes.size else 0, LANES), np.uint8)
    for base in range(begin, end, LANES):
        lanes = min(LANES, end - base)
        votes[:] = 0
        for layer in program.layers:
            voltage[layer.neuron : layer.neuron + layer.channels * layer.positions] = layer.reset
        for step in range(program.steps):
            if step == 0 or not program.held:
                _load(program, frames[base : base + lanes, step], buffer)
            for index in range(program.layers.size):
                _advance(program, index, step, buffer, voltage, current, votes, spike)
            if spikes.size:
                for lane in range(lanes):
                    for neuron in range(program.place.size):
                        spikes[base + lane, step, neuron] = spike[neuron, lane]
                        membranes[base + lane, step, neuron] = voltage[neuron, lane]
        if not program.counting:
            for neuron in range(last.neuron, program.place.size):
                for lane in range(lanes):
                    sums[base + lane, (neuron - last.neuron) // program.group] += voltage[neuron, lane]
        else:
            for index in range(program.classes):
                for lane in range(lanes):
                    sums[base + lane, index] += votes[index, lane]


@njit(cache=True, nogil=True)
def _load(program, frames, buffer):
    """Put a step's input, uint8 `[lanes, sources]`, into the first layer's sources."""
    for lane in range(frames.shape[0]):
        for source in range(frames.shape[1]):
            buffer[program.pixel[source], lane] = frames[lane, source] >> program.drop


@njit(cache=True, nogil=True)
def _advance(program, index, step, buffer, voltage, current, votes, spike):
    """One step of one layer: sums, membranes, spikes into the next layer's sources (or the votes)."""
    layer = program.layers[index]
    source = buffer[layer.source : layer.source + layer.sources]
    target = votes
    if index + 1 < program.layers.size:
        after = program.layers[index + 1]
        target = buffer[after.source : after.source + after.sources]
        if layer.entry != ASSIGN:
            target[:] = 0
    held = program.held and index == 0
    fired = np.empty(LANES, voltage.dtype)
    for channel in range(layer.channels):
        begin, end = program.first[layer.channel + channel], program.first[layer.channel + channel + 1]
        bias = program.bias[layer.channel + channel]
        threshold = program.threshold[layer.channel + channel]
        for position in range(layer.positions):
            neuron = channel * layer.positions + position
            row = current[neuron if held else -1]
            if step == 0 or not held:
                row[:] = bias
                origin = program.origin[layer.origin + position]
                for synapse in range(begin, end):
                    _accumulate(row, source[program.offset[synapse] + origin], program.weight[synapse])
            neuron += layer.neuron
            _leak(layer, voltage[neuron], row)
            _fire(layer, voltage[neuron], threshold, fired)
            place = program.place[neuron]
            if place >= 0:
                _enter(target[place], fired, layer.entry)
            if spike.size:
                spike[neuron] = fired


@njit(cache=True, nogil=True)
def _accumulate(row, values, weight):
    for lane in range(LANES):
        row[lane] += weight * values[lane]


@njit(cache=True, nogil=True)
def _leak(layer, v, row):
    """`u` in place of `v`: the four kinds of `quantize.network.Neuron`."""
    if layer.leak == NONE:
        for lane in range(LANES):
            v[lane] += row[lane]
    elif layer.leak == SHIFT:
        for lane in range(LANES):
            v[lane] += row[lane] - (v[lane] >> layer.shift)
    elif layer.leak == MULTIPLY:
        for lane in range(LANES):
            v[lane] = ((layer.factor * v[lane]) >> layer.shift) + row[lane]
    else:
        for lane in range(LANES):
            v[lane] += (row[lane] - v[lane]) >> layer.shift


@njit(cache=True, nogil=True)
def _fire(layer, u, threshold, fired):
    """Spikes 0/1 into `fired`; reset and saturation in place."""
    for lane in range(LANES):
        fired[lane] = u[lane] >= threshold
    if layer.soft:
        for lane in range(LANES):
            u[lane] = min(max(u[lane] - fired[lane] * threshold, layer.low), layer.high)
    else:
        for lane in range(LANES):
            u[lane] = min(max(layer.reset if fired[lane] else u[lane], layer.low), layer.high)


@njit(cache=True, nogil=True)
def _enter(place, fired, entry):
    if entry == ASSIGN:
        for lane in range(LANES):
            place[lane] = fired[lane]
    elif entry == ADD:
        for lane in range(LANES):
            place[lane] += fired[lane]
    else:
        for lane in range(LANES):
            place[lane] |= fired[lane]
