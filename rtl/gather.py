"""Packets of several read-outs become one."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .readout import packet_layout


class Gather(wiring.Component):
    """Sends the packets of several read-outs one after another, as one packet per frame.

    It begins when all of them are offered, so that a packet leaves whole or not at all. Until it has left, the
    read-outs are not released: they take no last token of the next frame.

    Ports
    -----
    i, i1, ...
        In: `packet_layout`, of each read-out, in the order of the packet.
    complete
        In: a bit for each read-out that has all of its frame.
    o
        Out: `packet_layout`; `last` is that of the last read-out.
    abort
        In: a frame that some read-outs do not have all of is void for the others as well.
    release
        Out: the packet ends in this cycle, or is void.

    Latency 0 from the last of the packets that is offered; throughput a beat a cycle. Stalls: `o.ready` low.
    """

    def __init__(self, readouts: int):
        self.readouts = readouts
        super().__init__(
            {f"i{number or ''}": In(stream.Signature(packet_layout())) for number in range(readouts)}
            | {
                "complete": In(readouts),
                "o": Out(stream.Signature(packet_layout())),
                "abort": In(1),
                "release": Out(1),
            }
        )

    def packets(self, number: int) -> wiring.PureInterface:
        """The stream from read-out `number`."""
        return getattr(self, f"i{number or ''}")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        turn = Signal(range(self.readouts), name="turn")
        all_offered = Signal(name="all_offered")
        ends = Signal(name="ends")
        sent = self.o.payload
        inputs = [self.packets(number) for number in range(self.readouts)]
        m.d.comb += all_offered.eq(1)
        for one in inputs:
            with m.If(~one.valid):
                m.d.comb += all_offered.eq(0)
        with m.Switch(turn):
            for number, one in enumerate(inputs):
                with m.Case(number):
                    m.d.comb += [
                        sent.eq(one.payload),
                        one.ready.eq(self.o.ready & all_offered),
                        ends.eq(one.payload.last),
                    ]
        final = turn == self.readouts - 1
        m.d.comb += [
            sent.last.eq(ends & final),
            self.o.valid.eq(all_offered),
            self.release.eq((self.o.valid & self.o.ready & sent.last) | (self.abort & ~self.complete.all())),
        ]
        with m.If(self.o.valid & self.o.ready & ends):
            m.d.sync += turn.eq(Mux(final, 0, turn + 1))
        return m
