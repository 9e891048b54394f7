"""The serialiser and the edge, for ever: each event of each row leaves once, in order, and after them the row's token.

An edge offers the tokens of its delay before, and takes a row that is masked as one without events and without a flag.
"""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Const, Cover, Module, Mux, Signal, Value
from amaranth.lib import data
from prover import Claim, Refuted, free, inner, opened, prove, watch

from gradrtl.bits import lane_bits
from gradrtl.rtl.edge import Edge
from gradrtl.rtl.serialiser import Serialiser
from gradrtl.rtl.streams import row_layout

ROW_BITS, VALUE_BITS = 1, 2


class EveryEventOnce(Claim):
    """The solver picks any event, or token, of any row and follows it from the input to the output.

    Of an edge with a delay of so many steps; without one, of a serialiser.
    """

    def __init__(self, lanes: int, depth: int, delay: int | None = None, edge: type[Edge] = Edge):
        self.lanes, self.depth, self.delay, self.edge = lanes, depth, delay, edge

    def body(self, m: Module) -> None:
        lanes, depth, delay = self.lanes, self.depth, self.delay or 0
        layout = row_layout(ROW_BITS, lanes, VALUE_BITS)
        sizes = (ROW_BITS, lanes, VALUE_BITS, depth, ROW_BITS + lane_bits(lanes))
        design = Serialiser(*sizes) if self.delay is None else self.edge(*sizes, delay)
        m.submodules.design = inside = opened(design)
        rows, events = design.rows, design.events
        for signal in (rows.payload, rows.valid, events.ready):
            free(m, signal)
        row, event = Signal(layout), events.payload
        m.d.comb += row.eq(rows.payload)
        first: Value = Const(0)  # tokens of the delay that are still to come
        if self.delay is not None:
            free(m, design.masked)
            with m.If(design.masked):
                m.d.comb += [row.mask.eq(0), row.bad.eq(0)]
            if delay:
                first = inner(inside, "first")
            inside = inside.find_subfragment("serialiser")
        takes, leaves = Signal(), Signal()
        m.d.comb += [takes.eq(rows.valid & rows.ready), leaves.eq(events.valid & events.ready)]

        # Events and tokens inside: no others leave, and one waits at the output in the second cycle at the latest.
        count = Signal(range((lanes + 1) * (depth + 2) + delay), init=delay)
        m.d.sync += count.eq(count + Mux(takes, items(row), 0) - leaves)
        idle = Signal(2)
        m.d.sync += idle.eq(Mux(events.valid | (count == 0), 0, idle + 1))
        m.d.comb += [Assert(~events.valid | (count != 0)), Assert(idle <= 1), Assert((idle == 0) | events.valid)]

        waiting, before = Signal(), Signal(len(event.as_value()))
        m.d.sync += [waiting.eq(events.valid & ~events.ready), before.eq(event.as_value())]
        with m.If(waiting):
            m.d.comb += [Assert(events.valid), Assert(event.as_value() == before)]

        if delay:
            m.d.comb += [Assert(first <= delay), Cover((first != 0) & takes)]
            with m.If(first != 0):
                m.d.comb += [Assert(event.end), Assert(~event.bad)]

        # The picked event, or token (`slot` = lanes), and how many leave before it.
        pick, choice = Signal(), Signal(range(lanes + 1))
        free(m, pick)
        free(m, choice)
        picked, slot, ahead = Signal(), Signal.like(choice), Signal.like(count)
        origin = Signal(layout)
        with m.If(picked & leaves):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.sync += picked.eq(0)
                m.d.comb += [Assert(event.bad == origin.bad), Assert(event.end == (slot == lanes))]
                m.d.comb += [Cover(event.end & event.bad), Cover(~event.end)]
                for lane in range(lanes):
                    with m.If(slot == lane):
                        m.d.comb += Assert(event.source == (origin.row << lane_bits(lanes) | lane))
                        m.d.comb += Assert(event["value"] == origin["values"][lane])
        level, read_address, write_address = (
            inner(inside, "queue", name) for name in ("level", "read_address", "write_address")
        )
        m.d.comb += Assert(rows.ready == (level != depth))  # only a full queue holds a row up
        m.d.comb += Assert(inner(inside, "queue", "not_empty") == (level != 0))
        loads = Signal()
        m.d.comb += loads.eq(inner(inside, "o__ready") & (level != 0))
        turns = Signal(range(depth + 2))  # rows to be loaded until the picked one is
        with m.If(loads):
            m.d.sync += turns.eq(turns - 1)
        with m.If(~picked & pick & takes & holds(row, choice, lanes)):
            m.d.sync += [picked.eq(1), slot.eq(choice), origin.eq(row), turns.eq(level - loads + 1)]
            m.d.sync += ahead.eq(count - leaves + before_slot(row, choice, lanes))
        m.d.comb += Cover(rows.valid & ~rows.ready)

        # What makes it inductive: the counts agree with the rows inside, and the picked row stands where it should.
        loaded, current = inner(inside, "loaded"), data.View(layout, inner(inside, "current"))
        stored = []
        for k in range(depth):
            address = Signal(range(2 * depth), name=f"address{k}")
            m.d.comb += address.eq(read_address + k)
            word = watch(m, inside, Mux(address >= depth, address - depth, address), "queue", "storage")
            stored.append(data.View(layout, word))
        held = [loaded, *(level > k for k in range(depth))]
        inside_rows = [current, *stored]
        counts = [Mux(is_held, items(r), 0) for is_held, r in zip(held, inside_rows, strict=True)]
        after = Signal(range(2 * depth))
        m.d.comb += [
            after.eq(read_address + level),
            Assert(write_address == Mux(after >= depth, after - depth, after)),
            Assert(read_address < depth),
            Assert(level <= depth),
            Assert(count == sum(counts, first)),
            *(Assert(~is_held | (items(r) != 0)) for is_held, r in zip(held, inside_rows, strict=True)),
        ]
        with m.If(picked):
            m.d.comb += Assert(turns <= level)
            for k, r in enumerate(inside_rows):
                with m.If(turns == k):
                    m.d.comb += [
                        Assert(held[k]),
                        Assert(holds(r, slot, lanes)),
                        Assert(ahead == sum(counts[:k], first) + before_slot(r, slot, lanes)),
                        Assert((r.row == origin.row) & (r.bad == origin.bad)),
                        Assert(r["values"].as_value() == origin["values"].as_value()),
                    ]


