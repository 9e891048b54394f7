"""Frames one at a time: each waits until nothing moves, however long cores work ahead of it."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import population, weights

from gradrtl.cache import CACHE
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.verilog import generate
from gradrtl.sim.driving import REST
from gradrtl.sim.verify import verify

pytestmark = pytest.mark.rtl


def test_a_frame_waits_for_all_that_is_done_ahead_of_it():
    neurons, delay = 6000, 3
    assert neurons * delay > REST
    inputs = Connection("input", weights(neurons, 4), 4, delay=delay)
    late = population("late", neurons, inputs), population("out", 3, Connection("late", weights(3, neurons), 4))
    made = QuantizedNetwork((Input((4,), kind="spikes"),), late, steps=4)
    mapping = map_network(made, (1, 1))
    frames = np.random.default_rng(0).integers(0, 2, (3, 4, 4)).astype(np.uint8)
    found = verify(mapping, generate(mapping, ""), frames, apart=True, cache=CACHE, quick=True)
    assert found.difference is None, found
    assert found.predicted == len(frames)
