"""Framing, for ever: one frame of the right length for each packet, whatever its length, and whatever is aborted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from amaranth.hdl import Assert, Assume, Const, Cover, Module, Mux, Signal
from prover import Claim, Refuted, free, inner, opened, prove

from gradrtl.rtl.frame_words import COUNT_BIT, HELD_BIT, MARK_BIT
from gradrtl.rtl.framing import Framer, Span, SpikeFramer


def steady(m: Module, offered) -> None:
    """A beat that is offered stays until it is taken."""
    waits, word = Signal(), Signal.like(offered.payload.as_value())
    m.d.sync += [waits.eq(offered.valid & ~offered.ready), word.eq(offered.payload.as_value())]
    with m.If(waits):
        m.d.comb += [Assume(offered.valid), Assume(offered.payload.as_value() == word)]


class Packet:
    """Where the packet at the input stands: `begun`, `void` (aborted), `position` (beats taken, at most `most`)."""

    def __init__(self, m: Module, takes, last, abort, most: int):
        self.begun, self.void, self.position = Signal(), Signal(), Signal(range(most + 1))
        with m.If(takes):
            m.d.sync += self.begun.eq(~last)
            m.d.sync += self.position.eq(Mux(last, 0, Mux(self.position == most, most, self.position + 1)))
        with m.If(takes & last):
            m.d.sync += self.void.eq(0)
        with m.Elif(abort & (takes | self.begun)):
            m.d.sync += self.void.eq(1)


class FramesOfPixels(Claim):
    """Beat for beat: passed on with its number if it belongs to the frame, else dropped; the last one says so."""

    def __init__(self, beats: int):
        self.beats = beats

    def body(self, m: Module) -> None:
        expected = self.beats
        framer = Framer(SimpleNamespace(beats=expected, pixels_a_beat=1))
        m.submodules.framer = inside = opened(framer)
        for signal in (framer.beats.payload, framer.beats.valid, framer.frames.ready, framer.abort):
            free(m, signal)
        steady(m, framer.beats)
        beat, sent = framer.beats.payload, framer.frames.payload
        takes, passes, belongs, completes = Signal(), Signal(), Signal(), Signal()
        packet = Packet(m, takes, beat.last, framer.abort, expected)
        m.d.comb += [
            takes.eq(framer.beats.valid & framer.beats.ready),
            passes.eq(framer.frames.valid & framer.frames.ready),
            belongs.eq(~packet.void & (packet.position < expected)),
            completes.eq(packet.position == expected - 1),
            Assert(passes == (takes & belongs)),
            Assert(framer.short == (passes & beat.last & ~completes)),
            Assert(framer.long == (passes & ~beat.last & completes)),
            Cover(passes & sent.last & ~sent.bad),
            Cover(framer.short),
            Cover(takes & beat.last & ~belongs & ~packet.void),
            Cover(takes & beat.last & packet.void),
        ]
        with m.If(passes):
            m.d.comb += [
                Assert(sent.pixels.as_value() == beat.data),
                Assert(sent.index == packet.position),
                Assert(sent.last == (beat.last | completes)),
                Assert(~sent.last | (sent.bad == ~(beat.last & completes))),
            ]
        with m.If(framer.beats.valid & framer.frames.ready):
            m.d.comb += Assert(takes)

        m.d.comb += [
            Assert(inner(inside, "dropping") == (packet.begun & ~belongs)),
            Assert(inner(inside, "index") == Mux(packet.begun & belongs, packet.position, 0)),
            Assert(packet.begun == (packet.position != 0)),
            Assert(packet.position <= expected),
            Assert(packet.begun | ~packet.void),
        ]


class FramesOfSpikes(Claim):
    """Exactly `steps` tokens for each packet that is not aborted; the last is bad if and only if the packet was.

    With `held` sources, those are of static inputs, of whose pixels three bits are seen: they have a token more.
    """

    def __init__(
        self,
        steps: int,
        sources: int,
        count_bits: int | None = None,
        held: int = 0,
        design: type[SpikeFramer] = SpikeFramer,
    ):
        self.steps, self.sources, self.count_bits, self.held, self.design = steps, sources, count_bits, held, design

    def body(self, m: Module) -> None:
        steps, sources, held = self.steps, self.sources, self.held
        spans = [Span(held, 255, 5), Span(sources, (1 << (self.count_bits or 1)) - 1)] if held else []
        framer = self.design(sources, steps, max(1, (sources - 1).bit_length()), self.count_bits, spans, held)
        steps += held > 0
        m.submodules.framer = inside = opened(framer)
        for signal in (framer.beats.payload, framer.beats.valid, framer.events.ready, framer.abort):
            free(m, signal)
        steady(m, framer.beats)
        beat, sent = framer.beats.payload, framer.events.payload
        takes, passes = Signal(), Signal()
        m.d.comb += [
            takes.eq(framer.beats.valid & framer.beats.ready),
            passes.eq(framer.events.valid & framer.events.ready),
        ]
        packet = Packet(m, takes, beat.last, framer.abort, 1)
        # The frame at the output: tokens sent, `owed` while the packet has ended and tokens are missing, whether it
        # was malformed so far. A frame ends with its last token; a packet may end before or after.
        tokens, owed, malformed = Signal(range(steps + 1)), Signal(), Signal()
        mark, unknown, ends_frame = Signal(), Signal(), Signal()
        over = Signal()  # all tokens are sent, the packet goes on
        least = Signal(range(sources + 1))  # above all addresses that this step has had
        wrong = Signal()
        belongs = Signal()
        nothing = Signal()  # a count of 0
        address, count, largest = beat.data[:MARK_BIT], Const(1), 1
        if self.count_bits is not None:
            address, count, largest = beat.data[:COUNT_BIT], beat.data[COUNT_BIT:MARK_BIT], (1 << self.count_bits) - 1
        astray, pixel, pixels_due, elsewhere = Signal(), Signal(), Signal(), Signal()
        seen = Mux(pixel, count >> 5, count) if held else count
        if held:
            m.d.comb += [
                pixel.eq(address < held),
                pixels_due.eq(tokens == 0),
                elsewhere.eq(pixel != pixels_due),
                Assert(sent.held == pixels_due),
            ]
        m.d.comb += [
            mark.eq(beat.data[MARK_BIT]),
            unknown.eq(~mark & ~beat.last & ((address >= sources) | elsewhere | (~pixel & (count >= largest + 1)))),
            wrong.eq(unknown | (~mark & ~beat.last & (address < least))),
            nothing.eq(~mark & ~beat.last & (seen == 0)),
            astray.eq(mark & (beat.data[HELD_BIT] != pixels_due) if held else 0),
            belongs.eq(~packet.void & ~over),
            ends_frame.eq(passes & sent.end & (tokens == steps - 1)),
            Assert(~(takes & owed)),
            # A beat that belongs to a frame gives one event, unless its address is wrong; an owed token is the other.
            Assert(passes == Mux(owed, framer.events.ready, takes & belongs & ~wrong & ~nothing)),
        ]
        with m.If(passes):
            m.d.comb += Assert(sent.end == (owed | mark | beat.last))
            with m.If(~sent.end):
                m.d.comb += [Assert(sent.source == address), Assert(sent["value"] == seen)]
        with m.If(ends_frame):
            m.d.comb += Assert(sent.bad == (malformed | owed | astray | ~(mark & beat.last)))
        with m.If(framer.events.ready & (framer.beats.valid | owed)):
            m.d.comb += Assert(takes | passes)

        with m.If(passes & sent.end):
            m.d.sync += least.eq(0)
            m.d.sync += tokens.eq(Mux(ends_frame, 0, tokens + 1))
        with m.If(takes & belongs):
            with m.If(wrong | astray):
                m.d.sync += malformed.eq(1)
            with m.Elif(~mark & ~beat.last):
                m.d.sync += least.eq(address + 1)
            with m.If(beat.last & ~ends_frame):
                m.d.sync += [owed.eq(1), malformed.eq(1)]
        with m.If(ends_frame):
            m.d.sync += [malformed.eq(0), owed.eq(0), over.eq(~owed & ~beat.last)]
        with m.Elif(takes & beat.last):
            m.d.sync += over.eq(0)
        with m.If(framer.abort):
            m.d.sync += [tokens.eq(0), malformed.eq(0), owed.eq(0), least.eq(0)]
        m.d.comb += [
            Cover(ends_frame & ~sent.bad),
            Cover(ends_frame & sent.bad & ~owed),
            Cover(ends_frame & owed),
            Cover(takes & belongs & wrong & ~unknown),
            Cover(takes & beat.last & over),
            Cover(takes & beat.last & packet.void),
        ]

        m.d.comb += [
            Assert(inner(inside, "step") == tokens),
            Assert(tokens < steps),
            Assert(inner(inside, "least") == least),
            Assert(least <= sources),
            Assert(packet.begun | (least == 0)),
            Assert(~(over | packet.void | owed) | (least == 0)),
            Assert(inner(inside, "filling") == owed),
            Assert(inner(inside, "bad") == malformed),
            Assert(inner(inside, "dropping") == (packet.void | over)),
            Assert(inner(inside, "begun") == packet.begun),
            Assert(packet.begun | ~(packet.void | over)),
            Assert(~(owed & packet.begun)),
            Assert(packet.begun | owed | ((tokens == 0) & ~malformed)),
            Assert(~(over | packet.void) | ((tokens == 0) & ~malformed)),
        ]


class StepsOfAStream(Claim):
    """One token for each step, with its mark or with a `last` without one, which is bad; nothing of a void step."""

    def __init__(self, sources: int, count_bits: int | None = None):
        self.sources, self.count_bits = sources, count_bits

    def body(self, m: Module) -> None:
        sources = self.sources
        framer = SpikeFramer(sources, None, max(1, (sources - 1).bit_length()), self.count_bits)
        m.submodules.framer = inside = opened(framer)
        for signal in (framer.beats.payload, framer.beats.valid, framer.events.ready, framer.abort, framer.open):
            free(m, signal)
        beat, sent = framer.beats.payload, framer.events.payload
        address, count, largest = beat.data[:MARK_BIT], Const(1), 1
        if self.count_bits is not None:
            address, count, largest = beat.data[:COUNT_BIT], beat.data[COUNT_BIT:MARK_BIT], (1 << self.count_bits) - 1
        takes, passes, mark, closes, wrong = Signal(), Signal(), Signal(), Signal(), Signal()
        void, malformed, least = Signal(), Signal(), Signal(range(sources + 1))
        m.d.comb += [
            takes.eq(framer.beats.valid & framer.beats.ready),
            passes.eq(framer.events.valid & framer.events.ready),
            mark.eq(beat.data[MARK_BIT]),
            closes.eq(mark | beat.last),
            wrong.eq(~closes & ((address >= sources) | (address < least) | (count > largest))),
            Assert(passes == (takes & ~void & (closes | (~wrong & (count != 0))))),
            Assert(framer.short == (takes & ~void & Mux(closes, ~mark, wrong))),
            Assert(~framer.long),
        ]
        with m.If(passes):
            m.d.comb += Assert(sent.end == closes)
            with m.If(closes):
                m.d.comb += Assert(sent.bad == (malformed | ~mark))
            with m.Else():
                m.d.comb += [Assert(sent.source == address), Assert(sent["value"] == count)]
        with m.If(framer.events.ready & framer.beats.valid):
            m.d.comb += Assert(takes)

        with m.If(takes & closes):
            m.d.sync += [void.eq(0), malformed.eq(0), least.eq(0)]
        with m.Elif(takes & ~void):
            with m.If(wrong):
                m.d.sync += malformed.eq(1)
            with m.Else():
                m.d.sync += least.eq(address + 1)
        with m.If(framer.abort):
            m.d.sync += [void.eq(framer.open), malformed.eq(0), least.eq(0)]
        m.d.comb += [
            Cover(passes & sent.end & ~sent.bad & ~beat.last),
            Cover(passes & sent.end & sent.bad & mark),
            Cover(takes & void & closes),
            Assert(inner(inside, "step") == 0),
            Assert(inner(inside, "least") == least),
            Assert(least <= sources),
            Assert(~inner(inside, "filling")),
            Assert(inner(inside, "bad") == malformed),
            Assert(inner(inside, "dropping") == void),
            Assert(~void | ((least == 0) & ~malformed)),
        ]


@pytest.mark.parametrize("count_bits", [None, 3])
def test_steps_of_a_stream(count_bits):
    prove(StepsOfAStream(3, count_bits), f"stream{count_bits or ''}", 2)
    prove(StepsOfAStream(3, count_bits), f"stream-reached{count_bits or ''}", 6, "cover")


@pytest.mark.parametrize("beats", [1, 2, 5])
def test_frames_of_pixels(beats):
    prove(FramesOfPixels(beats), f"frames{beats}", 2)


@pytest.mark.parametrize(("steps", "sources"), [(1, 3), (3, 5)])
def test_frames_of_spikes(steps, sources):
    prove(FramesOfSpikes(steps, sources), f"spikes{steps}", 2)


@pytest.mark.parametrize("count_bits", [1, 3, 8])
def test_frames_of_graded_events(count_bits):
    prove(FramesOfSpikes(2, 3, count_bits), f"graded{count_bits}", 2)


@pytest.mark.parametrize(("steps", "sources", "held"), [(1, 2, 1), (2, 5, 3)])
def test_frames_of_pixels_beside_events(steps, sources, held):
    prove(FramesOfSpikes(steps, sources, 3, held), f"held{steps}", 2)


class AnyMark(SpikeFramer):
    """Either mark ends the pixels, and a step."""

    def _is_astray(self, word, step):
        return Const(0)


class PixelsAtAnyTime(SpikeFramer):
    """A pixel may come in a step."""

    def _exists(self, address, step):
        return address < self.sources


@pytest.mark.parametrize("broken", [AnyMark, PixelsAtAnyTime])
def test_broken_framers_are_refuted(broken):
    with pytest.raises(Refuted, match="Assert failed"):
        prove(FramesOfSpikes(1, 2, 3, 1, broken), f"held-{broken.__name__}", 6, "bmc")


@pytest.mark.parametrize(
    "claim", [FramesOfPixels(3), FramesOfSpikes(2, 3), FramesOfSpikes(1, 3, 3, 1)], ids=["pixels", "spikes", "both"]
)
def test_every_kind_of_packet_is_reached(claim):
    prove(claim, type(claim).__name__.lower(), 8, "cover")
