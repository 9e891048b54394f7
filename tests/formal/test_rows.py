"""The fire unit's credits, for ever: a row is issued only with a credit for the row queue, and no credit is lost.

The fire unit and the serialiser behind it, with any sums, at any times: the free credits, the rows in the pipeline and
those in the queue add up to the depth of the queue.
"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Assert, Cover, Module
from prover import Claim, free, inner, opened, prove

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.fire import FireUnit
from gradrtl.rtl.issue import Leaving
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.rtl.serialiser import Serialiser
from gradrtl.rtl.update import output_value_shape

STEPS = 2


def small_layer(depth: int) -> LayerMapping:
    """Two rows on two PEs, so that rows may be empty, hold one spike or two."""
    weights = np.array([[1, -2], [3, 0], [0, 2], [-3, 1]], np.int8)
    layer = Layer("only", (2,), Dense(weights, np.zeros(4, np.int64)), IntNeuron("none", "soft", np.array([2])), 3)
    network = QuantizedNetwork.chain(Input((2,), bits=1), (layer,), STEPS)
    return map_network(network, Placement((2,), row_queue_depth=depth)).layers[0]


class CreditsKept(Claim):
    """One edge for each of `depths`: all get the same rows."""

    def __init__(self, *depths: int):
        self.depths = depths

    def body(self, m: Module) -> None:
        mapping = small_layer(self.depths[0])
        fire = FireUnit(mapping, STEPS, STEPS, [Leaving(depth, i) for i, depth in enumerate(self.depths)])
        m.submodules.fire = fire
        for signal in (fire.full, fire.bad, fire.sums):
            free(m, signal)
        for i, depth in enumerate(self.depths):
            self.edge(m, fire, str(i or ""), depth)

    def edge(self, m: Module, fire: FireUnit, number: str, depth: int) -> None:
        """The edge with the ports `credit<number>`, and what is claimed of it."""
        mapping = fire.mapping
        serialiser = Serialiser(
            mapping.outgoing[0].output_bits,
            mapping.pes,
            output_value_shape(mapping),
            depth,
            mapping.output_address_bits(),
        )
        behind = opened(serialiser)
        m.submodules[f"serialiser{number}"] = behind
        m.d.comb += [
            serialiser.rows.payload.eq(fire.rows.payload),
            serialiser.rows.valid.eq(fire.rows.valid),
            getattr(fire, f"credit{number}").eq(serialiser.credit),
        ]
        free(m, serialiser.events.ready)
        credits, returned = (getattr(fire.issue, f"{name}{number}") for name in ("credits", "returned"))
        stages, level = fire.update.stages, inner(behind, "queue", "level")
        m.d.comb += [
            Assert(~fire.issue.issues | (credits != 0)),
            Assert(~fire.rows.valid | serialiser.rows.ready),  # no row comes to a full queue
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


@pytest.mark.parametrize("depths", [(2, 3), (3, 2, 2)])
def test_no_credit_of_a_fork_is_lost(depths):
    prove(CreditsKept(*depths), f"fork{'-'.join(map(str, depths))}", 2)


def test_full_queues_are_reached():
    prove(CreditsKept(2), "rows2", 24, "cover")
