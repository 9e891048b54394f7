"""Frames through the accelerator's AXI ports, with cocotbext-axi; expected packets are the simulator's."""

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "gradrtl.json").read_text())
FRAMES = json.loads((HERE / "vectors.json").read_text())["frames"]
PERIOD = 10  # ns
PATIENCE = 1_000_000  # cycles for a packet
TOO_SHORT, TOO_LONG = 1, 2  # bits of the register `errors`


class Bench:
    """The ports of the accelerator, after reset; `stalls` is the probability of a pause in each cycle of a stream."""

    def __init__(self, dut, stalls):
        self.dut = dut
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **reset)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.aclk, **reset)
        if stalls:
            for stream, seed in ((self.source, 1), (self.sink, 2)):
                generator = random.Random(seed)
                stream.set_pause_generator(iter(lambda g=generator: g.random() < stalls, None))

    async def start(self):
        Clock(self.dut.aclk, PERIOD, unit="ns").start()
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    async def packet(self):
        """The words of the next packet, and whether its frame was malformed."""
        frame = await with_timeout(self.sink.recv(), PATIENCE * PERIOD, "ns")
        data = bytes(frame.tdata)
        words = [int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, len(data), 4)]
        user = frame.tuser if isinstance(frame.tuser, list) else [frame.tuser or 0]
        return words, any(user)

    async def register(self, name):
        return await self.registers.read_dword(FACTS["registers"][name])


def data_of(frame):
    """A frame as bytes of the stream; the last beat may be filled in part, which TKEEP then says."""
    size = FACTS["beat_bytes"]
    data = b"".join(word.to_bytes(size, "little") for word in frame["words"])
    return data[: FACTS["frame_bytes"] or len(data)]


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.4])
async def every_frame_has_the_packet_of_the_simulator(dut, stalls):
    bench = Bench(dut, stalls)
    await bench.start()
    for frame in FRAMES:
        await bench.source.send(AxiStreamFrame(data_of(frame)))
    for number, frame in enumerate(FRAMES):
        words, flagged = await bench.packet()
        assert words == frame["packet"], f"frame {number}: {words}, expected {frame['packet']}"
        assert not flagged
    assert await bench.register("frames_in") == await bench.register("frames_out") == len(FRAMES)
    assert await bench.register("errors") == 0


def malformed(frame):
    """A beat or two that are no frame, and the bit of `errors` that says why."""
    data, size = data_of(frame), FACTS["beat_bytes"]
    if len(data) > size:
        return data[:size], TOO_SHORT
    if FACTS["input"] == "static":
        return bytes(2 * size), TOO_LONG
    return bytes(size), TOO_SHORT  # an address where the mark belongs


async def is_flagged_and_the_next_one_is_right(bench, bad):
    """Send `bad`, then the first frame, which has its own packet; whether that of `bad` was flagged.

    A stream goes on from the state that a bad step leaves, and begins anew after a reset.
    """
    await bench.source.send(AxiStreamFrame(bad))
    _, flagged = await bench.packet()
    if FACTS["numbered"]:
        await bench.registers.write_dword(FACTS["registers"]["control"], 1)
    await bench.source.send(AxiStreamFrame(data_of(FRAMES[0])))
    assert await bench.packet() == (FRAMES[0]["packet"], False)
    return flagged or FACTS["answers_early"]  # an answer that has left before the fault came in has no flag


@cocotb.test()
async def a_malformed_frame_is_flagged_and_the_next_one_is_right(dut):
    bench = Bench(dut, 0.0)
    await bench.start()
    bad, error = malformed(FRAMES[0])
    assert await is_flagged_and_the_next_one_is_right(bench, bad)
    assert await bench.register("errors") == error


@cocotb.test(skip=len(data_of(FRAMES[0])) == 1)
async def a_frame_without_its_last_byte_is_flagged_and_the_next_one_is_right(dut):
    bench = Bench(dut, 0.4)
    await bench.start()
    assert await is_flagged_and_the_next_one_is_right(bench, data_of(FRAMES[0])[:-1])
    assert await bench.register("errors") or FACTS["cancels"]  # the rest of a frame that has its answer is not checked


@cocotb.test()
async def outputs_are_quiet_during_reset(dut):
    bench = Bench(dut, 0.0)
    await bench.start()
    outputs = [dut.s_axis_tready, dut.m_axis_tvalid, dut.s_axil_awready, dut.s_axil_bvalid, dut.s_axil_arready]
    outputs += [dut.s_axil_wready, dut.s_axil_rvalid]
    assert dut.s_axis_tready.value == 1
    dut.aresetn.value = 0
    await ReadOnly()
    assert not any(int(output.value) for output in outputs)
    await ClockCycles(dut.aclk, 3)
    dut.aresetn.value = 1
    await bench.source.send(AxiStreamFrame(data_of(FRAMES[0])))
    assert await bench.packet() == (FRAMES[0]["packet"], False)


@cocotb.test()
async def registers_identify_the_network(dut):
    bench = Bench(dut, 0.0)
    await bench.start()
    assert await bench.register("magic") == FACTS["magic"]
    digest = b"".join([(await bench.register(f"digest{i}")).to_bytes(4, "big") for i in range(8)])
    assert digest.hex() == FACTS["digest"]
