"""The fire unit in the timing model: traces worked out by hand from the docstring of `rtl/fire.py`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from gradrtl.sim.timing.fifo import NEVER, Times
from gradrtl.sim.timing.fire import FIRE, give_back, issue, last_release, release, state


def unit(depth: int = 2):
    times = Times()
    fires = np.array([state(SimpleNamespace(rows=4, put_out=5, row_queue_depth=depth), times)], FIRE)
    return fires[0], np.array(times.values)


def test_the_first_row_a_cycle_after_the_bank_is_full_then_one_a_cycle():
    fire, times = unit()
    assert issue(fire, times, NEVER, 20) == 21
    assert issue(fire, times, 21, 20) == 22


def test_a_row_waits_for_a_credit():
    fire, times = unit()
    give_back(fire, times, 40)
    assert issue(fire, times, 21, 20) == 22  # the other credit
    give_back(fire, times, 50)
    assert issue(fire, times, 22, 20) == 40
    give_back(fire, times, 60)
    assert issue(fire, times, 40, 20) == 50


def test_credits_are_used_in_the_order_in_which_they_come_back():
    """A row that is not needed gives its credit back at once, before those of rows that wait."""
    fire, times = unit(depth=3)
    for cycle in (90, 80, 30):
        give_back(fire, times, cycle)
    got = []
    for _ in range(3):
        got.append(issue(fire, times, 0, 0))
        give_back(fire, times, 1000)
    assert got == [30, 80, 90]


def test_banks_are_released_in_turn_two_cycles_after_their_last_row():
    fire, times = unit()
    assert last_release(fire, times) == NEVER
    release(fire, times, 10)
    assert last_release(fire, times) == NEVER  # the other bank has been free since reset
    release(fire, times, 30)
    assert last_release(fire, times) == 12
    release(fire, times, 50)
    assert last_release(fire, times) == 32
