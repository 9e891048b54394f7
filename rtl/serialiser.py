"""From rows of spikes, or beats of pixels, to single events."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Shape, ShapeLike, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..bits import lane_bits
from .fifo import Queue
from .streams import credit_layout, event_layout, row_layout


class Serialiser(wiring.Component):
    """Emits the events of a row one per cycle, lowest lane first, then the row's token if it ends a step.

    Ports
    -----
    rows
        In: `row_layout`; a value of one unsigned bit is 1 wherever there is an event. A row without events and
        without token is dropped; others wait in a queue of `depth` rows, and only a full queue makes
        `ready` low.
    events
        Out: `event_layout`, address `row * 2**lane_bits + lane`.
    credit
        Out: `credit_layout`, for a producer under credit-based flow control: one for each row that is loaded, and for
        each that is taken and has nothing to send.

    Throughput: one event or token per cycle, without a bubble between rows. Latency: a row taken in cycle `f` is loaded
    in `f + 1` at the earliest and offers its first event in `f + 2`; a row is loaded in the cycle in which the last
    event of the row before it leaves. Stalls: `events.ready` low.
    """

    def __init__(self, row_bits: int, lanes: int, value: ShapeLike, depth: int, address_bits: int):
        self.lanes = lanes
        self.row = row_layout(row_bits, lanes, value)
        self.valued = Shape.cast(value) != unsigned(1)
        kept = {name: shape for name, shape in self.row.members.items() if self.valued or name != "values"}
        self.kept = data.StructLayout(kept)
        self.depth = depth
        super().__init__(
            {
                "rows": In(stream.Signature(self.row)),
                "events": Out(stream.Signature(event_layout(address_bits, value))),
                "credit": Out(credit_layout()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.kept, self.depth)
        row = self.rows.payload
        occupied = row.mask.any() | row.end
        m.d.comb += [
            *(queue.i.payload[name].eq(row[name]) for name in self.kept.members),
            queue.i.valid.eq(self.rows.valid & occupied),
            self.rows.ready.eq(
                queue.i.ready
            ),  # independent of the row's contents: the mask would lengthen the fire unit's path
        ]

        loaded = Signal(name="loaded")
        current = Signal(self.kept, name="current")
        lane = Signal(max(1, lane_bits(self.lanes)), name="lane")
        for i in reversed(range(self.lanes)):
            with m.If(current.mask[i]):
                m.d.comb += lane.eq(i)
        rest = current.mask & (current.mask - 1)[: self.lanes]
        more = current.mask.any()
        last = ~more | (~rest.any() & ~current.end)
        event = self.events.payload
        m.d.comb += [
            self.events.valid.eq(loaded),
            event.end.eq(~more),
            event.bad.eq(current.bad),
            queue.o.ready.eq(~loaded | (self.events.ready & last)),
            self.credit.loaded.eq(queue.o.valid & queue.o.ready),
            self.credit.empty.eq(self.rows.valid & self.rows.ready & ~occupied),
        ]
        with m.If(more):
            m.d.comb += [
                event.source.eq((current.row << lane_bits(self.lanes)) | lane),
                event["value"].eq(Array(current["values"])[lane] if self.valued else 1),
            ]
        with m.If(self.events.ready):
            m.d.sync += current.mask.eq(rest)
        with m.If(queue.o.ready):
            m.d.sync += [loaded.eq(queue.o.valid), current.eq(queue.o.payload)]
        return m
