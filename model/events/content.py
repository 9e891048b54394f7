"""The contents of a file of events, all at once."""

from __future__ import annotations

from pathlib import Path

from ...errors import UserError, require

LARGEST_FILE = 1 << 30  # bytes


def content(path: Path) -> bytes:
    """All bytes of a regular file; `UserError` if there is none, it is empty, or larger than `LARGEST_FILE`."""
    if not path.is_file():
        raise UserError("no such file")
    size = path.stat().st_size
    require(0 < size <= LARGEST_FILE, "size", size, f"1 to {LARGEST_FILE} bytes")
    return path.read_bytes()
