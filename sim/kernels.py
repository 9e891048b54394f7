"""Compiled loops of the engine: `LANES` frames at a time, so that every operation works on a whole vector.

State is `[neurons, LANES]` in the program's integer type; sources are `[places, LANES]`, one byte each. A synapse is
read once for all lanes, and a neuron's sum stays in registers over all of its synapses. With current vector widths this
is faster than following the events of single frames, because few sources are silent in all frames of a block.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import numpy as np
from numba import types

from ..compiled import kernel
from ..quantize.network import LeakKind
from ..quantize.neuron import Reset
from .geometry import NOWHERE
from .program import ADD, ASSIGN, FIRST, LARGEST, MEMBRANE, OR, SUM, VOTE, Program
from .vectors import cast, instruction, larger, rows, select, smaller

LANES = 64
NONE, SHIFT, MULTIPLY, DECAYING_INPUT = (
    kind.code for kind in (LeakKind.NONE, LeakKind.SHIFT, LeakKind.MULTIPLY, LeakKind.DECAYING_INPUT)
)
HARD, SOFT = Reset.HARD.code, Reset.SOFT.code
NO_EDGE = -1
TILE = 256  # columns that are transposed at a time
load, store, fill = rows(LANES)
assert LANES == 4**3, "_to_columns and _to_rows transpose in three passes by four"


class Rule(NamedTuple):
    """What a loop over a population looks up once: whatever it stores, the compiler knows that these stay."""

    leak: int
    shift: int
    half: int
    nearest: bool
    reset: int
    low: int
    high: int


class Block(NamedTuple):
    """What a block of frames keeps: each `[n, LANES]`, in the program's integer type where no other is named."""

    buffer: np.ndarray  # uint8 or uint16: the sources of all paths
    membrane: np.ndarray  # by neuron
    state: np.ndarray  # beyond the membrane
    held: np.ndarray  # sums of held sources
    train: np.ndarray  # uint8, of the neurons that go by a table
    largest: np.ndarray  # membranes
    sums: np.ndarray  # int32, read out
    spike: np.ndarray  # uint8, by neuron; empty unless they are recorded
    reads: np.ndarray  # int64 [paths]: where the part of the buffer begins that a path reads in this step
    writes: np.ndarray  # int64 [paths]: and the part that is written for it


def new_block(program: Program, recorded: bool) -> Block:
    """A `Block` of zeros, for `run_steps`; `recorded`: whether it keeps the spikes of a step."""
    recorded = recorded or program.recorded
    kind, neurons, paths = program.weight.dtype, program.neurons.size, program.paths.size
    rows = program.rows, neurons, program.states, program.held, 0, program.largest, program.sums, neurons * recorded
    kinds = program.cell.dtype, kind, kind, kind, np.uint8, kind, np.int32, np.uint8
    arrays = [np.zeros((number, LANES), dtype) for number, dtype in zip(rows, kinds, strict=True)]
    return Block._make([*arrays, np.zeros(paths, np.int64), np.zeros(paths, np.int64)])


@kernel
def run_steps(program, block, begin, frames, sums, spikes, membranes):
    """Steps of a stream, whose state is kept in `block`, in lane 0; `begin` steps have been before.

    `frames` is uint8 `[1, steps, sources]`, contiguous. Fills `sums` int64 `[steps, sums]`; `spikes` uint8 and
    `membranes` int32, `[1, steps, neurons]`, those that are not empty. No input is held, no population has a table.
    """
    pixels = np.empty((2, TILE, LANES), np.uint8)
    bits = np.empty((2, TILE, LANES), np.uint8)
    numbers = np.empty((2, TILE, LANES), program.weight.dtype)
    if begin == 0:
        _start(program, block)
    for step in range(frames.shape[1]):
        block.sums[:] = 0
        _turn(program, block, begin + step)
        for given in program.inputs:
            _enter(program, given, frames, 0, 1, step, pixels, block)
        for index in program.order:
            _clear(program, program.populations[index], block)
            _advance(program, index, begin + step, block)
        _read(program, begin + step, True, block)
        if spikes.size:
            _record(block.spike, bits, spikes, 0, 1, step)
        if membranes.size:
            _record(block.membrane, numbers, membranes, 0, 1, step)
        for index in range(program.sums):
            sums[step, index] = block.sums[index, 0]


