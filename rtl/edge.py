"""An edge between two cores: its own row queue, serialiser and delay; and one from an input: a queue of events."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .fifo import Queue
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


class LateInput(wiring.Component):
    """A queue of an input's events, which come `delay` steps late.

    As an `Edge` it starts with a token for each step of its delay, and of a frame's last `delay` steps it takes the
    tokens alone; `steps` is None in a stream, of which it takes all.

    Ports
    -----
    events
        In: `event_layout`, `steps` tokens per frame.
    late
        Out: `event_layout`.

    Latency and throughput are those of `Queue`. Stalls: the queue is full, for all that comes.
    """

    def __init__(self, address_bits: int, value: ShapeLike, depth: int, delay: int, steps: int | None):
        self.depth, self.delay, self.steps = depth, delay, steps
        events = stream.Signature(event_layout(address_bits, value))
        super().__init__({"events": In(events), "late": Out(events)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.events.payload.shape(), self.depth)
        steps = self.steps or 1
        step = Signal(range(max(2, steps)), name="step")
        ahead = Signal(range(self.delay + 1), init=self.delay, name="ahead")  # tokens that nobody sent
        event = self.events.payload
        masked: Value = (step >= steps - self.delay) & ~event.end if self.steps else Const(0)
        m.d.comb += [
            queue.i.payload.eq(event),
            queue.i.valid.eq(self.events.valid & ~masked),
            self.events.ready.eq(queue.i.ready),
        ]
        with m.If(self.events.valid & self.events.ready & event.end):
            m.d.sync += step.eq(Mux(step == steps - 1, 0, step + 1))
        with m.If(ahead != 0):
            m.d.comb += [self.late.valid.eq(1), self.late.payload.end.eq(1)]
            with m.If(self.late.ready):
                m.d.sync += ahead.eq(ahead - 1)
        with m.Else():
            m.d.comb += [
                self.late.payload.eq(queue.o.payload),
                self.late.valid.eq(queue.o.valid),
                queue.o.ready.eq(self.late.ready),
            ]
        return m
