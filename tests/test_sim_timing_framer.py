"""Beats in the timing model: one a cycle into a queue of two, offered a cycle later."""

from __future__ import annotations

import numpy as np

from gradrtl.sim.timing.fifo import NEVER, Times
from gradrtl.sim.timing.framer import FRAMER, offer, pass_on, state, take


def source():
    times = Times()
    framers = np.array([state(times)], FRAMER)
    return framers[0], np.array(times.values)


def test_a_beat_a_cycle_from_reset_on():
    framer, times = source()
    for cycle in range(3):
        assert take(framer, times, NEVER) == cycle
        assert offer(framer, times, cycle) == cycle + 1
        pass_on(framer, times, cycle + 1)


def test_a_late_sender():
    framer, times = source()
    assert take(framer, times, 7) == 7
    pass_on(framer, times, 8)
    assert take(framer, times, 3) == 8


def test_two_beats_wait_in_the_queue():
    framer, times = source()
    assert take(framer, times, NEVER) == 0
    pass_on(framer, times, 20)
    assert take(framer, times, NEVER) == 1
    assert offer(framer, times, 1) == 21  # in order
    pass_on(framer, times, 22)
    assert take(framer, times, NEVER) == 21
    pass_on(framer, times, 23)
    assert take(framer, times, NEVER) == 23
