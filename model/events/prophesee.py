"""Files of Prophesee's cameras: `.raw` in the formats EVT 2.0 and 3.0, and `.dat`.

As the maker describes them (docs.prophesee.ai, data encoding formats). A header of lines that begin with `%`, then:

- EVT 2.0, words of 32 bits: 4 bits of type. CD_OFF and CD_ON: 6 low bits of time, 11 of x, 11 of y. TIME_HIGH: the 28
  bits of time above those.
- EVT 3.0, words of 16 bits: 4 bits of type, and what has changed since: y; x and polarity, an event; x and polarity
  from which vectors of 12 or 8 bits go on, an event for each bit; 12 low and 12 high bits of time. The high ones wrap.
- DAT: two bytes, type and size of an event, then 8 bytes each: microseconds; x in 14 bits, y in 14, polarity in 1.

The package that reads all three (`expelliarmus`) is under the GPL. All numbers are little-endian.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...errors import UserError, require, within
from .binning import Events, from_start
from .content import content

LINE = re.compile(rb"%[^\n]*\n")
DAT_EVENT = np.dtype([("time", "<u4"), ("data", "<u4")])
OFF, ON, HIGH_2 = 0x0, 0x1, 0x8  # types of words of EVT 2.0
Y, X, BASE, VECTOR_12, VECTOR_8, LOW, HIGH = 0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x8  # and of EVT 3.0
WRAP = 1 << 24  # microseconds after which the time of EVT 3.0 begins again


def read_raw(path: Path, sensor: tuple[int, ...] | None = None) -> Events:
    """The events of a `.raw` file, microseconds from the first one; `UserError` names the file and its fault.

    `sensor`: `(2, height, width)`; None: that of the header.
    """
    with within(str(path)):
        raw = content(path)
        header, at = _header(raw)
        version = _version(header)
        sensor = _sensor(header, sensor)
        size = 2 if version == 3 else 4
        left = len(raw) - at
        require(left % size == 0, "size", left, f"a multiple of {size} bytes behind the header: it is truncated")
        words = np.frombuffer(raw, f"<u{size}", offset=at)
        t, p, y, x = _evt3(words) if version == 3 else _evt2(words)
        require(len(t) > 0, "events", "none", "at least one event with a time")
        return Events.of(from_start(t), p, y, x, sensor)


def read_dat(path: Path, sensor: tuple[int, ...] | None = None) -> Events:
    """The events of a `.dat` file, as `read_raw`."""
    with within(str(path)):
        raw = content(path)
        header, at = _header(raw)
        require(len(raw) >= at + 2, "size", len(raw), "at least the 2 bytes of type and size behind the header")
        kind, size = raw[at], raw[at + 1]
        require(kind in (0x00, 0x0C), "event type", f"{kind:#04x}", "0x00 or 0x0c: events of a change of brightness")
        require(size == DAT_EVENT.itemsize, "event size", size, f"{DAT_EVENT.itemsize} bytes")
        left = len(raw) - at - 2
        require(left % size == 0, "size", left, f"a multiple of {size} bytes behind the header: it is truncated")
        require(left > 0, "events", "none", "at least one event")
        events = np.frombuffer(raw, DAT_EVENT, offset=at + 2)
        data = events["data"]
        t = from_start(events["time"].astype(np.int64))
        return Events.of(t, data >> 28 & 1, data >> 14 & 0x3FFF, data & 0x3FFF, _sensor(header, sensor))


def _header(raw: bytes) -> tuple[bytes, int]:
    """The header's lines, and where the events begin: behind `% end`, or the last line that begins with `%`."""
    require(raw.startswith(b"%"), "start", raw[:8], "%: a line of a header")
    at = 0
    while (line := LINE.match(raw, at)) is not None:
        at = line.end()
        if line[0].split() == [b"%", b"end"]:
            break
    require(at > 0, "header", "without the end of a line", "lines that begin with %")
    return raw[:at], at


