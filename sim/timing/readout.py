"""The read-out (`rtl/readout.py`) and the output queue: when a frame's last token is taken, when its packet leaves."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl.latency import INTERVAL, LARGEST_STAGE, OUTPUT_QUEUE, QUEUE, SENT, search_cycles
from ..vectors import record
from .fifo import RING, Times, leave, space

READOUT = record(
    [
        ("classes", np.int64),
        ("search", np.int64),  # cycles
        ("sent", np.int64),  # in `times`: the newest packet beat into the output queue
        ("queue", RING),
        ("stage", np.int64),  # cycles between the last core and the read-out
        ("last", np.int64),  # in `times`: when the newest frame's last token was taken
    ]
)


def state(classes: int, is_largest: bool, times: Times) -> tuple:
    """A `READOUT` of so many classes; `is_largest`: of the largest membranes, which have a stage of their own."""
    stage = LARGEST_STAGE if is_largest else 0
    return classes, search_cycles(classes), times.one(), times.ring(OUTPUT_QUEUE), stage, times.one()


@kernel(borrows=True, forceinline=True)
def take_last(readout, times, offered):
    """The cycle in which a frame's last token, offered from cycle `offered` on, leaves the last core."""
    taken = max(offered + readout.stage, times[readout.sent] + SENT)
    times[readout.last] = taken
    return offered if readout.stage else taken


@kernel(borrows=True, forceinline=True)
def take(readout, times, offered):
    """The cycle in which an event or token, offered from cycle `offered` on, leaves the last core.

    The last token of the frame before it may still be in the stage between.
    """
    return max(offered, times[readout.last])


@kernel(borrows=True, forceinline=True)
def send(readout, times, drained):
    """The cycle in which the last beat of a packet leaves, whose last token was taken last.

    A beat for the class and one for each sum. `drained`: the cycle in which each left, if not at once.
    """
    sent = times[readout.last] + readout.search
    out = sent
    for b in range(readout.classes + 1):
        sent = max(sent + INTERVAL, space(readout.queue, times))
        out = drained[b] if len(drained) else sent + QUEUE
        leave(readout.queue, times, out)
    times[readout.sent] = sent
    return out
