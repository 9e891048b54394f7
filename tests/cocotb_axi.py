"""The bus models of `axi.py` against a device that keeps the rules, and against one that breaks them."""

from __future__ import annotations

import random

import cocotb
import pytest
from axi import BusFault, Lite, Sink, Source
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, with_timeout

PERIOD = 10


async def started(dut, stalls: float, fault: int = 0) -> tuple[Source, Sink, Lite]:
    source, sink, lite = Source(dut, stalls, 1), Sink(dut, stalls, 2), Lite(dut)
    dut.fault.value = fault
    dut.m_axis_tready.value = 0
    dut.rst.value = 1
    Clock(dut.clk, PERIOD, unit="ns").start()
    await ClockCycles(dut.clk, 3)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    return source, sink, lite


def packets(count: int) -> list[list[int]]:
    generator = random.Random(3)
    return [[generator.randrange(1 << 31) for _ in range(generator.randrange(1, 9))] for _ in range(count)]


async def send(source: Source, sent: list[list[int]]) -> None:
    for words in sent:
        await source.send([(word, int(i == len(words) - 1)) for i, word in enumerate(words)])


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.5])
async def packets_arrive_as_they_were_sent(dut, stalls):
    source, sink, _ = await started(dut, stalls)
    cocotb.start_soon(sink.run())
    sent = packets(30)
    sending = cocotb.start_soon(send(source, sent))
    for words in sent:
        got, user = await with_timeout(sink.packet(), 1000 * PERIOD, "ns")
        assert got == words
        assert user == words[-1] & 1
    await sending
    assert source.beats == sum(map(len, sent))
    assert not sink.packets


@cocotb.test()
@cocotb.parametrize(fault=[1, 2])
async def broken_rules_are_noticed(dut, fault):
    source, sink, _ = await started(dut, 0.5, fault)
    watching = cocotb.start_soon(sink.run())
    cocotb.start_soon(send(source, packets(30)))
    with pytest.raises(BusFault, match={1: "fell", 2: "changed"}[fault]):
        await with_timeout(watching, 1000 * PERIOD, "ns")


@cocotb.test()
async def registers_are_read_and_written(dut):
    _, _, lite = await started(dut, 0.0)
    assert await lite.read(0) == (0, 0)
    for data_first in (False, True):
        for delay in (0, 1, 4):
            value = random.Random(delay).randrange(1 << 32)
            assert await lite.write(0, value, delay=delay, data_first=data_first) == 0
            assert await lite.read(0, delay=delay) == (value, 0)
    assert await lite.write(4, 1) == 3
    assert (await lite.read(4))[1] == 3
