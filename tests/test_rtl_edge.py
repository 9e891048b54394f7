"""An edge with a delay, clocked: the spikes of each frame come so many steps late, and none in another frame."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from gradrtl.rtl.edge import Edge
from gradrtl.rtl.routes import least_rows

STEPS, ROWS, LANES, FRAMES = 4, 3, 2, 3


@pytest.mark.parametrize("readiness", [1.0, 0.4])
@pytest.mark.parametrize("delay", [0, 1, 3, 4])
def test_a_frame_keeps_its_spikes_and_its_flag(delay, readiness):
    edge = Edge(2, LANES, 1, FRAMES * STEPS * ROWS, 3, delay)
    generator = np.random.default_rng(delay)
    spikes = generator.random((FRAMES, STEPS, ROWS, LANES)) < 0.5
    bad = np.array([True, False, True])  # as a framer marks it: all tokens from the fault on
    steps: list[list[int]] = [[]]
    flags = []

    async def send(ctx):
        for frame in range(FRAMES):
            for step in range(STEPS):
                for row in range(ROWS):
                    payload = edge.rows.payload
                    ctx.set(payload.row, row)
                    ctx.set(payload.mask, sum(int(s) << lane for lane, s in enumerate(spikes[frame, step, row])))
                    ctx.set(payload.end, row == ROWS - 1)
                    ctx.set(payload.bad, bool(bad[frame]))
                    ctx.set(edge.masked, step >= STEPS - delay)
                    ctx.set(edge.rows.valid, 1)
                    await ctx.tick().until(edge.rows.ready)
                    ctx.set(edge.rows.valid, 0)

    async def listen(ctx):
        while len(flags) < FRAMES * STEPS:
            ctx.set(edge.events.ready, int(generator.random() < readiness))
            _, _, valid, ready, event = await ctx.tick().sample(
                edge.events.valid, edge.events.ready, edge.events.payload
            )
            if valid and ready:
                if event.end:
                    flags.append(event.bad)
                    steps.append([])
                else:
                    steps[-1].append(event.source)

    simulator = Simulator(edge)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(listen)
    simulator.run()
    expected = []
    for frame in spikes:
        sent = [[row * LANES + lane for row, lane in np.argwhere(step)] for step in frame]
        expected += ([[]] * delay + sent)[:STEPS]
    assert steps[:-1] == expected
    late = [flag and step >= delay for flag in bad for step in range(STEPS)]
    assert flags == late


def test_rows_of_an_edge():
    """A fork that joins again needs the rows of a step, a loop of one step too, a skip of two steps those of three."""
    assert least_rows(7, 0, False) == 7
    assert least_rows(7, 1, True) == 7
    assert least_rows(7, 2, False) == 21
    assert least_rows(7, 0, True) == 1