@kernel
def run_blocks(program, held_frames, frames, claimed, sums, spikes, membranes):
    """Run frames, a block of `LANES` after another: uint8, contiguous.

    `held_frames` are `[n, 1, sources]`, those of all held inputs, `frames` `[n, steps, sources]`, those of the others.
    `claimed`, int64 `[1]`, counts the frames that are taken: threads that share it share the blocks. Fills `sums`
    int64 `[n, sums]`; `spikes` uint8 and `membranes` int32, `[n, steps, neurons]`, those that are not empty. Releases
    the interpreter's lock. Nothing is checked: see `engine.run`.
    """
    kind, neurons = program.weight.dtype, program.neurons.size
    opened = program.populations[program.tabled].neurons if program.tabled >= 0 else 0
    block = Block(
        np.zeros((program.rows, LANES), program.cell.dtype),
        np.empty((neurons, LANES), kind),
        np.empty((program.states, LANES), kind),
        np.empty((program.held, LANES), kind),
        np.empty((opened, LANES), np.uint8),
        np.empty((program.largest, LANES), kind),
        np.empty((program.sums, LANES), np.int32),
        np.empty((neurons if spikes.size or program.recorded else 0, LANES), np.uint8),
        np.empty(program.paths.size, np.int64),
        np.empty(program.paths.size, np.int64),
    )
    pixels = np.empty((2, TILE, LANES), np.uint8)
    bits = np.empty((2, TILE, LANES), np.uint8)
    numbers = np.empty((2, TILE, LANES), kind)
    while True:
        base = _claim(claimed, LANES)
        lanes = min(LANES, sums.shape[0] - base)
        if lanes <= 0:
            return
        _start(program, block)
        for step in range(program.steps):
            _turn(program, block, step)
            for given in program.inputs:
                if given.held and step == 0:
                    _enter(program, given, held_frames, base, lanes, 0, pixels, block)
                elif not given.held:
                    _enter(program, given, frames, base, lanes, step, pixels, block)
            for index in program.order:
                _clear(program, program.populations[index], block)
                if index == program.tabled:
                    if step == 0:
                        _make_trains(program, block)
                    _follow_trains(program, step, block)
                else:
                    _advance(program, index, step, block)
            _read(program, step, step == program.steps - 1, block)
            if spikes.size:
                _record(block.spike, bits, spikes, base, lanes, step)
            if membranes.size:
                _record(block.membrane, numbers, membranes, base, lanes, step)
        for index in range(program.sums):
            for lane in range(lanes):
                sums[base + lane, index] = block.sums[index, lane]


@kernel(borrows=True)
def _start(program, block):
    """Where frames start."""
    kind = program.weight.dtype
    for index in range(program.populations.size):
        population = program.populations[index]
        if index != program.tabled:
            for neuron in range(population.neuron, population.neuron + population.neurons):
                store(block.membrane, neuron, fill(program.rarer[neuron].start_value, kind))
    block.state[:] = 0
    block.sums[:] = 0
    for path in program.paths:
        if path.parts > 1:
            block.buffer[path.source : path.source + path.parts * path.sources] = 0


@kernel(borrows=True)
def _turn(program, block, step):
    """Which part of its sources each path reads in this step, and which one is written."""
    for index in range(program.paths.size):
        path = program.paths[index]
        block.reads[index] = path.source + (step - path.delay) % path.parts * path.sources
        block.writes[index] = path.source + step % path.parts * path.sources


@kernel(borrows=True)
def _clear(program, sender, block):
    """Zero what several spikes of `sender` are gathered in."""
    for edge in program.edges[sender.edge : sender.edge_end]:
        if edge.clears:
            begin = block.writes[edge.path]
            block.buffer[begin : begin + program.paths[edge.path].sources] = 0


