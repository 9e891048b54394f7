"""N-MNIST (Orchard et al. 2015): a folder for each part and class, a file of 34 x 34 x 2 sources for each recording.

`Train/7/00016.bin`: 5 bytes an event, x and y, then one bit of polarity (1: brighter) and 23 bits of microseconds, high
byte first. Data sets of this layout have no other header. They are read here: the package that reads them elsewhere
(`tonic`) is under the GPL.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import require, within
from .binning import Events
from .content import content

SHAPE = (2, 34, 34)  # darker, brighter; rows; columns
EVENT = 5  # bytes
LAST = (1 << 23) - 1  # microseconds
PARTS = ("Train", "Test")


def read(path: Path, sensor: tuple[int, ...] | None = None) -> Events:
    """The events of one file; `UserError` names the file and its fault. `sensor`: None is `SHAPE`."""
    with within(str(path)):
        raw = np.frombuffer(content(path), np.uint8)
        require(
            len(raw) % EVENT == 0, "size", len(raw), f"a multiple of {EVENT} bytes, one event each: it is truncated"
        )
        events = raw.reshape(-1, EVENT).astype(np.int64)
        t = (events[:, 2] & 127) << 16 | events[:, 3] << 8 | events[:, 4]
        return Events.of(t, events[:, 2] >> 7, events[:, 1], events[:, 0], sensor or SHAPE)


def encoded(events: Events) -> bytes:
    """The contents of a file of `events`, of the shape `SHAPE`."""
    require(events.shape == SHAPE, "events shape", events.shape, f"{SHAPE}")
    last = int(events.t.max(initial=0))
    require(last <= LAST, "last event time", last, f"at most {LAST} microseconds")
    raw = np.empty((len(events), EVENT), np.uint8)
    channel, rest = np.divmod(events.places, SHAPE[1] * SHAPE[2])
    raw[:, 1], raw[:, 0] = np.divmod(rest, SHAPE[2])
    raw[:, 2] = channel << 7 | events.t >> 16
    raw[:, 3], raw[:, 4] = events.t >> 8 & 255, events.t & 255
    return raw.tobytes()
