"""The accelerator in Amaranth's own simulator, fed and drained beat by beat under seeded random stalls."""

from __future__ import annotations

import numpy as np
from amaranth.sim import Simulator

from gradrtl.rtl.axilite import Response
from gradrtl.rtl.frame_words import COUNT_BIT, HELD_BIT, MARK_BIT
from gradrtl.rtl.mapping import Mapping
from gradrtl.rtl.microphone import Microphone
from gradrtl.rtl.top import Accelerator

PATIENCE = 20_000  # cycles without a beat of a packet: the accelerator stands still
Beat = tuple[int, int]  # s_axis_tdata, s_axis_tlast


def beats_of(mapping: Mapping, frame: np.ndarray) -> list[Beat]:
    """One frame as it goes over `s_axis`; the padding of the last beat is filled with ones, which must not matter."""
    kind = mapping.input.kind
    if kind != "static":
        words = []
        for number, (segment, seen) in enumerate(zip(frame.tolist(), mapping.input.seen(frame).tolist(), strict=True)):
            shown = [(source, segment[source] if kind == "graded" else 0) for source, bits in enumerate(seen) if bits]
            held = mapping.input.is_mixed and number == 0
            words += [*(count << COUNT_BIT | source for source, count in shown), 1 << MARK_BIT | held << HELD_BIT]
    else:
        lanes = mapping.pixels_a_beat
        padded = np.full(mapping.beats * lanes, 255, np.uint8)
        padded[: len(frame)] = frame
        words = [int.from_bytes(padded[i : i + lanes].tobytes(), "little") for i in range(0, len(padded), lanes)]
    return [(word, int(i == len(words) - 1)) for i, word in enumerate(words)]


class Bench:
    """Sends `frames` (lists of beats) to `dut` and takes `packets`; times are in cycles since reset.

    `gap`: cycles without a beat after each frame.
    """

    def __init__(
        self,
        mapping: Mapping,
        frames: list[list[Beat]],
        stalls: float = 0.0,
        seed: int = 0,
        dut: Accelerator | Microphone | None = None,
        gap: int = 0,
    ) -> None:
        self.dut = Accelerator(mapping) if dut is None else dut
        self.frames, self.stalls, self.gap = frames, stalls, gap
        self.generators = [np.random.default_rng([seed, side]) for side in range(2)]
        self.packets: list[list[int]] = []
        self.flags: list[int] = []
        self.offered: list[list[int]] = []
        self.accepted: list[list[int]] = []
        self.taken: list[list[int]] = []

    def run(self, packets: int | None = None) -> None:
        """Until `packets` packets (default: one a frame) have left."""
        self.expected = len(self.frames) if packets is None else packets
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._send, background=True)
        simulator.add_testbench(self._receive)
        simulator.run()

    def _wait(self, side: int) -> int:
        generator = self.generators[side]
        return int(generator.integers(1, 30)) if generator.random() < self.stalls else 0

    async def _send(self, ctx) -> None:
        dut, time = self.dut, 0
        for frame in self.frames:
            offers, times = [], []
            for word, last in frame:
                ctx.set(dut.s_axis_tvalid, 0)
                for _ in range(self._wait(0)):
                    await ctx.tick()
                    time += 1
                offers.append(time)
                ctx.set(dut.s_axis_tdata, word)
                ctx.set(dut.s_axis_tlast, last)
                ctx.set(dut.s_axis_tvalid, 1)
                ready = 0
                while not ready:
                    _, _, ready = await ctx.tick().sample(dut.s_axis_tready)
                    time += 1
                times.append(time - 1)
            self.offered.append(offers)
            self.accepted.append(times)
            ctx.set(dut.s_axis_tvalid, 0)
            for _ in range(self.gap):
                await ctx.tick()
                time += 1
        ctx.set(dut.s_axis_tvalid, 0)

    async def _receive(self, ctx) -> None:
        dut, time = self.dut, 0
        packet: list[int] = []
        times: list[int] = []
        while len(self.packets) < self.expected:
            ctx.set(dut.m_axis_tready, 0)
            for _ in range(self._wait(1)):
                await ctx.tick()
                time += 1
            ctx.set(dut.m_axis_tready, 1)
            valid, asked = 0, time
            while not valid:
                assert time - asked < PATIENCE, f"no packet beat in {PATIENCE} cycles after packet {len(self.packets)}"
                _, _, valid, word, last, user = await ctx.tick().sample(
                    dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast, dut.m_axis_tuser
                )
                time += 1
            packet.append(word - (1 << 32) if word >> 31 else word)
            times.append(time - 1)
            if last:
                self.packets.append(packet)
                self.flags.append(user)
                self.taken.append(times)
                packet, times = [], []
        while self.expected == len(self.frames) > len(self.accepted):  # an early packet
            await ctx.tick()


async def offer(ctx, dut: Accelerator | Microphone, beats: list[Beat]) -> None:
    """Sends beats without a pause; returns when the last one is taken."""
    for word, last in beats:
        ctx.set(dut.s_axis_tdata, word)
        ctx.set(dut.s_axis_tlast, last)
        ctx.set(dut.s_axis_tvalid, 1)
        await ctx.tick().until(dut.s_axis_tready)
    ctx.set(dut.s_axis_tvalid, 0)


async def received(ctx, dut: Accelerator | Microphone) -> tuple[list[int], int]:
    """Words of the next packet, and the flag of its last beat; ready stays as it is."""
    words = []
    while True:
        _, _, valid, word, last, user = await ctx.tick().sample(
            dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast, dut.m_axis_tuser
        )
        if valid:
            words.append(word)
            if last:
                return words, user


async def lite_read(ctx, dut: Accelerator | Microphone, address: int) -> int:
    """What register `address` holds; it must answer OKAY."""
    ctx.set(dut.s_axil_araddr, address)
    ctx.set(dut.s_axil_arvalid, 1)
    await ctx.tick().until(dut.s_axil_arready)
    ctx.set(dut.s_axil_arvalid, 0)
    ctx.set(dut.s_axil_rready, 1)
    value, response = await ctx.tick().sample(dut.s_axil_rdata, dut.s_axil_rresp).until(dut.s_axil_rvalid)
    ctx.set(dut.s_axil_rready, 0)
    assert response == Response.OKAY.value
    return value


async def lite_write(ctx, dut: Accelerator | Microphone, address: int, word: int) -> None:
    """Writes `word` with all its bytes; it must answer OKAY."""
    ctx.set(dut.s_axil_awaddr, address)
    ctx.set(dut.s_axil_awvalid, 1)
    await ctx.tick().until(dut.s_axil_awready)
    ctx.set(dut.s_axil_awvalid, 0)
    ctx.set(dut.s_axil_wdata, word)
    ctx.set(dut.s_axil_wstrb, 15)
    ctx.set(dut.s_axil_wvalid, 1)
    await ctx.tick().until(dut.s_axil_wready)
    ctx.set(dut.s_axil_wvalid, 0)
    ctx.set(dut.s_axil_bready, 1)
    (response,) = await ctx.tick().sample(dut.s_axil_bresp).until(dut.s_axil_bvalid)
    ctx.set(dut.s_axil_bready, 0)
    assert response == Response.OKAY.value
