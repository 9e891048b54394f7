"""The read-out (`rtl/readout.py`) and the output queue: when a frame's last token is taken, when its packet leaves."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl.latency import INTERVAL, OUTPUT_QUEUE, QUEUE, SENT, search_cycles
from ..vectors import record
from .fifo import RING, Times, leave, space

READOUT = record(
    [
        ("classes", np.int64),
        ("search", np.int64),  # cycles
        ("sent", np.int64),  # in `times`: the newest packet beat into the output queue
        ("queue", RING),
    ]
)


def state(classes: int, times: Times) -> tuple:
    """A `READOUT` for this number of classes."""
    return classes, search_cycles(classes), times.one(), times.ring(OUTPUT_QUEUE)


@kernel(borrows=True, forceinline=True)
def take_last(readout, times, offered):
    """The cycle in which a frame's last token, offered from cycle `offered` on, is taken."""
    return max(offered, times[readout.sent] + SENT)


@kernel(borrows=True, forceinline=True)
def send(readout, times, last_token, drained):
    """The cycle in which the last beat of a packet leaves, whose last token was taken in cycle `last_token`.

    A beat for the class and one for each sum. `drained`: the cycle in which each left, if not at once.
    """
    sent = last_token + readout.search
    out = sent
    for b in range(readout.classes + 1):
        sent = max(sent + INTERVAL, space(readout.queue, times))
        out = drained[b] if len(drained) else sent + QUEUE
        leave(readout.queue, times, out)
    times[readout.sent] = sent
    return out
