"""Cycles of every frame, predicted from its events and the mapping: exact, without simulating a clock.

The accelerator's queues, look-ups, readers, scans and serialisers obey recurrences of `max` and `+` over events and
rows. Each part's docstring in `rtl/` states its latency and what stalls it; this module says the same in arithmetic,
so that its times equal those that the compiled RTL counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ..rtl.latency import BEATS_WAITING, INPUT_QUEUE, OUTPUT_QUEUE, PUT_OUT, RELEASED, SEEN, token_latency
from ..rtl.mapping import LayerMapping, Mapping
from .events import Events
from .vectors import largest, rows, select

IDLE_GAP = 1 << 20  # cycles between frames that are sent apart: everything has come to rest
NEVER = -(1 << 30)  # a cycle before all others
LANES = 16  # PEs are handled in vectors of this many, with 32-bit cycles from the base of a frame
load, store, _ = rows(LANES)


@dataclass(frozen=True)
class Cycles:
    """Times in cycles, int64 `[frames]`; cycle 0 is the first after reset, when the first beat is offered.

    `first_beat`, `last_beat`: when a frame's first and last beat are taken on `s_axis`; `result`: when the last beat
    of its packet leaves on `m_axis`.
    """

    first_beat: np.ndarray
    last_beat: np.ndarray
    result: np.ndarray

    @property
    def latency(self) -> np.ndarray:
        """Cycles of each frame from its first beat to the end of its packet, both included."""
        return self.result - self.first_beat + 1

    @property
    def interval(self) -> np.ndarray:
        """Cycles between one frame's result and the next, `[frames - 1]`: the initiation interval when fed at once."""
        return np.diff(self.result)


def predict(
    mapping: Mapping,
    events: tuple[Events, ...],
    apart: bool = False,
    offered: np.ndarray | None = None,
    taken: np.ndarray | None = None,
) -> Cycles:
    """Times of frames fed back to back and drained at once, from the first cycle after reset on.

    Parameters
    ----------
    events
        From `sim.events.events_of`.
    apart
        Each frame but the first enters an accelerator at rest, so that `latency` is that of a frame on its own.
    offered
        int64 `[frames, beats]`: the earliest cycle in which the sender offers each beat, where it is not at once.
    taken
        int64 `[frames, classes + 1]`: the cycle in which each beat of each packet was taken, where it was not at once.
    """
    network = mapping.network
    frames = len(events[0].counts)
    counts, count_from = _joined([e.counts for e in events], np.uint16)
    addresses, address_from = _joined([e.addresses for e in events], np.int32)
    costs, cost_from = _joined([_costs(layer) for layer in mapping.layers], np.int32)
    shapes = np.array([_shape(m) for m in mapping.layers], np.int64)
    nothing = np.zeros((0, 0), np.int64)
    # As arguments, for a compiled kernel that is kept does not see that a constant of rtl/ has changed.
    hardware = (INPUT_QUEUE, OUTPUT_QUEUE, BEATS_WAITING, SEEN, RELEASED, PUT_OUT)
    times = _run(
        hardware,
        frames,
        network.steps,
        network.input.kind == "static",
        events[0].counts.shape[2],
        network.classes,
        IDLE_GAP if apart else 0,
        counts,
        count_from,
        addresses,
        address_from,
        costs.reshape(-1, LANES),
        cost_from // LANES,
        shapes,
        nothing if offered is None else offered,
        nothing if taken is None else taken,
    )
    return Cycles(*times)


