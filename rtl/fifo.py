"""A small queue between two streams."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .memory import read_port, write_port

FLIP_FLOP_BITS = 64  # a queue of no more bits stays in flip-flops where there is no LUT RAM


class Queue(wiring.Component):
    """First-word fall-through queue of `depth` entries.

    Ports: `i`, `o` streams of `layout`; `level`, the number of entries. `i.ready` is `level < depth` and `o.valid` is
    `level > 0`, each a register of its own: a full queue takes nothing in the cycle in which it gives.
    Latency: an entry taken in cycle `c` is offered in `c + 1`. Throughput: one entry a cycle.

    The entries lie in a memory that is read at once, which is LUT RAM, or in one that is read a cycle later, which may
    be block RAM (`clocked`; default: on the iCE40, which has no LUT RAM, if there are more than `FLIP_FLOP_BITS`).
    Nothing else differs.
    """

    def __init__(self, layout: ShapeLike, depth: int, clocked: bool | None = None):
        self.depth = depth
        self.clocked = clocked
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "o": Out(stream.Signature(layout)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.depth
        word, offered = Value.cast(self.i.payload), Value.cast(self.o.payload)
        clocked = self.clocked
        if clocked is None:
            clocked = getattr(platform, "family", "") == "iCE40" and depth * len(word) > FLIP_FLOP_BITS
        room = Signal(init=1, name="room")
        there = Signal(name="there")
        takes = Signal(name="takes")
        gives = Signal(name="gives")
        newest = Signal(range(max(2, depth)), name="newest")
        oldest = Signal(range(max(2, depth)), name="oldest")
        next_oldest = Signal(range(max(2, depth)), name="next_oldest")
        m.d.comb += [
            self.i.ready.eq(room),
            self.o.valid.eq(there),
            takes.eq(self.i.valid & room),
            gives.eq(self.o.ready & there),
            next_oldest.eq(Mux(gives, _after(oldest, depth), oldest)),
        ]
        m.d.sync += [self.level.eq(self.level + takes - gives), oldest.eq(next_oldest)]
        with m.If(takes):
            m.d.sync += newest.eq(_after(newest, depth))
        with m.If(takes & ~gives):
            m.d.sync += [room.eq(self.level != depth - 1), there.eq(1)]
        with m.If(gives & ~takes):
            m.d.sync += [room.eq(1), there.eq(self.level != 1)]

        m.submodules.storage = storage = Memory(shape=unsigned(len(word)), depth=max(2, depth), init=[])
        write = write_port(storage, "write")
        read = read_port(storage, "read", "sync" if clocked else "comb")
        m.d.comb += [write.addr.eq(newest), write.data.eq(word), write.en.eq(takes)]
        if clocked:
            # The memory does not show yet what was written in the cycle before: nothing else was there.
            last = Signal(len(word), name="last")
            only = Signal(name="only")
            with m.If(takes):
                m.d.sync += last.eq(word)
            m.d.sync += only.eq(takes & (self.level == gives))
            m.d.comb += [read.addr.eq(next_oldest), offered.eq(Mux(only, last, read.data))]
        else:
            m.d.comb += [read.addr.eq(oldest), offered.eq(read.data)]
        return m


def _after(place: Signal, depth: int) -> Value:
    """The place that follows, round about."""
    return Mux(place == depth - 1, 0, place + 1)
