"""Serialisers in the timing model: traces worked out by hand from the docstring of `rtl/serialiser.py`."""

from __future__ import annotations

import numpy as np

from gradrtl.sim.timing.fifo import NEVER, Times
from gradrtl.sim.timing.serialiser import SERIALISER, accept, leave_queue, load, state


def test_a_row_is_loaded_a_cycle_after_it_is_taken_or_with_the_last_event_before_it():
    assert load(10, NEVER) == 11
    assert load(10, 11) == 11
    assert load(10, 15) == 15


def test_two_rows_of_pixels_wait():
    times = Times()
    lines = np.array([state(times)], SERIALISER)
    values = np.array(times.values)
    assert accept(lines[0], values, 3) == 3
    leave_queue(lines[0], values, 20)
    assert accept(lines[0], values, 4) == 4
    leave_queue(lines[0], values, 30)
    assert accept(lines[0], values, 5) == 21
    assert accept(lines[0], values, 25) == 25
