"""The fire unit (`rtl/fire.py`): when rows are issued, and when a bank is released."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl.latency import BANKS, INTERVAL, RELEASED, SEEN
from ...rtl.mapping import LayerMapping
from ..vectors import record
from .fifo import RING, Times

FIRE = record(
    [
        ("rows", np.int64),
        ("put_out", np.int64),  # cycles from the issue of a row to its offer
        ("issued", np.int64),  # in `times`: the newest row
        ("credits", RING),  # the first cycles in which each credit can be used, from `at` on in order
        ("released", RING),  # the newest release of each bank, that of the bank to be filled next at `at`
    ]
)


def state(layer: LayerMapping, times: Times) -> tuple:
    """A `FIRE` with a credit for each entry of the row queue."""
    return layer.rows, layer.put_out, times.one(), times.ring(layer.row_queue_depth), times.ring(BANKS)


@kernel(borrows=True, forceinline=True)
def issue(fire, times, issued, full):
    """The cycle in which a row is issued, after one `issued`, from a bank that is seen full from cycle `full` on."""
    return max(max(issued + INTERVAL, full + SEEN), times[fire.credits.at])


@kernel(borrows=True, forceinline=True)
def give_back(fire, times, cycle):
    """The credit of the row that was issued last can be used from `cycle` on.

    It replaces the credit that the row used, and is sorted before those that return later.
    """
    begin, end, slot = fire.credits.begin, fire.credits.end, fire.credits.at
    oldest = begin if slot + 1 == end else slot + 1
    fire.credits.at = oldest
    while slot != oldest:
        before = (slot if slot > begin else end) - 1
        if times[before] <= cycle:
            break
        times[slot] = times[before]
        slot = before
    times[slot] = cycle


@kernel(borrows=True, forceinline=True)
def release(fire, times, issued):
    """The bank whose last row was `issued` is released after its last scan."""
    banks = fire.released
    times[banks.at] = issued + RELEASED
    banks.at = banks.begin if banks.at + 1 == banks.end else banks.at + 1


@kernel(borrows=True, forceinline=True)
def last_release(fire, times):
    """The cycle in which the bank that is filled next was released."""
    return times[fire.released.at]
