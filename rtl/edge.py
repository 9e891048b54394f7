"""An edge between two cores: its own row queue, serialiser and delay."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .serialiser import Serialiser
from .streams import credit_layout, event_layout, row_layout


class Edge(wiring.Component):
    """A `Serialiser` whose events come `delay` steps late.

    It starts with a token for each step of its delay, and in a frame's last `delay` steps its rows are masked: their
    tokens are the first of the next frame, and no spike goes from one frame to the next.

    Ports
    -----
    rows
        In: `row_layout`; never held up if its producer counts credits.
    masked
        In, with `rows`: the row is of one of the frame's last `delay` steps.
    events
        Out: `event_layout`.
    credit
        Out: `credit_layout`, see `Serialiser`.

    Latency and throughput are those of the serialiser; the first tokens are offered from reset on, one a cycle, before
    anything else.
    """

    def __init__(self, row_bits: int, lanes: int, value: ShapeLike, depth: int, address_bits: int, delay: int):
        self.serialiser = Serialiser(row_bits, lanes, value, depth, address_bits)
        self.delay = delay
        super().__init__(
            {
                "rows": In(stream.Signature(row_layout(row_bits, lanes, value))),
                "masked": In(1),
                "events": Out(stream.Signature(event_layout(address_bits, value))),
                "credit": Out(credit_layout()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.serialiser = serialiser = self.serialiser
        row, kept = self.rows.payload, serialiser.rows.payload
        m.d.comb += [
            *(kept[name].eq(row[name]) for name in ("row", "values", "end")),
            kept.mask.eq(Mux(self.masked, 0, row.mask)),
            kept.bad.eq(row.bad & ~self.masked),
            serialiser.rows.valid.eq(self.rows.valid),
            self.rows.ready.eq(serialiser.rows.ready),
            self.credit.eq(serialiser.credit),
        ]
        first = Signal(range(self.delay + 1), init=self.delay, name="first")  # tokens that nobody sent
        event = self.events.payload
        with m.If(first != 0):
            m.d.comb += [self.events.valid.eq(1), event.end.eq(1)]
            with m.If(self.events.ready):
                m.d.sync += first.eq(first - 1)
        with m.Else():
            m.d.comb += [
                event.eq(serialiser.events.payload),
                self.events.valid.eq(serialiser.events.valid),
                serialiser.events.ready.eq(self.events.ready),
            ]
        return m
