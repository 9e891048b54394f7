"""Small files of events in every layout that is read, written as their formats say, and not by the code that reads."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np

Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # time in microseconds, polarity, y, x


def some(count: int = 60, sensor: tuple[int, ...] = (2, 34, 34), last: int = 90_000, seed: int = 0) -> Columns:
    """Events in the order of time, the first one at 0."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, last, count))
    p, y, x = (rng.integers(0, size, count) for size in sensor)
    return t - t[0], p, y, x


def nmnist(path: Path, events: Columns) -> Path:
    found = bytearray()
    for t, p, y, x in zip(*events, strict=True):
        found += bytes([int(x), int(y)]) + (int(p) << 23 | int(t)).to_bytes(3, "big")
    path.write_bytes(found)
    return path


def aedat(path: Path, events: Columns, start: int = 0, source: str = "DVS128", packets: int = 3) -> Path:
    """Polarity events in several packets, with one of another type and an event that is not valid between them."""
    found = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: " + source.encode() + b"\r\n#!END-HEADER\r\n"
    cuts = np.array_split(np.arange(len(events[0])), min(packets, len(events[0])))
    for number, part in enumerate(cuts):
        body = b""
        for one in part:
            t, p, y, x = (int(values[one]) for values in events)
            body += struct.pack("<II", 1 | p << 1 | y << 2 | x << 17, (start + t) & 0x7FFFFFFF)
        body += struct.pack("<II", 0 | 5 << 2 | 5 << 17, 0)
        overflows = (start + int(events[0][part[0]])) >> 31
        found += struct.pack("<hhiiiiii", 1, 1, 8, 4, overflows, len(part) + 1, len(part) + 1, len(part)) + body
        if number == 0:
            found += struct.pack("<hhiiiiii", 3, 1, 36, 4, 0, 1, 1, 1) + bytes(36)
    path.write_bytes(found)
    return path


EVT2_HEADER = b"% evt 2.0\n% format EVT2;height=34;width=40\n% geometry 40x34\n% end\n"
EVT3_HEADER = b"% evt 3.0\n% format EVT3;height=34;width=40\n% geometry 40x34\n% end\n"


def evt2(path: Path, events: Columns, start: int = 1000, header: bytes = EVT2_HEADER) -> Path:
    words, high = [0xA << 28], -1  # a trigger, which is no event
    for t, p, y, x in zip(*events, strict=True):
        time = start + int(t)
        if time >> 6 != high:
            high = time >> 6
            words.append(0x8 << 28 | high)
        words.append(int(p) << 28 | (time & 63) << 22 | int(x) << 11 | int(y))
    path.write_bytes(header + struct.pack(f"<{len(words)}I", *words))
    return path


def evt3(path: Path, events: Columns, start: int = 1000, header: bytes = EVT3_HEADER) -> Path:
    """Single events, and a vector where neighbours of one row, polarity and time follow each other."""
    words = [0xA << 12, 0x2 << 12 | 5]  # a trigger; an event before there is a time
    high = low = y = -1
    columns = [list(map(int, values)) for values in events]
    at = 0
    while at < len(columns[0]):
        t, p, row, x = (values[at] for values in columns)
        time = (start + t) & 0xFFFFFF
        if time >> 12 != high:
            high, low = time >> 12, -1
            words.append(0x8 << 12 | high)
        if time & 0xFFF != low:
            low = time & 0xFFF
            words.append(0x6 << 12 | low)
        if row != y:
            y = row
            words.append(row)
        end = at
        while end + 1 < len(columns[0]) and [values[end + 1] for values in columns] == [t, p, row, x + end + 1 - at]:
            end += 1
        run = end + 1 - at
        if run > 1:
            words.append(0x3 << 12 | p << 11 | x)
            while run > 0:
                length = 12 if run > 8 else 8
                bits = (1 << min(run, length)) - 1
                words.append((0x4 if length == 12 else 0x5) << 12 | bits)
                run -= length
        else:
            words.append(0x2 << 12 | p << 11 | x)
        at = end + 1
    path.write_bytes(header + struct.pack(f"<{len(words)}H", *words))
    return path


DAT_HEADER = b"% Data file containing Event2D events.\n% Version 2\n% Height 34\n% Width 40\n"


def dat(path: Path, events: Columns, start: int = 1000, header: bytes = DAT_HEADER, kind: int = 0x0C) -> Path:
    found = header + bytes([kind, 8])
    for t, p, y, x in zip(*events, strict=True):
        found += struct.pack("<II", start + int(t), int(x) | int(y) << 14 | int(p) << 28)
    path.write_bytes(found)
    return path


def array(path: Path, events: Columns, names: tuple[str, ...] = ("t", "p", "y", "x")) -> Path:
    made = np.zeros(len(events[0]), [(name, np.int64 if name == "t" else np.int16) for name in names])
    for name, values in zip(names, events, strict=False):
        made[name] = values
    np.save(path, made)
    return path


def spoken(path: Path, recordings: list[tuple[np.ndarray, np.ndarray, int, int]], speakers: bool = True) -> Path:
    """`recordings`: seconds, channels, label and speaker of each."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, index, kind in (("times", 0, np.float16), ("units", 1, np.int64)):
            rows = file.create_dataset(f"spikes/{name}", (len(recordings),), h5py.vlen_dtype(kind))
            for number, one in enumerate(recordings):
                rows[number] = one[index]
        file["labels"] = np.array([one[2] for one in recordings])
        if speakers:
            file["extra/speaker"] = np.array([one[3] for one in recordings])
    return path


def gestures(folder: Path) -> Path:
    """Two sessions of three gestures each, one for training and one for the test; the clock has run before."""
    for number, part in ((1, "train"), (2, "test")):
        name = f"user{number:02}_natural"
        t, p, y, x = some(300, (2, 128, 128), 300_000, seed=number)
        aedat(folder / f"{name}.aedat", (t, p, y, x), start=5_000_000)
        rows = [f"{1 + k},{5_000_000 + 100_000 * k},{5_000_000 + 100_000 * (k + 1)}" for k in range(3)]
        (folder / f"{name}_labels.csv").write_text("\n".join(["class,startTime_usec,endTime_usec", *rows, ""]))
        (folder / f"trials_to_{part}.txt").write_text(f"{name}.aedat\n")
    return folder


def sound(path: Path, samples: np.ndarray, rate: int = 8000, width: int = 2, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def by_class(folder: Path, write: object = nmnist, suffix: str = ".bin", each: int = 20, classes: int = 3) -> Path:
    """A folder of a training and a test part, in which each class has its own place and time."""
    assert callable(write)
    rng = np.random.default_rng(4)
    for part, count in (("Train", each), ("Test", 4)):
        for label in range(classes):
            (folder / part / str(label)).mkdir(parents=True)
            for number in range(count):
                t, p, y, x = some(150, (2, 34, 34), 60_000, seed=int(rng.integers(1 << 30)))
                x = np.where(np.arange(150) % 4 == 0, x, 10 * label + x % 8)
                write(folder / part / str(label) / f"{classes * number + label:05}{suffix}", (t, p, y, x))
    return folder
