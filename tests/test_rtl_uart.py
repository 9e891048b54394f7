"""Bytes go through the serial port unchanged, at clocks that differ a little; a broken stop bit drops its byte."""

from __future__ import annotations

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from gradrtl.rtl.uart import Receiver, Transmitter


def through(data: bytes, sending: int, receiving: int) -> bytes:
    """`data` from a transmitter of `sending` cycles a bit to a receiver of `receiving`."""
    m = Module()
    m.submodules.transmitter = transmitter = Transmitter(sending)
    m.submodules.receiver = receiver = Receiver(receiving)
    m.d.comb += receiver.pin.eq(transmitter.pin)
    received = bytearray()

    async def run(ctx):
        place = 0
        for _ in range((len(data) + 2) * 10 * (sending + 1)):
            ctx.set(transmitter.bytes.valid, place < len(data))
            ctx.set(transmitter.bytes.payload, data[place] if place < len(data) else 0)
            place += ctx.get(transmitter.bytes.ready)
            if ctx.get(receiver.valid):
                received.append(ctx.get(receiver.byte))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    return bytes(received)


@pytest.mark.parametrize(("sending", "receiving"), [(4, 4), (25, 25), (25, 24), (24, 25)])
def test_bytes_arrive(sending, receiving):
    data = bytes(range(0, 256, 5)) + b"\x00\xff\x55\xaa"
    assert through(data, sending, receiving) == data


def test_a_low_stop_bit_drops_the_byte():
    receiver = Receiver(4)
    seen = []

    async def run(ctx):
        for level in [0] * 10 + [1] * 12 + [0, *[1] * 8, 1, 1, 1]:
            ctx.set(receiver.pin, level)
            for _ in range(4):
                if ctx.get(receiver.valid):
                    seen.append(ctx.get(receiver.byte))
                await ctx.tick()

    simulator = Simulator(receiver)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    assert seen == [0xFF]
