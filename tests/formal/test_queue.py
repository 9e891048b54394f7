"""The queue, for ever: what goes in comes out, once, in order, and does not change while it waits."""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Cover, Module, Mux, Signal, Value
from prover import Claim, Refuted, free, inner, opened, prove, watch

from gradrtl.rtl.fifo import Queue

WIDTH = 3  # a queue does not look at its words


class InOrder(Claim):
    """The solver picks any entry and follows it from the input to the output."""

    def __init__(self, depth: int, design: type[Queue] = Queue, clocked: bool = False):
        self.depth = depth
        self.clocked = clocked
        self.design = design

    def body(self, m: Module) -> None:
        depth = self.depth
        queue = self.design(WIDTH, depth, self.clocked)
        m.submodules.queue = inside = opened(queue)
        for signal in (queue.i.payload, queue.i.valid, queue.o.ready):
            free(m, signal)
        goes_in, comes_out = Signal(), Signal()
        m.d.comb += [goes_in.eq(queue.i.valid & queue.i.ready), comes_out.eq(queue.o.valid & queue.o.ready)]

        held = Signal(range(depth + 2))
        m.d.sync += held.eq(held + goes_in - comes_out)
        m.d.comb += [
            Assert(queue.level == held),
            Assert(queue.level <= depth),
            Assert(queue.i.ready == (queue.level < depth)),
            Assert(queue.o.valid == (queue.level > 0)),
        ]

        waiting, waiting_word = Signal(), Signal(WIDTH)
        m.d.sync += [waiting.eq(queue.o.valid & ~queue.o.ready), waiting_word.eq(queue.o.payload)]
        with m.If(waiting):
            m.d.comb += [Assert(queue.o.valid), Assert(queue.o.payload == waiting_word)]

        picked, word, ahead, pick = Signal(), Signal(WIDTH), Signal(range(depth + 1)), Signal()
        free(m, pick)
        with m.If(picked & comes_out):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.comb += [Assert(queue.o.payload == word), Cover(word == WIDTH)]
                m.d.sync += picked.eq(0)
        with m.If(~picked & pick & goes_in):
            m.d.sync += [picked.eq(1), word.eq(queue.i.payload), ahead.eq(queue.level - comes_out)]
        m.d.comb += Cover(queue.level == depth)

        # What makes it inductive: the pointers agree with the level, and the picked word stands where it should.
        read_address, write_address = inner(inside, "read_address"), inner(inside, "write_address")
        address = Signal(range(2 * depth))
        m.d.comb += address.eq(read_address + ahead)
        stored = watch(m, inside, wrapped(address, depth), "storage")
        m.d.comb += [Assert(read_address < depth), Assert(write_address == wrapped(read_address + queue.level, depth))]
        with m.If(picked):
            m.d.comb += [Assert(ahead < queue.level), Assert(stored == word)]


def wrapped(address: Value, depth: int) -> Value:
    """`address` modulo `depth`, for addresses below twice the depth."""
    return Mux(address >= depth, address - depth, address)


@pytest.mark.parametrize("clocked", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_in_order(depth, clocked):
    prove(InOrder(depth, clocked=clocked), f"queue{depth}{'clocked' * clocked}", 2)


def test_full_and_empty_are_reached():
    prove(InOrder(3), "queue3", 8, "cover")


class Overwriting(Queue):
    """Takes an entry when it is full."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


def test_a_broken_queue_is_refuted():
    with pytest.raises(Refuted, match="Assert failed"):
        prove(InOrder(2, Overwriting), "queue-broken", 4, "bmc")
