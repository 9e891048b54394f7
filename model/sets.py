"""Data sets by their path: images in a folder, recordings in a file of our own, or files of events."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from . import data, recordings
from .events import sets as events
from .events.sets import Reading
from .recordings import AnyData


def load(path: str | Path, reading: Reading | None = None) -> tuple[AnyData, AnyData]:
    """Training and test set: of a file of recordings (`recordings.save`), a folder of events (`events.sets`), counted
    as `reading` says, or a folder of images (`data.load`).

    `UserError` names what is wrong with them; or that events were found, and no `reading`.
    """
    path = Path(path)
    if recordings.is_file(path):
        return recordings.load(path)
    if events.is_set(path):
        return events.load(path, needed(reading, path))
    return data.load(path)


def needed(reading: Reading | None, path: Path) -> Reading:
    """`reading`, if it is there."""
    if reading is None:
        raise UserError.of("step_ms", "not given", f"the milliseconds of a step, and their number: {path} has events")
    return reading
