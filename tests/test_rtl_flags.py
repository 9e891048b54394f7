"""Flags of malformed frames reach the packet, whatever the delays between; a soft reset leaves none behind."""

from __future__ import annotations

import numpy as np
import pytest
from dense_graphs import frames
from graphs import population, weights
from map_graphs import GRAPHS
from random_networks import frames as frames_of_all
from rtl_bench import Beat, Bench, beats_of, lite_write, offer
from test_rtl_top import addresses, check, in_simulator

from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.frame_words import COUNT_BIT, HELD_BIT, MARK_BIT
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.queues import most_frames
from gradrtl.rtl.top import Accelerator
from gradrtl.sim import reference

STEPS = 3


def late(kind: str, delay: int) -> Mapping:
    """`first` hears the input, and what is read hears it `delay` steps later, and itself."""
    graph = QuantizedNetwork(
        (Input((4,), bits=2, kind=kind),),
        (
            population("first", 5, Connection("input", weights(5, 4, 1), 4)),
            population(
                "out",
                3,
                Connection("first", weights(3, 5, 2), 4, delay),
                Connection("out", weights(3, 3, 3), 4, 1),
            ),
        ),
        STEPS,
    )
    return map_network(graph, (1, 1))


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("delay", [0, 1, 2 * STEPS])
@pytest.mark.parametrize("kind", ["static", "spikes", "graded"])
def test_the_flag_of_each_frame(kind, delay, stalls):
    """A beat too many: the frame counts as without it, and its packet is marked, no other."""
    mapping = late(kind, delay)
    given = frames(mapping.network, 6, 1)
    sent = [beats_of(mapping, frame) for frame in given]
    for n in (1, 4):
        sent[n] = [*((word, 0) for word, _ in sent[n]), (0, 1)]
    bench = Bench(mapping, sent, stalls)
    bench.run()
    expected = reference.run(mapping.network, given)
    assert bench.packets == [[int(c), *row] for c, row in zip(expected.classes, expected.counts.tolist(), strict=True)]
    assert bench.flags == [0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("kind", ["static", "spikes"])
@pytest.mark.parametrize("cycles", [3, 9, 20, 45, 80])
def test_soft_reset_within_a_frame(kind, cycles):
    """Frames after it are as those of an accelerator that has just been reset: delays start anew."""
    mapping = late(kind, 1)
    given = frames(mapping.network, 3, 2)
    expected = reference.run(mapping.network, given)
    dut, at = Accelerator(mapping), addresses(mapping)
    found: list[list[int]] = []

    async def testbench(ctx):
        ctx.set(dut.m_axis_tready, 0)
        await offer(ctx, dut, [*beats_of(mapping, given[2])[:-1], (0, 1)])  # its last word is wrong
        await ctx.tick().repeat(cycles)
        await lite_write(ctx, dut, at["control"], 1)
        ctx.set(dut.m_axis_tready, 1)
        for _ in range(20):
            await ctx.tick()
        for frame in given[:2]:
            await offer(ctx, dut, beats_of(mapping, frame))
            packet = []
            while not packet or not packet[-1][1]:
                _, _, valid, *beat = await ctx.tick().sample(
                    dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast, dut.m_axis_tuser
                )
                if valid:
                    packet.append(beat)
            assert not any(user for *_, user in packet)
            found.append([word for word, *_ in packet])

    in_simulator(dut, testbench)
    assert found == [[int(c), *row] for c, row in zip(expected.classes[:2], expected.counts[:2].tolist(), strict=True)]


MARK, HELD = 1 << MARK_BIT, 1 << HELD_BIT


def pixel_in_a_step(beats: list[Beat], at: int) -> list[Beat]:
    return [*beats[: at + 1], (1 << COUNT_BIT, 0), *beats[at + 1 :]]


def event_among_pixels(beats: list[Beat], at: int) -> list[Beat]:
    return [*beats[:at], (1 << COUNT_BIT | 19, 0), *beats[at:]]


def mark_of_a_step(beats: list[Beat], at: int) -> list[Beat]:
    return [(word ^ HELD if i == at else word, last) for i, (word, last) in enumerate(beats)]


def mark_of_pixels(beats: list[Beat], at: int) -> list[Beat]:
    return [(word | HELD if word >> MARK_BIT and i > at else word, last) for i, (word, last) in enumerate(beats)]


def too_long(beats: list[Beat], at: int) -> list[Beat]:
    return [*((word, 0) for word, _ in beats), (MARK, 1)]


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("name", ["pixels and counts", "ahead"])
def test_malformed_packets_of_pixels_beside_events(name, stalls):
    """Each is flagged and changes no result, for what does not belong there is dropped; good ones come between."""
    made = GRAPHS[name]
    mapping = map_network(made, (2,) * len(made.populations))
    faults = [pixel_in_a_step, event_among_pixels, mark_of_a_step, mark_of_pixels, too_long]
    given = frames_of_all(made, 2 * len(faults) + 1, 3)
    sent = [beats_of(mapping, frame) for frame in mapping.input.stacked(given)]
    for n, fault in enumerate(faults):
        beats = sent[2 * n + 1]
        sent[2 * n + 1] = fault(beats, next(i for i, (word, _) in enumerate(beats) if word >> MARK_BIT))
    bench = Bench(mapping, sent, stalls, 6)
    bench.run()
    expected = reference.run(made, given)
    assert bench.packets == mapping.output.packets(expected.decided, expected.counts).tolist()
    assert bench.flags == [0, 1] * len(faults) + [0]


@pytest.mark.parametrize("segments", [0, 1, 2])
def test_packets_that_end_early_are_filled_up(segments):
    """Within the pixels, behind them, and behind a step."""
    made = GRAPHS["ahead"]
    mapping = map_network(made, (2, 1, 1))
    spikes, pixels = frames_of_all(made, 4, 4)  # the third frame is full
    sent = [beats_of(mapping, frame) for frame in mapping.input.stacked((spikes, pixels))]
    ends = [i for i, (word, _) in enumerate(sent[2]) if word >> MARK_BIT]
    cut = ends[segments - 1] if segments else 3
    sent[2] = [*sent[2][:cut], (sent[2][cut][0], 1)]
    if not segments:  # a last beat without a mark is dropped
        pixels[2, 3:] = 0
    spikes[2, max(0, segments - 1) :] = 0
    bench = Bench(mapping, sent, 0.2, 7)
    bench.run()
    expected = reference.run(made, (spikes, pixels))
    assert bench.packets == mapping.output.packets(expected.decided, expected.counts).tolist()
    assert bench.flags == [0, 0, 1, 0]


def test_frames_of_pixels_without_pixels_never_wait_for_flags():
    """As many as the queues of a core hold: each is a single token there."""
    made = QuantizedNetwork(
        (Input((2,), kind="static"),),
        (
            population("first", 5, Connection("input", weights(5, 2, 1), 4), bias=7),
            population("out", 4, Connection("first", weights(4, 5, 2), 4), Connection("out", weights(4, 4, 3), 4, 1)),
        ),
        8,
    )
    mapping = map_network(made, Placement((1, 1), queue_depth=16, row_queue_depth=2))
    check(made, mapping, np.zeros((40, 2), np.uint8), 0.0, 0)


def test_room_for_all_frames_that_can_be_inside():
    assert most_frames(late("spikes", 0)) < most_frames(late("spikes", 2 * STEPS))
    assert most_frames(late("spikes", 0)) >= 3
