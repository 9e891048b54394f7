"""The fire unit with several edges, clocked: which rows are masked."""

from __future__ import annotations

import pytest
from amaranth.sim import Simulator
from test_rtl_update import KINDS, STEPS, mapping_of

from gradrtl.rtl.fire import FireUnit
from gradrtl.rtl.issue import Leaving

DELAYS = (0, 1, 3)
FRAMES = 2


@pytest.mark.parametrize("kind", ["refractory", "new current"])
def test_rows_of_the_last_steps_are_masked(kind):
    """The mask comes with its row, whatever the number of stages."""
    mapping = mapping_of(KINDS[kind], 2)
    unit = FireUnit(mapping, STEPS, 1, [Leaving(4, delay) for delay in DELAYS])
    found = []

    async def run(ctx):
        ctx.set(unit.full, 3)
        while len(found) < FRAMES * STEPS * mapping.rows:
            _, _, valid, masked = await ctx.tick().sample(unit.rows.valid, unit.masked)
            for number in ("", "1", "2"):
                ctx.set(getattr(unit, f"credit{number}").empty, valid)
            if valid:
                found.append(masked)

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    expected = [sum((step >= STEPS - delay) << i for i, delay in enumerate(DELAYS)) for step in range(STEPS)]
    assert found == [mask for _ in range(FRAMES) for mask in expected for _ in range(mapping.rows)]
