"""Frames from AXI4-Stream: exactly one good or bad frame for each packet, whatever its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..bits import unsigned_bits
from .frame_words import COUNT_BIT, HELD_BIT, MARK_BIT, SPIKE_BITS
from .mapping import Mapping
from .streams import beat_layout, source_layout


def pixel_beat_layout(lanes: int) -> data.StructLayout:
    """A beat of `s_axis` on static input: `tdata`, lowest byte first, and `tlast`."""
    return data.StructLayout({"data": 8 * lanes, "last": 1})


def spike_beat_layout() -> data.StructLayout:
    """A beat of `s_axis` on spike input: an address, or, with bit 31 set, the end of a step; `tlast` on the last.

    On graded input the address has `COUNT_BIT` bits, and its count lies above it.
    """
    return data.StructLayout({"data": SPIKE_BITS, "last": 1})


@dataclass(frozen=True)
class Span:
    """Addresses of one of several inputs: the one behind its last, the largest count, the low bits that counts lose."""

    end: int
    largest: int
    dropped: int = 0


class Framer(wiring.Component):
    """Numbers the beats of a frame and corrects its length.

    A short frame ends, bad, with its last beat. A long one ends, bad, with the beat that should have been its last;
    the rest of it is dropped.

    Ports
    -----
    beats
        In: `pixel_beat_layout`.
    frames
        Out: `beat_layout`, exactly one beat with `last` per frame.
    abort
        In: the current frame is void; its rest is dropped up to its last beat.
    short, long
        Out: 1 in the cycle in which such a frame is detected.

    Latency 0, throughput one beat per cycle. Stalls: `frames.ready` low; dropped beats never wait.
    """

    def __init__(self, mapping: Mapping):
        self.expected = mapping.beats
        self.lanes = mapping.pixels_a_beat
        super().__init__(
            {
                "beats": In(stream.Signature(pixel_beat_layout(self.lanes))),
                "frames": Out(stream.Signature(beat_layout(self.lanes, unsigned_bits(mapping.beats - 1)))),
                "abort": In(1),
                "short": Out(1),
                "long": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        index = Signal(range(max(2, self.expected)), name="index")
        dropping = Signal(name="dropping")
        full_length = Signal(name="full_length")
        passes = Signal(name="passes")
        last = self.beats.payload.last
        frame = self.frames.payload
        m.d.comb += [
            full_length.eq(index == self.expected - 1),
            self.frames.valid.eq(self.beats.valid & ~dropping),
            self.beats.ready.eq(self.frames.ready | dropping),
            passes.eq(self.frames.valid & self.frames.ready),
            frame.pixels.eq(self.beats.payload.data),
            frame.index.eq(index),
            frame.last.eq(last | full_length),
            frame.bad.eq(last != full_length),
            self.short.eq(passes & last & ~full_length),
            self.long.eq(passes & ~last & full_length),
        ]
        with m.If(passes):
            m.d.sync += index.eq(Mux(frame.last, 0, index + 1))
            with m.If(full_length & ~last):
                m.d.sync += dropping.eq(1)
        with m.If(dropping & self.beats.valid & last):
            m.d.sync += dropping.eq(0)
        with m.If(self.abort):
            m.d.sync += index.eq(0)
            with m.If(Mux(passes, ~last, (index != 0) & ~dropping)):
                m.d.sync += dropping.eq(1)
        return m


class SpikeFramer(wiring.Component):
    """Turns addresses and end-of-step marks into events, with exactly `steps` tokens per frame.

    Within a step addresses ascend: a source comes once in a step, and this is how hardware sees it. A frame is bad
    if an address does not exist or is not above the one before it in its step, if its count does not fit `count_bits`
    bits, or if it has too few or too many steps. Such an address is dropped, so that no sum leaves its proven range;
    missing steps are added, empty; what comes after the last step is dropped up to `last`. A count of 0 is no event.

    `count_bits` is None for spikes, whose beats have no count. `steps` is None in a stream, whose frames are single
    steps: each ends with its mark, with or without `last`; `last` without a mark ends one, bad. There, `open` says with
    `abort` that a step has begun whose rest is to come; what waits in front of the framer is void, too.

    With `held`, sources below that are of static inputs. They have a segment of their own before the steps, one token
    more: no other source exists there, and none of them in a step. `HELD_BIT` of a mark says which of both has ended; a
    mark that says the other one ends it all the same, and the frame is bad.

    Ports: `beats` (`spike_beat_layout`), `events` (`source_layout`), `abort`, `short`, `long` as in `Framer`;
    `short` also reports a dropped address and a wrong mark. Latency 0, throughput one beat per cycle; each missing step
    costs one cycle. Stalls: `events.ready` low.
    """

    def __init__(
        self,
        sources: int,
        steps: int | None,
        address_bits: int,
        count_bits: int | None = None,
        spans: Sequence[Span] = (),
        held: int = 0,
        early: bool = False,
    ):
        """`spans`: of several inputs, in the order of their addresses. `early`: each step's token tells whether the
        frame is bad so far, where elsewhere that of the last one alone has a meaning.
        """
        self.early = early
        self.spans = tuple(spans)
        self.held = held
        self.sources = sources
        self.steps = steps or 1
        self.streams = steps is None
        self.count_bits = count_bits
        super().__init__(
            {
                "beats": In(stream.Signature(spike_beat_layout())),
                "events": Out(stream.Signature(source_layout(address_bits, count_bits or 1, held > 0))),
                "abort": In(1),
                "short": Out(1),
                "long": Out(1),
            }
            | ({"open": In(1)} if self.streams else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        segments = self.steps + (self.held > 0)
        step = Signal(range(max(2, segments)), name="step")
        begun = Signal(name="begun")  # state: a packet has begun
        bad = Signal(name="bad")
        dropping = Signal(name="dropping")  # the rest of the packet is dropped
        filling = Signal(name="filling")  # missing steps are added
        word, last = self.beats.payload.data, self.beats.payload.last
        event = self.events.payload
        final_step = Signal(name="final_step")
        mark = Signal(name="mark")
        least = Signal(range(self.sources + 1), name="least")  # lowest valid address in this step
        exists = Signal(name="exists")
        belongs = Signal(name="belongs")
        address, value, sends, fits = word[:MARK_BIT], Const(1), belongs, Const(1)  # it is an event; its count fits
        if self.count_bits:
            address, count = word[:COUNT_BIT], word[COUNT_BIT:MARK_BIT]
            sends, fits = Signal(name="sends"), Signal(name="fits")
            value = self._seen(address, count)
            m.d.comb += [fits.eq(self._fits(address, count)), sends.eq(belongs & (value != 0))]
        known = exists & (address >= least)
        if self.streams:
            last = Signal(name="closes")
            m.d.comb += last.eq(self.beats.payload.last | mark)
        ends = Signal(name="ends")
        takes = Signal(name="takes")
        token = Signal(name="token")
        flawed = bad | filling | ~(mark & last)
        if self.early:
            flawed = bad | filling | Mux(final_step, ~(mark & last), last)
        lacks = Mux(ends, last & ~(mark & final_step), ~belongs)
        refused = ~ends & ~belongs
        if self.held:
            astray = Signal(name="astray")  # the mark of another segment
            m.d.comb += [astray.eq(mark & self._is_astray(word, step)), event.held.eq(step == 0)]
            flawed, lacks, refused = flawed | astray, lacks | astray, refused | astray
        m.d.comb += [
            final_step.eq(step == segments - 1),
            mark.eq(word[MARK_BIT]),
            exists.eq(self._exists(address, step)),
            belongs.eq(known & fits if self.count_bits else known),
            ends.eq(mark | last),
            token.eq(filling | ends),
            event.end.eq(token),
            event.source.eq(Mux(token, 0, word)),
            event["value"].eq(Mux(token, 0, value) if self.count_bits else ~token),
            event.bad.eq(flawed),
            self.events.valid.eq(filling | (self.beats.valid & ~dropping & (ends | sends))),
            self.beats.ready.eq(~filling & (dropping | self.events.ready | ~(ends | sends))),
            takes.eq(self.beats.valid & self.beats.ready & ~dropping),
            self.long.eq(takes & mark & final_step & ~last),
            self.short.eq(takes & lacks),
        ]
        with m.If(takes):
            m.d.sync += begun.eq(~last)
            with m.If(refused):
                m.d.sync += bad.eq(1)
            with m.If(ends):
                m.d.sync += least.eq(0)
            with m.Elif(belongs):
                m.d.sync += least.eq(address + 1)
        with m.If(self.events.valid & self.events.ready & token):
            m.d.sync += step.eq(Mux(final_step, 0, step + 1))
            with m.If(final_step):
                m.d.sync += [bad.eq(0), filling.eq(0)]
                with m.If(~filling & ~last):
                    m.d.sync += dropping.eq(1)
            with m.Elif(~filling & last):
                m.d.sync += [filling.eq(1), bad.eq(1)]
        with m.If(dropping & self.beats.valid & last):
            m.d.sync += [dropping.eq(0), begun.eq(0)]
        with m.If(self.abort):
            m.d.sync += [step.eq(0), bad.eq(0), filling.eq(0), least.eq(0)]
            if self.streams:
                m.d.sync += dropping.eq(self.open)
            else:
                with m.If(Mux(takes, ~last, begun & ~dropping)):
                    m.d.sync += dropping.eq(1)
        return m

    def _exists(self, address: Value, step: Signal) -> Value:
        """`address` is of a source of this segment."""
        known = address < self.sources
        return Mux(step == 0, address < self.held, known & (address >= self.held)) if self.held else known

    def _is_astray(self, word: Value, step: Signal) -> Value:
        """A mark is that of another segment."""
        return word[HELD_BIT] != (step == 0)

    def _fits(self, address: Value, count: Value) -> Value:
        """The count is not too large for the input of the source at `address`."""
        assert self.count_bits is not None
        if len(self.spans) < 2:
            return count < 1 << self.count_bits
        found: Value = count <= self.spans[-1].largest
        for span in reversed(self.spans[:-1]):
            found = Mux(address < span.end, count <= span.largest, found)
        return found

    def _seen(self, address: Value, count: Value) -> Value:
        """The bits of a count that the input of the source at `address` has."""
        if not any(span.dropped for span in self.spans):
            return count
        found: Value = count >> self.spans[-1].dropped
        for span in reversed(self.spans[:-1]):
            found = Mux(address < span.end, count >> span.dropped, found)
        return found
