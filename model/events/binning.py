"""Events of a recording, and how they become counts: cropped, pooled in space, binned in time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from ...checks import fields, real, whole, wholes
from ...errors import require
from ...shapes import LARGEST_SIZE, LARGEST_STEPS, shape_of
from ..recordings import LARGEST_COUNT

MICROSECONDS = 1000  # of a millisecond
LARGEST = 1 << 28  # counts of a recording
SHORTEST, LONGEST = 0.001, 1e6  # milliseconds of a step


@dataclass(frozen=True)
class Events:
    """One recording: for each event its time and its source, in the order of time.

    t
        int64 `[n]`, microseconds from the start of the recording, never falling.
    places
        int64 `[n]`, the number of the source in `shape`, `(channels, height, width)`: row-major.
    """

    t: np.ndarray
    places: np.ndarray
    shape: tuple[int, ...]

    @staticmethod
    def of(t: np.ndarray, channel: np.ndarray, y: np.ndarray, x: np.ndarray, shape: tuple[int, ...]) -> Events:
        """From integers of any type, one of each for an event; where they came from is checked here.

        Raises
        ------
        UserError
            A time falls or is below 0, or a coordinate lies outside of `shape`.
        """
        t = np.asarray(t).astype(np.int64)
        if len(t):
            require(int(t[0]) >= 0, "event 0 time", int(t[0]), "0 or above")
            falls = np.flatnonzero(np.diff(t) < 0)
            first = int(falls[0]) + 1 if len(falls) else 0
            require(
                not len(falls), f"event {first} time", int(t[first]), f"{int(t[first - 1])} or later: sorted by time"
            )
        places = np.zeros(len(t), np.int64)
        for name, values, size in (("channel", channel, shape[0]), ("y", y, shape[1]), ("x", x, shape[2])):
            values = np.asarray(values).astype(np.int64)
            outside = np.flatnonzero((values < 0) | (values >= size))
            first = int(outside[0]) if len(outside) else 0
            value = int(values[first]) if len(values) else 0
            require(not len(outside), f"event {first} {name}", value, f"0 to {size - 1}")
            places = places * size + values
        return Events(t, places, shape)

    def __len__(self) -> int:
        return len(self.t)


@dataclass(frozen=True)
class Binning:
    """How events become counts, in this order: what lies outside of `crop` is left out, sources are pooled, events are
    counted in `steps` steps of `milliseconds` each. Later events are left out, missing ones leave empty steps.

    crop
        `(top, left, height, width)` of the sources that are kept; None: all.
    pool
        Squares of `pool` x `pool` sources become one; what does not fill a square at the border is left out. For
        sources in a row, runs of `pool`.
    largest
        Counts above it are cut to it, 1 to 255.
    """

    milliseconds: float
    steps: int
    crop: tuple[int, int, int, int] | None = None
    pool: int = 1
    largest: int = LARGEST_COUNT

    def __post_init__(self) -> None:
        length = real("step_ms", self.milliseconds)
        require(SHORTEST <= length <= LONGEST, "step_ms", length, f"{SHORTEST} to {LONGEST:.0f} milliseconds")
        object.__setattr__(self, "milliseconds", length)
        object.__setattr__(self, "steps", whole("steps", self.steps, 1, LARGEST_STEPS))
        object.__setattr__(self, "pool", whole("pool", self.pool, 1, LARGEST_SIZE))
        object.__setattr__(self, "largest", whole("largest_count", self.largest, 1, LARGEST_COUNT))
        if self.crop is not None:
            found = wholes("crop", self.crop, 0, LARGEST_SIZE, 4)
            require(min(found[2:]) > 0, "crop", found, "(top, left, height, width) with a size above 0")
            object.__setattr__(self, "crop", found)

    def shape(self, given: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape of a step of recordings with sources of the shape `given`; `UserError` if nothing of it is left."""
        channels, height, width = shape_of("recording shape", given, (3,))
        if self.crop is not None:
            top, left, rows, columns = self.crop
            fits = top + rows <= height and left + columns <= width
            require(fits, "crop", self.crop, f"(top, left, height, width) within {height} x {width} sources")
            height, width = rows, columns
        down = self._down(height)
        require(self.pool <= width and down <= height, "pool", self.pool, f"at most the {height} x {width} sources")
        found = channels, height // down, width // self.pool
        size = self.steps * prod(found)
        require(size <= LARGEST, "steps", self.steps, f"at most {LARGEST // prod(found)} of {prod(found)} sources")
        return found

    def _down(self, rows: int) -> int:
        """Rows that become one: sources in a row are pooled along it."""
        return self.pool if rows > 1 else 1

    def count(self, events: Events) -> np.ndarray:
        """The counts of one recording, uint8 `[steps, channels, height, width]`."""
        shape = channels, height, width = self.shape(events.shape)
        y, x = events.places // events.shape[2] % events.shape[1], events.places % events.shape[2]
        channel = events.places // (events.shape[1] * events.shape[2])
        if self.crop is not None:
            y, x = y - self.crop[0], x - self.crop[1]
        y, x = y // self._down(self.crop[2] if self.crop is not None else events.shape[1]), x // self.pool
        step = (events.t / (self.milliseconds * MICROSECONDS)).astype(np.int64)
        kept = (step < self.steps) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        places = ((step * channels + channel) * height + y) * width + x
        found = np.bincount(places[kept], minlength=self.steps * channels * height * width)
        return np.minimum(found, self.largest).astype(np.uint8).reshape(self.steps, *shape)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(body: Any) -> Binning:
        """Inverse of `to_json`; `UserError` names the field that is wrong."""
        given = fields("binning", body, ("milliseconds", "steps"), ("crop", "pool", "largest"))
        return Binning(**given)


def from_start(t: np.ndarray) -> np.ndarray:
    """Times from the first one on, of a clock that has run before."""
    return t - t[:1]
