"""Hardware without frames, in Amaranth's simulator: every packet and cycle, errors, resets in the middle of a step."""

from __future__ import annotations

import numpy as np
import pytest
from dense_graphs import frames
from graphs import recurrent
from map_graphs import behind, late, read, residual, several, together
from random_networks import frames as random_frames
from rtl_bench import Bench, beats_of, lite_read, lite_write, offer, received
from streams import clipped, mapped, slow_to_fire, steps, stream
from test_rtl_top import MARK, SHORT, addresses, check, in_simulator

from gradrtl.errors import UserError
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl import header
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.outputs import Outputs
from gradrtl.rtl.serial.accelerator import identity
from gradrtl.rtl.top import Accelerator
from gradrtl.sim import engine, reference

SEEDS = (0, 1, 4, 6, 9, 11)  # all read-outs, loops, delays, a chain


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs(seed, stalls):
    network = stream(seed)
    assert network is not None
    mapping = mapped(network, seed)
    check(mapping.network, mapping, steps(network, 25, seed), stalls, seed)


MAPS = {
    "convolutions": residual("spikes", 4, 2),
    "neurons heard as maps": together(),
    "an input that is late": late(),
    "two inputs": behind(),
    "three inputs, late and through a convolution": several("graded", "spikes", "graded"),
    "four read-outs": read("largest", "count", "sum", "membrane"),
}


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("name", MAPS)
def test_inputs_convolutions_and_read_outs(name, stalls):
    network = clipped(MAPS[name])
    mapping = mapped(network, 3)
    given = random_frames(network, 15, 5)
    check(mapping.network, mapping, given, stalls, 1)
    trace = reference.run(network, given).trace
    assert trace is not None
    assert any(spikes.any() for spikes in trace.spikes)


def test_neurons_that_fire_late_are_built():
    """Within the one step that a frame has they cannot; they are pruned from that, not from the stream."""
    network = slow_to_fire()
    assert engine.run(network.streamed, np.ones((9, 1, 1), np.uint8)).counts.any()
    for built in (network, network.streamed):
        mapping = map_network(built, (1, 1))
        check(mapping.network, mapping, np.ones((9, 1, 1), np.uint8), 0.0, 0)


def some(seed: int = 0, count: int = 8) -> tuple[Mapping, np.ndarray, list[list[int]]]:
    """A recurrent stream in hardware, `count` steps, their packets."""
    mapping = map_network(recurrent(), Placement((2, 1), row_queue_depth=2, stream=True))
    given = frames(mapping.network, count, seed)
    expected = engine.run(mapping.network, given)
    return mapping, given, mapping.output.packets(expected.decided, expected.counts).tolist()


def test_one_packet_of_many_steps():
    """TLAST may come with any mark: a packet of eight steps is as good as eight packets."""
    mapping, given, expected = some()
    beats = [[(word, 0) for word, _ in beats_of(mapping, step)] for step in given]
    beats[-1][-1] = (MARK, 1)
    bench = Bench(mapping, beats)
    bench.run()
    assert bench.packets == expected
    assert not any(bench.flags)


