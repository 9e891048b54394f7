"""Bus models for cocotb: AXI4-Stream source and sink, AXI4-Lite manager. They check the rules of the bus themselves.

Everything is driven at the falling edge and sampled in the read-only phase after it: what is seen there is what the
next rising edge acts on, whatever the simulator's order of events.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from cocotb.triggers import Event, FallingEdge, ReadOnly

WORD = 32


class BusFault(AssertionError):
    """The design broke a rule of the bus."""


def unsigned(handle) -> int:
    """Value of a handle; `BusFault` if some of its bits are unknown."""
    value = handle.value
    if not value.is_resolvable:
        raise BusFault(f"{handle._name} is {value}")
    return int(value)


class Source:
    """Sends frames, lists of (tdata, tlast), over `s_axis`; before a beat it pauses with probability `stalls`."""

    def __init__(self, dut, stalls: float, seed: int) -> None:
        self.dut, self.stalls, self.random = dut, stalls, random.Random(seed)
        self.beats = 0
        dut.s_axis_tvalid.value = 0

    async def send(self, frame: Sequence[tuple[int, int]]) -> None:
        """Returns when the last beat has been taken (at the edge that follows)."""
        dut = self.dut
        for word, last in frame:
            await FallingEdge(dut.clk)
            while self.random.random() < self.stalls:
                dut.s_axis_tvalid.value = 0
                await FallingEdge(dut.clk)
            dut.s_axis_tdata.value = word
            dut.s_axis_tlast.value = last
            dut.s_axis_tvalid.value = 1
            await ReadOnly()
            while not unsigned(dut.s_axis_tready):
                await FallingEdge(dut.clk)
                await ReadOnly()
            self.beats += 1
        await FallingEdge(dut.clk)
        dut.s_axis_tvalid.value = 0


class Sink:
    """Takes packets from `m_axis` as (words, tuser) and checks them: nothing changes or vanishes under a stall."""

    def __init__(self, dut, stalls: float, seed: int) -> None:
        self.dut, self.stalls, self.random = dut, stalls, random.Random(seed)
        self.packets: deque[tuple[list[int], int]] = deque()
        self.words: list[int] = []
        self.arrived = Event()

    async def run(self) -> None:
        dut, held = self.dut, None
        while True:
            await FallingEdge(dut.clk)
            ready = int(self.random.random() >= self.stalls)
            dut.m_axis_tready.value = ready
            await ReadOnly()
            if unsigned(dut.rst):
                held, self.words = None, []
                continue
            valid = unsigned(dut.m_axis_tvalid)
            if held is not None and not valid:
                raise BusFault("m_axis_tvalid fell before the beat was taken")
            if not valid:
                continue
            beat = tuple(unsigned(h) for h in (dut.m_axis_tdata, dut.m_axis_tlast, dut.m_axis_tuser))
            if held not in (None, beat):
                raise BusFault(f"m_axis changed under a stall: {held} became {beat}")
            held = None if ready else beat
            if ready:
                self.words.append(beat[0] - (1 << WORD) if beat[0] >> (WORD - 1) else beat[0])
                if beat[1]:
                    self.packets.append((self.words, beat[2]))
                    self.words = []
                    self.arrived.set()

    async def packet(self) -> tuple[list[int], int]:
        """The next packet, when it is there."""
        while not self.packets:
            self.arrived.clear()
            await self.arrived.wait()
        return self.packets.popleft()


class Lite:
    """AXI4-Lite manager on `s_axil`: one read or write at a time."""

    def __init__(self, dut) -> None:
        self.dut = dut
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            self._port(name).value = 0

    def _port(self, name: str):
        return getattr(self.dut, f"s_axil_{name}")

    async def read(self, address: int, delay: int = 0) -> tuple[int, int]:
        """Data and response; `delay` cycles pass before the answer is taken."""
        await self._request("ar", {"araddr": address})
        await self._answer("r", delay)
        result = unsigned(self._port("rdata")), unsigned(self._port("rresp"))
        await self._done("r")
        return result

    async def write(self, address: int, data: int, strobe: int = 0xF, delay: int = 0, data_first: bool = False) -> int:
        """Response; the data channel goes before the address channel if `data_first`."""
        requests = [("aw", {"awaddr": address}), ("w", {"wdata": data, "wstrb": strobe})]
        for channel, fields in reversed(requests) if data_first else requests:
            await self._request(channel, fields)
        await self._answer("b", delay)
        result = unsigned(self._port("bresp"))
        await self._done("b")
        return result

    async def _request(self, channel: str, fields: dict[str, int]) -> None:
        await FallingEdge(self.dut.clk)
        for name, value in fields.items():
            self._port(name).value = value
        self._port(f"{channel}valid").value = 1
        await ReadOnly()
        while not unsigned(self._port(f"{channel}ready")):
            await FallingEdge(self.dut.clk)
            await ReadOnly()
        await FallingEdge(self.dut.clk)
        self._port(f"{channel}valid").value = 0

    async def _answer(self, channel: str, delay: int) -> None:
        for _ in range(delay):
            await FallingEdge(self.dut.clk)
        await ReadOnly()
        while not unsigned(self._port(f"{channel}valid")):
            await FallingEdge(self.dut.clk)
            await ReadOnly()

    async def _done(self, channel: str) -> None:
        await FallingEdge(self.dut.clk)
        self._port(f"{channel}ready").value = 1
        await FallingEdge(self.dut.clk)
        self._port(f"{channel}ready").value = 0
