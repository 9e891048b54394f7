"""From the payload of a FRAME to beats for the datapath."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from ..mapping import Mapping
from ..streams import beat_layout
from .receiver import payload_ports


class FrameAssembler(wiring.Component):
    """Turns the payload bytes of a FRAME into beats for the datapath.

    A beat is sent when the next one begins. So the last beat is sent after the END, when it is known whether the frame
    is good: a damaged frame ends with a beat marked bad, and its result is dropped. If the datapath stalls a beat for
    longer than it takes to receive the next, the frame counts as damaged.

    Ports
    -----
    open
        In: one cycle between header and payload, a frame begins; only while `idle`.
    payload, payload_valid, end, good
        In: from the packet receiver, of any packet.
    beats
        Out: `beat_layout`.
    idle
        Out: the frame before has been sent on.

    Latency: a beat is offered one cycle after the first byte of the next, or two after `end`. Throughput: that of the
    line. Stalls: none; a beat that `beats.ready` does not take in time is lost, and its frame is marked bad.
    """

    def __init__(self, mapping: Mapping):
        self.lanes = mapping.pixels_a_beat
        self.beats_a_frame = mapping.beats
        self.beat = beat_layout(self.lanes, max(1, (mapping.beats - 1).bit_length()))
        super().__init__(
            {
                **payload_ports(),
                "beats": Out(stream.Signature(self.beat)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        opened = Signal(name="opened")
        closing = Signal(name="closing")
        begun = Signal(name="begun")
        late = Signal(name="late")
        bad = Signal(name="bad")
        pixels = Signal(data.ArrayLayout(8, self.lanes), name="pixels")
        lane = Signal(range(self.lanes + 1), name="lane")
        index = Signal(self.beat["index"].shape, name="index")
        beat = Signal(self.beat, name="beat")
        beat_valid = Signal(name="beat_valid")
        m.d.comb += [
            self.beats.payload.eq(beat),
            self.beats.valid.eq(beat_valid),
            self.idle.eq(~opened & ~closing & ~beat_valid),
        ]
        with m.If(self.beats.ready):
            m.d.sync += beat_valid.eq(0)
        with m.If(self.open):
            m.d.sync += [opened.eq(1), begun.eq(0), late.eq(0), lane.eq(0), index.eq(0)]
        with m.If(opened & self.payload_valid):
            m.d.sync += [begun.eq(1), lane.eq(Mux(lane == self.lanes, 1, lane + 1))]
            with m.If(lane == self.lanes):
                m.d.sync += [pixels[0].eq(self.payload), index.eq(index + 1)]
                m.d.sync += [beat.pixels.eq(pixels), beat.index.eq(index), beat.last.eq(0), beat.bad.eq(0)]
                m.d.sync += [beat_valid.eq(1), late.eq(late | (beat_valid & ~self.beats.ready))]
            for i in range(self.lanes):
                with m.If(lane == i):
                    m.d.sync += pixels[i].eq(self.payload)
        with m.If(opened & self.end):
            m.d.sync += [opened.eq(0), closing.eq(begun), bad.eq(late | ~self.good)]
        with m.If(closing & ~beat_valid):
            m.d.sync += [closing.eq(0), beat_valid.eq(1)]
            m.d.sync += [beat.pixels.eq(pixels), beat.index.eq(index), beat.last.eq(1), beat.bad.eq(bad)]
        return m
