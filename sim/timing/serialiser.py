"""Serialisers (`rtl/serialiser.py`): when a row is loaded, and when its events leave."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl.latency import BEATS_WAITING, QUEUE
from ..vectors import record
from .fifo import RING, Times, leave, space

SERIALISER = record(
    [
        ("finished", np.int64),  # in `times`: the last event of the newest row
        ("queue", RING),  # waiting rows if their producer has no credits: beats of pixels
    ]
)


def state(times: Times) -> tuple:
    """A `SERIALISER`."""
    return times.one(), times.ring(BEATS_WAITING)


@kernel(borrows=True, forceinline=True)
def load(row, finished):
    """The cycle in which a row that is taken in cycle `row` is loaded: at the earliest, in the cycle of the last event
    before it.
    """
    return max(row + QUEUE, finished)


@kernel(borrows=True, forceinline=True)
def accept(serialiser, times, offered):
    """The cycle in which a row of pixels that is offered from cycle `offered` on is taken."""
    return max(offered, space(serialiser.queue, times))


@kernel(borrows=True, forceinline=True)
def leave_queue(serialiser, times, loaded):
    """A row of pixels is `loaded`, out of the queue."""
    leave(serialiser.queue, times, loaded)
