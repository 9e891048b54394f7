"""The read-out in the timing model: traces worked out by hand from the docstring of `rtl/readout.py`."""

from __future__ import annotations

import numpy as np

from gradrtl.sim.timing.fifo import Times
from gradrtl.sim.timing.readout import READOUT, send, states, take, take_last

NOT_HELD = np.zeros(0, np.int64)


def sums(classes: int, is_largest: bool = False):
    times = Times()
    readouts = np.array(states([classes], ["largest" if is_largest else "count"], times), READOUT)
    return readouts, np.array(times.values)


def test_a_packet_of_three_classes():
    """Token in 10: a beat offered in 10 + 3 + 1 = 14, four in all, each through the output queue a cycle later."""
    readout, times = sums(3)
    assert take_last(readout[0], times, 10) == 10
    assert send(readout, times, NOT_HELD) == 18


def test_the_next_frame_waits_until_the_sender_is_done():
    readout, times = sums(3)
    take_last(readout[0], times, 10)
    send(readout, times, NOT_HELD)  # its last beat into the output queue in 17
    assert take_last(readout[0], times, 12) == 18
    assert take_last(readout[0], times, 30) == 30


def test_a_slow_receiver_fills_the_output_queue():
    """Beats leave in 40, 41, 60, 61: the third enters in the cycle after the first has left, the fourth in 42."""
    readout, times = sums(3)
    take_last(readout[0], times, 10)
    assert send(readout, times, np.array([40, 41, 60, 61])) == 61
    assert take_last(readout[0], times, 0) == 43
    # Two of that packet left in 60 and 61: the next, whose token came in 43, enters from 61 on.
    assert send(readout, times, np.array([70, 71, 72, 73])) == 73
    assert take_last(readout[0], times, 0) == 73


def test_largest_membranes_have_a_stage_that_holds_a_last_token():
    """It leaves the core in 10, the read-out takes it in 11: a packet a cycle later than of a sum."""
    readout, times = sums(3, is_largest=True)
    assert take_last(readout[0], times, 10) == 10
    assert take(readout[0], times, 11) == 11
    assert send(readout, times, NOT_HELD) == 19
    # The next one leaves the core in 13 and waits in the stage until 19; the event behind it waits in the core.
    assert take_last(readout[0], times, 13) == 13
    assert take(readout[0], times, 14) == 19


def test_the_packet_of_two_read_outs():
    """Last tokens in 10 and 20, of 3 and 2 classes: both offered in 23, 7 beats, the last through the queue in 30."""
    times = Times()
    readouts = np.array(states([3, 2], ["count", "count"], times), READOUT)
    cycles = np.array(times.values)
    assert take_last(readouts[0], cycles, 10) == 10
    assert take_last(readouts[1], cycles, 20) == 20
    assert send(readouts, cycles, NOT_HELD) == 30
    # Neither takes the next frame's last token before the whole packet is in the queue, in 29.
    assert [take_last(one, cycles, 12) for one in readouts] == [30, 30]
