"""From a payload to the bytes of a packet."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..fifo import Queue
from ..packets import (
    CRC_BYTES,
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    HEADER,
    LENGTH_AT,
    SEQUENCE_BITS,
    SESSION_BITS,
)
from .crc import CRC


class PacketSender(wiring.Component):
    """Header, payload, CRC and stuffing of one packet.

    Ports
    -----
    start, sequence, session
        In: with `start`, while `idle`, a packet begins.
    kind, length
        In: from the cycle after `start` until `idle`; `length` as on the line, at most `longest`.
    idle
        Out: the packet before has been sent completely.
    payload
        In: the stream of its payload bytes; may come later.
    bytes
        Out: to the serial transmitter.

    Latency: the first END is offered one cycle after `start`. Throughput: a byte every second cycle,
    far more than the line takes. Stalls: `bytes.ready` low, `payload.valid` low.
    """

    def __init__(self, longest: int):
        super().__init__(
            {
                "start": In(1),
                "idle": Out(1),
                "sequence": In(SEQUENCE_BITS),
                "kind": In(8),
                "length": In(range(longest + 1)),
                "session": In(SESSION_BITS),
                "payload": In(stream.Signature(8)),
                "bytes": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = CRC.create()
        # Between line and accelerator, so that no path runs from one to the other.
        m.submodules.payloads = payloads = Queue(unsigned(8), 1)
        wiring.connect(m, wiring.flipped(self.payload), payloads.i)
        # Sequence and session; kind and length are put in where they belong. Then the CRC.
        header = Signal(SEQUENCE_BITS + SESSION_BITS, name="header")
        left = Signal.like(self.length, name="left")
        none_left = Signal(name="none_left")
        counted = Signal(name="counted")
        number = Signal(range(max(HEADER.size, CRC_BYTES)), name="number")
        content = Signal(8, name="content")  # the next byte of header, payload or CRC
        content_valid = Signal(name="content_valid")
        content_taken = Signal(name="content_taken")
        # Stuffing starts from a register, so that no path runs through it into the payload's queue.
        raw = Signal(8, name="raw")
        raw_valid = Signal(name="raw_valid")
        escaping = Signal(name="escaping")
        special = (raw == END) | (raw == ESC)
        out = self.bytes
        m.d.comb += [content_taken.eq(content_valid & ~raw_valid), crc.data.eq(content), crc.valid.eq(content_taken)]
        with m.If(content_taken):
            m.d.sync += [raw.eq(content), raw_valid.eq(1)]
        with m.If(raw_valid):
            m.d.comb += [
                out.valid.eq(1),
                out.payload.eq(Mux(escaping, Mux(raw == END, ESC_END, ESC_ESC), Mux(special, ESC, raw))),
            ]
            with m.If(out.ready):
                m.d.sync += [escaping.eq(special & ~escaping), raw_valid.eq(special & ~escaping)]
        with m.If(counted):
            m.d.sync += [left.eq(left - 1), none_left.eq(left == 1)]
        with m.FSM():
            with m.State("idle"):
                m.d.comb += [self.idle.eq(1), crc.start.eq(1)]
                m.d.sync += [header.eq(Cat(self.sequence, self.session)), number.eq(0)]
                with m.If(self.start):
                    m.next = "open"
            with m.State("open"):
                m.d.comb += [out.valid.eq(1), out.payload.eq(END)]
                m.d.sync += left.eq(self.length)
                with m.If(out.ready):
                    m.next = "header"
            with m.State("header"):
                m.d.comb += content_valid.eq(1)
                with m.Switch(number):
                    for index, field in enumerate((self.kind, self.length[:8], self.length[8:]), 1):
                        with m.Case(index):
                            m.d.comb += content.eq(field)
                    with m.Default():
                        m.d.comb += content.eq(header[:8])
                        with m.If(content_taken):
                            m.d.sync += header.eq(header >> 8)
                with m.If(content_taken):
                    m.d.sync += number.eq(number + 1)
                    m.d.comb += counted.eq(number >= LENGTH_AT)
                    with m.If(number == HEADER.size - 1):
                        m.d.sync += number.eq(0)
                        m.next = "payload"
            with m.State("payload"):
                with m.If(none_left):
                    m.d.sync += header.eq(crc.crc)
                    m.next = "crc"
                with m.Else():
                    m.d.comb += [
                        content.eq(payloads.o.payload),
                        content_valid.eq(payloads.o.valid),
                        payloads.o.ready.eq(content_taken),
                        counted.eq(content_taken),
                    ]
            with m.State("crc"):
                m.d.comb += [content.eq(header[:8]), content_valid.eq(1)]
                with m.If(content_taken):
                    m.d.sync += [header.eq(header >> 8), number.eq(number + 1)]
                    with m.If(number == CRC_BYTES - 1):
                        m.next = "close"
            with m.State("close"), m.If(~raw_valid):
                m.d.comb += [out.valid.eq(1), out.payload.eq(END)]
                with m.If(out.ready):
                    m.next = "idle"
        return m
