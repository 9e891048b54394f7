"""The top level in Amaranth's own simulator: results equal the reference, cycles equal the timing model.

Small networks, under random stalls on both sides. Whole networks run in compiled Verilog, in other files.
"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator
from random_networks import Options, frames, network
from rtl_bench import Beat, Bench, beats_of, lite_read, lite_write, offer

from gradrtl.quantize.network import (
    Connection,
    Dense,
    Input,
    IntNeuron,
    Layer,
    Population,
    QuantizedNetwork,
    Readout,
)
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.frame_words import COUNT_BIT, HELD_BIT, MARK_BIT
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.registers import registers
from gradrtl.rtl.top import Accelerator
from gradrtl.sim import reference
from gradrtl.sim.events import events_of
from gradrtl.sim.timing.predict import predict

OPTIONS = Options(dense_only=True, largest=40, most_layers=3, most_steps=4)


def check(net: QuantizedNetwork, mapping: Mapping, images: np.ndarray, stalls: float, seed: int) -> None:
    stacked = mapping.input.stacked(images)
    bench = Bench(mapping, [beats_of(mapping, image) for image in stacked], stalls, seed)
    bench.run()
    expected = reference.run(net, images)
    assert bench.packets == mapping.output.packets(expected.decided, expected.counts).tolist()
    assert not any(bench.flags)
    assert expected.trace is not None
    beats = padded(bench.accepted)
    accepted = np.zeros_like(beats) if mapping.input.kind != "static" else None
    predicted = predict(
        mapping,
        events_of(mapping, images, expected.trace),
        offered=padded(bench.offered) if stalls else None,
        taken=np.array(bench.taken) if stalls else None,
        accepted=accepted,
    )
    assert accepted is None or accepted.tolist() == beats.tolist()
    assert predicted.first_beat.tolist() == [times[0] for times in bench.accepted]
    assert predicted.last_beat.tolist() == [times[-1] for times in bench.accepted]
    assert predicted.result.tolist() == [times[-1] for times in bench.taken]


def padded(times: list[list[int]]) -> np.ndarray:
    """Frames of spikes differ in their number of beats: `[frames, most beats]`."""
    most = max(map(len, times))
    return np.array([row + [0] * (most - len(row)) for row in times])


@pytest.mark.parametrize("stalls", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(16))
def test_random_networks(seed, stalls):
    generator = np.random.default_rng(seed)
    net = network(seed, OPTIONS)
    mapping = map_network(
        net,
        Placement(
            tuple(generator.integers(1, 9, len(net.layers))),
            pixels_a_beat=int(generator.choice([1, 2, 4, 8])),
            queue_depth=int(generator.integers(2, 10)),
            row_queue_depth=int(generator.integers(2, 6)),
        ),
    )
    check(net, mapping, frames(net, 6, seed), stalls, seed)


def test_one_neuron_and_more_elements_than_neurons():
    layer = Layer("only", (1,), Dense(np.array([[3]], np.int8), np.zeros(1, np.int64)), lif(200), 4)
    net = QuantizedNetwork.chain(Input((1,)), (layer,), 3)
    check(net, map_network(net, (5,)), np.array([[0], [255], [7]], np.uint8), 0.0, 0)


@pytest.mark.parametrize("threshold", [-(1 << 20), 1 << 20], ids=["all firing", "all silent"])
def test_extremes(threshold):
    generator = np.random.default_rng(0)
    weights = [generator.integers(-8, 8, shape).astype(np.int8) for shape in ((9, 8), (3, 9))]
    layers = (
        Layer("hidden", (8,), Dense(weights[0], np.zeros(9, np.int64)), lif(threshold), 4),
        Layer("out", (9,), Dense(weights[1], np.zeros(3, np.int64)), lif(threshold), 4),
    )
    net = QuantizedNetwork.chain(Input((8,)), layers, 4)
    check(net, map_network(net, (2, 2)), generator.integers(0, 256, (4, 8), dtype=np.uint8), 0.0, 0)


def test_same_target_in_every_cycle_needs_forwarding():
    summing = IntNeuron("none", "hard", np.array([0]), spiking=False)  # the membrane shows every addition that is lost
    layer = Layer("only", (16,), Dense(np.full((1, 16), 7, np.int8), np.zeros(1, np.int64)), summing, 4)
    net = QuantizedNetwork.chain(Input((16,)), (layer,), 2, Readout("membrane"))
    check(net, map_network(net, Placement((1,), pixels_a_beat=8)), np.full((3, 16), 200, np.uint8), 0.0, 0)


def test_last_run_ends_beyond_the_width_of_the_largest_start():
    weights = np.array([[5, -7], [0, 3]], np.int8)  # runs of 1 and 2 synapses: starts 0 and 1, last address 2
    layer = Layer("only", (2,), Dense(weights, np.zeros(2, np.int64)), lif(10), 4)
    net = QuantizedNetwork.chain(Input((2,)), (layer,), 2)
    check(net, map_network(net, (1,)), np.array([[9, 9], [200, 255], [0, 255]], np.uint8), 0.0, 0)


# Malformed frames, and what the registers say of them

MARK = 1 << MARK_BIT
SHORT, LONG = 1, 2  # bits of the register `errors`
SPIKES = {  # of two steps and three sources: addresses and marks of a packet, and the bits that it sets
    "good": ([0, 1, 2, MARK, 0, 2, MARK], 0),
    "without spikes": ([MARK, MARK], 0),
    "same spikes in both steps": ([2, MARK, 2, MARK], 0),
    "last beat without mark": ([1, MARK, 0, 0], SHORT),
    "last beat without mark in the first step": ([1, 2], SHORT),
    "step missing": ([1, MARK], SHORT),
    "address unknown": ([1, 3, MARK, MARK], SHORT),
    "address twice": ([1, 1, MARK, MARK], SHORT),
    "last address twice": ([MARK, 2, 2, MARK], SHORT),
    "address descends": ([2, 1, MARK, MARK], SHORT),
    "step too many": ([MARK, MARK, MARK], LONG),
    "addresses after the last step": ([MARK, MARK, 1, 2], LONG),
}
PIXELS = {"good": ([1, 2, 3], 0), "short": ([1, 2], SHORT), "one beat": ([1], SHORT), "long": ([1, 2, 3, 4], LONG)}
PIXELS_MARK = MARK | 1 << HELD_BIT
MIXED = {  # two pixels, of which three bits are seen, and two sources of spikes, for two steps
    "good": (
        [255 << COUNT_BIT, 32 << COUNT_BIT | 1, PIXELS_MARK, *(1 << COUNT_BIT | i for i in (2, 3)), MARK, MARK],
        0,
    ),
    "nothing but marks": ([PIXELS_MARK, MARK, MARK], 0),
    "bits of a pixel that are not seen": ([31 << COUNT_BIT, PIXELS_MARK, MARK, MARK], 0),
    "pixel of 0": ([1, PIXELS_MARK, MARK, MARK], 0),
    "pixel in a step": ([PIXELS_MARK, 1 << COUNT_BIT | 1, MARK, MARK], SHORT),
    "spike before the steps": ([1 << COUNT_BIT | 2, PIXELS_MARK, MARK, MARK], SHORT),
    "pixel twice": ([9 << COUNT_BIT, 9 << COUNT_BIT, PIXELS_MARK, MARK, MARK], SHORT),
    "address unknown": ([PIXELS_MARK, 1 << COUNT_BIT | 4, MARK, MARK], SHORT),
    "count too large": ([PIXELS_MARK, 2 << COUNT_BIT | 3, MARK, MARK], SHORT),
    "mark of a step behind the pixels": ([MARK, MARK, MARK], SHORT),
    "mark of the pixels behind a step": ([PIXELS_MARK, PIXELS_MARK, MARK], SHORT),
    "mark of the pixels at the end": ([PIXELS_MARK, MARK, PIXELS_MARK], SHORT),
    "pixels missing": ([MARK, MARK], SHORT),
    "steps missing": ([PIXELS_MARK], SHORT),
    "last beat among the pixels": ([9 << COUNT_BIT], SHORT),
    "step too many": ([PIXELS_MARK, MARK, MARK, MARK], LONG),
}
PACKETS = {"spikes": SPIKES, "static": PIXELS, "mixed": MIXED}
CASES = [(kind, name) for kind, cases in PACKETS.items() for name in cases]


def few_sources(kind: str) -> Mapping:
    if kind == "mixed":
        inputs = Input((2,), kind="spikes", name="spikes"), Input((2,), 3, name="image")
        heard = [Connection(name, Dense(np.array([[7, -8], [1, 2]], np.int8)), 4) for name in ("spikes", "image")]
        return map_network(QuantizedNetwork(inputs, (Population("only", (2,), lif(4), 0, tuple(heard)),), 2), (1,))
    layer = Layer("only", (3,), Dense(np.array([[7, -8, 7], [1, 2, 3]], np.int8), np.zeros(2, np.int64)), lif(4), 4)
    return map_network(QuantizedNetwork.chain(Input((3,), kind=kind), (layer,), 2), Placement((1,), pixels_a_beat=1))


def packet(words: list[int]) -> list[Beat]:
    return [(word, int(i == len(words) - 1)) for i, word in enumerate(words)]


def addresses(mapping: Mapping) -> dict[str, int]:
    return {register.name: register.address for register in registers(len(mapping.layers))}


def in_simulator(dut: Component, *testbenches, background=()) -> None:
    """Runs until the `testbenches` end; those in the `background` may go on."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for testbench in (*background, *testbenches):
        simulator.add_testbench(testbench, background=testbench in background)
    simulator.run()


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_error_bits(kind, name):
    """The packet, then a good one; each bit alone, and cleared alone."""
    cases = PACKETS[kind]
    words, bits = cases[name]
    mapping = few_sources(kind)
    dut, at = Accelerator(mapping), addresses(mapping)

    async def testbench(ctx):
        ctx.set(dut.m_axis_tready, 1)
        for sent, expected in ((words, bits), (cases["good"][0], 0)):
            await offer(ctx, dut, packet(sent))
            await ctx.tick().repeat(20)
            assert await lite_read(ctx, dut, at["errors"]) == expected
            await lite_write(ctx, dut, at["errors"], ~expected & 3)
            assert await lite_read(ctx, dut, at["errors"]) == expected
            await lite_write(ctx, dut, at["errors"], expected)
            assert await lite_read(ctx, dut, at["errors"]) == 0

    in_simulator(dut, testbench)


