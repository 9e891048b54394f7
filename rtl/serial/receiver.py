"""From bytes to the fields of a packet; at its END it is known whether it is valid."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from ..packets import (
    CRC_BYTES,
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    HEADER,
    LENGTH_AT,
    LENGTH_BITS,
    SEQUENCE_BITS,
    SESSION_BITS,
)
from .crc import CRC


def payload_ports() -> dict[str, Member]:
    """Ports of a component that takes the payload of packets: `open`, and these outputs of `PacketReceiver`."""
    return {"open": In(1), "payload": In(8), "payload_valid": In(1), "end": In(1), "good": In(1)}


class PacketReceiver(wiring.Component):
    """Removes the stuffing and decodes the fields of a packet.

    Ports
    -----
    byte, valid
        In: from the serial receiver.
    sequence, kind, session
        Out: of the header, complete from `begin` on, until the next packet's first byte.
    begin
        Out: one cycle, the header has just become complete.
    left
        Out: payload bytes still to come; at `begin`, all of them.
    payload, payload_valid
        Out: one payload byte. Nothing is verified yet.
    end, good
        Out: one cycle at the END of a packet; `good`: length, stuffing and CRC are right.

    Latency: `payload` in the cycle of `valid`, `begin` and `end` one later. Throughput: one byte every second
    cycle. It never stalls, and any END returns it to the start of a packet.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "byte": In(8),
                "valid": In(1),
                "sequence": Out(SEQUENCE_BITS),
                "kind": Out(8),
                "session": Out(SESSION_BITS),
                "begin": Out(1),
                "left": Out(LENGTH_BITS),
                "payload": Out(8),
                "payload_valid": Out(1),
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
        # The header's fields as they come, without the length, which is counted down from its last byte on.
        fields, left = Cat(self.sequence[:8], self.kind, self.sequence[8:], self.session), self.left
        crc_left = Signal(range(CRC_BYTES + 1), name="crc_left")
        is_length = Signal(name="is_length")
        m.d.comb += [
            content.eq(Mux(escaped, Mux(self.byte == ESC_END, END, ESC), self.byte)),
            is_length.eq((header >= LENGTH_AT - LENGTH_BITS // 8) & (header < LENGTH_AT)),
            taken.eq(self.valid & (self.byte != END) & ((self.byte != ESC) | escaped)),
            crc.data.eq(content),
            crc.valid.eq(taken),
            crc.start.eq(ended),
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
                    crc_left.eq(CRC_BYTES),
                    left.eq(Mux(is_length, Cat(left[8:], content), left - 1)),
                    self.begin.eq(header == HEADER.size - 1),
                ]
                with m.If(~is_length):
                    m.d.sync += fields.eq(Cat(fields[8:], content))
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)
            with m.Elif(crc_left != 0):
                m.d.sync += crc_left.eq(crc_left - 1)
            with m.Else():
                m.d.sync += broken.eq(1)
            with m.If(escaped & (self.byte != ESC_END) & (self.byte != ESC_ESC)):
                m.d.sync += broken.eq(1)
        with m.If(ended):
            m.d.sync += [header.eq(0), broken.eq(0), escaped.eq(0)]
        return m
