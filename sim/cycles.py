"""Cycles of every frame, predicted from its events and the mapping: exact, without simulating a clock.

The accelerator's queues, look-ups, readers, scans and serialisers obey recurrences of `max` and `+` over events and
rows. Each part's docstring in `rtl/` states its latency and what stalls it; this module says the same in arithmetic,
so that its times equal those that the compiled RTL counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ..rtl.datapath import BEATS_WAITING
from ..rtl.fire import PUT_OUT, RELEASED, SEEN
from ..rtl.mapping import LayerMapping, Mapping
from ..rtl.pe import token_latency
from ..rtl.top import INPUT_QUEUE, OUTPUT_QUEUE
from .events import Events

IDLE_GAP = 1 << 20  # cycles between frames that are sent apart: everything has come to rest
NEVER = -(1 << 30)  # a cycle before all others
LANES = 16  # PEs are handled in vectors of this many


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
    lanes = -(-max(layer.pes for layer in mapping.layers) // LANES) * LANES
    costs = np.concatenate([_costs(layer, lanes) for layer in mapping.layers])
    cost_from = np.cumsum([0] + [1 + len(layer.addresses) for layer in mapping.layers])
    shapes = np.array(
        [[m.rows, m.queue_depth, m.row_queue_depth, token_latency(m)] for m in mapping.layers], dtype=np.int64
    )
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
        costs,
        cost_from,
        shapes,
        nothing if offered is None else offered,
        nothing if taken is None else taken,
    )
    return Cycles(*times)


def _joined(arrays: list[np.ndarray], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """All arrays flat, one after another, and where each begins."""
    starts = np.cumsum([0] + [a.size for a in arrays])
    return np.concatenate([a.ravel() for a in arrays]).astype(dtype, copy=False), starts


def _costs(layer: LayerMapping, lanes: int) -> np.ndarray:
    """Reader cycles in each PE, int64 `[1 + addresses, lanes]`: a token's, then those of each address."""
    costs = np.zeros((1 + len(layer.addresses), lanes), np.int64)
    costs[0] = 1
    costs[1:, : layer.pes] = layer.counts.T[layer.lists]
    return costs


@njit(cache=True, inline="always")
def _take(offered, costs, index, core, last, place, ring, depth, moved, waited, free):
    """Core `core` takes an event offered from cycle `offered` on; `costs[index, p]` are its synapses in PE `p`.

    last[core] is the cycle of the last event taken; ring[core] holds the last pop of the newest `depth` events, the
    oldest at place[core]; moved, waited, free are, for each PE, the cycles in which the first look-up stage, the
    second, and the reader were last left. Returns the cycle and the latest handoff to a reader.
    """
    slot = place[core]
    taken = max(max(offered, last[core] + 1), ring[core, slot] + 1)
    popped = np.int64(NEVER)
    handed = np.int64(NEVER)
    for p in range(costs.shape[1]):
        cost = costs[index, p]
        pop = max(taken + 1, moved[core, p])
        move = max(pop + 1, waited[core, p])
        handoff = max(move + 1, free[core, p])
        moved[core, p] = move
        popped = max(popped, pop)
        waited[core, p] = handoff if cost > 0 else waited[core, p]
        free[core, p] = handoff + cost if cost > 0 else free[core, p]
        handed = max(handed, handoff)
    ring[core, slot] = popped
    last[core] = taken
    place[core] = 0 if slot + 1 == depth else slot + 1
    return taken, handed