@pytest.mark.parametrize("kind", PACKETS)
def test_status_bits(kind):
    """Each bit alone, both, none. Bit 0: a packet waits; bit 1: a frame has begun and not ended."""
    mapping = few_sources(kind)
    dut, at = Accelerator(mapping), addresses(mapping)
    beats = packet(PACKETS[kind]["good"][0])

    async def testbench(ctx):
        async def status() -> int:
            return await lite_read(ctx, dut, at["status"])

        assert await status() == 0
        await offer(ctx, dut, beats[:1])
        assert await status() == 2
        await offer(ctx, dut, beats[1:])
        await ctx.tick().repeat(60)
        assert await status() == 1
        await offer(ctx, dut, beats[:2])
        assert await status() == 3
        ctx.set(dut.m_axis_tready, 1)
        await ctx.tick().repeat(10)
        assert await status() == 2
        await offer(ctx, dut, beats[2:])
        await ctx.tick().repeat(60)
        assert await status() == 0

    in_simulator(dut, testbench)


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_address_out_of_order_is_flagged_and_dropped(seed, stalls):
    """Doubled, or below the one before: the frame counts without it, flagged; those around it are as ever."""
    generator = np.random.default_rng(seed)
    net = network(seed, Options(dense_only=True, largest=20, most_layers=2, most_steps=4, kinds=("spikes",)))
    mapping = map_network(net, Placement((2,) * len(net.layers)))
    images = frames(net, 9, seed)
    images[1::2, generator.integers(net.steps), -1] = 1  # a frame with a spike at least
    sent = [beats_of(mapping, image) for image in images]
    for beats in sent[1::2]:
        spikes = [i for i, (word, _) in enumerate(beats) if word < MARK]
        i = int(generator.choice(spikes))
        word = beats[i][0]
        beats.insert(i + 1, (int(generator.choice([0, word])), 0))
    bench = Bench(mapping, sent, stalls, seed)
    bench.run()
    expected = reference.run(net, images)
    assert bench.packets == [[int(c), *row] for c, row in zip(expected.classes, expected.counts.tolist(), strict=True)]
    assert bench.flags == [0, 1, 0, 1, 0, 1, 0, 1, 0]


def lif(threshold: int) -> IntNeuron:
    return IntNeuron("decaying_input", "hard", np.array([threshold]))