@kernel
def _enter(program, given, frames, base, lanes, step, tiles, block):
    """Put a step's input, uint8 `frames[base : base + lanes, step]`, into the sources that it leads to."""
    _clear(program, given, block)
    for begin in range(0, given.sources, TILE):
        width = min(TILE, given.sources - begin)
        packed = tiles[0].ravel()
        column = given.column + begin
        for lane in range(lanes):
            _copy(frames[base + lane, step, column : column + width], packed[lane * width : (lane + 1) * width])
        _to_columns(tiles, width)
        _send_tile(program, given, begin, width, tiles[1], block)


@kernel(borrows=True)
def _send_tile(program, given, begin, width, tile, block):
    """What sources `begin..begin + width` of an input send: `tile`, uint8 `[TILE, LANES]`."""
    ways, drop = _ways(program, given, block), given.drop
    entry, place, row, others, edge_end = ways
    if entry == ASSIGN and others == edge_end:  # the usual case: a loop with nothing else in it
        for i in range(width):
            values = cast(load(tile, i) >> drop, program.cell.dtype)
            store(block.buffer, row + program.place[place + begin + i], values)
        return
    for i in range(width):
        values = cast(load(tile, i) >> drop, program.cell.dtype)
        _send(program, ways, begin + i, values, block)


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


@kernel(borrows=True)
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


@kernel(borrows=True)
def _deal(given, dealt):
    quarter = given.size // 4
    for i in range(quarter):
        dealt[4 * i] = given[i]
        dealt[4 * i + 1] = given[quarter + i]
        dealt[4 * i + 2] = given[2 * quarter + i]
        dealt[4 * i + 3] = given[3 * quarter + i]


@kernel(borrows=True)
def _gather(dealt, gathered):
    quarter = dealt.size // 4
    for i in range(quarter):
        gathered[i] = dealt[4 * i]
        gathered[quarter + i] = dealt[4 * i + 1]
        gathered[2 * quarter + i] = dealt[4 * i + 2]
        gathered[3 * quarter + i] = dealt[4 * i + 3]


@kernel(borrows=True)
def _make_trains(program, block):
    """The sums of the population with a table say which spikes come at all steps: `train`, uint8 `[neurons, LANES]`.

    A sum may need 32 bits, but the sum of `stretch` synapses does not: these are first added in the narrow type.
    """
    population = program.populations[program.tabled]
    for number in range(population.neurons):
        total = fill(program.neurons[population.neuron + number].bias, np.int32)
        for index in range(population.path, population.path_end):
            walk = program.walk[program.paths[index].walk + number]
            for at in range(walk.first, walk.end, program.stretch):
                part = fill(0, program.weight.dtype)
                end = min(at + program.stretch, walk.end)
                part = _sum(program, at, end, block.reads[index] + walk.origin, block.buffer, part)
                total = total + cast(part, np.int32)
        store(block.train, number, _look_up(program, total))


@kernel(borrows=True, forceinline=True)
def _look_up(program, total):
    """Spike trains that the sums `total` make."""
    current = cast(smaller(larger(total, program.turn[0]), program.turn[-1]), program.turn.dtype)
    found = fill(program.train[0], np.uint8)
    for index in range(1, program.turn.size):
        found = select(current >= program.turn[index], program.train[index], found)
    return found


@kernel(borrows=True)
def _follow_trains(program, step, block):
    """One step of a population whose spikes are known."""
    population = program.populations[program.tabled]
    ways = _ways(program, population, block)
    recorded = population.neuron if block.spike.size else -1
    entry, place, row, others, end = ways
    is_alone = others == end and recorded < 0  # the usual case: loops with nothing else in them
    if is_alone and entry == ASSIGN:
        for number in range(population.neurons):
            fired = cast((load(block.train, number) >> step) & 1, program.cell.dtype)
            store(block.buffer, row + program.place[place + number], fired)
        return
    if is_alone and entry == OR:
        for number in range(population.neurons):
            to = program.place[place + number]
            if to != NOWHERE:
                fired = cast((load(block.train, number) >> step) & 1, program.cell.dtype)
                store(block.buffer, row + to, load(block.buffer, row + to) | fired)
        return
    for number in range(population.neurons):
        fired = (load(block.train, number) >> step) & 1
        _send(program, ways, number, cast(fired, program.cell.dtype), block)
        if recorded >= 0:
            store(block.spike, recorded + number, fired)


