"""Frames whose rest is dropped when first spikes have decided them: results, spikes until then, and every cycle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_networks import Options, network
from rtl_bench import Bench, beats_of, lite_write, offer, received
from test_quantize_first_spike import PLACEMENT, STEPS, frames
from test_quantize_first_spike import network as small
from test_rtl_top import addresses, check, in_simulator, packet

from gradrtl.errors import UserError
from gradrtl.quantize.network import QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.cancel import Cancel
from gradrtl.rtl.frame_words import MARK_BIT
from gradrtl.rtl.latency import CANCELLED
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.serial.accelerator import identity
from gradrtl.rtl.top import Accelerator
from gradrtl.rtl.verilog import generate
from gradrtl.sim import engine, traces
from gradrtl.sim.events import events_of
from gradrtl.sim.timing.predict import Cycles, predict
from gradrtl.sim.verify import verify
from gradrtl.sim.verilated import Stalls
from gradrtl.steps.place import Wanted, place
from gradrtl.steps.verify import mapping_of

CANCELS = replace(PLACEMENT, cancel=True)
CHAINS = Options(largest=24, most_layers=3, most_steps=8, kinds=("spikes", "graded"), readouts=("first",))
MARK = 1 << MARK_BIT


def chain(seed: int) -> tuple[QuantizedNetwork, Mapping, np.ndarray]:
    """A random chain, placed, and frames; the output's threshold is such that frames are decided in several steps."""
    generator = np.random.default_rng(seed)
    found = network(seed, CHAINS)
    given = given_frames(found, 40, generator)
    output = found.populations[-1]
    outcome = engine.run(found.changed(readout=Readout("count")), given, trace=True)
    assert outcome.trace is not None
    first = outcome.trace.membranes[-1].max(axis=2)[:, 0]
    if output.neuron.threshold.size == 1:
        threshold = np.array([max(int(output.neuron.reset_value.max()) + 1, int(np.quantile(first, 0.7)))])
        changed = replace(output, neuron=replace(output.neuron, threshold=threshold))
        found = replace(found, populations=(*found.populations[:-1], changed))
    placement = Placement(
        tuple(int(pes) for pes in generator.integers(1, 9, len(found.populations))),
        queue_depth=int(generator.integers(2, 10)),
        row_queue_depth=int(generator.integers(2, 6)),
        cancel=True,
    )
    return found, map_network(found, placement), given


def given_frames(net: QuantizedNetwork, count: int, generator: np.random.Generator) -> np.ndarray:
    given = net.inputs[0]
    shape = (count, net.steps, int(np.prod(given.shape)))
    values = generator.integers(1, given.largest + 1, shape).astype(np.uint8)
    return values * (generator.random(shape) < generator.choice([0.1, 0.3, 0.6], (count, 1, 1)))


def times(mapping: Mapping, given: np.ndarray, apart: bool = False) -> Cycles:
    outcome = engine.run(mapping.network, given, trace=True)
    assert outcome.trace is not None
    return predict(mapping, events_of(mapping, given, outcome.trace), apart=apart)


def test_the_component():
    """A decided frame is cancelled unless it is whole; a frame before it does not count once it has ended."""
    mapping = map_network(small(), CANCELS)
    dut = Cancel(mapping)
    lead = CANCELLED - 1

    async def testbench(ctx):
        async def cycle(token=0, decides=0, ends=0, abort=0):
            for name, value in (("token", token), ("decides", decides), ("ends", ends), ("abort", abort)):
                ctx.set(getattr(dut, name), value)
            found = ctx.get(dut.cancel)
            await ctx.tick()
            return found

        async def decided(**now):
            assert not await cycle(decides=1)
            for _ in range(lead):
                assert not await cycle()
            return await cycle(**now)

        assert await decided()  # nothing came in since
        assert not await cycle()
        for _ in range(STEPS):
            await cycle(token=1)
        assert not await decided()  # whole
        for _ in range(2):
            await cycle(token=1)
        assert not await decided()  # the first is still there
        await cycle(ends=1)
        assert await decided(token=1)  # the second is not whole; its token is lost
        for _ in range(STEPS - 1):
            await cycle(token=1)
        assert await decided(token=1)  # the last token comes too late
        for _ in range(STEPS):
            await cycle(token=1)
        await cycle(abort=1)
        assert await decided()
        for _ in range(2 * STEPS):
            await cycle(token=1)
        await cycle(ends=1)
        assert not await decided()
        await cycle(ends=1)
        assert await decided()

    in_simulator(dut, testbench)


@pytest.mark.parametrize(("threshold", "stalls"), [(-10_000, 0.0), (-10_000, 0.3), (8, 0.0), (8, 0.3), (10_000, 0.0)])
def test_results_and_times(threshold, stalls):
    """Decided in the first step, early or late, never."""
    net = small(group=2, threshold=threshold)
    check(net, map_network(net, CANCELS), frames("spikes"), stalls, 3)


