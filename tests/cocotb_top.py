"""cocotb regression of the top level through its AXI ports. Run by `tests/test_cocotb_top.py`, or `make cocotb`.

Every frame that enters is known, malformed ones included, and so is the packet it must give: a short frame counts as
padded with zeros, a long one as cut, a wrong spike address as absent, missing steps as empty.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import cocotb
import numpy as np
from axi import Lite, Sink, Source, unsigned
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, with_timeout
from cocotb.utils import get_sim_time
from cocotb_networks import NETWORKS, placed
from coverage_bins import Coverage
from rtl_bench import beats_of

from gradrtl import __version__
from gradrtl.rtl.axilite import Response
from gradrtl.rtl.frame_words import COUNT_BIT, MARK_BIT
from gradrtl.rtl.mapping import Mapping
from gradrtl.rtl.registers import MAGIC, registers
from gradrtl.sim import reference
from gradrtl.sim.operations import count

NAME = next(name for name in NETWORKS if name in cocotb.plusargs)
NETWORK = NETWORKS[NAME]()
MAPPING: Mapping = placed(NETWORK)
STATIC, GRADED = (MAPPING.input.kind == kind for kind in ("static", "graded"))
MAP = {register.name: register.address for register in registers(len(MAPPING.layers))}
PERIOD = 10
COMMON = (
    "good frame", "short frame", "long frame", "back to back frames", "input stalled", "output stalled",
    "reset in mid-frame", "reset between frames", "soft reset in mid-frame", "soft reset in mid-packet",
    "soft reset between frames", "burst of soft resets", "register read in traffic", "unknown address read",
    "unknown address written", "unaligned address", "read-only register written", "write strobe off",
    "error bit cleared", "data before address", "frame taken while another is computed",
)  # fmt: skip
KINDS = ("one beat",) if STATIC else ("unknown spike address", "last without mark", "marks only", "address twice")
COUNTS = ("count too large", "count of 0") if GRADED else ()
COVERED = Coverage(*COMMON, *KINDS, *COUNTS)


@dataclass
class Sent:
    """One frame as sent, and the frame that the network must see."""

    beats: list[tuple[int, int]]
    seen: np.ndarray
    flagged: bool


class Bench:
    """The design, its bus models, a record of every row that fires, and counts of cycles in which a stream stalls."""

    def __init__(self, dut, stalls: float, seed: int) -> None:
        self.dut, self.random = dut, random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.stalls = stalls
        self.rows: list[list[tuple[int, int]]] = [[] for _ in MAPPING.layers]
        self.stalled = {"input_stalls": 0, "output_stalls": 0}

    async def start(self) -> Bench:
        dut = self.dut
        dut.s_axis_tdata.value = 0
        dut.s_axis_tlast.value = 0
        dut.m_axis_tready.value = 0
        self.source = Source(dut, self.stalls, self.random.randrange(1 << 30))
        self.sink = Sink(dut, self.stalls, self.random.randrange(1 << 30))
        self.lite = Lite(dut)
        dut.rst.value = 1
        Clock(dut.clk, PERIOD, unit="ns").start()
        await ClockCycles(dut.clk, 3)
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        cocotb.start_soon(self.sink.run())
        cocotb.start_soon(self.watch())
        return self

    async def watch(self) -> None:
        cores = [getattr(self.dut.datapath, f"core{layer.index}") for layer in MAPPING.layers]
        streams = [
            (name, getattr(self.dut, f"{stream}_tvalid"), getattr(self.dut, f"{stream}_tready"))
            for name, stream in zip(self.stalled, ("s_axis", "m_axis"), strict=True)
        ]
        while True:
            await FallingEdge(self.dut.clk)
            await ReadOnly()
            for name, valid, ready in streams:
                self.stalled[name] += unsigned(valid) and not unsigned(ready)
            for core, rows in zip(cores, self.rows, strict=True):
                if unsigned(core.fire_valid):
                    rows.append((unsigned(core.fire_spikes), unsigned(core.fire_membranes)))

    async def reset(self) -> None:
        await FallingEdge(self.dut.clk)
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 2)
        await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    def frame(self) -> np.ndarray:
        shape = (MAPPING.sources,) if STATIC else (NETWORK.steps, MAPPING.sources)
        values = self.numbers.integers(0, 256 if STATIC else MAPPING.input.largest + 1, shape, dtype=np.uint8)
        values[self.numbers.random(shape) < self.numbers.random()] = 0
        return values

    def good(self) -> Sent:
        frame = self.frame()
        return Sent(beats_of(MAPPING, frame), frame, False)

    def short(self) -> Sent:
        """Ends early: some pixels, or some steps, are missing."""
        sent = self.good()
        if STATIC:
            keep = self.random.choice([1, self.random.randrange(1, len(sent.beats))])
            if keep == 1:
                COVERED.hit("one beat")
            sent.seen[keep * MAPPING.pixels_a_beat :] = 0
            beats = sent.beats[:keep]
        else:
            marks = [i for i, (word, _) in enumerate(sent.beats) if word >> MARK_BIT]
            steps = self.random.randrange(1, NETWORK.steps)
            sent.seen[steps:] = 0
            beats = sent.beats[: marks[steps - 1] + 1]
        return Sent([*beats[:-1], (beats[-1][0], 1)], sent.seen, True)

    def long(self) -> Sent:
        """Goes on after its last beat."""
        sent = self.good()
        extra = [(self.random.randrange(1 << 16), 0) for _ in range(self.random.randrange(1, 20))]
        return Sent([*((w, 0) for w, _ in sent.beats), *extra[:-1], (extra[-1][0], 1)], sent.seen, True)

    async def exchange(self, frames: list[Sent], compare_rows: bool = True) -> None:
        """Send all back to back; every packet must be right, in order, with its flag; nothing else may come."""
        first = [len(rows) for rows in self.rows]

        async def send() -> None:
            for sent in frames:
                await self.source.send(sent.beats)

        cocotb.start_soon(send())
        expected = reference.run(NETWORK, np.array([sent.seen for sent in frames]))
        for index, sent in enumerate(frames):
            words, user = await with_timeout(self.sink.packet(), 200_000 * PERIOD, "ns")
            right = [int(expected.classes[index]), *expected.counts[index].tolist()]
            assert words == right, f"frame {index}: packet {words}, expected {right}; {again()}"
            assert user == sent.flagged, f"frame {index}: tuser {user}, expected {sent.flagged}; {again()}"
        await ClockCycles(self.dut.clk, 50)
        assert not self.sink.packets, f"a packet that nobody asked for; {again()}"
        if compare_rows:
            self.compare(first, expected.trace)
        COVERED.hit("back to back frames")

    def compare(self, first: list[int], trace) -> None:
        """Every spike and membrane of every neuron that is built, at every step."""
        for layer, rows, start in zip(MAPPING.layers, self.rows, first, strict=True):
            got = rows[start:]
            frames, steps, _ = trace.spikes[layer.index].shape
            assert len(got) == frames * steps * layer.rows, f"layer {layer.index}: {len(got)} rows fired; {again()}"
            bits = layer.membrane_bits
            for k, (spikes, membranes) in enumerate(got):
                frame, step, row = k // (steps * layer.rows), k // layer.rows % steps, k % layer.rows
                for pe, neuron in enumerate(layer.slots[row]):
                    if neuron < 0:
                        continue
                    v = membranes >> (pe * bits) & ((1 << bits) - 1)
                    v -= (v >> (bits - 1)) << bits
                    seen = (spikes >> pe & 1, v)
                    right = tuple(int(x[layer.index][frame, step, neuron]) for x in (trace.spikes, trace.membranes))
                    where = f"frame {frame}, step {step}, layer {layer.index}, neuron {neuron}"
                    assert seen == right, f"{where}: spike and membrane {seen}, expected {right}; {again()}"


def again() -> str:
    return f"repeat with: python -m pytest tests/test_cocotb_top.py -k {NAME}"


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.3, 0.8])
async def good_frames(dut, stalls):
    bench = await Bench(dut, stalls, 1).start()
    await bench.exchange([bench.good() for _ in range(12)])
    COVERED.hit("good frame")
    for name, case in (("input_stalls", "input stalled"), ("output_stalls", "output stalled")):
        value, _ = await bench.lite.read(MAP[name])
        assert value == bench.stalled[name], f"register {name} is {value}, expected {bench.stalled[name]}; {again()}"
        if value:
            COVERED.hit(case)


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.4])
async def malformed_frames(dut, stalls):
    bench = await Bench(dut, stalls, 2).start()
    for sent, error in ((bench.short(), 1), (bench.long(), 2)):
        await bench.exchange([bench.good(), sent, bench.good()])
        assert (await bench.lite.read(MAP["errors"]))[0] == error
        await bench.lite.write(MAP["errors"], error)
        assert (await bench.lite.read(MAP["errors"]))[0] == 0
    frames = []
    for _ in range(10):
        frames += [bench.short(), bench.good(), bench.long(), bench.good()]
        if bench.random.random() < 0.5:
            frames += [bench.long(), bench.short()]
    await bench.exchange(frames)
    COVERED.hit("short frame")
    COVERED.hit("long frame")
    errors, _ = await bench.lite.read(MAP["errors"])
    assert errors == 3
    assert await bench.lite.write(MAP["errors"], 1, strobe=0xE) == Response.OKAY
    assert (await bench.lite.read(MAP["errors"]))[0] == 3, "a write without strobe must not clear"
    COVERED.hit("write strobe off")
    await bench.lite.write(MAP["errors"], 2)
    assert (await bench.lite.read(MAP["errors"]))[0] == 1
    COVERED.hit("error bit cleared")


@cocotb.test(skip=STATIC)
async def malformed_spikes(dut):
    bench = await Bench(dut, 0.2, 3).start()
    sources = MAPPING.sources
    frames = []
    for _ in range(8):
        sent = bench.good()
        at = bench.random.randrange(len(sent.beats))
        unknown = bench.random.randrange(sources, 1 << 20)
        frames += [Sent([*sent.beats[:at], (unknown, 0), *sent.beats[at:]], sent.seen, True), bench.good()]
        sent = bench.good()
        marks = [i for i, (word, _) in enumerate(sent.beats) if word >> MARK_BIT]
        frames.append(Sent([*sent.beats[: marks[-1]], (0, 1)], sent.seen, True))
        nothing = np.zeros_like(sent.seen)
        frames.append(Sent(beats_of(MAPPING, nothing), nothing, False))
        frames.append(bench.good())
        sent = bench.good()
        spikes = [i for i, (word, _) in enumerate(sent.beats) if not word >> MARK_BIT]
        if spikes:
            at = bench.random.choice(spikes)
            frames += [Sent([*sent.beats[: at + 1], *sent.beats[at:]], sent.seen, True), bench.good()]
            COVERED.hit("address twice")
        if GRADED:
            for count, case in ((MAPPING.input.largest + 1, "count too large"), (0, "count of 0")):
                sent = bench.good()
                sent.seen[-1, -1] = 0
                beat = (count << COUNT_BIT | sources - 1, 0)
                beats = beats_of(MAPPING, sent.seen)
                frames += [Sent([*beats[:-1], beat, beats[-1]], sent.seen, count > 0), bench.good()]
                COVERED.hit(case)
    for case in KINDS[:-1]:
        COVERED.hit(case)
    await bench.exchange(frames)


@cocotb.test()
async def resets_in_mid_frame(dut):
    bench = await Bench(dut, 0.1, 4).start()
    for attempt in range(12):
        sent = bench.good()
        await bench.source.send(sent.beats[: bench.random.randrange(len(sent.beats))])
        if attempt % 3 == 0:
            await bench.source.send(sent.beats)
            await ClockCycles(dut.clk, bench.random.randrange(1, 150))
        await bench.reset()
        bench.sink.packets.clear()
        await bench.exchange([bench.good(), bench.good()])
    COVERED.hit("reset in mid-frame")
    await bench.reset()
    await bench.exchange([bench.good()])
    COVERED.hit("reset between frames")


@cocotb.test()
async def soft_resets(dut):
    """Frames inside are lost, whole packets still leave, the rest of a half frame is dropped, good ones follow."""
    bench = await Bench(dut, 0.2, 5).start()
    for attempt in range(30):
        whole = [bench.good() for _ in range(bench.random.randrange(3))]
        for sent in whole:
            await bench.source.send(sent.beats)
        half = bench.good()
        cut = bench.random.randrange(len(half.beats)) if attempt % 2 else 0
        if cut:
            await bench.source.send(half.beats[:cut])
            COVERED.hit("soft reset in mid-frame")
        if whole and attempt % 4 == 0:
            while not bench.sink.words:
                await FallingEdge(dut.clk)
        else:
            await ClockCycles(dut.clk, bench.random.choice([0, 3, 40, 150, 400]))
        if bench.sink.words:
            COVERED.hit("soft reset in mid-packet")
        elif not cut:
            COVERED.hit("soft reset between frames")
        for _ in range(bench.random.choice([1, 1, 5])):
            assert await bench.lite.write(MAP["control"], 1) == Response.OKAY
        if attempt % 3 == 0:
            for _ in range(6):
                await bench.lite.write(MAP["control"], 1)
            COVERED.hit("burst of soft resets")
        if cut:
            await bench.source.send(half.beats[cut:])
        await ClockCycles(dut.clk, 200)
        assert not bench.sink.words, f"half a packet: {bench.sink.words}; {again()}"
        left = [words for words, _ in bench.sink.packets]
        bench.sink.packets.clear()
        right = []
        if whole:
            outcome = reference.run(NETWORK, np.array([sent.seen for sent in whole]))
            right = [[int(c), *row] for c, row in zip(outcome.classes, outcome.counts.tolist(), strict=True)]
        assert left == right[: len(left)], f"after a soft reset: {left}, expected the first of {right}; {again()}"
        await bench.exchange([bench.good(), bench.good()])


@cocotb.test()
async def registers_under_traffic(dut):
    bench = await Bench(dut, 0.3, 6).start()
    lite = bench.lite
    major, minor, patch = (int(part) for part in __version__.split("."))
    times = [((await lite.read(MAP["cycles"]))[0], get_sim_time("ns")) for _ in range(2)]
    assert times[1][0] - times[0][0] == (times[1][1] - times[0][1]) / PERIOD, "the counter of cycles misses some"
    frames = [bench.good() for _ in range(8)]
    traffic = cocotb.start_soon(bench.exchange(frames))
    digest = b""
    for name, address in MAP.items():
        value, response = await lite.read(address, delay=bench.random.randrange(4))
        assert response == Response.OKAY
        if name == "magic":
            assert value == MAGIC
        if name == "version":
            assert value == major << 16 | minor << 8 | patch
        if name.startswith("digest"):
            digest += value.to_bytes(4, "big")
        COVERED.hit("register read in traffic")
    assert digest.hex() == NETWORK.digest
    beyond = max(MAP.values()) + 4
    assert (await lite.read(beyond))[1] == Response.DECERR
    COVERED.hit("unknown address read")
    assert await lite.write(beyond, 1, delay=3) == Response.DECERR
    COVERED.hit("unknown address written")
    assert (await lite.read(MAP["cycles"] + 1))[1] == Response.DECERR
    assert await lite.write(MAP["control"] + 2, 1) == Response.DECERR
    COVERED.hit("unaligned address")
    assert await lite.write(MAP["frames_in"], 77, data_first=True) == Response.SLVERR
    COVERED.hit("read-only register written")
    COVERED.hit("data before address")
    await traffic
    counted = count(NETWORK, np.array([sent.seen for sent in frames]))
    events = [0] * len(MAPPING.layers)
    for edge, found in zip(NETWORK.edges, counted.events, strict=True):
        events[edge.population] += int(found.sum())
    for name, right in (
        ("frames_in", len(frames)),
        ("frames_out", len(frames)),
        ("errors", 0),
        ("status", 0),
        *((f"events{number}", found) for number, found in enumerate(events)),
    ):
        value, _ = await lite.read(MAP[name])
        assert value == right, f"register {name} is {value}, expected {right}; {again()}"
    COVERED.hit("frame taken while another is computed")


@cocotb.test()
async def coverage_is_full(dut):
    """Last: every case above was met."""
    dut._log.info("functional coverage\n%s", COVERED.table())
    Path("functional_coverage.txt").write_text(COVERED.table() + "\n")
    assert not COVERED.missed, f"never met: {COVERED.missed}"
