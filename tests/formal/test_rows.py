"""The fire unit's credits, for ever: a row is issued only with a credit for the row queue, and no credit is lost.

The fire unit and the serialiser behind it, with any sums, at any times: the free credits, the rows in the pipeline and
those in the queue add up to the depth of the queue.
"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Assert, Cover, Module
from amaranth.lib import wiring
from prover import Claim, free, inner, opened, prove

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.fire import FireUnit, output_value_shape
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.rtl.serialiser import Serialiser

STEPS = 2


def small_layer(depth: int) -> LayerMapping:
    """Two rows on two PEs, so that rows may be empty, hold one spike or two."""
    weights = np.array([[1, -2], [3, 0], [0, 2], [-3, 1]], np.int8)
    layer = Layer("only", (2,), Dense(weights, np.zeros(4, np.int64)), IntNeuron("none", "soft", np.array([2])), 3)
    network = QuantizedNetwork(Input((2,), bits=1), (layer,), STEPS)
    return map_network(network, Placement((2,), row_queue_depth=depth)).layers[0]


class CreditsKept(Claim):
    def __init__(self, depth: int):
        self.depth = depth

    def body(self, m: Module) -> None:
        mapping, depth = small_layer(self.depth), self.depth
        fire = FireUnit(mapping, STEPS, STEPS)
        serialiser = Serialiser(
            mapping.scan.output_bits, mapping.pes, output_value_shape(mapping), depth, mapping.output_address_bits
        )
        m.submodules.fire = fire
        m.submodules.serialiser = behind = opened(serialiser)
        wiring.connect(m, fire.rows, serialiser.rows)
        m.d.comb += fire.credit.eq(serialiser.credit)
        for signal in (fire.full, fire.bad, fire.sums, serialiser.events.ready):
            free(m, signal)

        credits, returned, stages = fire.issue.credits, fire.issue.returned, fire.update.stages
        level = inner(behind, "queue", "level")
        m.d.comb += [
            Assert(~fire.issue.issues | (credits != 0)),
            Assert(~fire.rows.valid | fire.rows.ready),  # no row comes to a full queue
            Assert(sum(stages, credits + returned + fire.rows.valid + level) == depth),
            Assert(inner(behind, "queue", "not_full") == (level != depth)),
            Assert(inner(behind, "queue", "not_empty") == (level != 0)),
            Cover(level == depth),
            Cover(stages[0] & (credits == 0) & (level == depth - 1)),
            Cover(serialiser.credit.empty & returned),
        ]


@pytest.mark.parametrize("depth", [2, 3, 8])
def test_no_credit_is_lost(depth):
    prove(CreditsKept(depth), f"rows{depth}", 2)


def test_full_queues_are_reached():
    prove(CreditsKept(2), "rows2", 24, "cover")