@njit(cache=True, inline="always")
def _give_back(places, core, depth, cycle):
    """One more of the `depth` places in the row queue behind `core` is free from `cycle` on.

    places[core, :depth] are the cycles from which places are free, in order; the next row takes the first.
    """
    k = 0
    while k < depth - 1 and places[core, k + 1] < cycle:
        places[core, k] = places[core, k + 1]
        k += 1
    places[core, k] = cycle


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
    lanes = costs.shape[1]
    last = shapes[:, 0].copy()  # the banks are cleared first
    place = np.zeros(layers, np.int64)
    ring = np.full((layers, shapes[:, 1].max()), NEVER, np.int64)
    moved = np.full((layers, lanes), NEVER, np.int64)
    waited = np.full((layers, lanes), NEVER, np.int64)
    free = np.full((layers, lanes), NEVER, np.int64)
    released = np.full((layers, 2), NEVER, np.int64)
    scanned = np.zeros(layers, np.int64)
    issue = np.full(layers, NEVER, np.int64)  # newest row
    places = np.full((layers, shapes[:, 2].max()), NEVER, np.int64)
    loads = np.full(beats_waiting, NEVER, np.int64)  # serialiser of the input: newest rows loaded
    loaded = 0
    finished = np.full(layers + 1, NEVER, np.int64)  # serialisers: last event of the newest row
    passed = np.full(input_queue, NEVER, np.int64)  # the newest beats that left the input queue
    pushed = np.full(1, NEVER, np.int64)  # last packet beat into the output queue
    popped = np.full(output_queue, NEVER, np.int64)  # the newest that left it
    beat = np.full(1, -1, np.int64)  # last beat taken on s_axis
    count_at = count_from.copy()
    address_at = address_from.copy()
    times = np.zeros((3, frames), np.int64)
    base = np.int64(0)
    entered = 0
    for n in range(frames):
        shift = beat[0] + 1
        base += shift
        for cycles in (ring, moved, waited, free, released, places):
            _lower(cycles, shift)
        for cycles in (last, issue, loads, finished, passed, pushed, popped, beat):
            _lower(cycles, shift)
        if gap and n:
            beat[0] += gap

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
                if to < layers:
                    bank_free = released[to, scanned[to] & 1] + 1
                    for p in range(lanes):
                        free[to, p] = max(free[to, p], bank_free)
                depth = shapes[core, 2]
                rows = input_rows if to == 0 else shapes[core, 0]
                handed = np.int64(NEVER)
                for r in range(rows):
                    events = np.int64(counts[count_at[to]])
                    count_at[to] += 1
                    ends = r == rows - 1
                    if to == 0 and not static:
                        # Each spike, and the mark, is a beat of its own and goes straight to the core.
                        for i in range(address_at[0], address_at[0] + events + 1):
                            beat[0] = max(beat[0] + 1, passed[entered % input_queue] + 1)
                            if len(offered):
                                beat[0] = max(beat[0], offered[n, beats] - base)
                            index = 1 + addresses[i] if i < address_at[0] + events else 0
                            time, handed = _take(
                                beat[0] + 1, costs, index, 0, last, place, ring, shapes[0, 1], moved, waited, free
                            )
                            passed[entered % input_queue] = time
                            if beats == 0:
                                times[0, n] = base + beat[0]
                            beats += 1
                            entered += 1
                        address_at[0] += events
                        continue
                    if to == 0:
                        beat[0] = max(beat[0] + 1, passed[entered % input_queue] + 1)
                        if len(offered):
                            beat[0] = max(beat[0], offered[n, beats] - base)
                        if beats == 0:
                            times[0, n] = base + beat[0]
                        fired = max(beat[0], passed[(entered + input_queue - 1) % input_queue]) + 1
                        fired = max(fired, loads[loaded % beats_waiting] + 1)
                    else:
                        issued = max(max(issue[core] + 1, full + seen), places[core, 0])
                        fired = issued + until_put_out
                        issue[core] = issued
                    if events or ends:
                        time = max(fired + 1, finished[to])
                        if to == 0:
                            loads[loaded % beats_waiting] = time
                            loaded += 1
                        else:
                            _give_back(places, core, depth, time + 2)
                        if to < layers:
                            for i in range(address_at[to], address_at[to] + events):
                                index = cost_from[to] + 1 + addresses[i]
                                time, handed = _take(
                                    time + 1, costs, index, to, last, place, ring, shapes[to, 1], moved, waited, free
                                )
                            if ends:
                                index = cost_from[to]
                                time, handed = _take(
                                    time + 1, costs, index, to, last, place, ring, shapes[to, 1], moved, waited, free
                                )
                        else:
                            time += events
                            if ends:
                                time += 1
                                if t == steps - 1:
                                    time = max(time, pushed[0] + 1)
                        address_at[to] += events
                        finished[to] = time
                    elif to > 0:
                        _give_back(places, core, depth, fired + 1)
                    if to == 0:
                        passed[entered % input_queue] = fired
                        beats += 1
                        entered += 1
                    elif ends and (core > 0 or not static or t == steps - 1):
                        released[core, scanned[core] & 1] = issued + until_released
                        scanned[core] += 1
                full = handed + shapes[min(to, layers - 1), 3]
                if to == 0:
                    held = full

        # The packet: one look at every class, then a beat for the class and one for each sum.
        times[1, n] = base + beat[0]
        pushed[0] = finished[layers] + classes
        for b in range(classes + 1):
            slot = (n * (classes + 1) + b) % output_queue
            pushed[0] = max(pushed[0] + 1, popped[slot] + 1)
            popped[slot] = drained[n, b] - base if len(drained) else pushed[0] + 1
        times[2, n] = base + popped[slot]
    return times[0], times[1], times[2]
