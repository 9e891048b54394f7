"""A microphone's accelerator: PCM samples in, a packet for every step out. Front end and network in one module."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..errors import require
from ..quantize.frontend import SAMPLE_BITS, FrontEnd
from .frame_words import MARK_BIT
from .frontend import SoundInput
from .header import write as header
from .mapping import Mapping
from .top import Accelerator, port_members
from .verilog import TOP, converted, no_collection

ACCELERATOR = "accelerator"  # its instance in the module


def check(mapping: Mapping, settings: FrontEnd) -> None:
    """`UserError` unless the network of `mapping` is a stream that takes the events of the front end `settings`."""
    require(mapping.network.stream, "network", "one with frames", "a stream behind a front end")
    given = mapping.network.inputs
    require(len(given) == 1, "inputs", len(given), "1 behind a front end")
    for name, found, wanted in (
        ("kind", given[0].kind, "graded"),
        ("shape", given[0].shape, settings.shape),
        ("bits", given[0].bits, settings.bits),
    ):
        require(found == wanted, f"input {given[0].name} {name}", found, f"{wanted}, what the front end sends")


class Microphone(wiring.Component):
    """A front end and a stream.

    Ports
    -----
    s_axis_*
        A sample per beat, as in `SoundInput`. TLAST, which may never come, ends a recording: the front end fills its
        last step with samples of 0, and hears the next sample as the first one of a recording. The network goes on.
    m_axis_*, s_axil_*
        Those of `Accelerator`. What the registers say of `s_axis` is said of the events behind the front end.

    A soft reset drops all samples that have been taken: the next one is the first one of step 0. Latency: that of
    `SoundInput`, then that of the accelerator. Throughput: a step in `latency.front_end_step` cycles, or in those of
    the accelerator, if they are more. Stalls: a packet that waits holds up everything behind it, and in the end the
    samples.
    """

    def __init__(self, mapping: Mapping, settings: FrontEnd):
        self.settings = settings
        self.accelerator = Accelerator(mapping)
        self.outer = {name: member for name, member in port_members(mapping).items() if not name.startswith("s_axis_")}
        sound = {"tdata": In(SAMPLE_BITS), "tvalid": In(1), "tready": Out(1), "tlast": In(1)}
        super().__init__({f"s_axis_{name}": member for name, member in sound.items()} | self.outer)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sound = SoundInput(self.settings)
        m.submodules[ACCELERATOR] = accelerator = self.accelerator
        abort = accelerator.abort
        m.submodules.sound = ResetInserter(abort)(sound)
        for name, member in self.outer.items():
            inner, outer = getattr(accelerator, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)

        # A reset within a step: the accelerator drops what is left of it, up to a mark, which the front end has lost.
        # Both are empty then: the mark is taken at once, long before the next beat.
        begun, closing = Signal(name="begun"), Signal(name="closing")
        within = Signal(name="within")  # after this cycle
        takes = accelerator.s_axis_tvalid & accelerator.s_axis_tready
        m.d.comb += within.eq(Mux(takes, ~accelerator.s_axis_tdata[MARK_BIT], begun))
        m.d.sync += begun.eq(within)
        m.d.sync += closing.eq(abort & within)
        m.d.comb += [
            sound.s_axis_tdata.eq(self.s_axis_tdata),
            sound.s_axis_tlast.eq(self.s_axis_tlast),
            sound.s_axis_tvalid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(sound.s_axis_tready),
            accelerator.s_axis_tdata.eq(Mux(closing, 1 << MARK_BIT, sound.m_axis_tdata)),
            accelerator.s_axis_tlast.eq(sound.m_axis_tlast),
            accelerator.s_axis_tvalid.eq(sound.m_axis_tvalid | closing),
            sound.m_axis_tready.eq(accelerator.s_axis_tready),
        ]
        return m


def generate(mapping: Mapping, settings: FrontEnd, command: str) -> str:
    """Verilog text with top module `gradrtl`, the ports of `Microphone`; the same arguments give the same bytes.

    Raises `UserError` for a network that does not hear this front end, see `check`.
    """
    check(mapping, settings)
    with no_collection():
        (body,) = converted([(Microphone(mapping, settings), TOP)])
    return header(mapping, command, settings) + body
