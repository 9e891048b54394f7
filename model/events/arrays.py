"""Structured arrays of events in `.npy` files, as `tonic` and Sinabs hand them out: microseconds, and where."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ...errors import UserError, require, within
from .binning import Events

TIMES, ROWS, COLUMNS = ("t", "ts", "timestamp"), ("y",), ("x", "channel", "addr", "unit")
POLARITIES = ("p", "pol", "polarity")
LARGEST_FILE = 1 << 30  # bytes


def read(path: Path, sensor: tuple[int, ...] | None = None) -> Events:
    """The events of a file: fields `t`, `x` and, of cameras, `y` and `p`; or `t` and a `channel`. Times begin at 0.

    `sensor`: `(channels, height, width)`, which an array does not tell. `UserError` names the file and its fault.
    """
    with within(str(path)):
        if sensor is None:
            raise UserError("sensor is not told by an array, expected the option sensor, such as 2x34x34 or 1x1x700")
        events = _array(path)
        names = events.dtype.names or ()
        t, x = _field(events, TIMES), _field(events, COLUMNS)
        if t is None or x is None:
            raise UserError.of("fields", ", ".join(names) or f"none, {events.dtype}", "t and x or channel, y, p")
        nothing = np.zeros(len(events), np.int64)
        y, p = _field(events, ROWS), _field(events, POLARITIES)
        require(len(events) > 0, "events", "none", "at least one event")
        return Events.of(t, nothing if p is None else p, nothing if y is None else y, x, sensor)


def _array(path: Path) -> np.ndarray:
    require(path.is_file(), "file", "missing", "a .npy file")
    require(path.stat().st_size <= LARGEST_FILE, "size", path.stat().st_size, f"at most {LARGEST_FILE} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of a header that it had to repair
            events = np.load(path, allow_pickle=False)
    except Exception:  # NumPy raises many kinds on damaged bytes
        raise UserError("not a .npy file of numbers, or damaged") from None
    if not isinstance(events, np.ndarray) or events.ndim != 1:
        raise UserError.of("array", getattr(events, "shape", "none"), "one dimension of events")
    return events


def _field(events: np.ndarray, names: tuple[str, ...]) -> np.ndarray | None:
    """The first of the fields `names`, as integers; None if there is none of them."""
    found = next((name for name in names if name in (events.dtype.names or ())), None)
    if found is None:
        return None
    values = events[found]
    plain = values.ndim == 1 and values.dtype.kind in "iub"
    require(plain, f"field {found}", values.dtype, "whole numbers")
    return np.asarray(values)
