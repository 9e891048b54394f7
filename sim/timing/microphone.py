"""A front end in front of a stream (`rtl/microphone.py`): when its beats reach the network, and when packets leave.

The front end and the network hold each other up: a beat that waits moves those after it. So the waits of all beats are
assumed, the times that follow from them give other ones, and so on until nothing changes. What a beat waits depends on
earlier ones alone: there is one solution, and each round is right for one beat more, at least.
"""

from __future__ import annotations

import numpy as np

from ...compiled import kernel
from ...rtl import latency
from ...rtl.latency import INTERVAL, OUTPUT_QUEUE, QUEUE, QUEUE_FREED
from ...rtl.mapping import Mapping
from ..events import Events
from ..sound import Sound
from .predict import Cycles, predict


def predict_sound(
    mapping: Mapping,
    sound: Sound,
    events: tuple[Events, ...],
    offered: np.ndarray | None = None,
    taken: np.ndarray | None = None,
) -> Cycles:
    """Times of the steps of a stream: `first_beat` and `last_beat` are those of its samples. Always exact.

    Parameters
    ----------
    events
        From `sim.events.events_of`.
    offered
        int64 `[steps, samples]`: the earliest cycle in which each sample is offered. None: at once.
    taken
        int64 `[steps, words]`: the cycle in which each beat of each packet was taken. None: at once.
    """
    settings, counts = sound.settings, sound.counts[:, 0]
    most = counts.shape[1] + 1
    sent, accepted, waits = np.zeros((3, len(counts), most), np.int64)
    sizes = np.array([settings.step, latency.front_end_sample(settings.products)])
    coding = latency.front_end_filters(settings.products) + latency.front_end_codes(settings.bands)
    times = np.zeros((2, len(counts)), np.int64)
    offers = np.zeros((len(counts), 0), np.int64) if offered is None else offered
    while True:
        _front_end(counts, sound.samples, offers, waits, sizes, coding, sent, times)
        found = predict(mapping, events, offered=sent, taken=taken, accepted=accepted)
        if (accepted - sent == waits).all():
            return Cycles(times[0], times[1], found.result)
        waits = accepted - sent


@kernel
def _front_end(counts, samples, offered, waits, sizes, coding, sent, times):
    """`sent`: when each beat is offered to the network, through the queue behind the coder.

    `waits`: from then until it takes each. `times`: first and last sample of each step.
    """
    step, cycles = sizes
    free = 0  # from when on the next sample can be taken
    before, last = -1, -1  # when the last two beats were accepted
    for n in range(len(counts)):
        for k in range(samples[n]):
            sample = max(free, offered[n, k]) if offered.shape[1] else free
            if k == 0:
                times[0, n] = sample
            times[1, n] = sample
            free = sample + cycles
        code = times[1, n] + (step - samples[n]) * cycles + coding  # the cycle of a source, then of the mark
        beat = 0
        for source in range(counts.shape[1] + 1):
            if source == counts.shape[1] or counts[n, source]:
                code = max(code, before + QUEUE_FREED)
                sent[n, beat] = code + QUEUE
                before, last = last, code + QUEUE + waits[n, beat]
                beat += 1
            code += INTERVAL
        free = code


assert OUTPUT_QUEUE == 2, "`_front_end` keeps two beats"