def test_frames_follow_each_other_sooner():
    """Back to back; a frame alone takes as long as ever. In a slow core there is more to drop."""
    for threshold, sooner in ((-10_000, 0.8), (8, 0.9), (10_000, 1.0)):
        net, given = small(threshold=threshold), frames("spikes", 60)
        mappings = [map_network(net, placement) for placement in (PLACEMENT, CANCELS)]
        whole, cut = (times(mapping, given) for mapping in mappings)
        assert cut.interval.mean() <= sooner * whole.interval.mean()
        assert (times(mappings[0], given, True).latency == times(mappings[1], given, True).latency).all()


def test_malformed_frames():
    """What comes behind the answer is dropped, whatever it is: too short, too long, addresses that do not exist."""
    good = [1, MARK] * STEPS
    words = [
        good,
        [1, MARK],  # ends behind the answer, perhaps
        good,
        [*good, 1, MARK, MARK, 2],
        [1, MARK, *[99, MARK] * (STEPS - 1)],
        [5, 1, MARK, *good[2:]],
        good,
        [1],
        good,
    ]
    for threshold in (-10_000, 8, 10_000):
        answers = []
        for placement in (PLACEMENT, CANCELS):
            bench = Bench(map_network(small(threshold=threshold), placement), [packet(frame) for frame in words])
            bench.run()
            answers.append((bench.packets, bench.flags))
        assert answers[0] == answers[1]


def test_a_soft_reset_among_cancelled_frames():
    """At every moment of two frames: what comes behind is answered as ever."""
    net, given = small(threshold=8), frames("spikes", 4)
    mapping = map_network(net, CANCELS)
    expected = engine.run(net, given)
    beats = [beats_of(mapping, frame) for frame in given]
    at = addresses(mapping)
    sent = [beat for frame in beats[:2] for beat in frame]
    for stop in range(1, len(sent), 9):
        dut, packets = Accelerator(mapping), []

        async def send(ctx, dut=dut, stop=stop):
            await offer(ctx, dut, sent[:stop])
            await lite_write(ctx, dut, at["control"], 1)
            begun = stop < len(sent) and stop != len(beats[0])
            rest = sent[stop : len(beats[0]) if stop < len(beats[0]) else None] if begun else []
            await offer(ctx, dut, [*rest, *beats[2], *beats[3]])

        async def receive(ctx, dut=dut, packets=packets):
            ctx.set(dut.m_axis_tready, 1)
            while True:
                words, _ = await received(ctx, dut)
                packets.append(words)

        async def wait(ctx):
            await ctx.tick().repeat(500)

        in_simulator(dut, wait, background=(send, receive))
        assert packets[-2:] == mapping.output.packets(expected.decided, expected.counts).tolist()[2:], stop


def test_what_cannot_be_cancelled():
    for net, placement, what in (
        (small("static"), CANCELS, "pixels, which are in before the first step"),
        (small(read="count"), CANCELS, "this read-out"),
        (small(), replace(CANCELS, stream=True), "a stream"),
        (replace(small(), readouts=(Readout("first", 1, "output"), Readout("first", 1, "hidden"))), CANCELS, "a graph"),
    ):
        with pytest.raises(UserError, match=f"cancel is True, expected False for {what}: a chain"):
            map_network(net, placement)
    with pytest.raises(UserError, match="cancel is True, expected False: a serial line"):
        identity(map_network(small(), CANCELS))


def test_the_placement_says_it():
    assert Placement.from_line(CANCELS.line) == CANCELS
    assert Placement.from_json(CANCELS.to_json()) == CANCELS
    assert "cancel" not in PLACEMENT.line
    assert "cancel" not in PLACEMENT.to_json()
    net = small()
    mappings = [map_network(net, placement) for placement in (CANCELS, PLACEMENT)]
    assert mappings[0].digest != mappings[1].digest
    text = generate(mappings[0], "tests")
    assert mapping_of(net, text, Wanted()).placement == CANCELS
    assert mapping_of(net, text, Wanted(cancel=True)).placement == CANCELS
    assert place(net, Wanted("3,2", queue_depth=3, row_queue_depth=2, cancel=True)).placement == CANCELS


@pytest.mark.parametrize("seed", range(3))
def test_random_chains(seed):
    net, mapping, given = chain(seed)
    check(net, mapping, given[:4], 0.2 * (seed % 2), seed)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(3))
def test_compiled(cache: Path, seed: int):
    """Every spike until a frame is cancelled, every cycle, with and without stalls; some frames are cancelled."""
    net, mapping, given = (small(threshold=8), map_network(small(threshold=8), CANCELS), frames("spikes", 200))
    if seed:
        net, mapping, given = chain((5, 10)[seed - 1])
    text = generate(mapping, "tests")
    neurons = sum(len(np.unique(layer.slots[layer.slots >= 0])) for layer in mapping.layers)
    for stalls in (None, Stalls(0.3, 0.3, seed), Stalls(0.9, 0, seed), Stalls(0, 0.9, seed)):
        found = verify(mapping, text, given, stalls=stalls, cache=cache, quick=True)
        assert found.passed, found
        assert found.predicted == len(given)
        assert found.spikes == found.membranes
        if not seed:
            assert found.spikes < 0.8 * len(given) * neurons * net.steps
    if not seed:
        (traced,) = traces.record(mapping, text, given, found, [3], cache=cache, quick=True)
        assert traced.differing == (0, 0)
        assert traced.got is not None
        assert traced.got.spikes[0].any()