def items(row: data.View) -> Value:
    """Events of a row, and its token."""
    return sum((row.mask[i] for i in range(len(row.mask))), row.end)


def holds(row: data.View, slot: Value, lanes: int) -> Value:
    """Does the row have an event in this lane, or, in slot `lanes`, a token?"""
    return ((row.mask | row.end << lanes) >> slot)[0]


def before_slot(row: data.View, slot: Value, lanes: int) -> Value:
    """Events in the lanes below the slot."""
    return sum((row.mask[i] & (slot > i) for i in range(lanes)), Const(0))


@pytest.mark.parametrize(("lanes", "depth"), [(1, 2), (3, 2)])
def test_every_event_once(lanes, depth):
    prove(EveryEventOnce(lanes, depth), f"serialiser{lanes}", 2)


@pytest.mark.parametrize(("delay", "depth"), [(0, 1), (1, 2), (3, 3)])
def test_every_event_of_an_edge_once(delay, depth):
    prove(EveryEventOnce(2, depth, delay), f"edge{delay}", 2)


@pytest.mark.parametrize("delay", [None, 2])
def test_full_rows_are_reached(delay):
    prove(EveryEventOnce(3, 2, delay), f"serialiser3-{delay}", 8, "cover")


class Forgetful(Edge):
    """Its first tokens go on while rows come."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.rows.valid & ~self.masked):
            m.d.comb += self.events.valid.eq(0)
        return m


class Unmasked(Edge):
    """Rows of a frame's last steps go into the next frame."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.serialiser.rows.payload.mask.eq(self.rows.payload.mask)
        return m


@pytest.mark.parametrize("broken", [Forgetful, Unmasked])
def test_a_broken_edge_is_refuted(broken):
    with pytest.raises(Refuted, match="Assert failed"):
        prove(EveryEventOnce(2, 2, 1, broken), f"edge-{broken.__name__}", 6, "bmc")
