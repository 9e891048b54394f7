"""Frames from `s_axis` (`rtl/top.py`'s input queue and `rtl/framing.py`): when beats are taken and passed on."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl.latency import INPUT_QUEUE, INTERVAL, QUEUE
from ..vectors import record
from .fifo import RING, Times, leave, space

FRAMER = record(
    [
        ("queue", RING),
        ("taken", np.int64),  # in `times`: the newest beat taken from the sender,
        ("passed", np.int64),  # the newest one passed on,
        ("first", np.int64),  # and when the first one of a frame was taken
    ]
)


def state(times: Times) -> tuple:
    """A `FRAMER`, whose sender offers the first beat in cycle 0."""
    return times.ring(INPUT_QUEUE), times.one(-INTERVAL), times.one(), times.one()


@kernel(borrows=True, forceinline=True)
def take(framer, times, offered):
    """The cycle in which the next beat, offered from cycle `offered` on, is taken."""
    beat = max(max(times[framer.taken] + INTERVAL, space(framer.queue, times)), offered)
    times[framer.taken] = beat
    return beat


@kernel(borrows=True, forceinline=True)
def offer(framer, times, beat):
    """The first cycle in which a beat that was taken in cycle `beat` is offered to what follows."""
    return max(beat + QUEUE, times[framer.passed] + INTERVAL)


@kernel(borrows=True, forceinline=True)
def pass_on(framer, times, cycle):
    """The beat that was offered is taken in `cycle` by what follows."""
    times[framer.passed] = cycle
    leave(framer.queue, times, cycle)


@kernel(borrows=True)
def keep(framer, times, kept):
    """Copy the framer's part of `times` to `kept`."""
    for i in range(len(kept)):
        kept[i] = times[framer.queue.begin + i]


@kernel(borrows=True)
def restore(framer, times, kept, at):
    """Back to what `keep` has copied, but for the first beat of the frame; `at`: the place in the queue then."""
    first = times[framer.first]
    for i in range(len(kept)):
        times[framer.queue.begin + i] = kept[i]
    times[framer.first] = first
    framer.queue.at = at
