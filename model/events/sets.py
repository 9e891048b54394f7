"""Data sets of events: which layout a path has, and its recordings, counted in bins.

- A folder with a part `train` and a part `test` (in any case), each with a folder for each class; in those a file for
  each recording, of a kind in `READERS`. N-MNIST, N-CARS and arrays of `tonic` are kept so.
- A folder with `NAME_train.h5` and `NAME_test.h5`: the spoken digits and commands of Heidelberg.
- A folder with `trials_to_train.txt` and `trials_to_test.txt`: DVS Gesture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...checks import fields
from ...errors import UserError, require
from ...shapes import shape_of
from ..recordings import Recordings
from . import aedat, arrays, gesture, nmnist, prophesee, spoken
from .binning import Binning, Events
from .spoken import Labelled

READERS = {
    ".bin": nmnist.read,
    ".aedat": aedat.read,
    ".raw": prophesee.read_raw,
    ".dat": prophesee.read_dat,
    ".npy": arrays.read,
}
PARTS = ("train", "test")


@dataclass(frozen=True)
class Reading:
    """How files become recordings. `sensor`: shape of the sources where files do not tell it."""

    binning: Binning
    sensor: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.sensor is not None:
            object.__setattr__(self, "sensor", shape_of("sensor", self.sensor, (3,)))

    def to_json(self) -> dict[str, Any]:
        return {"binning": self.binning.to_json(), "sensor": self.sensor}

    @staticmethod
    def from_json(body: Any) -> Reading:
        """Inverse of `to_json`; `UserError` names the field that is wrong."""
        given = fields("recordings", body, ("binning",), ("sensor",))
        return Reading(Binning.from_json(given["binning"]), given.get("sensor"))


def is_set(path: Path) -> bool:
    """Whether a folder has one of the layouts."""
    return path.is_dir() and (_pair(path) is not None or gesture.is_set(path) or _parts(path) is not None)


def is_file(path: Path) -> bool:
    """Whether a file holds recordings, judged by its name."""
    return path.is_file() and path.suffix in (*READERS, *spoken.SUFFIXES)


def load(path: Path, reading: Reading) -> tuple[Recordings, Recordings]:
    """Training and test set of a folder of a known layout.

    Raises
    ------
    UserError
        The layout is unknown, or a file is damaged: it is named with its fault.
    """
    require(is_set(path), "data folder", path, "a folder of recordings, in a layout that docs/recordings.md lists")
    training, test = (counted(_recordings(path, part, reading.sensor), reading) for part in PARTS)
    return training, test


def load_part(path: Path, part: str, reading: Reading, most: int | None = None) -> Recordings:
    """One part of a set as `load` finds it, `train` or `test`; `most`: only the first ones."""
    return counted(_recordings(path, part, reading.sensor), reading, most)


def load_file(path: Path, reading: Reading, most: int | None = None) -> Recordings:
    """The recordings of a file that `is_file`; labels are 0 where it tells none."""
    if path.suffix in spoken.SUFFIXES:
        return counted(spoken.read(path, reading.sensor), reading, most)
    return counted([(READERS[path.suffix](path, reading.sensor), 0, None)], reading)


def has_labels(path: Path) -> bool:
    """Whether a file that `is_file` tells labels."""
    return path.suffix in spoken.SUFFIXES


def counted(recordings: Iterable[Labelled], reading: Reading, most: int | None = None) -> Recordings:
    """A data set of events, labels and groups, each in its bins; `most`: only the first ones."""
    counts: list[np.ndarray] = []
    labels: list[int] = []
    groups: list[int | None] = []
    for events, label, group in recordings:
        counts.append(reading.binning.count(events))
        found, first = counts[-1].shape[1:], counts[0].shape[1:]
        require(found == first, f"recording {len(labels)} shape", found, f"{first}, that of the first")
        labels.append(label)
        groups.append(group)
        if len(labels) == most:
            break
    known = None if None in groups else np.array(groups, np.int32)
    return Recordings(np.stack(counts), np.array(labels, np.int32), known, reading.to_json())


def _recordings(path: Path, part: str, sensor: tuple[int, ...] | None) -> Iterator[Labelled]:
    pair = _pair(path)
    if pair is not None:
        yield from spoken.read(pair[PARTS.index(part)], sensor)
    elif gesture.is_set(path):
        yield from gesture.read(path, part, sensor)
    else:
        for file, label in files(path, part):
            yield _one(file, sensor), label, None


def _one(path: Path, sensor: tuple[int, ...] | None) -> Events:
    return READERS[path.suffix](path, sensor)


def files(path: Path, part: str) -> list[tuple[Path, int]]:
    """The files of a part and their labels, in the order of their names: classes in turn, so that the last ones can be
    held out. Folders are the classes: their numbers, or their place among the names of the training part.
    """
    parts = _parts(path)
    if parts is None:
        raise UserError.of("data folder", path, "folders train and test, with a folder for each class")
    names = sorted(folder.name for folder in parts[0].iterdir() if folder.is_dir())
    numbered = all(name.isdecimal() and len(name) <= 5 for name in names)
    found = []
    for folder in sorted(parts[PARTS.index(part)].iterdir()):
        if folder.is_dir():
            require(folder.name in names, f"{folder}", "a class of its own", "a class of the training part")
            label = int(folder.name) if numbered else names.index(folder.name)
            found += [(file.name, label, file) for file in folder.iterdir() if file.suffix in READERS]
    kinds = sorted({file.suffix for _, _, file in found})
    require(bool(found), f"{parts[PARTS.index(part)]} recordings", 0, f"files of {', '.join(READERS)}, by class")
    require(len(kinds) == 1, f"{parts[PARTS.index(part)]} files", ", ".join(kinds), "of one kind")
    return [(file, label) for _, label, file in sorted(found)]


def _parts(path: Path) -> tuple[Path, Path] | None:
    """The folders of training and test, if there is an event file in a class of the first."""
    by_name = {folder.name.lower(): folder for folder in path.iterdir() if folder.is_dir()}
    if not set(PARTS) <= by_name.keys():
        return None
    known = any(file.suffix in READERS for file in by_name["train"].glob("*/*"))
    return (by_name["train"], by_name["test"]) if known else None


def _pair(path: Path) -> tuple[Path, Path] | None:
    """The files of training and test, if there is one pair of HDF5 files."""
    for suffix in spoken.SUFFIXES:
        for training in sorted(path.glob(f"*_train{suffix}")):
            test = training.with_name(training.name.replace("_train", "_test"))
            if test.is_file():
                return training, test
    return None