@kernel(borrows=True)
def _advance(program, index, step, block):
    """One step of one population: sums, states, spikes to where they go."""
    population = program.populations[index]
    ways = _ways(program, population, block)
    held, stepped, path_end = population.held, population.stepped, population.path_end
    has_state, recorded = population.has_state, population.neuron if block.spike.size else -1
    rule = Rule(
        population.leak, population.shift, population.half, population.nearest, population.reset, population.low,
        population.high,
    )  # fmt: skip
    for number in range(population.neurons):
        neuron = population.neuron + number
        own = program.neurons[neuron]
        if held >= 0 and step > 0:
            total = load(block.held, held + number)
        else:
            total = fill(own.bias, program.weight.dtype)
            if held >= 0:
                total = _gather_from(program, population.path, stepped, number, block, total)
                store(block.held, held + number, total)
        total = _gather_from(program, stepped, path_end, number, block, total)
        if has_state:
            fired = _update(program, population, rule, own, number, total, block)
        else:
            u = _leak(program, rule, neuron, total, load(block.membrane, neuron))
            fired = u >= own.threshold
            store(block.membrane, neuron, _fallen(rule, own, fired, u))
        _send(program, ways, number, cast(fired, program.cell.dtype), block)
        if recorded >= 0:
            store(block.spike, recorded + number, cast(fired, np.uint8))


@kernel(borrows=True, forceinline=True)
def _update(program, population, rule, own, number, total, block):
    """States of neurons that keep more than a membrane, from their sums; their spikes."""
    kind, neuron = program.weight.dtype, population.neuron + number
    if population.has_current:
        row = population.current + number
        old = load(block.state, row)
        new = _decayed(program, rule, old, program.rarer[neuron].current_factor, population.current_shift) + total
        store(block.state, row, new)
        total = new if population.enters_new else old
    before = load(block.membrane, neuron)
    u = _leak(program, rule, neuron, total, before)
    threshold = fill(own.threshold, kind)
    if population.has_adaptation:
        threshold = threshold + load(block.state, population.adaptation + number)
    fired = u >= threshold
    if population.refractory > 0:
        row = population.waiting + number
        waiting = load(block.state, row)
        is_free = fill(0, kind) >= waiting
        fired = fired & is_free
        store(block.membrane, neuron, select(is_free, _fallen(rule, own, fired, u), before))
        store(block.state, row, select(fired, population.refractory, larger(waiting - 1, 0)))
    else:
        store(block.membrane, neuron, _fallen(rule, own, fired, u))
    if population.has_adaptation:
        row = population.adaptation + number
        rarer = program.rarer[neuron]
        a = _decayed(program, rule, load(block.state, row), rarer.adaptation_factor, population.adaptation_shift)
        store(block.state, row, select(fired, a + rarer.jump, a))
    return fired


@kernel(borrows=True, forceinline=True)
def _gather_from(program, first, end, number, block, total):
    """`total` and the synapses of a population's neuron `number` in the paths `first..end`."""
    for index in range(first, end):
        walk = program.walk[program.paths[index].walk + number]
        total = _sum(program, walk.first, walk.end, block.reads[index] + walk.origin, block.buffer, total)
    return total


@kernel(borrows=True, forceinline=True)
def _sum(program, begin, end, origin, source, total):
    """`total` plus the synapses `begin..end`; unsigned indices are not tested for less than zero."""
    for k in range(np.uint64(begin), np.uint64(end)):
        values = cast(load(source, program.offset[k] + origin), program.weight.dtype)
        total = total + values * program.weight[k]
    return total


