"""Cycles of every frame, predicted from its events and the mapping: exact, without simulating a clock.

The accelerator's queues, look-ups, readers, scans and serialisers obey recurrences of `max` and `+` over events and
rows. Each part's docstring in `rtl/` states its latency and what stalls it; this module says the same in arithmetic,
so that its times equal those that the compiled RTL counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ..rtl.mapping import LayerMapping, Mapping
from ..rtl.pe import TOKEN_LATENCY
from .events import Events

FRAMER_LATENCY = 0  # cycles from a beat on s_axis to the same beat at the datapath
IDLE_GAP = 1 << 20  # cycles between frames that are sent apart: everything has come to rest
NEVER = -(1 << 30)  # a cycle before all others
LANES = 16  # PEs are handled in vectors of this many


@dataclass(frozen=True)
class Cycles:
    """Times in cycles, int64 `[frames]`; the first beat of the first frame is offered in cycle 0.

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
    packet_times: np.ndarray | None = None,
) -> Cycles:
    """Times of frames fed back to back and drained at once.

    Parameters
    ----------
    events
        From `sim.events.events_of`.
    apart
        Each frame enters an accelerator at rest, so that `latency` is that of a frame on its own.
    offered
        int64 `[frames, beats]`: the earliest cycle in which the sender offers each beat, where it is not at once.
    packet_times
        int64 `[frames]`: the cycle in which the last beat of each packet left, where the receiver made it wait.
    """
    network = mapping.network
    frames = len(events[0].counts)
    counts, count_from = _joined([e.counts.reshape(frames, -1) for e in events], np.uint16)
    addresses, address_from = _joined([e.addresses for e in events], np.int32)
    lanes = -(-max(layer.pes for layer in mapping.layers) // LANES) * LANES
    costs = np.concatenate([_costs(layer, lanes) for layer in mapping.layers])
    cost_from = np.cumsum([0] + [1 + len(layer.addresses) for layer in mapping.layers])
    shapes = np.array([[m.rows, m.queue_depth, m.row_queue_depth] for m in mapping.layers], dtype=np.int64)
    static = network.input.kind == "static"
    times = _run(
        frames,
        network.steps,
        static,
        events[0].counts.shape[2],
        2 * network.classes + 1,
        IDLE_GAP if apart else 0,
        counts,
        count_from,
        addresses,
        address_from,
        costs,
        cost_from,
        shapes,
        np.zeros((0, 0), np.int64) if offered is None else offered,
        np.zeros(0, np.int64) if packet_times is None else packet_times,
    )
    return Cycles(*times)


def _joined(arrays: list[np.ndarray], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """All arrays flat, one after another, and where each begins."""
    starts = np.cumsum([0] + [a.size for a in arrays])
    return np.concatenate([a.ravel() for a in arrays]).astype(dtype, copy=False), starts


def _costs(layer: LayerMapping, lanes: int) -> np.ndarray:
    """Reader cycles in each PE, int32 `[1 + addresses, lanes]`: a token's, then those of each address."""
    costs = np.zeros((1 + len(layer.addresses), lanes), np.int64)
    costs[0] = 1
    costs[1:, : layer.pes] = layer.counts.T
    return costs


@njit(cache=True, inline="always")
def _take(offered, costs, index, core, clock, ring, depth, moved, waited, free):
    """Core `core` takes an event offered from cycle `offered` on; `costs[index, p]` are its synapses in PE `p`.

    clock[core] = (cycle of the last event taken, its place in the ring); ring[core] holds the last pop of the newest
    `depth` events; moved, waited, free are, for each PE, the cycles in which the first look-up stage, the second, and
    the reader were last left. Returns the cycle and the latest handoff to a reader.
    """
    slot = clock[core, 1]
    taken = np.int32(max(max(offered, clock[core, 0] + 1), ring[core, slot] + 1))
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
    clock[core, 0] = taken
    clock[core, 1] = 0 if slot + 1 == depth else slot + 1
    return np.int64(taken), np.int64(handed)


@njit(cache=True)
def _run(
    frames,
    steps,
    static,
    input_rows,
    sending,
    gap,
    counts,
    count_from,
    addresses,
    address_from,
    costs,
    cost_from,
    shapes,
    offered,
    packet_times,
):
    """Times of all frames. Within a frame, cycles count from its base."""
    layers = len(shapes)
    lanes = costs.shape[1]
    clock = np.full((layers, 2), NEVER, np.int64)
    clock[:, 1] = 0
    ring = np.full((layers, shapes[:, 1].max()), NEVER, np.int64)
    moved = np.full((layers, lanes), NEVER, np.int64)
    waited = np.full((layers, lanes), NEVER, np.int64)
    free = np.full((layers, lanes), NEVER, np.int64)
    released = np.full((layers, 2), NEVER, np.int64)
    scanned = np.zeros(layers, np.int64)
    stages = np.full((layers, 4), NEVER, np.int64)  # newest row: issued, left stage 1, left stage 2, fired
    loads = np.full((layers + 1, shapes[:, 2].max()), NEVER, np.int64)  # serialisers: newest rows loaded
    load_slot = np.zeros(layers + 1, np.int64)
    finished = np.full(layers + 1, NEVER, np.int64)  # serialisers: last event of the newest row
    count_at = count_from.copy()
    address_at = address_from.copy()
    times = np.zeros((3, frames), np.int64)
    base = np.int64(0)
    beat = np.int64(-1)
    sent = np.int64(NEVER)
    for n in range(frames):
        shift = beat + 1
        base += shift
        beat = np.int64(-1)
        sent = max(sent - shift, NEVER)
        for core in range(layers + 1):
            finished[core] = max(finished[core] - shift, NEVER)
            for i in range(loads.shape[1]):
                loads[core, i] = max(loads[core, i] - shift, NEVER)
        for core in range(layers):
            clock[core, 0] = max(clock[core, 0] - shift, NEVER)
            for b in range(2):
                released[core, b] = max(released[core, b] - shift, NEVER)
            for i in range(4):
                stages[core, i] = max(stages[core, i] - shift, NEVER)
            for i in range(ring.shape[1]):
                ring[core, i] = max(ring[core, i] - shift, NEVER)
            for p in range(lanes):
                moved[core, p] = max(moved[core, p] - shift, NEVER)
                waited[core, p] = max(waited[core, p] - shift, NEVER)
                free[core, p] = max(free[core, p] - shift, NEVER)
        if gap and n:
            beat += gap

        full = np.int64(0)
        held = np.int64(0)
        for t in range(steps):
            # Serialiser `to` sends the rows of layer `to - 1`, or of the input, to core `to`, or to the read-out.
            for to in range(layers + 1):
                core = to - 1
                from_input = to == 0
                if from_input and static and t > 0:
                    full = held
                    continue
                to_core = to < layers
                if to_core:
                    bank_free = released[to, scanned[to] & 1] + 1
                    for p in range(lanes):
                        free[to, p] = max(free[to, p], bank_free)
                depth = shapes[max(core, 0), 2]
                rows = input_rows if from_input else shapes[core, 0]
                slot = load_slot[to]
                handed = np.int64(NEVER)
                fired = np.int64(NEVER)
                for r in range(rows):
                    events = np.int64(counts[count_at[to]])
                    count_at[to] += 1
                    ends = r == rows - 1
                    if from_input:
                        fired = beat + 1
                        if len(offered):
                            fired = max(fired, offered[n, r] - base)
                    else:
                        issued = max(max(stages[core, 0] + 1, stages[core, 1]), full)
                        second = max(issued + 1, stages[core, 2])
                        third = max(second + 1, stages[core, 3])
                        fired = third + 1
                    if events or ends:
                        fired = max(fired, loads[to, slot] + 1)
                        time = max(fired + 1 + (FRAMER_LATENCY if from_input else 0), finished[to])
                        loads[to, slot] = time
                        slot = 0 if slot + 1 == depth else slot + 1
                        if to_core:
                            for i in range(address_at[to], address_at[to] + events):
                                index = cost_from[to] + 1 + addresses[i]
                                time, handed = _take(
                                    time + 1, costs, index, to, clock, ring, shapes[to, 1], moved, waited, free
                                )
                            if ends:
                                index = cost_from[to]
                                time, handed = _take(
                                    time + 1, costs, index, to, clock, ring, shapes[to, 1], moved, waited, free
                                )
                        else:
                            time += events
                            if ends:
                                time += 1
                                if t == steps - 1:
                                    time = max(time, sent + 1)
                                    sent = time + sending
                        address_at[to] += events
                        finished[to] = time
                    if from_input:
                        beat = fired
                        if r == 0:
                            times[0, n] = base + beat
                    else:
                        stages[core, 0] = issued
                        stages[core, 1] = second
                        stages[core, 2] = third
                        stages[core, 3] = fired
                        if ends and (core > 0 or not static or t == steps - 1):
                            released[core, scanned[core] & 1] = second
                            scanned[core] += 1
                load_slot[to] = slot
                full = handed + TOKEN_LATENCY
                if from_input:
                    held = full
        times[1, n] = base + beat
        if len(packet_times):
            sent = packet_times[n] - base
        times[2, n] = base + sent
    return times[0], times[1], times[2]
