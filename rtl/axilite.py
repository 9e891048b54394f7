"""AXI4-Lite: one outstanding write and one outstanding read, decoded against the register map."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .registers import WORD_BITS, axilite_signals


class Response(IntEnum):
    """AXI responses that are used."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3


def channels(address_bits: int) -> dict[str, wiring.Member]:
    """The signals of the five channels, subordinate side, by their AXI names in lower case."""
    flows = {"in": In, "out": Out}
    return {signal.name: flows[signal.direction](signal.width) for signal in axilite_signals(address_bits)}


class AxiLite(wiring.Component):
    """Turns the five channels into single-cycle strobes.

    Ports
    -----
    aw*, w*, b*, ar*, r*
        The AXI4-Lite channels, subordinate side.
    write, write_address, write_data, write_strobe
        Out: `write` is set for one cycle with a complete write.
    write_response
        In: its response, in the same cycle.
    read, read_address
        Out: `read` is set for one cycle with an address.
    read_data, read_response
        In: the answer, in the same cycle.

    Latency: a response is offered in the cycle after its request is complete. A second request of a channel waits
    until the response to the first is taken; reads and writes do not wait for each other.
    """

    def __init__(self, address_bits: int):
        self.address_bits = address_bits
        super().__init__(
            channels(address_bits)
            | {
                "write": Out(1),
                "write_address": Out(address_bits),
                "write_data": Out(WORD_BITS),
                "write_strobe": Out(WORD_BITS // 8),
                "write_response": In(2),
                "read": Out(1),
                "read_address": Out(address_bits),
                "read_data": In(WORD_BITS),
                "read_response": In(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Address and data of a write may come in any order: each is kept in a register until the other comes.
        has_address = Signal(name="has_address")
        has_data = Signal(name="has_data")
        m.d.comb += [
            self.awready.eq(~has_address),
            self.wready.eq(~has_data),
            self.write.eq(has_address & has_data & ~self.bvalid),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [has_address.eq(1), self.write_address.eq(self.awaddr)]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [has_data.eq(1), self.write_data.eq(self.wdata), self.write_strobe.eq(self.wstrb)]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(self.write):
            m.d.sync += [has_address.eq(0), has_data.eq(0), self.bvalid.eq(1), self.bresp.eq(self.write_response)]

        m.d.comb += [
            self.arready.eq(~self.rvalid),
            self.read.eq(self.arvalid & self.arready),
            self.read_address.eq(self.araddr),
        ]
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        with m.If(self.read):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(self.read_data), self.rresp.eq(self.read_response)]
        return m