@kernel(borrows=True, forceinline=True)
def _leak(program, rule, neuron, total, v):
    """Potentials from what enters membranes: the four kinds of `quantize.neuron.IntNeuron`."""
    if rule.leak == NONE:
        u = v + total
    elif rule.leak == SHIFT:
        u = v - ((v + rule.half) >> rule.shift) + total
    elif rule.leak == MULTIPLY:
        u = _decayed(program, rule, v, program.rarer[neuron].factor, rule.shift) + total
    else:
        u = v + ((total - v + rule.half) >> rule.shift)
    return u


@kernel(borrows=True, forceinline=True)
def _decayed(program, rule, state, factor, shift):
    """A state times `factor / 2**shift`, rounded."""
    product = cast(state, program.wide.dtype) * factor
    if rule.nearest:
        product = product + (1 << (shift - 1))
    return cast(product >> shift, program.weight.dtype)


@kernel(borrows=True, forceinline=True)
def _fallen(rule, own, fired, u):
    """Membranes after their spikes and saturation."""
    if rule.reset == HARD:
        u = select(fired, own.reset_value, u)
    elif rule.reset == SOFT:
        u = select(fired, u - own.reset_amount, u)
    return smaller(larger(u, rule.low), rule.high)


@kernel(borrows=True, forceinline=True)
def _ways(program, sender, block):
    """The first edge of `sender`: its entry, where its places begin, its part of the buffer; the edges behind it.

    Numbers that a loop need not look up again: whatever it stores, the compiler knows that they stay.
    """
    entry, place, row = NO_EDGE, 0, 0
    if sender.edge < sender.edge_end:
        edge = program.edges[sender.edge]
        entry, place, row = edge.entry, edge.place, block.writes[edge.path]
    return entry, place, row, sender.edge + 1, sender.edge_end


@kernel(borrows=True, forceinline=True)
def _send(program, ways, number, values, block):
    """What neuron or source `number` sends, to all places that its edges lead to; `ways`: see `_ways`."""
    entry, place, row, others, end = ways
    if entry != NO_EDGE:
        _put(entry, program.place[place + number], row, values, block)
    for index in range(others, end):
        edge = program.edges[index]
        _put(edge.entry, program.place[edge.place + number], block.writes[edge.path], values, block)


@kernel(borrows=True, forceinline=True)
def _put(entry, place, row, values, block):
    """Values into their place in the part of the buffer that begins at `row`, or in the sums read out."""
    if entry == ASSIGN:
        store(block.buffer, row + place, values)
    elif entry == VOTE:
        store(block.sums, place, load(block.sums, place) + cast(values, np.int32))
    elif place != NOWHERE:
        there = load(block.buffer, row + place)
        store(block.buffer, row + place, there + values if entry == ADD else there | values)


@kernel(borrows=True)
def _read(program, step, is_last, block):
    """Membranes and first spikes that a read-out needs after this step; `is_last`: results are due."""
    for readout in program.readouts:
        if readout.kind == FIRST:
            _read_first(readout, program.steps - step % program.steps, block)
            continue
        for number in range(readout.neurons):
            if readout.kind == SUM or (readout.kind == MEMBRANE and is_last):
                _add_up(readout, number, load(block.membrane, readout.neuron + number), block)
            elif readout.kind == LARGEST:
                row, found = readout.largest + number, load(block.membrane, readout.neuron + number)
                if step > 0:
                    found = larger(found, load(block.largest, row))
                store(block.largest, row, found)
                if is_last:
                    _add_up(readout, number, found, block)


@kernel(borrows=True)
def _read_first(readout, worth, block):
    """Where nothing has spiked before in a frame, the spikes of this step are worth as many steps as remain with it."""
    decided = fill(0, np.int32)
    for row in range(readout.begin, readout.begin + readout.neurons // readout.group):
        decided = decided | load(block.sums, row)
    for number in range(readout.neurons):
        spiked = cast(load(block.spike, readout.neuron + number), np.int32) * worth
        _add_up(readout, number, select(decided >= 1, 0, spiked), block)


@kernel(borrows=True, forceinline=True)
def _add_up(readout, number, values, block):
    row = readout.begin + number // readout.group
    store(block.sums, row, load(block.sums, row) + cast(values, np.int32))


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
