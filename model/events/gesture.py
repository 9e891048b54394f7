"""DVS Gesture (Amir et al. 2017): sessions in AEDAT 3.1, of which tables tell the gestures and their times.

`trials_to_train.txt` and `trials_to_test.txt` name the sessions, such as `user01_fluorescent.aedat`; beside each is
`user01_fluorescent_labels.csv` with a gesture a line: class, from 1, and the microseconds of its start and end. The
user's number is the group of a recording.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import UserError, require, within
from . import aedat
from .binning import Events
from .spoken import Labelled

LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
USER = re.compile(r"user(\d{1,6})_\w+\.aedat")
LARGEST_TABLE = 1 << 20  # bytes


def is_set(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return all((folder / name).is_file() for name in LISTS.values())


def read(folder: Path, part: str, sensor: tuple[int, ...] | None = None) -> Iterator[Labelled]:
    """Each gesture of a part with its class, from 0, and its user; `UserError` names the file and its fault."""
    names = [line.strip() for line in _lines(folder / LISTS[part]) if line.strip()]
    require(bool(names), f"{folder / LISTS[part]} sessions", 0, "at least one")
    for name in names:
        user = USER.fullmatch(name)
        if user is None:
            raise UserError.of(f"{folder / LISTS[part]} session", name, "the name of a file, user01_....aedat")
        session = aedat.read(folder / name, sensor, absolute=True)
        table = folder / name.replace(".aedat", "_labels.csv")
        for number, line in enumerate(_lines(table)[1:], start=2):
            if not line.strip():
                continue
            entries = line.split(",")
            with within(f"{table} line {number}"):
                whole = len(entries) == 3 and all(entry.strip().isdecimal() for entry in entries)
                require(whole, "gesture", line.strip(), "a class, the start and the end, whole numbers")
                label, start, end = map(int, entries)
                require(label >= 1, "class", label, "1 or above")
                require(start < end, "end", end, f"above the start, {start}")
                yield _between(session, start, end), label - 1, int(user[1])


def _between(session: Events, start: int, end: int) -> Events:
    first, last = np.searchsorted(session.t, (start, end))
    require(bool(first < last), "events", "none", f"at least one from {start} to {end} microseconds")
    return Events(session.t[first:last] - start, session.places[first:last], session.shape)


def _lines(path: Path) -> list[str]:
    with within(str(path)):
        require(path.is_file(), "file", "missing", "a table of text")
        require(path.stat().st_size <= LARGEST_TABLE, "size", path.stat().st_size, f"at most {LARGEST_TABLE} bytes")
        try:
            return path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise UserError("encoding is unknown, expected UTF-8") from None
