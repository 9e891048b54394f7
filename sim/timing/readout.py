"""The read-outs (`rtl/readout.py`, `rtl/gather.py`) and the output queue: when a frame's last token is taken, when its
packet leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...compiled import kernel
from ...rtl.latency import CANCELLED, INTERVAL, LARGEST_STAGE, OUTPUT_QUEUE, QUEUE, SENT, search_cycles
from ..vectors import record
from .fifo import NEVER, RING, Times, leave, space

READOUT = record(
    [
        ("words", np.int64),  # of its part of a packet
        ("search", np.int64),  # cycles
        ("sent", np.int64),  # in `times`, as for all read-outs: the newest packet beat into the output queue
        ("queue", RING),  # that of the first is used
        ("stage", np.int64),  # cycles between the last core and the read-out
        ("last", np.int64),  # in `times`: when the newest frame's last token was taken
        ("early", np.int64),  # 1 if the token of the first step with an event is taken as the frame's last
        ("events", np.int64),  # of the frame until then
        ("decided", np.int64),  # 1 behind that token
        ("cancel", np.int64),  # in `times`: when the rest of the newest frame would be cancelled, NEVER if not
    ]
)


def states(
    classes: Sequence[int], kinds: Sequence[str], times: Times, numbered: bool = False, early: bool = False
) -> list[tuple]:
    """A `READOUT` of each read-out: its classes, and its kind, for those of largest membranes have a stage.

    `numbered`: the packet begins with the number of a step. `early`: see `QuantizedNetwork.answers_early`.
    """
    sent, queue = times.one(), times.ring(OUTPUT_QUEUE)
    stages = [LARGEST_STAGE if kind == "largest" else 0 for kind in kinds]
    words = [number + 1 + (numbered and i == 0) for i, number in enumerate(classes)]
    return [
        (words[i], search_cycles(classes[i]), sent, queue, stage, times.one(), early, 0, 0, times.one())
        for i, stage in enumerate(stages)
    ]


@kernel(borrows=True, forceinline=True)
def is_last(readout, events, ends):
    """Whether the token of a step is taken as its frame's last, before which the step had `events`; `ends`: it is."""
    if not readout.early:
        return ends
    readout.events += events
    last = not readout.decided and (ends or readout.events > 0)
    if ends:
        readout.events = readout.decided = 0
    elif last:
        readout.decided = 1
    return last


@kernel(borrows=True, forceinline=True)
def take_last(readout, times, offered):
    """The cycle in which a frame's last token, offered from cycle `offered` on, leaves the last core."""
    taken = max(offered + readout.stage, times[readout.sent] + SENT)
    times[readout.last] = taken
    times[readout.cancel] = taken + CANCELLED if readout.decided else NEVER
    return offered if readout.stage else taken


@kernel(borrows=True, forceinline=True)
def take(readout, times, offered):
    """The cycle in which an event or token, offered from cycle `offered` on, leaves the last core.

    The last token of the frame before it may still be in the stage between.
    """
    return max(offered, times[readout.last])


@kernel(borrows=True, forceinline=True)
def send(readouts, times, drained):
    """The cycle in which the last beat of a packet leaves, of all read-outs, whose last tokens were taken last.

    It begins when all of them have found their class. Of each, its words. `drained`:
    the cycle in which each left, if not at once.
    """
    sent, beats = NEVER, 0
    for i in range(len(readouts)):
        sent = max(sent, times[readouts[i].last] + readouts[i].search)
        beats += readouts[i].words
    out = sent
    for b in range(beats):
        sent = max(sent + INTERVAL, space(readouts[0].queue, times))
        out = drained[b] if len(drained) else sent + QUEUE
        leave(readouts[0].queue, times, out)
    times[readouts[0].sent] = sent
    return out
