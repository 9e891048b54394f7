"""Front end and network in one module: every packet equals the simulators', under stalls, and after a reset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rtl_bench import Bench, lite_read, lite_write, offer
from sounds import SETTINGS, hearing, placed
from test_rtl_frontend import some_recordings
from test_rtl_top import addresses, in_simulator
from test_sim_frontend import random_samples

from gradrtl.errors import UserError
from gradrtl.quantize.frontend import FrontEnd
from gradrtl.rtl import header, latency
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.microphone import Microphone, check, generate
from gradrtl.sim import engine
from gradrtl.sim.frontend import counts, reference, steps_of

STEP = latency.front_end_step(SETTINGS.step, SETTINGS.products, SETTINGS.bands, SETTINGS.sources)


def beats(samples: np.ndarray, ends: bool = False) -> list[tuple[int, int]]:
    """Samples for `s_axis`; `ends`: TLAST with the last one."""
    return [(int(x) & 0xFFFF, int(ends and i == len(samples) - 1)) for i, x in enumerate(samples)]


def packets(steps: np.ndarray) -> list[list[int]]:
    """What a stream of these counts answers."""
    mapping = placed()
    found = engine.run(mapping.network, steps.reshape(len(steps), 1, -1))
    return mapping.output.packets(found.decided, found.counts).tolist()


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(2))
def test_packets_equal_the_simulators(seed, stalls):
    """TLAST restarts the front end, not the network: recordings of whole steps and others."""
    recordings = some_recordings(np.random.default_rng([seed, 9]), SETTINGS.step)
    steps = np.concatenate([np.array(reference(SETTINGS, samples), np.uint8) for samples in recordings])
    bench = Bench(
        placed(), [beats(samples, True) for samples in recordings], stalls, seed, Microphone(placed(), SETTINGS)
    )
    bench.run(len(steps))
    assert bench.packets == packets(steps)
    assert len({tuple(packet[1:]) for packet in bench.packets}) > 3
    assert not any(bench.flags)


def test_samples_without_end():
    """Step by step; the cycles of a step are those of the front end, and TLAST never comes."""
    samples = random_samples(np.random.default_rng(3), 6 * SETTINGS.step)
    given = [beats(part) for part in samples.reshape(6, -1)]
    bench = Bench(placed(), given, dut=Microphone(placed(), SETTINGS))
    bench.run()
    assert bench.packets == packets(counts(SETTINGS, samples))
    first = [times[0] for times in bench.accepted]
    assert set(np.diff(first)) == {STEP}


@pytest.mark.parametrize(("cycles", "stalled"), [(0, False), (3, False), (6, True), (8, False), (100, False)])
def test_soft_reset(cycles, stalled):
    """While a step's events are on their way, or between two steps: what was complete leaves with its number; the next
    sample is the first one of step 0, and front end and network are those of a fresh start.
    """
    generator = np.random.default_rng(cycles)
    before, after = (generator.integers(-30000, 30000, count * SETTINGS.step).astype(np.int16) for count in (2, 3))
    expected, old = packets(counts(SETTINGS, after)), packets(counts(SETTINGS, before))
    dut, at = Microphone(placed(), SETTINGS), addresses(placed())
    found: list[list[int]] = []
    sizes = SETTINGS.products, SETTINGS.bands, SETTINGS.sources

    async def send(ctx):
        await offer(ctx, dut, beats(before))
        coding = latency.front_end_filters(SETTINGS.products) + latency.front_end_codes(SETTINGS.bands)
        assert coding < latency.front_end_step_end(*sizes)
        await ctx.tick().repeat(coding + cycles - 3)
        await lite_write(ctx, dut, at["control"], 1)
        await offer(ctx, dut, beats(after))
        await ctx.tick().repeat(STEP)
        assert await lite_read(ctx, dut, at["errors"]) == 0

    async def receive(ctx):
        if stalled:
            await ctx.tick().repeat(2 * STEP + 50)
        packet: list[int] = []
        patience = 12 * STEP
        while not found or found[-len(expected) :] != expected:
            patience -= 1
            assert patience, "no packets"
            assert len(found) < len(old) + len(expected), "other packets"
            ctx.set(dut.m_axis_tready, 1)
            _, _, valid, word, last = await ctx.tick().sample(dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast)
            if valid:
                packet.append(word - (1 << 32) if word >> 31 else word)
                if last:
                    found.append(packet)
                    packet = []

    in_simulator(dut, send, receive)
    assert found[: -len(expected)] == old[: len(found) - len(expected)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FrontEnd.mel(8000, 8, 5), r"input sound shape is \(2, 1, 4\), expected \(2, 1, 5\), what the front end sends"),
        (replace(SETTINGS, bits=3), "input sound bits is 4, expected 3"),
    ],
)
def test_other_front_ends_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        check(placed(), settings)


def test_frames_are_refused():
    with pytest.raises(UserError, match="network is one with frames, expected a stream behind a front end"):
        generate(map_network(hearing(), (1, 1)), SETTINGS, "tests")


def test_the_header_tells_the_front_end():
    text = generate(placed(), SETTINGS, "tests")
    found = header.read(text)
    assert (found.front_end, found.placement) == (SETTINGS.digest, placed().placement)
    header.check(found, placed(), SETTINGS)
    with pytest.raises(UserError, match="it takes samples, which gradrtl hear sends"):
        header.check(found, placed())
    with pytest.raises(UserError, match="its front end has other settings"):
        header.check(found, placed(), replace(SETTINGS, least=41))
    with pytest.raises(UserError, match="it takes events, expected samples"):
        header.check(header.read(header.write(placed(), "tests")), placed(), SETTINGS)
    assert steps_of(SETTINGS, 17) == 3
