"""AEDAT 3.1, the files of cameras of iniVation and of DVS Gesture: packets of polarity events.

The format is that of libcaer: header lines that begin with `#`, then packets. A packet has a header of 28 bytes (type,
source, size of an event, offset of its time, overflows of the time, capacity, number, number that is valid), then its
events. A polarity event is 8 bytes: bit 0 valid, bit 1 polarity, bits 2 to 16 y, bits 17 to 31 x; then microseconds.
Packets of other types are passed over. AEDAT 4 is another format. All numbers are little-endian. The packages that read
version 3.1 (`tonic`) are under the GPL.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ...errors import UserError, require, within
from .binning import Events, from_start
from .content import content

MAGIC = b"#!AER-DAT3.1\r\n"
END = b"#!END-HEADER\r\n"
HEADER = struct.Struct("<hhiiiiii")
POLARITY, EVENT = 1, np.dtype([("data", "<u4"), ("time", "<i4")])
SENSORS = {b"DVS128": (2, 128, 128), b"DAVIS240": (2, 180, 240), b"DAVIS346": (2, 260, 346)}  # by the name of a source


def read(path: Path, sensor: tuple[int, ...] | None = None, *, absolute: bool = False) -> Events:
    """The polarity events of a file, microseconds from the first one; `UserError` names the file and its fault.

    `sensor`: `(2, height, width)`; None: that of the camera named in the header. `absolute`: times of the camera's
    clock.
    """
    with within(str(path)):
        raw = content(path)
        require(raw.startswith(MAGIC), "start", raw[:14], f"{MAGIC!r}: AEDAT 3.1")
        sensor, at = _header(raw, sensor)
        found = []
        while at < len(raw):
            require(len(raw) - at >= HEADER.size, f"packet at byte {at}", f"{len(raw) - at} bytes",
                    f"a header of {HEADER.size} bytes: it is truncated")  # fmt: skip
            kind, _, size, _, overflows, _, number, _ = HEADER.unpack_from(raw, at)
            body = at + HEADER.size
            fits = size > 0 and number >= 0 and overflows >= 0
            require(fits, f"packet at byte {at}", f"{number} events of {size} bytes", "a size above 0: it is damaged")
            end = body + size * number
            require(end <= len(raw), f"packet at byte {at}", f"{number} events of {size} bytes",
                    f"at most the {len(raw) - body} bytes left: it is truncated")  # fmt: skip
            if kind == POLARITY:
                require(size == EVENT.itemsize, f"packet at byte {at} event size", size, f"{EVENT.itemsize} bytes")
                events = np.frombuffer(raw, EVENT, number, body)
                events = events[(events["data"] & 1) == 1]  # those marked as valid
                found.append((events["data"], events["time"].astype(np.int64) + (overflows << 31)))
            at = end
        require(any(len(t) for _, t in found), "events", "none", "at least one polarity event")
        data, t = (np.concatenate(values) for values in zip(*found, strict=True))
        return Events.of(t if absolute else from_start(t), data >> 1 & 1, data >> 2 & 0x7FFF, data >> 17, sensor)


def _header(raw: bytes, sensor: tuple[int, ...] | None) -> tuple[tuple[int, ...], int]:
    """The sensor, and where the packets begin."""
    at = raw.find(END)
    require(at >= 0, "header", "without an end", END.decode().strip())
    for name, known in SENSORS.items():
        if sensor is None and name in raw[:at]:
            sensor = known
    if sensor is None:
        raise UserError(f"sensor is not named in the header, expected one of {_names()}, or the option sensor")
    return sensor, at + len(END)


def _names() -> str:
    return ", ".join(name.decode() for name in SENSORS)
