"""Largest membranes, clocked: growths that add up to every neuron's largest membrane, whatever the listener does."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator
from test_rtl_update import NEURONS, STEPS, mapping_of

from gradrtl.quantize.network import IntNeuron
from gradrtl.rtl.largest import Largest

FRAMES = 4


@pytest.mark.parametrize("readiness", [1.0, 0.4])
def test_growths_add_up_to_the_largest(readiness):
    mapping = mapping_of(IntNeuron("none", "none", 0, spiking=False, membrane_bits=5), 2, "largest")
    unit = Largest(mapping, STEPS)
    generator = np.random.default_rng(3)
    membranes = generator.integers(-16, 16, (FRAMES, STEPS, NEURONS))
    membranes[0] -= 16 + membranes[0] // 2  # all negative: the largest is not 0
    membranes = membranes.clip(-16, 15)
    order = [int(address) for address in np.flatnonzero(mapping.sent[0] >= 0)]
    sums = np.zeros((FRAMES, NEURONS), np.int64)
    tokens = []

    async def drive(ctx):
        for step in membranes.reshape(-1, NEURONS):
            for address in [*order, None]:
                event = unit.events.payload
                ctx.set(event.end, address is None)
                ctx.set(event.source, 0 if address is None else address)
                ctx.set(event.value, 0 if address is None else int(step[mapping.sent[0][address]]))
                ctx.set(unit.events.valid, 1)
                await ctx.tick().until(unit.events.ready)
                ctx.set(unit.events.valid, 0)
        await ctx.tick().repeat(20)

    async def watch(ctx):
        while True:
            ctx.set(unit.growths.ready, int(generator.random() < readiness))
            _, _, valid, ready, growth = await ctx.tick().sample(
                unit.growths.valid, unit.growths.ready, unit.growths.payload
            )
            if valid and ready:
                if growth.end:
                    tokens.append(1)
                else:
                    sums[len(tokens) // STEPS, mapping.sent[0][growth.source]] += growth.value

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    assert len(tokens) == FRAMES * STEPS
    assert np.array_equal(sums, membranes.max(axis=1))
    assert (sums < 0).any()
