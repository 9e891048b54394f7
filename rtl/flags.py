"""Flags of malformed frames, from the input past the cores to the read-outs."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .fifo import Queue
from .mapping import Mapping
from .queues import most_frames
from .streams import source_signature


class Flags(wiring.Component):
    """Keeps the flag of each frame that is inside, since edges with a delay and loops do not lead it from the input to
    the read-out. A frame's packet waits for its flag: so it leaves after the frame has come in, also where delays are
    longer than a frame.

    Ports
    -----
    i
        In: the input's events. The flag of a frame is that of its last token.
    o
        Out: the same events, in the same cycle.
    sums_i
        In: what goes to the read-out, with flags that mean nothing; to further ones `sums1_i` and so on.
    sums_o
        Out: the same in the same cycle, the last token of each frame with the flag of the frame. A flag is kept until
        all read-outs have it; none of them takes the last token of the next frame before that (`Gather`).

    Latency 0, throughput an event a cycle; from the input's last token to the read-out's a cycle or more
    (`latency.QUEUE`). Stalls: `o.ready` or `sums_o.ready` low; a frame's last token at the input, while as many flags
    as `most_frames` are kept, which no frame ever meets; one at the read-out, without a flag.
    """

    def __init__(self, mapping: Mapping, sums: Sequence[stream.Signature]):
        """`sums`: of `sums_i` of each read-out."""
        self.readouts = len(sums)
        self.steps = mapping.network.steps
        self.tokens = mapping.segments  # of a frame, at the input
        self.depth = most_frames(mapping)
        events = source_signature(mapping)
        super().__init__(
            {"i": In(events), "o": Out(events)}
            | {f"sums{number or ''}_i": In(one) for number, one in enumerate(sums)}
            | {f"sums{number or ''}_o": Out(one) for number, one in enumerate(sums)}
        )

    def sums(self, number: int, side: str) -> wiring.PureInterface:
        """The stream `i` or `o` on the way to read-out `number`."""
        return getattr(self, f"sums{number or ''}_{side}")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.kept = kept = Queue(unsigned(1), self.depth)
        token = Signal(range(max(2, self.tokens)), name="token")
        last_token = Signal(name="last_token")
        full = Signal(name="full")
        event = self.i.payload
        m.d.comb += [
            last_token.eq(event.end & (token == self.tokens - 1)),
            full.eq(last_token & ~kept.i.ready),
            self.o.payload.eq(event),
            self.o.valid.eq(self.i.valid & ~full),
            self.i.ready.eq(self.o.ready & ~full),
            kept.i.payload.eq(event.bad),
            kept.i.valid.eq(self.i.valid & self.o.ready & last_token),
        ]
        with m.If(self.i.valid & self.i.ready & event.end):
            m.d.sync += token.eq(Mux(last_token, 0, token + 1))
        takes = [self._read_out(m, number, kept) for number in range(self.readouts)]
        if self.readouts == 1:
            m.d.comb += kept.o.ready.eq(takes[0])
        else:
            has = Signal(self.readouts, name="has")  # those that have the flag which is shown
            found = has | Cat(takes)
            m.d.comb += kept.o.ready.eq(found.all())
            m.d.sync += has.eq(Mux(found.all(), 0, found))
        return m

    def _read_out(self, m: Module, number: int, kept: Queue) -> Value:
        """What goes to read-out `number`; returns whether a frame's last token does so in this cycle, if it may."""
        incoming, outgoing = self.sums(number, "i"), self.sums(number, "o")
        step = Signal(range(max(2, self.steps)), name=f"step{number or ''}")
        last_step = Signal(name=f"last_step{number or ''}")
        waits = Signal(name=f"waits{number or ''}")
        read = incoming.payload
        m.d.comb += [
            last_step.eq(read.end & (step == self.steps - 1)),
            waits.eq(last_step & ~kept.o.valid),
            outgoing.payload.eq(read),
            outgoing.payload.bad.eq(kept.o.payload),
            outgoing.valid.eq(incoming.valid & ~waits),
            incoming.ready.eq(outgoing.ready & ~waits),
        ]
        with m.If(incoming.valid & incoming.ready & read.end):
            m.d.sync += step.eq(Mux(last_step, 0, step + 1))
        takes: Value = incoming.valid & outgoing.ready & last_step
        return takes & ~waits if self.readouts > 1 else takes
