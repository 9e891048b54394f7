"""The fire unit's credits, for ever: a row is issued only with a credit for the row queue, and no credit is lost.

The fire unit and the edges behind it, with any sums, at any times: of each edge, the free credits, the rows in the
pipeline and those in the queue add up to the depth of the queue. Every edge takes each row of each step once, in order,
in the cycle in which it is put out. What leaves an edge then is the claim of `test_serialiser.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Assert, Cover, Fragment, Module, Mux, Signal
from prover import Claim, Refuted, free, inner, opened, prove

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.edge import Edge
from gradrtl.rtl.fire import FireUnit
from gradrtl.rtl.issue import Issue, Leaving
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.rtl.update import output_value_shape

STEPS = 2


def small_layer(depth: int) -> LayerMapping:
    """Two rows on two PEs, so that rows may be empty, hold one spike or two."""
    weights = np.array([[1, -2], [3, 0], [0, 2], [-3, 1]], np.int8)
    layer = Layer("only", (2,), Dense(weights, np.zeros(4, np.int64)), IntNeuron("none", "soft", np.array([2])), 3)
    network = QuantizedNetwork.chain(Input((2,), bits=1), (layer,), STEPS)
    return map_network(network, Placement((2,), row_queue_depth=depth)).layers[0]


class CreditsKept(Claim):
    """One edge for each of `depths`, the first without a delay, each other one a step later than the one before."""

    def __init__(self, *depths: int):
        self.depths = depths

    def body(self, m: Module) -> None:
        mapping = small_layer(self.depths[0])
        leaving = [Leaving(depth, i) for i, depth in enumerate(self.depths)]
        fire = FireUnit(mapping, STEPS, STEPS, leaving)
        m.submodules.fire = inside = opened(fire)
        for signal in (fire.full, fire.bad, fire.sums):
            free(m, signal)
        for i, edge in enumerate(leaving):
            self.edge(m, fire, i, edge)
        if len(leaving) > 1:
            self.order(m, fire, inside)

    def edge(self, m: Module, fire: FireUnit, number: int, leaving: Leaving) -> None:
        """The edge with the ports `credit<number>`, and what is claimed of it."""
        mapping, suffix = fire.mapping, str(number or "")
        edge = Edge(
            mapping.outgoing[0].output_bits,
            mapping.pes,
            output_value_shape(mapping),
            leaving.depth,
            mapping.output_address_bits(),
            leaving.delay,
        )
        behind = opened(edge)
        m.submodules[f"edge{suffix}"] = behind
        m.d.comb += [
            edge.rows.payload.eq(fire.rows.payload),
            edge.rows.valid.eq(fire.rows.valid),
            edge.masked.eq(fire.masked[number]),
            getattr(fire, f"credit{suffix}").eq(edge.credit),
        ]
        free(m, edge.events.ready)
        credits, returned = (getattr(fire.issue, f"{name}{suffix}") for name in ("credits", "returned"))
        stages, level = fire.update.stages, inner(behind, "serialiser", "queue", "level")
        m.d.comb += [
            Assert(~fire.issue.issues | (credits != 0)),
            Assert(~fire.rows.valid | edge.rows.ready),  # no row comes to a full queue
            Assert(sum(stages, credits + returned + fire.rows.valid + level) == leaving.depth),
            Assert(inner(behind, "serialiser", "queue", "not_full") == (level != leaving.depth)),
            Assert(inner(behind, "serialiser", "queue", "not_empty") == (level != 0)),
            Cover(level == leaving.depth),
            Cover(stages[0] & (credits == 0) & (level == leaving.depth - 1)),
            Cover(edge.credit.empty & returned),
        ]

    def order(self, m: Module, fire: FireUnit, inside: Fragment) -> None:
        """The rows that are put out are those that were issued, in order, each masked for the edges of its step."""
        rows, issues = fire.mapping.rows, fire.issue.issues
        row, step = Signal(range(rows)), Signal(range(STEPS))
        with m.If(issues):
            m.d.sync += row.eq(Mux(row == rows - 1, 0, row + 1))
            with m.If(row == rows - 1):
                m.d.sync += step.eq(Mux(step == STEPS - 1, 0, step + 1))
        m.d.comb += [
            Assert(inner(inside, "issue", "step") == step),
            Assert(Mux(fire.running, inner(inside, "issue", "next_row") == row, (row == 0) & (step == 0))),
        ]
        passed = issues, row, step
        for _ in range(fire.mapping.put_out):
            before = passed
            passed = Signal(), Signal.like(row), Signal.like(step)
            m.d.sync += [new.eq(old) for new, old in zip(passed, before, strict=True)]
        valid, row, step = passed
        m.d.comb += Assert(fire.rows.valid == valid)
        with m.If(valid):
            m.d.comb += [
                Assert(fire.rows.payload.row == row),
                Assert(fire.rows.payload.end == (row == rows - 1)),
                *(Assert(fire.masked[i] == (step >= STEPS - i)) for i in range(1, len(self.depths))),
            ]


@pytest.mark.parametrize("depth", [2, 3, 8])
def test_no_credit_is_lost(depth):
    prove(CreditsKept(depth), f"rows{depth}", 2)


@pytest.mark.parametrize("depths", [(2, 3), (3, 1, 2)])
def test_no_credit_of_a_fork_is_lost(depths):
    prove(CreditsKept(*depths), f"fork{'-'.join(map(str, depths))}", 8)


def test_full_queues_are_reached():
    prove(CreditsKept(2), "rows2", 24, "cover")


class FirstCredit(Issue):
    """Asks the first edge alone for a credit."""

    def _has_credits(self):
        return self.credits != 0


class Held(Issue):
    """A credit of the second edge comes back a second time if a row is issued in that cycle."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.credits1.eq(self.credits1 - (self.issues & ~self.returned1) + self.returned1)
        return m


@pytest.mark.parametrize("broken", [FirstCredit, Held])
def test_a_broken_fork_is_refuted(broken, monkeypatch):
    monkeypatch.setattr("gradrtl.rtl.fire.Issue", broken)
    with pytest.raises(Refuted, match="Assert failed"):
        prove(CreditsKept(3, 1), f"fork-{broken.__name__}", 24, "bmc")
