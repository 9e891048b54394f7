"""All parts of a graph together: times of every frame where cores have several ports, or several edges that leave."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...compiled import kernel
from ...rtl import routes
from ...rtl.latency import CREDIT_EMPTY, CREDIT_LOADED, INTERVAL, JOIN, LOADED, QUEUE, QUEUE_FREED, RELEASED
from ...rtl.mapping import Mapping
from ..events import Events
from ..vectors import record
from . import fire, framer, pe, readout, serialiser
from .fifo import NEVER, Times, space

TOKEN = -1  # the address of `pe.take`
INPUT, LATE = -1, -2  # instead of an edge, of a port that hears the input; of one behind queue `i`, LATE - i
NOBODY, READOUT = -1, -2  # instead of the core that an edge leads to; of the read-out `i`, READOUT - i
UNKNOWN = 1 << 62  # when a credit comes back if none has whose row has been sent on
# Cycles before a frame that enters an idle accelerator: more than cores ever work ahead; 2**26 of them are UNKNOWN.
IDLE = 1 << 36
RESET = 0  # the cycle from which on tokens are offered that nobody sent

JOINED = record(
    [
        ("joins", np.int64),  # 1 where the core has a join
        ("taken", np.int64),  # in `times`: the newest event or token into the join,
        ("left", np.int64),  # and the newest one out of it
        ("held", np.int64),  # 1 where the core integrates once per frame
        ("held_ports", np.int64),  # that have a step in each frame, where others have one in each step
        ("held_released", np.int64),  # in `times`: the newest release of their bank
        ("ports", np.int64),
        ("first_port", np.int64),  # in `Graph.ports`
        ("edges", np.int64),
        ("first_edge", np.int64),  # in `Graph.edges`
        ("full", np.int64),  # in `times`: from when on the bank that is scanned is seen full
    ]
)
PORTS = record(
    [
        ("edge", np.int64),  # INPUT for an input, LATE and less for its queues
        ("offset", np.int64),
        ("first", np.int64),  # source of the input, among those of all
        ("end", np.int64),  # and the one behind its last
        ("held", np.int64),  # 1 for a static input
    ]
)
LATES = record(
    [
        ("first", np.int64),  # as of the port
        ("end", np.int64),
        ("held", np.int64),
        ("delay", np.int64),
        ("depth", np.int64),
        ("entered", np.int64),  # in `times`: when its newest entries came,
        ("left", np.int64),  # and when they left
        ("written", np.int64),  # entries so far,
        ("read", np.int64),  # and those that have left
        ("finished", np.int64),  # in `times`: the newest one that left
    ]
)
# Credits that come back in order: `times[begin:end]` is a ring of the cycles from which on each can be used.
CREDITS = record(
    [
        ("begin", np.int64),
        ("end", np.int64),
        ("first", np.int64),  # index of the one that comes back first,
        ("last", np.int64),  # and the one behind the last
        ("number", np.int64),
    ]
)
EDGES = record(
    [
        ("source", np.int64),
        ("core", np.int64),  # that it leads to
        ("delay", np.int64),
        ("empty", CREDITS),  # of rows without events, at reset all there are: one for each entry of the row queue
        ("loaded", CREDITS),  # of rows with events, once they have been sent on
        ("finished", np.int64),  # in `times`: the newest event of the newest row that was sent
        ("rows", np.int64),  # in `times`: when the rows of each step that is kept were put out
        ("kept", np.int64),  # steps
        ("sent", np.int64),  # in `Sent`, what the rows hold
    ]
)


class Graph(NamedTuple):
    """State of all parts; times count from reset."""

    times: np.ndarray  # int64
    lanes: np.ndarray  # int64, see `pe.take`
    costs: np.ndarray
    pes: np.ndarray  # pe.PES [cores]
    fires: np.ndarray  # fire.FIRE [cores]
    cores: np.ndarray  # JOINED [cores]
    ports: np.ndarray  # PORTS
    edges: np.ndarray  # EDGES
    lates: np.ndarray  # LATES
    order: np.ndarray  # int64 [cores]
    line: np.ndarray  # serialiser.SERIALISER [1]: that of the input
    framer: np.ndarray  # framer.FRAMER [1]
    readout: np.ndarray  # readout.READOUT [readouts]
    flag: np.ndarray  # int64 [1]: when the newest frame's last token was taken at the input


class Sent(NamedTuple):
    """What the input and each core send, each of its ways: `counts` of rows uint32, and addresses one after another."""

    steps: int
    unmasked: bool  # no frames: what is late is never masked
    held: bool  # all inputs are static
    mixed: bool  # some are: their segment comes before those of the steps
    segments: int  # of the input, in a frame
    input_rows: int  # in a segment
    counts: np.ndarray  # uint32
    row: np.ndarray  # int64: where those of each begin
    addresses: np.ndarray  # int32
    event: np.ndarray  # int64, the first event of each row of `counts`


def run(
    mapping: Mapping,
    events: tuple[Events, ...],
    apart: bool,
    times: np.ndarray,
    offered: np.ndarray,
    drained: np.ndarray,
    accepted: np.ndarray,
) -> None:
    """Fill `times`, int64 `[3, frames]`, with first beats, last beats and results, and `accepted`; see `predict`.

    Not for chains: row queues have at least as many entries as a scan has rows (see `routes_of`).
    """
    assert not mapping.network.is_chain
    rows = np.concatenate([sent.counts.ravel() for sent in events])
    state = _state(mapping)
    work = Sent(
        mapping.network.steps,
        mapping.network.stream,
        mapping.input.kind == "static",
        mapping.input.is_mixed,
        events[0].counts.shape[1],
        events[0].counts.shape[2],
        rows,
        np.cumsum([0, *(sent.counts.size for sent in events[:-1])]),
        np.concatenate([sent.addresses for sent in events]).astype(np.int32, copy=False),
        np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]),
    )
    _run(state, work, apart, offered, drained, accepted, np.zeros(drained.shape[1], np.int64), times)


def _state(mapping: Mapping) -> Graph:
    layers, times = mapping.layers, Times()
    costs = [pe.costs(layer) for layer in layers]
    lane = np.cumsum([0, *(pe.vectors(layer) * len(pe.STATES) for layer in layers)])
    cost = np.cumsum([0, *map(len, costs)])
    pes = [pe.state(layer, times, lane[i], cost[i]) for i, layer in enumerate(layers)]
    fires = [fire.state(layer, times) for layer in layers]
    edges: list[tuple] = []
    number: dict[tuple[int | None, int], int] = {}
    for route in mapping.routes:
        source = layers[route.source]
        kept = route.delay + 2
        number[route.target, route.port] = len(edges)
        edges.append(
            (
                route.source,
                _target(mapping, route),
                route.delay,
                _credits(times, route.depth, route.depth),
                _credits(times, route.depth, 0),
                times.one(),
                times.ring(source.rows * kept)[0],
                kept,
                mapping.stream(route.source, route.way),
            )
        )
    cores: list[tuple] = []
    ports: list[tuple] = []
    for index, into in enumerate(mapping.ports):
        leaving = mapping.leaving(index)
        first = mapping.routes.index(leaving[0])
        joins = len(into) > 1
        cores.append(
            (joins, times.one(), times.one(), layers[index].is_held,
             layers[index].held_ports if layers[index].is_mixed else 0, times.one(), len(into), len(ports),
             len(leaving), first, times.one())
        )  # fmt: skip
        late = {(one.target, one.port): LATE - i for i, one in enumerate(mapping.late)}
        ports += [
            (
                INPUT if p.direct else (late if p.source is None else number)[index, p.number],
                mapping.offset(p),
                *_range(mapping, p),
            )
            for p in into
        ]
    lates = []
    for one in mapping.late:
        entered, left = times.ring(one.depth)[0], times.ring(one.depth)[0]
        lates.append(
            (
                *_range(mapping, mapping.ports[one.target][one.port]),
                one.delay,
                one.depth,
                entered,
                left,
                0,
                0,
                times.one(),
            )
        )
    network = mapping.network
    line, frames = serialiser.state(times), framer.state(times)
    kinds = [one.kind for one in network.readouts]
    sums = readout.states(mapping.output.classes, kinds, times, mapping.output.numbered)
    return Graph(
        times=np.array(times.values, np.int64),
        lanes=np.full((lane[-1], pe.LANES), NEVER, np.int64),
        costs=np.concatenate(costs).astype(np.int64),
        pes=np.array(pes, pe.PES),
        fires=np.array(fires, fire.FIRE),
        cores=np.array(cores, JOINED),
        ports=np.array(ports, PORTS),
        edges=np.array(edges, EDGES),
        lates=np.array(lates, LATES),
        order=np.array(network.order, np.int64),
        line=np.array([line], serialiser.SERIALISER),
        framer=np.array([frames], framer.FRAMER),
        readout=np.array(sums, readout.READOUT),
        flag=np.full(1, NEVER, np.int64),
    )


def _credits(times: Times, entries: int, number: int) -> tuple[int, int, int, int, int]:
    """A `CREDITS`; `number` is 0, or all entries."""
    begin, end, first = times.ring(entries)
    return begin, end, first, first, number


def _target(mapping: Mapping, route: routes.Route) -> int:
    """`EDGES.core`."""
    if route.target is None:
        return READOUT - mapping.read.index(route.source)
    return NOBODY if route.target == routes.NOBODY else route.target


def _range(mapping: Mapping, port: routes.Port) -> tuple[int, int, bool]:
    """The first source of what a port hears among those of all inputs, the one behind its last, whether it is held."""
    if port.given is None:
        return 0, 0, False
    own = mapping.input.ranges[port.given]
    return own.start, own.stop, port.edge.held


@kernel(borrows=True)
def _run(state, work, apart, offered, drained, accepted, drains, out):
    times, source = state.times, state.framer[0]
    for n in range(out.shape[1]):
        if apart and n > 0:
            times[source.taken] = _latest(state) + IDLE
        beats = 0
        for step in range(work.steps):
            if step == 0 or not work.held:
                _open(state)
            if step == 0 and work.held:
                _pixels(state, work, n, offered)
            if step == 0 and work.mixed:
                beats = _segment(state, work, n, 0, True, offered, beats, accepted)
            if not work.held:
                beats = _segment(state, work, n, step, False, offered, beats, accepted)
            for core in state.order:
                _step(state, work, core, n, step)
        out[0, n], out[1, n] = times[source.first], times[source.taken]
        for b in range(len(drains)):
            drains[b] = drained[n, b]
        out[2, n] = readout.send(state.readout, times, drains)


@kernel(borrows=True)
def _latest(state):
    """The latest of all times that have a part in what follows."""
    latest = pe.latest(state.lanes)
    for i in range(len(state.times)):
        if state.times[i] < UNKNOWN:
            latest = max(latest, state.times[i])
    return latest


@kernel(borrows=True)
def _open(state):
    """Cores that hear the input wait for the bank that is filled next."""
    for core in range(len(state.cores)):
        joined = state.cores[core]
        if state.ports[joined.first_port].edge == INPUT:
            released = fire.last_release(state.fires[core], state.times)
            if joined.held_ports:
                released = state.times[joined.held_released]
            pe.reopen(state.pes[core], state.lanes, released)


@kernel(borrows=True)
def _enter(state, core, p, offered, address):
    """The cycle in which an event or token, offered from cycle `offered` on, is taken by port `p` of a core."""
    times, joined = state.times, state.cores[core]
    if not joined.joins:
        return pe.take(state.pes[core], times, state.lanes, state.costs, offered, address)
    taken = max(max(offered, times[joined.taken] + INTERVAL), times[joined.left])
    times[joined.taken] = taken
    if address != TOKEN or p == joined.ports - 1 or p == joined.held_ports - 1:  # not the token of any other port
        times[joined.left] = pe.take(state.pes[core], times, state.lanes, state.costs, taken + JOIN, address)
    return taken


@kernel(borrows=True)
def _earliest(state, core):
    """The first cycle in which a core, or its join, can take what comes next."""
    times, joined = state.times, state.cores[core]
    if joined.joins:
        return max(times[joined.taken] + INTERVAL, times[joined.left])
    cell = state.pes[core]
    return max(times[cell.taken] + INTERVAL, space(cell.queue, times))


@kernel(borrows=True)
def _concerns(port, address, held):
    """Whether a port, or a queue in front of one, hears an event; or a token, of static inputs if `held`."""
    if address == TOKEN:
        return port.held == held
    return port.first <= address < port.end


@kernel(borrows=True)
def _broadcast(state, work, offered, address, step, held):
    """The cycle in which all that hear it take an event or token that is offered from `offered` on."""
    taken = offered
    for core in range(len(state.cores)):
        port = state.ports[state.cores[core].first_port]
        if port.edge == INPUT and _concerns(port, address, held):
            taken = max(taken, _earliest(state, core))
    for i in range(len(state.lates)):
        late = state.lates[i]
        if _concerns(late, address, held):
            taken = max(taken, state.times[late.left + late.written % late.depth] + QUEUE_FREED)
    for core in range(len(state.cores)):
        port = state.ports[state.cores[core].first_port]
        if port.edge == INPUT and _concerns(port, address, held):
            _enter(state, core, 0, taken, address if address == TOKEN else address - port.first)
    for i in range(len(state.lates)):
        late = state.lates[i]
        if _concerns(late, address, held) and (address == TOKEN or not _masked(work, late.delay, step)):
            state.times[late.entered + late.written % late.depth] = taken
            late.written += 1
    return taken


@kernel(borrows=True)
def _segment(state, work, n, step, held, offered, beats, accepted):
    """A step of events, or the pixels before the first one: each, and the mark, is a beat. Returns the beats of the
    frame so far.
    """
    times, source = state.times, state.framer[0]
    row = n * work.segments + (0 if held else work.mixed + step)
    begin, end = work.event[row], work.event[row + 1]
    for i in range(begin, end + 1):
        beat = framer.take(source, times, offered[n, beats] if len(offered) else NEVER)
        if beats == 0:
            times[source.first] = beat
        if len(accepted):
            accepted[n, beats] = beat
        beats += 1
        address = np.int64(work.addresses[i]) if i < end else TOKEN
        state.flag[0] = _broadcast(state, work, framer.offer(source, times, beat), address, step, held)
        framer.pass_on(source, times, state.flag[0])
    return beats


@kernel(borrows=True)
def _pixels(state, work, n, offered):
    """A frame of pixels."""
    times, source, line = state.times, state.framer[0], state.line[0]
    finished = times[line.finished]
    for r in range(work.input_rows):
        beat = framer.take(source, times, offered[n, r] if len(offered) else NEVER)
        if r == 0:
            times[source.first] = beat
        passed = serialiser.accept(line, times, framer.offer(source, times, beat))
        row = n * work.input_rows + r
        begin, end = work.event[row], work.event[row + 1]
        ends = r == work.input_rows - 1
        if end > begin or ends:
            loaded = serialiser.load(passed, finished)
            serialiser.leave_queue(line, times, loaded)
            at = loaded + LOADED
            for i in range(begin, end):
                at = _broadcast(state, work, at, np.int64(work.addresses[i]), 0, True) + INTERVAL
            if ends:
                state.flag[0] = _broadcast(state, work, at, TOKEN, 0, True)
                at = state.flag[0] + INTERVAL
            finished = at - INTERVAL
        framer.pass_on(source, times, passed)
    times[line.finished] = finished


@kernel(borrows=True)
def _step(state, work, core, n, step):
    """A core hears a step of its other ports, scans its bank, and puts its rows out."""
    times, joined, unit = state.times, state.cores[core], state.fires[core]
    if state.ports[joined.first_port].edge != INPUT:
        pe.reopen(state.pes[core], state.lanes, fire.last_release(unit, times))
    for p in range(joined.ports):
        edge = state.ports[joined.first_port + p].edge
        if joined.held_ports and p == joined.held_ports:
            pe.reopen(state.pes[core], state.lanes, fire.last_release(unit, times))
        if edge <= LATE and (step == 0 or not (joined.held or p < joined.held_ports)):
            _hear_late(state, work, core, p, n, step)
        if edge >= 0:
            _hear(state, work, core, p, n, step)
    if step == 0 or not joined.held:
        times[joined.full] = pe.full(state.pes[core], state.lanes)
    full, issued = times[joined.full], times[unit.issued]
    now = n * work.steps + step
    for r in range(unit.rows):
        issued = fire.issue(unit, times, issued, full)
        for e in range(joined.first_edge, joined.first_edge + joined.edges):
            issued = max(issued, _use(state.edges[e], times))
        put_out = issued + unit.put_out
        for e in range(joined.first_edge, joined.first_edge + joined.edges):
            edge = state.edges[e]
            times[edge.rows + now % edge.kept * unit.rows + r] = put_out
            if r < unit.rows - 1 and _events(work, edge, work.row[edge.sent] + now * unit.rows + r, step) == 0:
                _give_back(edge.empty, times, put_out + CREDIT_EMPTY)
    times[unit.issued] = issued
    if not joined.held or step == work.steps - 1:
        fire.release(unit, times, issued)
    if step == work.steps - 1:
        times[joined.held_released] = issued + RELEASED
    for e in range(joined.first_edge, joined.first_edge + joined.edges):
        if state.edges[e].core < 0:
            _read_out(state, work, state.edges[e], n, step)


@kernel(borrows=True)
def _events(work, edge, row, step):
    """Events of a row on an edge, none in a frame's last `delay` steps."""
    return np.int64(0) if _masked(work, edge.delay, step) else np.int64(work.counts[row])


