"""Compiled loops of the engine: `LANES` frames at a time, so that every operation works on a whole vector.

State is `[neurons, LANES]` in the program's integer type; sources are `[places, LANES]`, one byte each. A synapse is
read once for all lanes, and a neuron's sum stays in registers over all of its synapses. With current vector widths this
is faster than following the events of single frames, because few sources are silent in all frames of a block.
"""

from __future__ import annotations

from threading import Lock

import numpy as np
from numba import types

from ..compiled import kernel
from ..quantize.network import LeakKind
from .geometry import NOWHERE
from .program import ADD, ASSIGN, OR, VOTE
from .vectors import cast, instruction, larger, rows, select, smaller

LANES = 64
NONE, SHIFT, MULTIPLY, DECAYING_INPUT = (
    kind.code for kind in (LeakKind.NONE, LeakKind.SHIFT, LeakKind.MULTIPLY, LeakKind.DECAYING_INPUT)
)
TILE = 256  # columns that are transposed at a time
load, store, fill = rows(LANES)
assert LANES == 4**3, "_to_columns and _to_rows transpose in three passes by four"


@kernel
def run_blocks(program, frames, claimed, sums, spikes, membranes):
    """Run `frames`, uint8 `[n, 1 or steps, sources]`, contiguous, a block of `LANES` after another.

    `claimed`, int64 `[1]`, counts the frames that have been claimed: threads that share it share the blocks. Adds to
    `sums` int64 `[n, classes]`. Fills `spikes` uint8 and `membranes` int32, `[n, steps, neurons]`, unless they are
    empty. Releases the interpreter's lock. Arguments are not checked: see `engine.run`.
    """
    kind = program.weight.dtype
    opening, last = program.layers[0], program.layers[-1]
    neurons = program.place.size
    opened = opening.channels * opening.positions
    by_table = program.turn.size > 0  # no membranes of the first layer, only its spikes
    train = np.empty((opened if by_table else 0, LANES), np.uint8)
    buffer = np.zeros((last.source + last.sources, LANES), program.cell.dtype)
    voltage = np.empty((neurons, LANES), kind)
    current = np.empty((opened if program.held and not by_table else 0, LANES), kind)
    votes = np.empty((program.classes, LANES), kind)
    spike = np.empty((neurons if spikes.size else 0, LANES), np.uint8)
    pixels = np.empty((2, TILE, LANES), np.uint8)
    bits = np.empty((2, TILE, LANES), np.uint8)
    numbers = np.empty((2, TILE, LANES), kind)
    while True:
        base = _claim(claimed, LANES)
        lanes = min(LANES, frames.shape[0] - base)
        if lanes <= 0:
            return
        votes[:] = 0
        for layer in program.layers[1:] if by_table else program.layers:
            voltage[layer.neuron : layer.neuron + layer.channels * layer.positions] = layer.reset
        for step in range(program.steps):
            if step == 0 or not program.held:
                _enter(program, frames, base, lanes, step, pixels, buffer)
            if by_table:
                if step == 0:
                    _make_trains(program, buffer, train)
                _follow_trains(program, step, buffer, train, spike)
            for index in range(1 if by_table else 0, program.layers.size):
                _advance(program, index, step, buffer, voltage, current, votes, spike)
            if spikes.size:
                _record(spike, bits, spikes, base, lanes, step)
            if membranes.size:
                _record(voltage, numbers, membranes, base, lanes, step)
        if program.counting:
            for index in range(program.classes):
                for lane in range(lanes):
                    sums[base + lane, index] += votes[index, lane]
        else:
            for neuron in range(last.neuron, neurons):
                for lane in range(lanes):
                    sums[base + lane, (neuron - last.neuron) // program.group] += voltage[neuron, lane]


@kernel
def _enter(program, frames, base, lanes, step, tiles, buffer):
    """Copy a step's input, uint8 `frames[base : base + lanes, step]`, to the first layer's sources."""
    sources = frames.shape[2]
    for begin in range(0, sources, TILE):
        width = min(TILE, sources - begin)
        packed = tiles[0].ravel()
        for lane in range(lanes):
            _copy(frames[base + lane, step, begin : begin + width], packed[lane * width : (lane + 1) * width])
        _to_columns(tiles, width)
        for i in range(width):
            values = load(tiles[1], i) >> program.drop
            store(buffer, program.pixel[begin + i], cast(values, buffer.dtype))


@kernel
def _record(state, tiles, record, base, lanes, step):
    """Write `state`, `[neurons, LANES]`, to `record[base : base + lanes, step]`."""
    neurons = state.shape[0]
    for begin in range(0, neurons, TILE):
        width = min(TILE, neurons - begin)
        for i in range(width):
            store(tiles[0], i, load(state, begin + i))
        _to_rows(tiles, width)
        packed = tiles[1].ravel()
        for lane in range(lanes):
            _copy(packed[lane * width : (lane + 1) * width], record[base + lane, step, begin : begin + width])


@kernel
def _copy(given, copied):
    """Copy one row to another; a slice assignment would not become a vector loop."""
    for i in range(given.size):
        copied[i] = given[i]


@kernel
def _to_columns(tiles, width):
    """`[LANES, width]`, packed in `tiles[0]`, to `[width, LANES]` in `tiles[1]`.

    Interleaving the four quarters of an array moves the upper two bits of an element's row number behind its column
    number. Three passes move all six bits.
    """
    first, second = tiles[0].ravel()[: width * LANES], tiles[1].ravel()[: width * LANES]
    _deal(first, second)
    _deal(second, first)
    _deal(first, second)


@kernel
def _to_rows(tiles, width):
    """`[width, LANES]` in `tiles[0]` to `[LANES, width]`, packed in `tiles[1]`: the inverse of `_to_columns`."""
    first, second = tiles[0].ravel()[: width * LANES], tiles[1].ravel()[: width * LANES]
    _gather(first, second)
    _gather(second, first)
    _gather(first, second)


@kernel
def _deal(given, dealt):
    quarter = given.size // 4
    for i in range(quarter):
        dealt[4 * i] = given[i]
        dealt[4 * i + 1] = given[quarter + i]
        dealt[4 * i + 2] = given[2 * quarter + i]
        dealt[4 * i + 3] = given[3 * quarter + i]


@kernel
def _gather(dealt, gathered):
    quarter = dealt.size // 4
    for i in range(quarter):
        gathered[i] = dealt[4 * i]
        gathered[quarter + i] = dealt[4 * i + 1]
        gathered[2 * quarter + i] = dealt[4 * i + 2]
        gathered[3 * quarter + i] = dealt[4 * i + 3]


@kernel
def _make_trains(program, buffer, train):
    """Spikes of all steps from the first layer's sums: `train`, uint8 `[neurons, LANES]`.

    A sum may need 32 bits, but the sum of `stretch` synapses does not: these are first added in the narrow type.
    """
    layer = program.layers[0]
    source = buffer[layer.source : layer.source + layer.sources]
    for channel in range(layer.channels):
        begin, end = program.first[channel], program.first[channel + 1]
        for position in range(layer.positions):
            total = fill(program.bias[channel], np.int32)
            for at in range(begin, end, program.stretch):
                part = fill(0, program.weight.dtype)
                part = _sum(program, at, min(at + program.stretch, end), program.origin[position], source, part)
                total = total + cast(part, np.int32)
            store(train, channel * layer.positions + position, _look_up(program, total))


@kernel(forceinline=True)
def _look_up(program, total):
    """Spike trains for the currents `total`."""
    current = cast(smaller(larger(total, program.turn[0]), program.turn[-1]), program.turn.dtype)
    found = fill(program.train[0], np.uint8)
    for index in range(1, program.turn.size):
        found = select(current >= program.turn[index], program.train[index], found)
    return found


@kernel
def _follow_trains(program, step, buffer, train, spike):
    """One step of a first layer whose spikes are known."""
    layer = program.layers[0]
    target = _targets(program, 0, buffer)
    for neuron in range(layer.channels * layer.positions):
        fired = (load(train, neuron) >> step) & 1
        _send(layer, program.place[neuron], cast(fired, buffer.dtype), target)
        if spike.size:
            store(spike, neuron, fired)


@kernel
def _advance(program, index, step, buffer, voltage, current, votes, spike):
    """One step of one layer: sums, membranes, spikes into the next layer's sources (or the votes)."""
    layer = program.layers[index]
    source = buffer[layer.source : layer.source + layer.sources]
    target = _targets(program, index, buffer)
    held = program.held and index == 0
    for channel in range(layer.channels):
        number = layer.channel + channel
        begin, end = program.first[number], program.first[number + 1]
        for position in range(layer.positions):
            neuron = channel * layer.positions + position
            if held and step > 0:
                total = load(current, neuron)
            else:
                total = fill(program.bias[number], program.weight.dtype)
                total = _sum(program, begin, end, program.origin[layer.origin + position], source, total)
                if held:
                    store(current, neuron, total)
            neuron += layer.neuron
            u = _leak(layer, total, load(voltage, neuron), program.weight.dtype)
            fired = u >= program.threshold[number]
            u = select(fired, u - program.threshold[number], u) if layer.soft else select(fired, layer.reset, u)
            store(voltage, neuron, smaller(larger(u, layer.low), layer.high))
            place = program.place[neuron]
            if layer.entry == VOTE:
                store(votes, place, load(votes, place) + cast(fired, votes.dtype))
            else:
                _send(layer, place, cast(fired, buffer.dtype), target)
            if spike.size:
                store(spike, neuron, cast(fired, np.uint8))


@kernel(forceinline=True)
def _sum(program, begin, end, origin, source, total):
    """`total` plus the synapses `begin..end`."""
    for k in range(begin, end):
        values = cast(load(source, program.offset[k] + origin), program.weight.dtype)
        total = total + values * program.weight[k]
    return total


@kernel(forceinline=True)
def _leak(layer, total, v, kind):
    """Potentials from the currents `total`: the four kinds of `quantize.network.IntNeuron`."""
    if layer.leak == NONE:
        u = v + total
    elif layer.leak == SHIFT:
        u = v - (v >> layer.shift) + total
    elif layer.leak == MULTIPLY:
        u = cast((cast(v, np.int64) * layer.factor) >> layer.shift, kind) + total
    else:
        u = v + ((total - v) >> layer.shift)
    return u


@kernel(forceinline=True)
def _targets(program, index, buffer):
    """The sources of the layer after layer `index`, set to 0 if a pool accumulates spikes in them."""
    layer = program.layers[index]
    target = buffer[layer.source + layer.sources :]
    if layer.entry == OR or layer.entry == ADD:
        target[: program.layers[index + 1].sources] = 0
    return target


@kernel(forceinline=True)
def _send(layer, place, fired, target):
    """Write spikes to their place, through the pool of `layer` if it has one."""
    if layer.entry == ASSIGN:
        store(target, place, fired)
    elif place != NOWHERE:
        there = load(target, place)
        store(target, place, there + fired if layer.entry == ADD else there | fired)


_claiming = Lock()


def _claim_plainly(claimed, number):
    with _claiming:
        before = int(claimed[0])
        claimed[0] += number
    return before


@instruction(_claim_plainly)
def _claim(typingctx, claimed, number):
    """Add `number` to `claimed[0]`, int64, and return what was there: no two threads get the same."""

    def generate(context, builder, made, arguments):
        counter = context.make_array(claimed)(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", counter, arguments[1], "monotonic")

    return types.int64(claimed, types.int64), generate
