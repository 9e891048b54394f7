"""Data sets by their path: images in a folder, or recordings in a file."""

from __future__ import annotations

from pathlib import Path

from . import data, recordings
from .recordings import AnyData


def load(path: str | Path) -> tuple[AnyData, AnyData]:
    """Training and test set: of a file of recordings (`recordings.save`), or of a folder of images (`data.load`).

    `UserError` names what is wrong with them.
    """
    return recordings.load(path) if recordings.is_file(path) else data.load(path)