ERRORS = {  # what is added to a good step: bits of the register, whether the step ends with it
    "unknown address": ([(6, 0)], False),
    "descending": ([(5, 0), (0, 0)], False),
    "cut off": ([(5, 1)], True),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_flagged_in_their_own_step(name):
    """Steps around it are as ever, and the state is that of the events that were taken."""
    added, ends = ERRORS[name]
    mapping = map_network(recurrent(), Placement((2, 1), stream=True))
    given = np.zeros((6, 1, 6), np.uint8)
    given[:, 0, 1:4] = 1
    beats = [beats_of(mapping, step) for step in given]
    words = [(word | 1 << 23 if word < 6 else word, last) for word, last in added]
    beats[2] = [*beats[2][:-1], *words] if ends else [*beats[2][:-1], *words, beats[2][-1]]
    if name == "descending":
        given[2, 0, 5] = 1
    expected = engine.run(mapping.network, given)
    dut, at = Accelerator(mapping), addresses(mapping)
    found, flags = [], []

    async def send(ctx):
        for step in beats:
            await offer(ctx, dut, step)

    async def receive(ctx):
        ctx.set(dut.m_axis_tready, 1)
        while len(found) < len(beats):
            packet, user = await received(ctx, dut)
            found.append(packet)
            flags.append(user)
        assert await lite_read(ctx, dut, at["errors"]) == SHORT
        assert await lite_read(ctx, dut, at["frames_in"]) == await lite_read(ctx, dut, at["frames_out"]) == 6
        assert await lite_read(ctx, dut, at["status"]) == 0

    in_simulator(dut, send, receive)
    assert found == mapping.output.packets(expected.decided, expected.counts).tolist()
    assert flags == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("stalled", [False, True])
@pytest.mark.parametrize("cycles", [1, 2, 5, 9, 14, 20, 33, 60, 90])
def test_soft_reset(cycles, stalled):
    """In the middle of a step or between two, whatever waits for `m_axis`: what was complete leaves with its number,
    the rest of the step is dropped, and the steps after it are those of a stream that begins.
    """
    mapping, given, before = some(1)
    _, fresh, expected = some(2)
    dut, at = Accelerator(mapping), addresses(mapping)
    found: list[list[int]] = []
    sent = [beat for step in given for beat in beats_of(mapping, step)]

    async def send(ctx):
        cut = min(len(sent) - 2, cycles // 2 + 3)
        while sent[cut - 1][0] >= MARK:
            cut += 1  # within a step
        await offer(ctx, dut, sent[:cut])
        await ctx.tick().repeat(cycles)
        await lite_write(ctx, dut, at["control"], 1)
        await offer(ctx, dut, [(0 | 1 << 23, 0), (MARK, 1)])  # the rest of the step that was begun
        for step in fresh:
            await offer(ctx, dut, beats_of(mapping, step))

    async def receive(ctx):
        if stalled:
            await ctx.tick().repeat(150)
        packet: list[int] = []
        while len(found) < len(fresh) or found[-1][0] != len(fresh) - 1 or found[-len(fresh)][0] != 0:
            ctx.set(dut.m_axis_tready, 1)
            _, _, valid, word, last = await ctx.tick().sample(dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast)
            if valid:
                packet.append(word)
                if last:
                    found.append(packet)
                    packet = []
            ctx.set(dut.m_axis_tready, 0)
            if stalled:
                await ctx.tick()

    in_simulator(dut, send, receive)
    assert found[-len(fresh) :] == expected
    assert found[: -len(fresh)] == before[: len(found) - len(fresh)]


def test_beats_that_wait_do_not_outlive_a_reset():
    """Nothing leaves on `m_axis`: all queues are full at the reset, and that of the input holds whole steps."""
    mapping, fresh, expected = some(2)
    dut, at = Accelerator(mapping), addresses(mapping)
    sent = [(MARK, 1)] * 200  # steps without events
    found: list[list[int]] = []

    async def send(ctx):
        ctx.set(dut.s_axis_tvalid, 1)
        waited = taken = 0
        while waited < 200:
            word, last = sent[taken]
            ctx.set(dut.s_axis_tdata, word)
            ctx.set(dut.s_axis_tlast, last)
            _, _, ready = await ctx.tick().sample(dut.s_axis_tready)
            taken, waited = (taken + 1, 0) if ready else (taken, waited + 1)
        ctx.set(dut.s_axis_tvalid, 0)
        await lite_write(ctx, dut, at["control"], 1)
        for step in fresh:
            await offer(ctx, dut, beats_of(mapping, step))

    async def receive(ctx):
        await ctx.tick().until(dut.abort)
        ctx.set(dut.m_axis_tready, 1)
        while not found or found[-1][0] != len(fresh) - 1:
            packet, _ = await received(ctx, dut)
            found.append(packet)

    in_simulator(dut, send, receive)
    assert found[-len(fresh) :] == expected


def test_numbers_wrap():
    assert Outputs.numbers((1 << 31) - 1, 2).tolist() == [(1 << 31) - 1, -(1 << 31)]
    assert Outputs.numbers((1 << 32) - 1, 2).tolist() == [-1, 0]


def test_placement_and_header_say_so():
    mapping, _, _ = some()
    framed = map_network(recurrent(), (2, 1))
    assert mapping.placement.line.endswith("; stream")
    assert "stream" not in framed.placement.line
    assert Placement.from_line(mapping.placement.line) == mapping.placement
    assert Placement.from_json(mapping.placement.to_json()) == mapping.placement
    assert "stream" not in framed.placement.to_json()
    assert mapping.digest != map_network(recurrent(), Placement((2, 1), row_queue_depth=2)).digest
    with pytest.raises(UserError, match="stream is False in the file, True is asked for"):
        header.check(header.read(header.write(framed, "")), mapping)


def test_refused_on_a_serial_line():
    with pytest.raises(UserError, match="network is a stream, expected frames on a serial line"):
        identity(some()[0])


def test_pixels_are_refused():
    network = QuantizedNetwork.load("networks/mnist-5pct.npz")
    with pytest.raises(UserError, match="which has no frame for which pixels could be held"):
        map_network(network, Placement((16, 4), stream=True))
