"""Arrays of a `.npz` file, each under the name of an input of a network: what `np.savez` writes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError, require

LARGEST = 1 << 32  # bytes of all arrays, unpacked
START = b"PK"  # of the file


def named_arrays(path: Path, names: Sequence[str], field: str) -> list[np.ndarray]:
    """The arrays `names` of the file, which has no others.

    Raises `UserError`, which names the `field`, for another file, a damaged one, or one that unpacks to more than
    `LARGEST` bytes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of a header that it had to repair
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                found = sorted(file.files)
                size = sum(member.file_size for member in file.zip.infolist())
                if found == sorted(names) and size <= LARGEST:
                    return [_checked(file[name]) for name in names]
    except Exception:  # NumPy and zip readers raise many kinds on damaged bytes
        raise UserError(f"{field} {path}: not a .npz file of numbers, or damaged") from None
    require(size <= LARGEST, f"{field} {path} unpacked size", f"{size} bytes", f"at most {LARGEST}")
    told = ", ".join(found) or "none"
    raise UserError.of(f"{field} {path} arrays", told, f"{', '.join(names)}: one for each input, under its name")


def _checked(values: np.ndarray | bytes) -> np.ndarray:
    """A member of another kind than `.npy` comes as bytes."""
    if not isinstance(values, np.ndarray):
        raise TypeError("no array")
    return values
