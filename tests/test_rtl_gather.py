"""Packets of several read-outs: whole or not at all, whatever comes between; each frame's flag on all of them."""

from __future__ import annotations

import numpy as np
import pytest
from map_graphs import GRAPHS
from random_networks import frames
from rtl_bench import Bench, beats_of, lite_write, offer
from test_rtl_top import addresses, in_simulator

from gradrtl.rtl.gather import Gather
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.outputs import Outputs
from gradrtl.rtl.top import Accelerator
from gradrtl.sim import reference

DRAINED = 150  # cycles, more than these networks take for a frame


def several() -> Mapping:
    return map_network(GRAPHS["read in all ways"], (1, 1, 1, 1, 1))


def test_the_words_of_a_packet():
    outputs = Outputs((3, 1, 2))
    packets = np.arange(18).reshape(2, 9)
    assert (outputs.words, outputs.firsts) == (9, (0, 4, 6, 9))
    assert outputs.decided(packets).tolist() == [[0, 4, 6], [9, 13, 15]]
    assert outputs.sums(packets)[0].tolist() == [1, 2, 3, 5, 7, 8]
    assert [part.tolist() for part in outputs.parts(outputs.sums(packets)[0])] == [[1, 2, 3], [5], [7, 8]]
    assert np.array_equal(outputs.packets(outputs.decided(packets), outputs.sums(packets)), packets)


@pytest.mark.parametrize("name", ["read in all ways", "read late"])
def test_the_flag_of_each_frame(name):
    """A beat too many: the frame counts as without it, and its packet is marked, no other."""
    made = GRAPHS[name]
    mapping = map_network(made, (1,) * len(made.populations))
    given = frames(made, 5, 1)
    sent = [beats_of(mapping, frame) for frame in given]
    for n in (1, 3):
        sent[n] = [*((word, 0) for word, _ in sent[n]), (0, 1)]
    bench = Bench(mapping, sent, 0.3)
    bench.run()
    expected = reference.run(made, given)
    assert bench.packets == mapping.output.packets(expected.decided, expected.counts).tolist()
    assert bench.flags == [0, 1, 0, 1, 0]


def test_a_soft_reset_leaves_whole_packets():
    """In every second cycle of a frame: its packet comes whole or not at all, and the next frame's is right."""
    mapping = several()
    given = frames(mapping.network, 2, 4)
    expected = reference.run(mapping.network, given)
    first, second = mapping.output.packets(expected.decided, expected.counts).tolist()
    dut, at = Accelerator(mapping), addresses(mapping)
    seen: list[tuple[int, list[list[int]]]] = []

    async def testbench(ctx):
        packets: list[list[int]] = [[]]

        async def run(cycles):
            for _ in range(cycles):
                _, _, valid, ready, word, last = await ctx.tick().sample(
                    dut.m_axis_tvalid, dut.m_axis_tready, dut.m_axis_tdata, dut.m_axis_tlast
                )
                if valid and ready:
                    packets[-1].append(word - (word >> 31 << 32))
                    if last:
                        packets.append([])

        for cycles in range(0, 90, 2):
            ctx.set(dut.m_axis_tready, 1)
            await offer(ctx, dut, beats_of(mapping, given[0]))
            await run(cycles)
            ctx.set(dut.m_axis_tready, 0)
            await lite_write(ctx, dut, at["control"], 1)
            ctx.set(dut.m_axis_tready, 1)
            await run(DRAINED)
            seen.append((cycles, packets[:-1]))
            assert packets[-1] == [], f"a part of a packet, {cycles} cycles after the frame"
            packets = [[]]
            await offer(ctx, dut, beats_of(mapping, given[1]))
            await run(DRAINED)
            assert packets[:-1] == [second], f"{cycles} cycles after the frame"
            packets = [[]]

    in_simulator(dut, testbench)
    assert all(packets in ([], [first]) for _, packets in seen)
    found = [len(packets) for _, packets in seen]
    assert found == sorted(found)
    assert set(found) == {0, 1}


def test_it_waits_for_the_last_of_them():
    dut = Gather(2)
    found = []

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        for first, second in ((1, 0), (0, 1), (1, 1)):
            ctx.set(dut.packets(0).valid, first)
            ctx.set(dut.packets(1).valid, second)
            found.append((ctx.get(dut.o.valid), ctx.get(dut.packets(0).ready)))
            await ctx.tick()

    in_simulator(dut, testbench)
    assert found == [(0, 0), (0, 0), (1, 1)]
