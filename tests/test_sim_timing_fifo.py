"""Queues in the timing model: an entry is taken in the cycle after the one that made space for it left."""

from __future__ import annotations

import numpy as np

from gradrtl.sim.timing.fifo import NEVER, RING, Times, leave, space


def test_places_follow_one_another():
    times = Times()
    assert times.one(7) == 0
    assert times.ring(3) == (1, 4, 1)
    assert times.one() == 4
    assert times.values == [7, NEVER, NEVER, NEVER, NEVER]


def test_a_queue_of_two():
    """`rtl/fifo.py`: a full queue takes nothing in the cycle in which it gives."""
    times = np.array([99, NEVER, NEVER, 99])
    rings = np.array([(1, 3, 1)], RING)
    assert space(rings[0], times) <= 0  # empty at reset
    leave(rings[0], times, 5)
    assert space(rings[0], times) <= 0  # one of two
    leave(rings[0], times, 9)
    assert space(rings[0], times) == 6
    leave(rings[0], times, 10)
    assert space(rings[0], times) == 10
    leave(rings[0], times, 30)
    assert space(rings[0], times) == 11
    assert times[[0, 3]].tolist() == [99, 99]
