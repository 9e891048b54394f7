"""Bytes become the fields of a packet; whether it is whole is known at its END."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..packets import CRC, CRC_BYTES, END, ESC, ESC_END, ESC_ESC, HEADER, LENGTH_BITS


class PacketReceiver(wiring.Component):
    """Takes the stuffing off and follows the fields of a packet.

    Ports
    -----
    byte, valid
        In: from the serial receiver.
    sequence, kind, length
        Out: the header, complete from the first payload byte on.
    begin
        Out: one cycle, the header has just become complete.
    payload, payload_valid, position
        Out: one payload byte, and how many came before it. Nothing is verified yet.
    end, good
        Out: one cycle at the END of a packet; `good`: length and CRC are right.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "byte": In(8),
                "valid": In(1),
                "sequence": Out(8),
                "kind": Out(8),
                "length": Out(LENGTH_BITS),
                "begin": Out(1),
                "payload": Out(8),
                "payload_valid": Out(1),
                "position": Out(LENGTH_BITS),
                "end": Out(1),
                "good": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = CRC.create()
        escaped = Signal(name="escaped")
        taken = Signal(name="taken")
        broken = Signal(name="broken")
        ended = Signal(name="ended")
        content = Signal(8, name="content")
        header = Signal(range(HEADER.size + 1), name="header")
        left = Signal(LENGTH_BITS, name="left")
        crc_left = Signal(range(CRC_BYTES + 1), name="crc_left")
        m.d.comb += [
            content.eq(Mux(escaped, Mux(self.byte == ESC_END, END, ESC), self.byte)),
            taken.eq(self.valid & (self.byte != END) & ((self.byte != ESC) | escaped)),
            crc.data.eq(content),
            crc.valid.eq(taken),
            crc.start.eq(self.end),
            self.payload.eq(content),
            self.payload_valid.eq(taken & (header == HEADER.size) & (left != 0)),
            # The CRC shows a byte one cycle after it came; the END comes many cycles later.
            self.end.eq(ended & (header != 0)),
            self.good.eq((header == HEADER.size) & (left == 0) & (crc_left == 0) & ~broken & crc.match_detected),
        ]
        m.d.sync += [ended.eq(self.valid & (self.byte == END)), self.begin.eq(0)]
        with m.If(self.valid):
            m.d.sync += escaped.eq((self.byte == ESC) & ~escaped)
        with m.If(taken):
            with m.If(header != HEADER.size):
                m.d.sync += [
                    header.eq(header + 1),
                    Cat(self.sequence, self.kind, self.length).eq(
                        Cat(self.sequence, self.kind, self.length)[8:] | content << 8 * (HEADER.size - 1)
                    ),
                    self.position.eq(0),
                    crc_left.eq(CRC_BYTES),
                ]
                with m.If(header == HEADER.size - 1):
                    m.d.sync += [self.begin.eq(1), left.eq(Cat(self.length[8:], content))]
            with m.Elif(left != 0):
                m.d.sync += [left.eq(left - 1), self.position.eq(self.position + 1)]
            with m.Elif(crc_left != 0):
                m.d.sync += crc_left.eq(crc_left - 1)
            with m.Else():
                m.d.sync += broken.eq(1)
            with m.If(escaped & (self.byte != ESC_END) & (self.byte != ESC_ESC)):
                m.d.sync += broken.eq(1)
        with m.If(ended):
            m.d.sync += [header.eq(0), broken.eq(0), escaped.eq(0)]
        return m
