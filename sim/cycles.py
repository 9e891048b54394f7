"""Cycles of every frame, predicted from its events and the mapping: exact, without simulating a clock.

The accelerator's queues, look-ups, readers, scans and serialisers obey recurrences of `max` and `+` over events and
rows. Each part's docstring in `rtl/` states its latency and what stalls it; this module says the same in arithmetic,
so that its times equal those that the compiled RTL counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ..model.errors import require
from ..quantize.network import PIXEL_BITS
from ..rtl.mapping import LayerMapping, Mapping
from ..rtl.pe import TOKEN_LATENCY
from .outcome import Trace

FRAMER_LATENCY = 0  # cycles from a beat on s_axis to the same beat at the serialiser
PACKET_LATENCY = 0  # cycles from a beat of the read-out to the same beat on m_axis


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


@dataclass(frozen=True)
class Events:
    """What the accelerator's queues carry: all that its timing depends on.

    `beats` is uint8 `[frames, beats]`, the lanes with a non-zero pixel of each input beat; `rows[l]` is bool
    `[frames, steps, rows, pes]`, the spikes of layer `l` in scan order.
    """

    beats: np.ndarray
    rows: tuple[np.ndarray, ...]


def events_of(mapping: Mapping, frames: np.ndarray, trace: Trace) -> Events:
    """Bring frames, uint8 `[n, sources]`, and the engine's trace of them into the order of the hardware."""
    network = mapping.network
    require(network.input.kind == "static", "input.kind", network.input.kind, "static: frames of pixels")
    lanes = mapping.pixels_a_beat
    padded = np.zeros((len(frames), mapping.beats * lanes), dtype=bool)
    padded[:, : frames.shape[1]] = (frames >> (PIXEL_BITS - network.input.bits)) != 0
    bits = (padded.reshape(len(frames), mapping.beats, lanes) << np.arange(lanes)).sum(axis=2)
    rows = []
    for layer, spikes in zip(mapping.layers, trace.spikes, strict=True):
        seen = (spikes[:, :, layer.slots] != 0) & layer.used
        if not layer.layer.neuron.spiking:
            seen = np.zeros_like(seen)
            seen[:, -1] = layer.used
        rows.append(seen)
    return Events(bits.astype(np.uint8), tuple(rows))


def predict(mapping: Mapping, events: Events, apart: bool = False) -> Cycles:
    """Times of frames fed back to back, or, with `apart`, each alone into an idle accelerator (its latency)."""
    network = mapping.network
    counts = tuple(_padded_counts(layer) for layer in mapping.layers)
    limits = np.array([[m.queue_depth, m.row_queue_depth, m.pes, m.rows] for m in mapping.layers], dtype=np.int64)
    return Cycles(
        *_run(
            events.beats,
            tuple(np.ascontiguousarray(r) for r in events.rows),
            counts,
            limits,
            network.steps,
            network.classes,
            mapping.pixels_a_beat,
            apart,
        )
    )


def _padded_counts(layer: LayerMapping) -> np.ndarray:
    """Reader cycles of each address and PE, int64 `[address space, pes]`."""
    return np.ascontiguousarray(layer.counts.T)


@njit(cache=True)
def _accept(offered, address, l, counts, limits, clock, ring, moved, run_left, free, is_token):
    """Core `l` takes an event offered from cycle `offered` on; returns the cycle, and the last PE's token handoff.

    clock[l] = (last accept, number of events); ring[l] = last pop of each of the newest `queue_depth` events;
    moved, run_left, free: for each PE, when its look-up stages and its reader were last freed.
    """
    depth = limits[l, 0]
    number = clock[l, 1]
    slot = number % depth
    taken = max(offered, clock[l, 0] + 1)
    if number >= depth:
        taken = max(taken, ring[l, slot] + 1)
    last_pop = 0
    last_handoff = 0
    for p in range(limits[l, 2]):
        count = 1 if is_token else counts[address, p]
        pop = max(taken + 1, moved[l, p])
        move = max(pop + 1, run_left[l, p])
        moved[l, p] = move
        last_pop = max(last_pop, pop)
        if count:
            handoff = max(move + 1, free[l, p])
            run_left[l, p] = handoff
            free[l, p] = handoff + count
            last_handoff = max(last_handoff, handoff)
    ring[l, slot] = last_pop
    clock[l, 0] = taken
    clock[l, 1] = number + 1
    return taken, last_handoff