@kernel(borrows=True, forceinline=True)
def _masked(work, delay, step):
    """What is sent in `step` and heard `delay` steps later would be heard in the next frame."""
    return step >= work.steps - delay and not work.unmasked


@kernel(borrows=True, forceinline=True)
def _use(edge, times):
    """A row uses the credit that comes back first of those of which that is known; returns when.

    Rows without events give theirs back in order, and so do those with events: the first is at the front of one of the
    two.
    """
    empty = times[edge.empty.first] if edge.empty.number else UNKNOWN
    loaded = times[edge.loaded.first] if edge.loaded.number else UNKNOWN
    used = edge.empty if empty <= loaded else edge.loaded
    used.first = used.begin if used.first + 1 == used.end else used.first + 1
    used.number -= 1
    return min(empty, loaded)


@kernel(borrows=True, forceinline=True)
def _give_back(credits, times, cycle):
    """A credit that can be used from `cycle` on, not before the others of its kind."""
    times[credits.last] = cycle
    credits.last = credits.begin if credits.last + 1 == credits.end else credits.last + 1
    credits.number += 1


@kernel(borrows=True)
def _hear(state, work, core, p, n, step):
    """A core takes a step of what comes by its port `p`: what the source sent `delay` steps ago, or a first token."""
    times, joined = state.times, state.cores[core]
    port = state.ports[joined.first_port + p]
    edge = state.edges[port.edge]
    sent = n * work.steps + step - edge.delay
    if sent < 0:
        _enter(state, core, p, RESET, TOKEN)
        return
    rows = state.fires[edge.source].rows
    first_row = work.row[edge.sent] + sent * rows
    finished = times[edge.finished]
    for r in range(rows):
        events, ends = _events(work, edge, first_row + r, sent % work.steps), r == rows - 1
        if events or ends:
            loaded = serialiser.load(times[edge.rows + sent % edge.kept * rows + r], finished)
            _give_back(edge.loaded, times, loaded + CREDIT_LOADED)
            offered = loaded + LOADED
            at = work.event[first_row + r]
            for i in range(at, at + events):
                offered = _enter(state, core, p, offered, port.offset + np.int64(work.addresses[i])) + INTERVAL
            if ends:
                offered = _enter(state, core, p, offered, TOKEN) + INTERVAL
            finished = offered - INTERVAL
    times[edge.finished] = finished


