"""Pieces of a long comparison: what each gave, kept in a file as soon as it is known."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import sources
from ..checks import fields, whole, wholes
from ..store import Store
from .generated import GENERATOR
from .toolchain import versions

FRAMES = 20  # of a piece; fewer would wait for the pipeline to fill more often
LARGEST = (1 << 63) - 1  # number in a file of pieces
TIMES = ("first_beat", "last_beat", "result")


@dataclass(frozen=True)
class Piece:
    """What a driver compared without finding a difference, from reset: the frames from number `begin` on.

    `spikes`, `membranes`, `predicted`, `cycles`: as in `Verification`. `walls`: as in `Verdict`. `classes`,
    `first_beat`, `last_beat`, `result`: int64 `[frames]`, those of the RTL.
    """

    begin: int
    spikes: int
    membranes: int
    predicted: int
    cycles: int
    walls: int
    classes: np.ndarray
    first_beat: np.ndarray
    last_beat: np.ndarray
    result: np.ndarray

    @property
    def values(self) -> dict[str, Any]:
        """All fields as JSON has them."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    @classmethod
    def of(cls, field: str, values: dict[str, Any], begin: int, end: int) -> Piece:
        """Inverse of `values`, of the frames `begin` to `end`. `UserError` if they are not those of such a piece."""
        given = fields(field, values, cls.__dataclass_fields__)
        whole(f"{field} begin", given["begin"], begin, begin)
        found: dict[str, Any] = {
            name: np.array(wholes(f"{field} {name}", value, 0, LARGEST, end - begin), np.int64)
            if name in ("classes", *TIMES)
            else whole(f"{field} {name}", value, 0, LARGEST)
            for name, value in given.items()
        }
        return cls(**found)


class Log:
    """The pieces of one comparison in the file at `path`, which may hold those of others too.

    `made_from`: all that the results depend on, frames and sources aside. A context manager. Raises `UserError` for a
    file that cannot be written, or has something else in it.
    """

    def __init__(self, path: Path, made_from: dict[str, Any]) -> None:
        told = {**made_from, "sources": sources(*GENERATOR, "gradrtl.sim"), "tools": versions()}
        self._lock = threading.Lock()
        self._store = Store(path, "piece", hashlib.sha256(json.dumps(told).encode()).hexdigest())

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def find(self, frames: Sequence[np.ndarray], begin: int, end: int) -> Piece | None:
        """The piece of the frames `begin` to `end`, if it is there. `UserError` if its line is damaged."""
        line = self._store.lines.get(_key(frames, begin, end))
        field = f"piece {begin} of {self._store.path}"
        return None if line is None else Piece.of(field, self._store.value(line), begin, end)

    def add(self, frames: Sequence[np.ndarray], piece: Piece) -> None:
        """Keep `piece`."""
        with self._lock:
            self._store.add(_key(frames, piece.begin, piece.begin + len(piece.classes)), piece.values)


def _key(frames: Sequence[np.ndarray], begin: int, end: int) -> str:
    """Names the frames `begin` to `end` of all inputs by number and content."""
    sha = hashlib.sha256()
    for values in frames:
        part = np.ascontiguousarray(values[begin:end])
        sha.update(f"{part.dtype} {part.shape} ".encode() + part.tobytes())
    return f"{begin} {sha.hexdigest()}"