@njit(cache=True)
def _run(beats, rows, counts, limits, steps, classes, lanes, apart):
    """Times of all frames; see `predict`."""
    frames, frame_beats = beats.shape
    layers = len(limits)
    pes = limits[:, 2].max()
    deepest = limits[:, 1].max()
    clock = np.zeros((layers, 2), np.int64)
    ring = np.zeros((layers, limits[:, 0].max()), np.int64)
    moved = np.zeros((layers, pes), np.int64)
    run_left = np.zeros((layers, pes), np.int64)
    free = np.zeros((layers, pes), np.int64)
    released = np.zeros((layers, 2), np.int64)  # cycle in which a bank was last released
    bank_step = np.zeros(layers, np.int64)  # steps whose token has been taken
    stage = np.zeros((layers, 4), np.int64)  # last row: issued, at stage 2, at stage 3, fired
    # Serialisers: 0 stands before layer 0, l + 1 behind layer l.
    loads = np.zeros((layers + 1, deepest), np.int64)
    serial = np.zeros((layers + 1, 2), np.int64)  # last event of the last row, number of rows
    first = np.zeros(frames, np.int64)
    last = np.zeros(frames, np.int64)
    result = np.zeros(frames, np.int64)
    beat_time = np.int64(-1)
    sender_free = np.int64(0)
    readout_time = np.int64(-1)
    lane_low = np.zeros(layers, np.int64)
    for l in range(layers):
        while (1 << lane_low[l]) < limits[l, 2]:
            lane_low[l] += 1
    for n in range(frames):
        if apart and n:
            beat_time = result[n - 1] + 1000
        # Input: beats with pixels, and the last one, pass the first serialiser into core 0.
        for p in range(limits[0, 2]):
            free[0, p] = max(free[0, p], released[0, bank_step[0] & 1] + 1)
        full = np.int64(0)
        for b in range(frame_beats):
            mask = beats[n, b]
            ends = b == frame_beats - 1
            beat_time += 1
            if mask or ends:
                number = serial[0, 1]
                slot = number % limits[0, 1]
                if number >= limits[0, 1]:
                    beat_time = max(beat_time, loads[0, slot] + 1 - FRAMER_LATENCY)
                load = max(beat_time + FRAMER_LATENCY + 1, serial[0, 0])
                loads[0, slot] = load
                serial[0, 1] = number + 1
                time = load
                for lane in range(lanes):
                    if (mask >> lane) & 1:
                        time, _ = _accept(
                            time + 1, b * lanes + lane, 0, counts[0], limits, clock, ring, moved, run_left, free, False
                        )
                if ends:
                    time, handoff = _accept(time + 1, 0, 0, counts[0], limits, clock, ring, moved, run_left, free, True)
                    full = handoff + TOKEN_LATENCY
                serial[0, 0] = time
            if b == 0:
                first[n] = beat_time
            last[n] = beat_time
        for t in range(steps):
            for l in range(layers):
                if l == 0:
                    releases = t == steps - 1
                else:
                    releases = True
                if l + 1 < layers:
                    for p in range(limits[l + 1, 2]):
                        free[l + 1, p] = max(free[l + 1, p], released[l + 1, bank_step[l + 1] & 1] + 1)
                next_full = np.int64(0)
                row_count = limits[l, 3]
                for r in range(row_count):
                    issued = max(max(stage[l, 0] + 1, stage[l, 1]), full)
                    second = max(issued + 1, stage[l, 2])
                    third = max(second + 1, stage[l, 3])
                    fired = third + 1
                    ends = r == row_count - 1
                    spikes = rows[l][n, t, r]
                    needed = ends
                    for p in range(limits[l, 2]):
                        needed |= spikes[p]
                    if needed:
                        number = serial[l + 1, 1]
                        slot = number % limits[l, 1]
                        if number >= limits[l, 1]:
                            fired = max(fired, loads[l + 1, slot] + 1)
                        load = max(fired + 1, serial[l + 1, 0])
                        loads[l + 1, slot] = load
                        serial[l + 1, 1] = number + 1
                        time = load
                        for p in range(limits[l, 2]):
                            if spikes[p]:
                                if l + 1 < layers:
                                    time, _ = _accept(
                                        time + 1,
                                        (r << lane_low[l]) + p,
                                        l + 1,
                                        counts[l + 1],
                                        limits,
                                        clock,
                                        ring,
                                        moved,
                                        run_left,
                                        free,
                                        False,
                                    )
                                else:
                                    time = time + 1
                        if ends:
                            if l + 1 < layers:
                                time, handoff = _accept(
                                    time + 1,
                                    0,
                                    l + 1,
                                    counts[l + 1],
                                    limits,
                                    clock,
                                    ring,
                                    moved,
                                    run_left,
                                    free,
                                    True,
                                )
                                next_full = handoff + TOKEN_LATENCY
                            else:
                                time = time + 1
                                if t == steps - 1:
                                    time = max(time, sender_free)
                                readout_time = time
                        serial[l + 1, 0] = time
                    stage[l, 0] = issued
                    stage[l, 1] = second
                    stage[l, 2] = third
                    stage[l, 3] = fired
                    if ends and releases:
                        released[l, bank_step[l] & 1] = second
                        bank_step[l] += 1
                if l == 0 and not releases:
                    first_full = full
                full = next_full
            if t < steps - 1:
                full = first_full
        sender_free = readout_time + 2 * classes + 2
        result[n] = readout_time + 2 * classes + 1 + PACKET_LATENCY
    return first, last, result
