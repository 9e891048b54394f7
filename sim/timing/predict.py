"""All parts together: times of every frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...compiled import kernel
from ...rtl.latency import CREDIT_EMPTY, CREDIT_LOADED, INTERVAL, LOADED
from ...rtl.mapping import Mapping
from ..events import Events
from . import fire, framer, graph, pe, readout, serialiser
from .fifo import NEVER, Times

TOKEN = -1  # the address of `pe.take`
NARROW, CACHE_LINE = 4, 64  # bytes
WIDE = 1 << 29  # largest distance from the base, in cycles, in vectors of 32-bit numbers: see `predict`
GROWTH = 16  # most cycles that an event, a row, a token or a beat of a packet adds, without synapses


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


class State(NamedTuple):
    """State of all parts between two frames; times count from a base that moves with the frames."""

    times: np.ndarray  # int64: times of the parts
    lanes: np.ndarray  # int32 or int64 [vectors * 3, LANES], see `pe.take`
    costs: np.ndarray  # of the same type, see `pe.costs`
    pes: np.ndarray  # pe.PES [layers]
    fires: np.ndarray  # fire.FIRE [layers]
    serialisers: np.ndarray  # serialiser.SERIALISER [1 + layers]: that of the input, then those of the cores
    framer: np.ndarray  # framer.FRAMER [1]
    readout: np.ndarray  # readout.READOUT [1]
    reset: np.ndarray  # `times` at reset, of the cores alone
    kept: np.ndarray  # the framer's part of `times` before the newest frame


class Work(NamedTuple):
    """The events of all frames, from `events_of`, serialiser by serialiser, and the position reached in each."""

    steps: int
    held: bool  # static input: the first core integrates once per frame
    input_rows: int  # in a step
    counts: np.ndarray  # uint32: events of each row
    row: np.ndarray  # int64 [1 + layers]: each serialiser's next one
    addresses: np.ndarray  # int32
    event: np.ndarray  # int64 [1 + layers]: each serialiser's next one
    passed: np.ndarray  # int64 [most beats of a frame]: when each was passed on; none if no frame is cancelled


def predict(
    mapping: Mapping,
    events: tuple[Events, ...],
    apart: bool = False,
    offered: np.ndarray | None = None,
    taken: np.ndarray | None = None,
    accepted: np.ndarray | None = None,
) -> Cycles:
    """Times of frames fed back to back, with results taken at once, from the first cycle after reset. Always exact.

    Parameters
    ----------
    events
        From `sim.events.events_of`.
    apart
        Each frame except the first enters an idle accelerator, so that `latency` is that of a single frame. Cores that
        hear delayed sources alone have then done what they can ahead of it. The cycles between frames mean nothing.
    offered
        int64 `[frames, beats]`: the earliest cycle in which the sender offers each beat. None: at once.
    taken
        int64 `[frames, words]`: the cycle in which each beat of each packet was taken. None: at once.
    accepted
        int64 `[frames, beats]`, filled with the cycle in which each beat of events is taken. None: not asked for.
    """
    frames = len(events[0].counts)
    nothing = np.zeros((0, 0), np.int64)
    streams = [nothing if given is None else given for given in (offered, taken, accepted)]
    times = np.zeros((3, frames), np.int64)
    if not mapping.network.is_chain:
        graph.run(mapping, events, apart, times, *streams)
        return Cycles(*times)
    streams += [np.zeros(given.shape[1], np.int64) for given in streams]
    # Every time is the largest of some earlier ones plus a few cycles. So the times of a frame exceed all earlier ones
    # by
    # at most the sum of what it adds. If that is below WIDE, and `_run` sees that all earlier times are, 32 bits
    # suffice.
    narrow = _is_narrow(mapping, events)
    if not narrow or not _run(_state(mapping, np.int32), _work(mapping, events), apart, *streams, times):
        _run(_state(mapping, np.int64), _work(mapping, events), apart, *streams, times)
    return Cycles(*times)


def _is_narrow(mapping: Mapping, events: tuple[Events, ...]) -> bool:
    """Whether each frame moves the latest time of all parts by less than WIDE cycles, outside stalls not counted."""
    if _growth(mapping, events, [len(sent.addresses) for sent in events], len(events[0].counts)) < WIDE:
        return True  # not even all frames together do
    number = [int(sent.counts.sum(axis=(1, 2), dtype=np.int64).max(initial=0)) for sent in events]
    return _growth(mapping, events, number, 1) < WIDE


def _growth(mapping: Mapping, events: tuple[Events, ...], number: list[int], frames: int) -> int:
    """Bound on the cycles by which `frames` that have `number[s]` events of serialiser `s` move the latest time."""
    rows = sum(sent.counts.shape[1] * (sent.counts.shape[2] + 1) for sent in events)  # and a token in each step
    synapses = [int(layer.counts.max(initial=0)) for layer in mapping.layers]  # most synapses of an event in a PE
    read = sum(events * cost for events, cost in zip(number, synapses, strict=False))
    return (sum(number) + frames * (rows + mapping.output.words)) * GROWTH + read


def _work(mapping: Mapping, events: tuple[Events, ...]) -> Work:
    network = mapping.network
    beats = int(events[0].counts.sum(axis=(1, 2)).max(initial=0)) + network.steps if mapping.placement.cancel else 0
    return Work(
        network.steps,
        network.input.kind == "static",
        events[0].counts.shape[2],
        *_joined([e.counts for e in events], np.uint32),
        *_joined([e.addresses for e in events], np.int32),
        np.zeros(beats, np.int64),
    )


def _joined(arrays: list[np.ndarray], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """All arrays flattened and concatenated, and the start of each."""
    begins = np.cumsum([0] + [a.size for a in arrays[:-1]])
    return np.concatenate([a.ravel() for a in arrays]).astype(dtype, copy=False), begins


def _state(mapping: Mapping, kind: type) -> State:
    """All parts at reset; times of PEs in the integer type `kind`."""
    layers, times = mapping.layers, Times()
    costs = [pe.costs(layer) for layer in layers]
    vectors = [pe.vectors(layer) * len(pe.STATES) for layer in layers]
    lane = np.cumsum([0, *vectors])
    cost = np.cumsum([0, *map(len, costs)])
    pes = [pe.state(layer, times, lane[i], cost[i]) for i, layer in enumerate(layers)]
    fires = [fire.state(layer, times) for layer in layers]
    serialisers = [serialiser.state(times) for _ in range(len(layers) + 1)]
    kinds = [one.kind for one in mapping.network.readouts]
    cores = len(times.values)
    frames = framer.state(times)
    behind = len(times.values)
    early = mapping.network.answers_early
    sums = readout.states(mapping.output.classes, kinds, times, mapping.output.numbered, early)
    return State(
        times=np.array(times.values, np.int64),
        lanes=_aligned(lane[-1], kind),
        costs=np.concatenate(costs).astype(kind),
        pes=np.array(pes, pe.PES),
        fires=np.array(fires, fire.FIRE),
        serialisers=np.array(serialisers, serialiser.SERIALISER),
        framer=np.array([frames], framer.FRAMER),
        readout=np.array(sums, readout.READOUT),
        reset=np.array(times.values[:cores], np.int64),
        kept=np.zeros(behind - cores, np.int64),
    )


def _aligned(rows: int, kind: type) -> np.ndarray:
    """Rows of NEVER, `[rows, LANES]`, aligned to a cache line: a vector in two cache lines is slower."""
    lines: np.ndarray = np.full(rows * pe.LANES + CACHE_LINE, NEVER, kind)
    begin = -lines.ctypes.data % CACHE_LINE // lines.itemsize
    return lines[begin : begin + rows * pe.LANES].reshape(rows, pe.LANES)


@kernel(borrows=True)
def _run(state, work, apart, offered, drained, accepted, offers, drains, takes, out):
    """Fill `out`, int64 `[3, frames]`, with the arrays of `Cycles`; False if 32 bits do not suffice, else True.

    `offered`, `drained` and `accepted` are those of `predict`, `offers`, `drains` and `takes` of a frame of each, from
    the base on.
    """
    times, source = state.times, state.framer[0]
    last = len(state.pes)
    base = np.int64(0)
    for n in range(out.shape[1]):
        shift = times[source.taken] + INTERVAL
        if apart and n > 0:
            shift = _latest(state) + INTERVAL  # all parts are idle
        base += shift
        _rebase(state, shift)
        times[source.taken] = -INTERVAL
        for b in range(len(offers)):
            offers[b] = offered[n, b] - base
        for b in range(len(drains)):
            drains[b] = drained[n, b] - base
        full = np.int64(NEVER)
        beats = 0
        if len(work.passed):
            framer.keep(source, times, state.kept)
            at = source.queue.at
        for step in range(work.steps):
            if work.held:
                if step == 0:
                    held = _pixels(state, work, offers)
                full = held
            else:
                beats = _spikes(state, work, offers, takes, beats)
                full = pe.full(state.pes[0], state.lanes)
            for layer in range(last):
                full = _scan(state, work, layer, full, step)
        if len(work.passed):
            cycle = times[state.readout[0].cancel]
            if cycle != NEVER and work.passed[beats - 1] >= cycle:
                framer.restore(source, times, state.kept, at)
                _cancel(state, work, offers, takes, beats, cycle)
        for b in range(min(beats, len(takes))):
            accepted[n, b] = base + takes[b]
        out[0, n], out[1, n] = base + times[source.first], base + times[source.taken]
        out[2, n] = base + readout.send(state.readout, times, drains)
        if state.lanes.itemsize == NARROW and _latest(state) >= WIDE:
            return False
    return True


@kernel(borrows=True)
def _cancel(state, work, offers, takes, beats, cycle):
    """The frame has been cancelled in `cycle`, with whose end the cores are reset.

    Those of its `beats` that have not been passed on are dropped.
    """
    times, source = state.times, state.framer[0]
    pe.forget(state.lanes)
    for i in range(len(state.reset)):
        times[i] = state.reset[i]
        if times[i] != NEVER:
            times[i] += cycle + INTERVAL
    for b in range(beats):
        beat = framer.take(source, times, offers[b] if len(offers) else NEVER)
        if len(takes):
            takes[b] = beat
        passed = work.passed[b]
        if passed > cycle:
            passed = max(framer.offer(source, times, beat), cycle + INTERVAL)
        framer.pass_on(source, times, passed)


@kernel(borrows=True)
def _latest(state):
    """The latest of all times that can influence later ones."""
    latest = pe.latest(state.lanes)
    for i in range(len(state.times)):
        latest = max(latest, state.times[i])
    return latest


@kernel(borrows=True)
def _rebase(state, shift):
    """Count all times from a base that is `shift` later."""
    pe.rebase(state.lanes, shift)
    for i in range(len(state.times)):
        state.times[i] = max(state.times[i] - shift, NEVER)


@kernel(borrows=True, forceinline=True)
def _pixels(state, work, offers):
    """The first core integrates a frame of pixels; returns the cycle from which its bank is seen full."""
    times, lanes, costs, counts, addresses = state.times, state.lanes, state.costs, work.counts, work.addresses
    source, line, core = state.framer[0], state.serialisers[0], state.pes[0]
    pe.reopen(core, lanes, fire.last_release(state.fires[0], times))
    row, at, finished = work.row[0], work.event[0], times[line.finished]
    for r in range(work.input_rows):
        beat = framer.take(source, times, offers[r] if len(offers) else NEVER)
        if r == 0:
            times[source.first] = beat
        passed = serialiser.accept(line, times, framer.offer(source, times, beat))
        events, ends = np.int64(counts[row + r]), r == work.input_rows - 1
        if events or ends:
            loaded = serialiser.load(passed, finished)
            serialiser.leave_queue(line, times, loaded)
            offered = loaded + LOADED
            for i in range(at, at + events):
                offered = pe.take(core, times, lanes, costs, offered, addresses[i]) + INTERVAL
            if ends:
                offered = pe.take(core, times, lanes, costs, offered, TOKEN) + INTERVAL
            finished = offered - INTERVAL
            at += events
        framer.pass_on(source, times, passed)
    work.row[0], work.event[0], times[line.finished] = row + work.input_rows, at, finished
    return pe.full(core, lanes)


@kernel(borrows=True, forceinline=True)
def _spikes(state, work, offers, takes, beats):
    """The first core integrates a step of spikes: each, and the mark, is a beat and goes straight to the core.

    `beats` of the frame were before; returns them with those of this step.
    """
    times, lanes, costs, counts, addresses = state.times, state.lanes, state.costs, work.counts, work.addresses
    source, core = state.framer[0], state.pes[0]
    pe.reopen(core, lanes, fire.last_release(state.fires[0], times))
    begin = work.event[0]
    end = begin + np.int64(counts[work.row[0]])
    for i in range(begin, end + 1):
        beat = framer.take(source, times, offers[beats] if len(offers) else NEVER)
        if beats == 0:
            times[source.first] = beat
        if len(takes):
            takes[beats] = beat
        address = np.int64(addresses[i]) if i < end else TOKEN
        offered = framer.offer(source, times, beat)
        passed = pe.take(core, times, lanes, costs, offered, address)
        framer.pass_on(source, times, passed)
        if len(work.passed):
            work.passed[beats] = passed
        beats += 1
    work.row[0] += 1
    work.event[0] = end
    return beats


@kernel(borrows=True, forceinline=True)
def _scan(state, work, layer, full, step):
    """A layer scans its bank, seen full from cycle `full` on, and its rows go to the next core, or to the read-out.

    Returns the cycle from which the next core's bank is seen full.
    """
    times, lanes, costs, counts, addresses = state.times, state.lanes, state.costs, work.counts, work.addresses
    unit, line = state.fires[layer], state.serialisers[layer + 1]
    to_core = layer + 1 < len(state.pes)
    core = state.pes[layer + 1 if to_core else layer]
    if to_core:
        pe.reopen(core, lanes, fire.last_release(state.fires[layer + 1], times))
    row, at = work.row[layer + 1], work.event[layer + 1]
    issued, finished, spiked = times[unit.issued], times[line.finished], np.int64(0)
    for r in range(unit.rows):
        events, ends = np.int64(counts[row + r]), r == unit.rows - 1
        issued = fire.issue(unit, times, issued, full)
        put_out = issued + unit.put_out
        if events or ends:
            loaded = serialiser.load(put_out, finished)
            fire.give_back(unit, times, loaded + CREDIT_LOADED)
            offered = loaded + LOADED
            if to_core:
                for i in range(at, at + events):
                    offered = pe.take(core, times, lanes, costs, offered, addresses[i]) + INTERVAL
                if ends:
                    offered = pe.take(core, times, lanes, costs, offered, TOKEN) + INTERVAL
            else:
                offered = readout.take(state.readout[0], times, offered) + events * INTERVAL
                spiked += events
                if ends:
                    if readout.is_last(state.readout[0], spiked, step == work.steps - 1):
                        offered = readout.take_last(state.readout[0], times, offered)
                    offered += INTERVAL
            finished = offered - INTERVAL
            at += events
        else:
            fire.give_back(unit, times, put_out + CREDIT_EMPTY)
    work.row[layer + 1], work.event[layer + 1] = row + unit.rows, at
    times[unit.issued], times[line.finished] = issued, finished
    if layer > 0 or not work.held or step == work.steps - 1:
        fire.release(unit, times, issued)
    return pe.full(core, lanes)
