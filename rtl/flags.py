"""Flags of malformed frames, from the input past the cores to the read-out."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .fifo import Queue
from .mapping import Mapping
from .streams import event_layout

LOOKED_UP = 4  # tokens at most between the event queue of a PE and its banks, or in a join


def most_frames(mapping: Mapping) -> int:
    """Frames that can be between the input and the read-out: each step of one has a token somewhere on the way."""
    inside = sum(layer.queue_depth + LOOKED_UP + layer.banks for layer in mapping.layers)
    inside += sum(route.depth + route.delay + 1 for route in mapping.routes)
    inside += sum(late.depth + late.delay + 1 for late in mapping.late)
    return -(-inside // mapping.network.steps) + 2


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
        In: what goes to the read-out, with flags that mean nothing.
    sums_o
        Out: the same in the same cycle, the last token of each frame with the flag of the frame.

    Latency 0, throughput an event a cycle; from the input's last token to the read-out's a cycle or more
    (`latency.QUEUE`). Stalls: `o.ready` or `sums_o.ready` low; a frame's last token at the input, while as many flags
    as `most_frames` are kept, which no frame ever meets; one at the read-out, without a flag.
    """

    def __init__(self, mapping: Mapping, sums: stream.Signature):
        """`sums`: of `sums_i`."""
        self.steps = mapping.network.steps
        self.tokens = 1 if mapping.input.kind == "static" else self.steps  # of a frame, at the input
        self.depth = most_frames(mapping)
        events = stream.Signature(event_layout(mapping.source_bits, unsigned(mapping.value_bits)))
        super().__init__({"i": In(events), "o": Out(events), "sums_i": In(sums), "sums_o": Out(sums)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.kept = kept = Queue(unsigned(1), self.depth)
        token = Signal(range(max(2, self.tokens)), name="token")
        step = Signal(range(max(2, self.steps)), name="step")
        last_token = Signal(name="last_token")
        last_step = Signal(name="last_step")
        full = Signal(name="full")
        waits = Signal(name="waits")
        event, read = self.i.payload, self.sums_i.payload
        m.d.comb += [
            last_token.eq(event.end & (token == self.tokens - 1)),
            full.eq(last_token & ~kept.i.ready),
            self.o.payload.eq(event),
            self.o.valid.eq(self.i.valid & ~full),
            self.i.ready.eq(self.o.ready & ~full),
            kept.i.payload.eq(event.bad),
            kept.i.valid.eq(self.i.valid & self.o.ready & last_token),
            last_step.eq(read.end & (step == self.steps - 1)),
            waits.eq(last_step & ~kept.o.valid),
            self.sums_o.payload.eq(read),
            self.sums_o.payload.bad.eq(kept.o.payload),
            self.sums_o.valid.eq(self.sums_i.valid & ~waits),
            self.sums_i.ready.eq(self.sums_o.ready & ~waits),
            kept.o.ready.eq(self.sums_i.valid & self.sums_o.ready & last_step),
        ]
        with m.If(self.i.valid & self.i.ready & event.end):
            m.d.sync += token.eq(Mux(last_token, 0, token + 1))
        with m.If(self.sums_i.valid & self.sums_i.ready & read.end):
            m.d.sync += step.eq(Mux(last_step, 0, step + 1))
        return m
