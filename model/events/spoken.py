"""Spiking Heidelberg Digits and Speech Commands (Cramer et al. 2020): HDF5 files of spikes of 700 channels.

`spikes/times` holds an array of seconds for each recording, `spikes/units` one of channels, `labels` the class, and
`extra/speaker` of SHD who speaks. `h5py` reads the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError, require, within
from .binning import Events

CHANNELS = 700
SUFFIXES = (".h5", ".hdf5")
LONGEST = 3600.0  # seconds

Labelled = tuple[Events, int, int | None]


def read(path: Path, sensor: tuple[int, ...] | None = None) -> Iterator[Labelled]:
    """Each recording of a file with its label, and its speaker where the file tells it.

    `sensor`: `(1, 1, channels)`; None: 700 channels. `UserError` names the file, the recording and its fault.
    """
    shape = (1, 1, CHANNELS) if sensor is None else sensor
    with within(str(path)), _opened(path) as file:
        times, units, labels = (_dataset(file, name) for name in ("spikes/times", "spikes/units", "labels"))
        speakers = _dataset(file, "extra/speaker") if "extra/speaker" in file else None
        for name, values in (("spikes/units", units), ("labels", labels), ("extra/speaker", speakers)):
            known = values is None or values.shape == times.shape
            require(known, f"{name} shape", None if values is None else values.shape, f"{times.shape}, as spikes/times")
        require(len(times) > 0, "recordings", 0, "at least one")
        for number in range(len(times)):
            with within(f"recording {number}"):
                yield (
                    _events(_item(times, number), _item(units, number), shape),
                    _whole("label", _item(labels, number)),
                    None if speakers is None else _whole("speaker", _item(speakers, number)),
                )


def _opened(path: Path) -> Any:
    require(path.is_file(), "file", "missing", "an HDF5 file")
    try:
        import h5py
    except ImportError:
        raise UserError("needs the package h5py: pip install 'gradrtl[events]'") from None
    try:
        return h5py.File(path, "r")
    except OSError:
        raise UserError("not an HDF5 file, or damaged") from None


def _dataset(file: Any, name: str) -> Any:
    try:
        found = file[name]
        require(getattr(found, "ndim", 0) == 1, f"{name} shape", getattr(found, "shape", "a group"), "(recordings,)")
    except UserError:
        raise
    except Exception:  # HDF5 raises many kinds on damaged bytes
        raise UserError.of(name, "missing or damaged", "a data set with an entry for each recording") from None
    return found


def _item(values: Any, number: int) -> Any:
    try:
        return values[number]
    except Exception:  # HDF5 raises many kinds on damaged bytes
        raise UserError("cannot be read: the file is damaged") from None


def _whole(field: str, value: Any) -> int:
    is_whole = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iu"
    require(is_whole and 0 <= value <= np.iinfo(np.int32).max, field, value, "a whole number, 0 or above")
    return int(value)


def _events(times: Any, units: Any, shape: tuple[int, ...]) -> Events:
    seconds, channels = np.asarray(times), np.asarray(units)
    plain = seconds.ndim == 1 and seconds.dtype.kind == "f" and channels.dtype.kind in "iu"
    require(plain, "spikes", f"{seconds.dtype} and {channels.dtype}", "times in floats and units in whole numbers")
    require(channels.shape == seconds.shape, "units", channels.shape, f"{seconds.shape}, one for each time")
    seconds = seconds.astype(np.float64)
    good = bool(np.isfinite(seconds).all()) and (not len(seconds) or float(seconds.max()) <= LONGEST)
    require(good, "times", "not finite, or too long", f"0 to {LONGEST:.0f} seconds")
    t, nothing = np.floor(seconds * 1e6 + 0.5).astype(np.int64), np.zeros(len(seconds), np.int64)
    return Events.of(t, nothing, nothing, channels, shape)
