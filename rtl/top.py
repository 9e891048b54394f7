"""The top level: frames on AXI4-Stream, results on AXI4-Stream, registers on AXI4-Lite, plain AXI port names."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .. import __version__
from ..bits import unsigned_bits
from .axilite import AxiLite, Response, channels
from .datapath import Datapath
from .fifo import Queue
from .frame_words import MARK_BIT
from .framing import Framer, Span, SpikeFramer, pixel_beat_layout, spike_beat_layout
from .inputs import largest_sent
from .latency import INPUT_QUEUE, OUTPUT_QUEUE
from .mapping import Mapping
from .readout import WORD_BITS
from .registers import DIGEST_WORDS, MAGIC, registers


def address_bits(mapping: Mapping) -> int:
    """Address bits of the registers: one more than needed, so that addresses beyond them can be refused."""
    return unsigned_bits(registers(len(mapping.layers))[-1].address) + 1


def port_members(mapping: Mapping) -> dict[str, wiring.Member]:
    """The ports of the accelerator of `mapping`, without clock and reset."""
    static = mapping.input.kind == "static"
    beat = pixel_beat_layout(mapping.pixels_a_beat) if static else spike_beat_layout()
    return {
        "s_axis_tdata": In(beat["data"].width),
        "s_axis_tvalid": In(1),
        "s_axis_tready": Out(1),
        "s_axis_tlast": In(1),
        "m_axis_tdata": Out(WORD_BITS),
        "m_axis_tvalid": Out(1),
        "m_axis_tready": In(1),
        "m_axis_tlast": Out(1),
        "m_axis_tuser": Out(1),
        **{f"s_axil_{name}": member for name, member in channels(address_bits(mapping)).items()},
    }


def _spike_framer(mapping: Mapping) -> SpikeFramer:
    given = mapping.input
    counts = given.bits if given.kind == "graded" else None
    spans = [Span(own.stop, largest_sent(one), one.dropped) for one, own in given.by_address]
    early = mapping.network.answers_early
    held = given.held_sources
    return SpikeFramer(mapping.sources, mapping.steps, mapping.source_bits, counts, spans, held, early)


class Accelerator(wiring.Component):
    """A network in hardware.

    Ports
    -----
    s_axis_*
        Frames, see `Framer` and `SpikeFramer`.
    m_axis_*
        One packet per frame, in order: the class, then the sum of every class; `tuser`: the frame was malformed. In a
        stream one per step, with the number of the step in front.
    s_axil_*
        The registers of `rtl/registers.py`. An address that does not exist, or is not a multiple of 4, answers
        DECERR; a write to a register that is read-only answers SLVERR.

    A soft reset drops the frames inside, and the rest of a frame that is being received. A packet that is being sent,
    or whose frame is complete, is still sent. In a stream all beats that have been taken are dropped, and the rest of
    the step that has begun with them; the next step is number 0. With `Placement.cancel` the rest of a frame that has
    its answer is dropped in the same way, without a word in `errors`. Latency and throughput: `sim/timing/`.
    """

    def __init__(self, mapping: Mapping):
        self.mapping = mapping
        self.datapath = Datapath(mapping)
        self.framer = Framer(mapping) if mapping.input.kind == "static" else _spike_framer(mapping)
        self.map = registers(len(mapping.layers))
        self.axil = AxiLite(address_bits(mapping))
        self.channels = channels(self.axil.address_bits)
        self.abort = Signal(name="abort")  # for what is in front: 1 in the cycle of a soft reset
        super().__init__(port_members(mapping))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.datapath = datapath = self.datapath
        m.submodules.framer = framer = self.framer
        m.submodules.axil = axil = self.axil
        abort = self.abort
        taken = Queue(framer.beats.payload.shape(), INPUT_QUEUE)
        m.submodules.input_queue = ResetInserter(abort)(taken) if self.mapping.steps is None else taken
        m.submodules.output_queue = sent = Queue(datapath.packets.payload.shape(), OUTPUT_QUEUE)
        m.d.comb += [
            taken.i.payload.data.eq(self.s_axis_tdata),
            taken.i.payload.last.eq(self.s_axis_tlast),
            taken.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(taken.i.ready),
            self.m_axis_tdata.eq(sent.o.payload.word),
            self.m_axis_tlast.eq(sent.o.payload.last),
            self.m_axis_tuser.eq(sent.o.payload.bad),
            self.m_axis_tvalid.eq(sent.o.valid),
            sent.o.ready.eq(self.m_axis_tready),
        ]
        wiring.connect(m, taken.o, framer.beats)
        frames = framer.frames if isinstance(framer, Framer) else framer.events
        wiring.connect(m, frames, datapath.frames)
        wiring.connect(m, datapath.packets, sent.i)
        for name, member in self.channels.items():
            inner, outer = getattr(axil, name), getattr(self, f"s_axil_{name}")
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        self._registers(m, abort)
        return m

    def _registers(self, m: Module, abort: Signal) -> None:
        axil, framer, datapath = self.axil, self.framer, self.datapath
        values = {register.name: Signal(32, name=register.name) for register in self.map if register.access != "wo"}
        major, minor, patch = (int(part) for part in __version__.split(".")[:3])
        digest = bytes.fromhex(self.mapping.network.digest)
        m.d.comb += [
            values["magic"].eq(MAGIC),
            values["version"].eq(major << 16 | minor << 8 | patch),
            *(values[f"digest{i}"].eq(int.from_bytes(digest[4 * i : 4 * i + 4], "big")) for i in range(DIGEST_WORDS)),
        ]

        # Frames are counted where their first beat is taken and where their packet's last beat leaves.
        begun = Signal(name="begun")
        takes = self.s_axis_tvalid & self.s_axis_tready
        sends = self.m_axis_tvalid & self.m_axis_tready & self.m_axis_tlast
        ends: Value = self.s_axis_tlast
        if self.mapping.steps is None:
            ends |= self.s_axis_tdata[MARK_BIT]
        with m.If(takes):
            m.d.sync += begun.eq(~ends)
        if isinstance(framer, SpikeFramer) and framer.streams:
            m.d.comb += framer.open.eq(Mux(takes, ~ends, begun))
        m.d.sync += values["cycles"].eq(values["cycles"] + 1)
        counts = {
            "frames_in": takes & ~begun,
            "frames_out": sends,
            "input_stalls": self.s_axis_tvalid & ~self.s_axis_tready,
            "output_stalls": self.m_axis_tvalid & ~self.m_axis_tready,
            **{f"events{i}": datapath.taken[i] for i in range(len(self.mapping.layers))},
        }
        for name, happens in counts.items():
            with m.If(happens):
                m.d.sync += values[name].eq(values[name] + 1)
        m.d.comb += [
            datapath.abort.eq(abort),
            framer.abort.eq(abort | datapath.cancel if self.mapping.placement.cancel else abort),
            values["status"].eq(Cat(self.m_axis_tvalid, begun)),
        ]

        m.d.comb += axil.read_response.eq(Response.DECERR)
        m.d.comb += axil.write_response.eq(Response.DECERR)
        cleared = Signal(32, name="cleared")
        for register in self.map:
            with m.If(axil.read_address == register.address):
                m.d.comb += axil.read_response.eq(Response.OKAY)
                if register.access != "wo":
                    m.d.comb += axil.read_data.eq(values[register.name])
            with m.If(axil.write_address == register.address):
                m.d.comb += axil.write_response.eq(Response.SLVERR if register.access == "ro" else Response.OKAY)
                strobed = Cat(axil.write_data[i] & axil.write_strobe[i // 8] for i in range(32))
                if register.name == "control":
                    m.d.comb += abort.eq(axil.write & strobed[0])
                if register.name == "errors":
                    m.d.comb += cleared.eq(Mux(axil.write, strobed, 0))
        m.d.sync += values["errors"].eq((values["errors"] & ~cleared) | Cat(framer.short, framer.long))
