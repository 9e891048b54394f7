"""The datapath in Amaranth's own simulator: results equal the reference, cycles equal the timing model.

Small networks, under random stalls on both sides. Whole networks run in compiled Verilog, in other files.
"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator
from gradrtl.quantize.network import Dense, Input, Layer, Neuron, QuantizedNetwork
from gradrtl.rtl.datapath import Datapath
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.sim import cycles, reference
from gradrtl.sim.events import events_of
from random_networks import Options, frames, network

START = 400  # cycles: both banks of every core are clear
OPTIONS = Options(dense_only=True, largest=40, most_layers=3, most_steps=4, kinds=("static",))


class Bench:
    """Feeds frames beat by beat and takes packets word by word; a stall is drawn before each."""

    def __init__(self, mapping: Mapping, images: np.ndarray, stalls: float, seed: int) -> None:
        self.mapping, self.images, self.stalls = mapping, images, stalls
        self.generator = np.random.default_rng(seed)
        self.packets: list[list[int]] = []
        self.offered: list[list[int]] = []
        self.first, self.last, self.result = [], [], []

    def waits(self) -> int:
        return int(self.generator.integers(1, 30)) if self.generator.random() < self.stalls else 0

    def run(self) -> None:
        self.dut = Datapath(self.mapping)
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self.send)
        simulator.add_testbench(self.receive)
        simulator.run()

    async def send(self, ctx) -> None:
        mapping, dut = self.mapping, self.dut
        await ctx.tick().repeat(START)
        time = 0
        lanes, beats = mapping.pixels_a_beat, mapping.beats
        for image in self.images:
            padded = np.full(beats * lanes, 255, np.uint8)  # what pads the last beat must not matter
            padded[: len(image)] = image
            times, offers = [], []
            for beat in range(beats):
                wait = self.waits()
                ctx.set(dut.frames.valid, 0)
                for _ in range(wait):
                    await ctx.tick()
                time += wait
                offers.append(time)
                pixels = padded[beat * lanes : (beat + 1) * lanes].tolist()
                ctx.set(dut.frames.payload, {"pixels": pixels, "index": beat, "last": beat == beats - 1, "bad": 0})
                ctx.set(dut.frames.valid, 1)
                ready = 0
                while not ready:
                    _, _, ready = await ctx.tick().sample(dut.frames.ready)
                    time += 1
                times.append(time - 1)
            self.offered.append(offers)
            self.first.append(times[0])
            self.last.append(times[-1])
        ctx.set(dut.frames.valid, 0)

    async def receive(self, ctx) -> None:
        dut = self.dut
        packet: list[int] = []
        time = -START
        while len(self.packets) < len(self.images):
            ctx.set(dut.packets.ready, 0)
            for _ in range(self.waits()):
                await ctx.tick()
                time += 1
            ctx.set(dut.packets.ready, 1)
            valid = 0
            while not valid:
                _, _, valid, payload = await ctx.tick().sample(dut.packets.valid, dut.packets.payload)
                time += 1
            packet.append(payload.word)
            if payload.last:
                self.packets.append(packet)
                self.result.append(time - 1)
                packet = []


def check(net: QuantizedNetwork, mapping: Mapping, images: np.ndarray, stalls: float, seed: int) -> None:
    bench = Bench(mapping, images, stalls, seed)
    bench.run()
    expected = reference.run(net, images)
    assert bench.packets == [[int(c), *row] for c, row in zip(expected.classes, expected.counts.tolist(), strict=True)]
    assert expected.trace is not None
    stalled = stalls > 0
    predicted = cycles.predict(
        mapping,
        events_of(mapping, images, expected.trace),
        offered=np.array(bench.offered) if stalled else None,
        packet_times=np.array(bench.result) if stalled else None,
    )
    assert predicted.first_beat.tolist() == bench.first
    assert predicted.last_beat.tolist() == bench.last
    assert predicted.result.tolist() == bench.result


@pytest.mark.parametrize("stalls", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, stalls):
    generator = np.random.default_rng(seed)
    net = network(seed, OPTIONS)
    mapping = map_network(
        net,
        tuple(int(p) for p in generator.integers(1, 9, len(net.layers))),
        pixels_a_beat=int(generator.choice([1, 2, 4, 8])),
        queue_depth=int(generator.integers(2, 10)),
        row_queue_depth=int(generator.integers(2, 6)),
    )
    check(net, mapping, frames(net, 6, seed), stalls, seed)


def test_one_neuron_and_more_elements_than_neurons():
    layer = Layer("only", (1,), Dense(np.array([[3]], np.int8), np.zeros(1, np.int64)), lif(200), 4)
    net = QuantizedNetwork(Input((1,)), (layer,), 3)
    check(net, map_network(net, (5,)), np.array([[0], [255], [7]], np.uint8), 0.0, 0)


@pytest.mark.parametrize("threshold", [-(1 << 20), 1 << 20], ids=["all firing", "all silent"])
def test_extremes(threshold):
    generator = np.random.default_rng(0)
    weights = [generator.integers(-8, 8, shape).astype(np.int8) for shape in ((9, 8), (3, 9))]
    layers = (
        Layer("hidden", (8,), Dense(weights[0], np.zeros(9, np.int64)), lif(threshold), 4),
        Layer("out", (9,), Dense(weights[1], np.zeros(3, np.int64)), lif(threshold), 4),
    )
    net = QuantizedNetwork(Input((8,)), layers, 4)
    check(net, map_network(net, (2, 2)), generator.integers(0, 256, (4, 8), dtype=np.uint8), 0.0, 0)


def test_same_target_in_every_cycle_needs_forwarding():
    layer = Layer("only", (16,), Dense(np.full((1, 16), 7, np.int8), np.zeros(1, np.int64)), lif(10), 4)
    net = QuantizedNetwork(Input((16,)), (layer,), 2)
    check(net, map_network(net, (1,), pixels_a_beat=8), np.full((3, 16), 200, np.uint8), 0.0, 0)


def lif(threshold: int) -> Neuron:
    return Neuron("decaying_input", "hard", np.array([threshold]))