def _joined(arrays: list[np.ndarray], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """All arrays flat, one after another, and where each begins."""
    starts = np.cumsum([0] + [a.size for a in arrays])
    return np.concatenate([a.ravel() for a in arrays]).astype(dtype, copy=False), starts


def _vectors(layer: LayerMapping) -> int:
    """Vectors that hold the PEs of a layer."""
    return -(-layer.pes // LANES)


def _shape(layer: LayerMapping) -> tuple[int, ...]:
    latency = token_latency(layer.kernel is not None)
    return layer.rows, layer.queue_depth, layer.row_queue_depth, latency, _vectors(layer)


def _costs(layer: LayerMapping) -> np.ndarray:
    """Reader cycles in each PE, int32 `[1 + addresses, vectors * LANES]`: a token's, then those of each address."""
    costs = np.zeros((1 + len(layer.addresses), _vectors(layer) * LANES), np.int32)
    costs[0] = 1
    costs[1:, : layer.pes] = layer.counts.T[layer.lists]
    return costs


@njit(cache=True, forceinline=True)
def _take(offered, index, costs, core, first, vectors, last, place, ring, depth, moved, waited, free):
    """Core `core` takes an event offered from cycle `offered` on; rows `index..` of `costs` are its synapses by PE.

    last[core] is the cycle of the last event taken; ring[core] holds the last pop of the newest `depth` events, the
    oldest at place[core]; moved, waited, free, rows `first..`, are, for each PE, the cycles in which the first look-up
    stage, the second, and the reader were last left. Returns the cycle.
    """
    slot = place[core]
    taken = max(max(offered, last[core] + 1), ring[core, slot] + 1)
    popped = taken + 1
    for k in range(vectors):
        cost, left, handed = load(costs, index + k), load(moved, first + k), load(waited, first + k)
        ready = load(free, first + k)
        pop = max(left, taken + 1)
        popped = max(popped, largest(pop))
        move = max(pop + 1, handed)
        handoff = max(move + 1, ready)
        reads = cost >= 1
        store(moved, first + k, move)
        store(waited, first + k, select(reads, handoff, handed))
        store(free, first + k, select(reads, handoff + cost, ready))
    ring[core, slot] = popped
    last[core] = taken
    place[core] = _next(slot, depth)
    return taken


@njit(cache=True, forceinline=True)
def _handed(first, vectors, waited):
    """The cycle in which the last PE's reader got a token that all have taken."""
    latest = np.int32(NEVER)
    for k in range(first, first + vectors):
        latest = max(latest, largest(load(waited, k)))
    return np.int64(latest)


@njit(cache=True, forceinline=True)
def _next(slot, size):
    return 0 if slot + 1 == size else slot + 1


@njit(cache=True, forceinline=True)
def _give_back(places, foremost, core, depth, cycle):
    """One more of the `depth` places in the row queue behind `core` is free from `cycle` on.

    places[core] is a ring of the cycles from which places are free, in order from foremost[core] on, which is the one
    that the next row takes. Its slot takes the new one, which moves forward past later ones.
    """
    slot = foremost[core]
    foremost[core] = _next(slot, depth)
    for _ in range(depth - 1):
        before = slot - 1 if slot > 0 else depth - 1
        if places[core, before] <= cycle:
            break
        places[core, slot] = places[core, before]
        slot = before
    places[core, slot] = cycle


@njit(cache=True)
def _lower(cycles, shift):
    """Count `cycles` from a base that is `shift` later."""
    flat = cycles.ravel()
    for i in range(len(flat)):
        flat[i] = max(flat[i] - shift, NEVER)


@njit(cache=True)
def _run(
    hardware,
    frames,
    steps,
    static,
    input_rows,
    classes,
    gap,
    counts,
    count_from,
    addresses,
    address_from,
    costs,
    cost_from,
    shapes,
    offered,
    drained,
):
    """Times of all frames. Within a frame, cycles count from its base."""
    input_queue, output_queue, beats_waiting, seen, until_released, until_put_out = hardware
    layers = len(shapes)
    last = shapes[:, 0].copy()  # the banks are cleared first
    place = np.zeros(layers, np.int64)
    ring = np.full((layers, shapes[:, 1].max()), NEVER, np.int64)
    first = np.zeros(layers + 1, np.int64)  # each core's part of the next three
    first[1:] = shapes[:, 4].cumsum()
    moved = np.full((first[-1], LANES), NEVER, np.int32)
    waited = np.full((first[-1], LANES), NEVER, np.int32)
    free = np.full((first[-1], LANES), NEVER, np.int32)
    released = np.full((layers, 2), NEVER, np.int64)
    scanned = np.zeros(layers, np.int64)
    issue = np.full(layers, NEVER, np.int64)  # newest row
    places = np.full((layers, shapes[:, 2].max()), NEVER, np.int64)
    foremost = np.zeros(layers, np.int64)
    loads = np.full(beats_waiting, NEVER, np.int64)  # serialiser of the input: newest rows loaded
    loaded = 0  # slot of the oldest, and so on below
    finished = np.full(layers + 1, NEVER, np.int64)  # serialisers: last event of the newest row
    passed = np.full(input_queue, NEVER, np.int64)  # the newest beats that left the input queue
    entered = 0
    left = NEVER  # the newest of them
    popped = np.full(output_queue, NEVER, np.int64)  # the newest packet beats that left the output queue
    sent = 0
    pushed = NEVER  # last packet beat into it
    beat = -1  # last beat taken on s_axis
    count_at = count_from.copy()
    address_at = address_from.copy()
    times = np.zeros((3, frames), np.int64)
    base = np.int64(0)
    for n in range(frames):
        shift = beat + 1
        base += shift
        for cycles in (ring, released, places):
            _lower(cycles, shift)
        for cycles in (moved, waited, free):
            _lower(cycles, shift)
        for cycles in (last, issue, loads, finished, passed, popped):
            _lower(cycles, shift)
        left = max(left - shift, NEVER)
        pushed = max(pushed - shift, NEVER)
        beat = gap - 1 if n else -1

        held = np.int64(0)
        beats = 0
        for t in range(steps):
            full = np.int64(NEVER)
            for to in range(layers + 1):
                # Serialiser `to` sends the rows of layer `to - 1`, or of the input, to core `to`, or to the read-out.
                core = to - 1
                if to == 0 and static and t > 0:
                    full = held
                    continue
                vectors, queue = (shapes[to, 4], shapes[to, 1]) if to < layers else (0, 0)
                into = (costs, to, first[to], vectors, last, place, ring, queue, moved, waited, free)
                if to < layers:
                    bank_free = released[to, scanned[to] & 1] + 1
                    for k in range(first[to], first[to + 1]):
                        store(free, k, max(load(free, k), bank_free))
                depth = shapes[core, 2]
                count = input_rows if to == 0 else shapes[core, 0]
                row, at, done = count_at[to], address_at[to], finished[to]
                count_at[to] += count
                issued = issue[core] if to else 0
                for r in range(count):
                    events = np.int64(counts[row + r])
                    ends = r == count - 1
                    if to == 0 and not static:
                        # Each spike, and the mark, is a beat of its own and goes straight to the core.
                        for i in range(at, at + events + 1):
                            beat = max(beat + 1, passed[entered] + 1)
                            if len(offered):
                                beat = max(beat, offered[n, beats] - base)
                            index = (1 + addresses[i]) * vectors if i < at + events else 0
                            time = _take(beat + 1, index, *into)
                            passed[entered] = time
                            if beats == 0:
                                times[0, n] = base + beat
                            beats += 1
                            entered = _next(entered, input_queue)
                        at += events
                        continue
                    if to == 0:
                        beat = max(beat + 1, passed[entered] + 1)
                        if len(offered):
                            beat = max(beat, offered[n, beats] - base)
                        if beats == 0:
                            times[0, n] = base + beat
                        fired = max(beat, left) + 1
                        fired = max(fired, loads[loaded] + 1)
                    else:
                        issued = max(max(issued + 1, full + seen), places[core, foremost[core]])
                        fired = issued + until_put_out
                    if events or ends:
                        time = max(fired + 1, done)
                        if to == 0:
                            loads[loaded] = time
                            loaded = _next(loaded, beats_waiting)
                        else:
                            _give_back(places, foremost, core, depth, time + 2)
                        if to < layers:
                            for i in range(at, at + events):
                                time = _take(time + 1, cost_from[to] + (1 + addresses[i]) * vectors, *into)
                            if ends:
                                time = _take(time + 1, cost_from[to], *into)
                        else:
                            time += events
                            if ends:
                                time += 1
                                if t == steps - 1:
                                    time = max(time, pushed + 1)
                        at += events
                        done = time
                    elif to > 0:
                        _give_back(places, foremost, core, depth, fired + 1)
                    if to == 0:
                        passed[entered] = left = fired
                        beats += 1
                        entered = _next(entered, input_queue)
                address_at[to], finished[to] = at, done
                if to > 0:
                    issue[core] = issued
                    if core > 0 or not static or t == steps - 1:
                        released[core, scanned[core] & 1] = issued + until_released
                        scanned[core] += 1
                if to < layers:
                    full = _handed(first[to], vectors, waited) + shapes[to, 3]
                if to == 0:
                    held = full

        # The packet: one look at every class, then a beat for the class and one for each sum.
        times[1, n] = base + beat
        pushed = finished[layers] + classes
        for b in range(classes + 1):
            pushed = max(pushed + 1, popped[sent] + 1)
            out = drained[n, b] - base if len(drained) else pushed + 1
            popped[sent] = out
            sent = _next(sent, output_queue)
        times[2, n] = base + out
    return times[0], times[1], times[2]
