"""Queues (`rtl/fifo.py`): when there is space for the next entry."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl.latency import QUEUE_FREED
from ..vectors import record

NEVER = -(1 << 30)  # a cycle before all others
# A queue: `times[begin:end]` are the cycles in which its newest entries left, as many as it holds; the oldest at `at`.
RING = record([("begin", np.int64), ("end", np.int64), ("at", np.int64)])


class Times:
    """Allocates indices in `State.times`."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def one(self, cycle: int = NEVER) -> int:
        """An index whose time is `cycle` at reset."""
        self.values.append(cycle)
        return len(self.values) - 1

    def ring(self, entries: int) -> tuple[int, int, int]:
        """A `RING` with this number of entries, empty at reset."""
        begin = len(self.values)
        self.values += [NEVER] * entries
        return begin, begin + entries, begin


@kernel(borrows=True, forceinline=True)
def space(ring, times):
    """The first cycle in which there is space for the next entry."""
    return times[ring.at] + QUEUE_FREED


@kernel(borrows=True, forceinline=True)
def leave(ring, times, cycle):
    """The entry for which there was `space` leaves in `cycle`."""
    at = ring.at
    times[at] = cycle
    ring.at = ring.begin if at + 1 == ring.end else at + 1
