"""An asynchronous serial port: 8 data bits, no parity, one stop bit, lowest bit first."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

DATA_BITS = 8
FRAME_BITS = 1 + DATA_BITS + 1  # start, data, stop
SHORTEST_BIT = 4  # cycles


class Receiver(wiring.Component):
    """Pin to bytes.

    Ports
    -----
    pin
        In: the line, any phase; idle high.
    byte, valid
        Out: `valid` for one cycle with each byte, in the middle of its stop bit. A stop bit that is low drops the byte.

    A bit lasts `divisor` cycles and is sampled in its middle; clocks may differ by 4 %.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"pin": In(1, init=1), "byte": Out(8), "valid": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1, name="line")
        m.submodules.synchronizer = FFSynchronizer(self.pin, line, init=1)
        timer = Signal(range(self.divisor), name="timer")
        bits = Signal(range(FRAME_BITS + 1), name="bits")  # still to come, 0 when idle
        shift = Signal(DATA_BITS, name="shift")
        m.d.comb += self.byte.eq(shift)
        with m.If(bits == 0), m.If(~line):
            m.d.sync += [bits.eq(FRAME_BITS), timer.eq(self.divisor // 2 - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), bits.eq(bits - 1)]
            with m.If((bits == FRAME_BITS) & line):
                m.d.sync += bits.eq(0)  # a glitch, not a start bit
            with m.Elif(bits == 1):
                m.d.comb += self.valid.eq(line)
            with m.Elif(bits != FRAME_BITS):
                m.d.sync += shift.eq(Cat(shift[1:], line))
        return m


class Transmitter(wiring.Component):
    """Bytes to pin.

    Ports
    -----
    bytes
        In: 8 bits; taken when the byte before has left, stop bit included.
    pin
        Out: the line, from a register; idle high.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"bytes": In(stream.Signature(8)), "pin": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self.divisor), name="timer")
        bits = Signal(range(FRAME_BITS + 1), name="bits")
        shift = Signal(FRAME_BITS, init=-1, name="shift")
        m.d.comb += self.bytes.ready.eq(bits == 0)
        m.d.sync += self.pin.eq(Mux(bits == 0, 1, shift[0]))
        with m.If(bits == 0), m.If(self.bytes.valid):
            m.d.sync += [
                shift.eq(Cat(Const(0, 1), self.bytes.payload, Const(1, 1))),
                bits.eq(FRAME_BITS),
                timer.eq(self.divisor - 1),
            ]
        with m.Elif(timer == 0):
            m.d.sync += [shift.eq(shift >> 1), bits.eq(bits - 1), timer.eq(self.divisor - 1)]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        return m
