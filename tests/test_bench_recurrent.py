"""The recurrent network of the benchmark: what the engine runs is what the reference says."""

from __future__ import annotations

import numpy as np

from bench.recurrent import network
from gradrtl.sim import engine, reference


def test_a_small_one_equals_the_reference():
    made = network(neurons=20, steps=9, connectivity=0.2)
    frames = (np.random.default_rng(2).random((3, 9, 64)) < 0.5).astype(np.uint8)
    ours, theirs = engine.run(made, frames, trace="spikes"), reference.run(made, frames)
    assert theirs.trace.spikes[0].any()
    np.testing.assert_array_equal(ours.counts, theirs.counts)
    np.testing.assert_array_equal(ours.trace.spikes[0], theirs.trace.spikes[0])