@kernel(borrows=True)
def _hear_late(state, work, core, p, n, step):
    """A core takes a step of the input, or a frame of pixels, from the queue of its port `p`, or a first token."""
    times = state.times
    port = state.ports[state.cores[core].first_port + p]
    late = state.lates[LATE - port.edge]
    sent = n * work.steps + step - late.delay
    if sent < 0:
        _enter(state, core, p, RESET, TOKEN)
        return
    frame, sent_step = sent // work.steps, sent % work.steps
    first_row = (frame * work.segments + (0 if late.held else work.mixed + sent_step)) * work.input_rows
    begin, end = work.event[first_row], work.event[first_row + work.input_rows]
    if _masked(work, late.delay, sent_step):
        end = begin
    finished = times[late.finished]
    for i in range(begin, end + 1):
        address = np.int64(work.addresses[i]) if i < end else TOKEN
        if i < end and not late.first <= address < late.end:
            continue
        slot = late.read % late.depth
        late.read += 1
        offered = max(times[late.entered + slot] + QUEUE, finished + INTERVAL)
        finished = _enter(state, core, p, offered, port.offset + address - late.first if i < end else TOKEN)
        times[late.left + slot] = finished
    times[late.finished] = finished


@kernel(borrows=True)
def _read_out(state, work, edge, n, step):
    """A read-out takes a step, or nobody does, at once."""
    times, sums = state.times, state.readout[max(0, READOUT - edge.core)]
    rows, now = state.fires[edge.source].rows, n * work.steps + step
    first_row = work.row[edge.sent] + now * rows
    finished = times[edge.finished]
    for r in range(rows):
        events, ends = np.int64(work.counts[first_row + r]), r == rows - 1
        if events or ends:
            loaded = serialiser.load(times[edge.rows + now % edge.kept * rows + r], finished)
            _give_back(edge.loaded, times, loaded + CREDIT_LOADED)
            offered = loaded + LOADED
            if edge.core <= READOUT:
                offered = readout.take(sums, times, offered) + events * INTERVAL
                if ends and step == work.steps - 1:
                    left = readout.take_last(sums, times, max(offered, state.flag[0] + QUEUE - sums.stage))
                    offered = offered if sums.stage else left
            else:
                offered += events * INTERVAL
            if ends:
                offered += INTERVAL
            finished = offered - INTERVAL
    times[edge.finished] = finished
