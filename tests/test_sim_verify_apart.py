"""Frames one at a time: each waits for all that cores do ahead of it, however long that takes."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import population, weights

from gradrtl.cache import CACHE
from gradrtl.quantize.network import Connection, Dense, Input, QuantizedNetwork
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.verilog import generate
from gradrtl.sim.driving import REST
from gradrtl.sim.verify import verify

pytestmark = pytest.mark.rtl


def rows() -> QuantizedNetwork:
    """Three steps of 6,000 rows are updated ahead."""
    late = population("late", 6000, Connection("input", weights(6000, 4), 4, delay=3))
    out = population("out", 3, Connection("late", weights(3, 6000), 4))
    return QuantizedNetwork((Input((4,), kind="spikes"),), (late, out), steps=4)


def synapses() -> QuantizedNetwork:
    """In each step 150 events of 300 synapses are added up ahead, in which no row is updated."""
    late = population("late", 150, Connection("input", weights(150, 4), 4, delay=3), bias=40)
    wide = population("wide", 300, Connection("late", Dense(np.ones((300, 150), np.int8)), 4))
    out = population("out", 3, Connection("wide", weights(3, 300), 4))
    return QuantizedNetwork((Input((4,), kind="spikes"),), (late, wide, out), steps=4)


@pytest.mark.parametrize(("made", "ahead"), [(rows(), 3 * 6000), (synapses(), 150 * 300)], ids=["rows", "synapses"])
def test_a_frame_waits_for_all_that_is_done_ahead_of_it(made: QuantizedNetwork, ahead: int) -> None:
    assert ahead > REST
    mapping = map_network(made, (1,) * len(made.populations))
    frames = np.random.default_rng(0).integers(0, 2, (3, 4, 4)).astype(np.uint8)
    found = verify(mapping, generate(mapping, ""), frames, apart=True, cache=CACHE, quick=True)
    assert found.difference is None, found
    assert found.predicted == len(frames)
