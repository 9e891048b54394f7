"""Packets of several read-outs as one, for ever: all words in order, whole or not at all, whatever is aborted."""

from __future__ import annotations

import pytest
from amaranth.hdl import Array, Assert, Cat, Cover, Module, Mux, Signal
from prover import Claim, Refuted, free, inner, opened, prove

from gradrtl.rtl.gather import Gather


class WholePackets(Claim):
    """Beside the unit stand read-outs as `Readout` makes them: complete with the last token of a frame, which they take
    once they have been released; offered after a search of any length; kept until they are released.
    """

    def __init__(self, words: tuple[int, ...], design: type[Gather] = Gather):
        self.words, self.design = words, design

    def body(self, m: Module) -> None:
        count = len(self.words)
        gather = self.design(count)
        m.submodules.gather = inside = opened(gather)
        free(m, gather.o.ready)
        free(m, gather.abort)
        turn, place = Signal(range(count)), Signal(range(max(self.words)))  # of the next word of the packet
        complete = [Signal(name=f"complete{i}") for i in range(count)]
        offered = [Signal(name=f"offered{i}") for i in range(count)]
        final, sent, begun = Signal(), Signal(), Signal()
        m.d.comb += [
            gather.complete.eq(Cat(complete)),
            sent.eq(gather.o.valid & gather.o.ready),
            final.eq((turn == count - 1) & (place == self.words[-1] - 1)),
            begun.eq((turn != 0) | (place != 0)),
        ]
        for number, words in enumerate(self.words):
            packets, gets, finds = gather.packets(number), Signal(), Signal()
            for signal in (gets, finds, packets.payload.word, packets.payload.bad):
                free(m, signal)
            with m.If(gets & ~gather.abort):  # an aborted token is none
                m.d.sync += complete[number].eq(1)
            with m.If(finds & complete[number]):
                m.d.sync += offered[number].eq(1)
            with m.If(gather.release):
                m.d.sync += [complete[number].eq(0), offered[number].eq(0)]
            m.d.comb += [
                packets.valid.eq(offered[number]),
                packets.payload.last.eq((turn == number) & (place == words - 1)),
                # A word leaves its read-out in its turn, when it is sent.
                Assert((packets.valid & packets.ready) == (sent & (turn == number))),
                Assert(offered[number] <= complete[number]),
            ]
            with m.If(gather.o.valid & (turn == number)):
                m.d.comb += [
                    Assert(gather.o.payload.word == packets.payload.word),
                    Assert(gather.o.payload.bad == packets.payload.bad),
                ]
        with m.If(sent):
            m.d.sync += place.eq(place + 1)
            with m.If(place == Array(self.words)[turn] - 1):
                m.d.sync += [place.eq(0), turn.eq(Mux(turn == count - 1, 0, turn + 1))]
        m.d.comb += [
            Assert(gather.o.valid == Cat(offered).all()),
            Assert(~begun | gather.o.valid),  # what has begun goes on, whatever is aborted
            Assert(~gather.o.valid | (gather.o.payload.last == final)),
            # Released with the last word, or by an abort while no packet is whole: then by all of them.
            Assert(gather.release == ((sent & final) | (gather.abort & ~Cat(complete).all()))),
            Cover(sent & final),
            Cover(gather.release & ~sent & Cat(complete).any()),
            Cover(begun & gather.abort),
            Assert(inner(inside, "turn") == turn),
            Assert(turn < count),
            Assert(place < Array(self.words)[turn]),
        ]


@pytest.mark.parametrize("words", [(2, 3), (3, 2, 4), (2, 2, 2, 2)])
def test_packets_are_whole_and_in_order(words):
    prove(WholePackets(words), f"gather{len(words)}", 2)


def test_aborts_before_and_within_a_packet_are_reached():
    prove(WholePackets((2, 2)), "gather", 10, "cover")


class First(Gather):
    """The packet begins with the first read-out, whether or not the others have their class."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o.valid.eq(self.packets(0).valid)
        return m


class CutOff(Gather):
    """An abort releases the read-outs in any cycle."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.release.eq((self.o.valid & self.o.ready & self.o.payload.last) | self.abort)
        return m


@pytest.mark.parametrize("broken", [First, CutOff])
def test_broken_units_are_refuted(broken):
    with pytest.raises(Refuted, match="Assert failed"):
        prove(WholePackets((2, 2), broken), f"gather-{broken.__name__}", 8, "bmc")
