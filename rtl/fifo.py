"""A small queue between two streams."""

from __future__ import annotations

from amaranth.hdl import Module, ShapeLike, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """First-word fall-through queue of `depth` entries.

    Ports: `i`, `o` streams of `layout`; `level`, the number of entries. `i.ready` is `level < depth` and `o.valid` is
    `level > 0`, both from the registered level alone: a full queue takes nothing in the cycle in which it gives.
    Latency: an entry taken in cycle `c` is offered in `c + 1`. Throughput: one entry a cycle.
    """

    def __init__(self, layout: ShapeLike, depth: int):
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "o": Out(stream.Signature(layout)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word = Value.cast(self.i.payload)
        m.submodules.fifo = fifo = SyncFIFO(width=len(word), depth=self.depth)
        m.d.comb += [
            fifo.w_data.eq(word),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            Value.cast(self.o.payload).eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
            self.level.eq(fifo.level),
        ]
        return m
