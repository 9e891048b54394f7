"""A small queue between two streams."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .memory import read_port, write_port
from .queues import is_clocked


class Queue(wiring.Component):
    """First-word fall-through queue of `depth` entries.

    Ports: `i`, `o` streams of `layout`; `level`, the number of entries. `i.ready` is `level < depth` and `o.valid` is
    `level > 0`, each a register: a full queue accepts nothing in the cycle in which an entry leaves.
    Latency: an entry taken in cycle `c` is offered in `c + 1`. Throughput: one entry per cycle.

    The memory is either read in the same cycle (LUT RAM), or one cycle later (block RAM is possible). `clocked` selects
    the latter; by default `is_clocked` does. There is no other difference.
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
            clocked = is_clocked(str(getattr(platform, "family", "")), depth, len(word))
        not_full = Signal(init=1, name="not_full")
        not_empty = Signal(name="not_empty")
        writes = Signal(name="writes")
        reads = Signal(name="reads")
        write_address = Signal(range(max(2, depth)), name="write_address")
        read_address = Signal(range(max(2, depth)), name="read_address")
        next_read_address = Signal(range(max(2, depth)), name="next_read_address")
        m.d.comb += [
            self.i.ready.eq(not_full),
            self.o.valid.eq(not_empty),
            writes.eq(self.i.valid & not_full),
            reads.eq(self.o.ready & not_empty),
            next_read_address.eq(Mux(reads, _after(read_address, depth), read_address)),
        ]
        m.d.sync += [self.level.eq(self.level + writes - reads), read_address.eq(next_read_address)]
        with m.If(writes):
            m.d.sync += write_address.eq(_after(write_address, depth))
        with m.If(writes & ~reads):
            m.d.sync += [not_full.eq(self.level != depth - 1), not_empty.eq(1)]
        with m.If(reads & ~writes):
            m.d.sync += [not_full.eq(1), not_empty.eq(self.level != 1)]

        m.submodules.storage = storage = Memory(shape=unsigned(len(word)), depth=max(2, depth), init=[])
        write = write_port(storage, "write")
        read = read_port(storage, "read", "sync" if clocked else "comb")
        m.d.comb += [write.addr.eq(write_address), write.data.eq(word), write.en.eq(writes)]
        if clocked:
            # The memory does not yet show the entry written in the cycle before: if it is the only one, it is offered
            # from
            # a register.
            last = Signal(len(word), name="last")
            only = Signal(name="only")
            with m.If(writes):
                m.d.sync += last.eq(word)
            m.d.sync += only.eq(writes & (self.level == reads))
            m.d.comb += [read.addr.eq(next_read_address), offered.eq(Mux(only, last, read.data))]
        else:
            m.d.comb += [read.addr.eq(read_address), offered.eq(read.data)]
        return m


def _after(address: Signal, depth: int) -> Value:
    """The address that follows; 0 after the last."""
    return Mux(address == depth - 1, 0, address + 1)