def _version(header: bytes) -> int:
    found = re.search(rb"(?mi)^% *(?:evt +|format +EVT)([0-9.]+)", header)
    told = found[1].decode() if found is not None else "not told"
    version = told.split(".")[0] if told not in ("2.1", "21") else ""
    require(version in ("2", "3"), "format", told, "EVT 2.0 or 3.0")
    return int(version)


def _sensor(header: bytes, sensor: tuple[int, ...] | None) -> tuple[int, ...]:
    if sensor is not None:
        return sensor
    sizes = re.search(rb"(?mi)^% *geometry +(\d{1,5})x(\d{1,5})", header)
    if sizes is not None:
        return 2, int(sizes[2]), int(sizes[1])
    height, width = (re.search(rb"(?i)\b%b[ =]+(\d{1,5})" % name, header) for name in (b"height", b"width"))
    if height is None or width is None:
        raise UserError("sensor is not told in the header, expected its width and height, or the option sensor")
    return 2, int(height[1]), int(width[1])


Fields = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # time, polarity, y, x


def _evt2(words: np.ndarray) -> Fields:
    kinds = words >> 28
    high = _last(words & 0xFFFFFFF, kinds == HIGH_2)
    is_event = ((kinds == OFF) | (kinds == ON)) & (high >= 0)  # before the first time there is none
    words, high = words[is_event], high[is_event]
    return high << 6 | words >> 22 & 63, kinds[is_event], words & 0x7FF, words >> 11 & 0x7FF


def _evt3(words: np.ndarray) -> Fields:
    kinds, values = (words >> 12).astype(np.int64), (words & 0xFFF).astype(np.int64)
    high = _last(_unwrapped(values, kinds == HIGH), kinds == HIGH)
    low = _last(values, kinds == LOW)
    later = np.maximum.accumulate(np.where(kinds == HIGH, np.arange(len(kinds)), -1))
    low = np.where(np.maximum.accumulate(np.where(kinds == LOW, np.arange(len(kinds)), -1)) < later, 0, low)
    y = _last(values & 0x7FF, kinds == Y)
    # vectors: each moves on by its length from the base before it
    lengths = np.select([kinds == VECTOR_12, kinds == VECTOR_8], [12, 8], 0)
    moved = np.cumsum(lengths) - lengths
    base = _last((values & 0x7FF) - moved, kinds == BASE)
    polarity = _last(values >> 11, (kinds == BASE) | (kinds == X))
    base_polarity = _last(values >> 11, kinds == BASE)
    known = (high >= 0) & (y >= 0)
    singles = np.flatnonzero((kinds == X) & known)
    vectors = np.flatnonzero((lengths > 0) & known & (base_polarity >= 0))
    bits = (values[vectors, None] >> np.arange(12) & 1).astype(bool) & (np.arange(12) < lengths[vectors, None])
    which, bit = np.nonzero(bits)
    of = vectors[which]
    every = np.concatenate([singles, of])
    x = np.concatenate([values[singles] & 0x7FF, base[of] + moved[of] + bit])
    p = np.concatenate([polarity[singles], base_polarity[of]])
    order = np.argsort(every, kind="stable")
    at = every[order]
    return (high[at] << 12) | low[at], p[order], y[at], x[order]


def _unwrapped(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The high bits of times, which begin again after `WRAP`, as numbers that do not."""
    found = values.copy()
    own = values[chosen]
    half = WRAP >> 13
    found[chosen] = own + (WRAP >> 12) * np.cumsum(np.diff(own, prepend=own[:1]) < -half)
    return found


def _last(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """For each word, the value of the last one that is `chosen`, itself included; -1 before the first."""
    at = np.maximum.accumulate(np.where(chosen, np.arange(len(chosen)), -1))
    found = values.astype(np.int64)[at]
    return np.where(at >= 0, found, -1)
