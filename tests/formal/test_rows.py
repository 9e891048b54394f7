"""The fire unit's free places, for ever: a row is issued only if there is a place for it, and no place is lost.

The fire unit and the serialiser behind it, with any sums, at any times: the places counted as free, the rows on their
way and those that wait make up the depth of the queue.
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


class PlacesKept(Claim):
    def __init__(self, depth: int):
        self.depth = depth

    def body(self, m: Module) -> None:
        mapping, depth = small_layer(self.depth), self.depth
        fire = FireUnit(mapping, STEPS, STEPS)
        serialiser = Serialiser(
            mapping.scan.output_bits, mapping.pes, output_value_shape(mapping), depth, mapping.output_address_bits
        )
        m.submodules.fire, m.submodules.serialiser = unit, behind = opened(fire), opened(serialiser)
        wiring.connect(m, fire.rows, serialiser.rows)
        m.d.comb += fire.gone.eq(serialiser.gone)
        for signal in (fire.full, fire.bad, fire.sums, serialiser.events.ready):
            free(m, signal)

        room, unqueued, issue = (inner(unit, name) for name in ("room", "unqueued", "issue"))
        level = inner(behind, "queue", "level")
        on_their_way = [inner(unit, f"valid{i}") for i in (1, 2, 3, 4)]
        m.d.comb += [
            Assert(~issue | (room != 0)),
            Assert(~fire.rows.valid | fire.rows.ready),  # no row comes to a full queue
            Assert(sum(on_their_way, room + unqueued + fire.rows.valid + level) == depth),
            Assert(inner(behind, "queue", "room") == (level != depth)),
            Assert(inner(behind, "queue", "there") == (level != 0)),
            Cover(level == depth),
            Cover(inner(unit, "valid1") & (room == 0) & (level == depth - 1)),
            Cover(serialiser.gone.unneeded & unqueued),
        ]


@pytest.mark.parametrize("depth", [2, 3, 8])
def test_no_place_is_lost(depth):
    prove(PlacesKept(depth), f"rows{depth}", 2)


def test_full_queues_are_reached():
    prove(PlacesKept(2), "rows2", 24, "cover")
