"""Spiking Heidelberg Digits and Speech Commands (Cramer et al. 2020): HDF5 files of spikes of 700 channels.

`spikes/times` holds an array of seconds for each recording, `spikes/units` one of channels, `labels` the class, and
`extra/speaker` of SHD who speaks. `h5py` reads the files, in a process of its own (`hdf5_process`):
`python -m gradrtl.model.events.spoken FILE` writes four NumPy arrays for each recording to stdout.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...errors import UserError, require, within
from ...processes import ending_with_parent
from ..hdf5_process import command, confined, environment, member, require_read
from .binning import Events

CHANNELS = 700
SUFFIXES = (".h5", ".hdf5")
LONGEST = 3600.0  # seconds
SECONDS = 3600  # of processor time
TIMES, SPEAKER = "spikes/times", "extra/speaker"
ARRAYS = (TIMES, "spikes/units", "labels", SPEAKER)

Labelled = tuple[Events, int, int | None]


def read(path: Path, sensor: tuple[int, ...] | None = None) -> Iterator[Labelled]:
    """Each recording of a file with its label, and its speaker where the file tells it.

    `sensor`: `(1, 1, channels)`; None: 700 channels. `UserError` names the file, the recording and its fault.
    """
    shape = (1, 1, CHANNELS) if sensor is None else sensor
    with within(str(path)):
        require(path.is_file(), "file", "missing", "an HDF5 file")
        for number, (times, units, label, speaker) in enumerate(_recordings(path)):
            with within(f"recording {number}"):
                yield (
                    _events(times, units, shape),
                    _whole("label", label),
                    _whole("speaker", speaker) if speaker.size else None,
                )


def _recordings(path: Path) -> Iterator[list[np.ndarray]]:
    """Times, units, label and speaker of each recording, from a process that ends with this generator."""
    try:
        words = ending_with_parent(command(__name__, path))
    except ModuleNotFoundError:
        raise UserError("needs the package h5py: pip install 'gradrtl[events]'") from None
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr, env=environment())
        assert process.stdout is not None
        pipe = SimpleNamespace(read=process.stdout.read)  # NumPy seeks in files
        try:
            while process.stdout.peek(1):  # type: ignore[attr-defined]  # it is buffered
                try:
                    found = [np.lib.format.read_array(pipe, allow_pickle=False) for _ in ARRAYS]
                except (ValueError, EOFError):  # it ended within a recording
                    break
                yield found
            process.stdout.close()
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        stderr.seek(0)
        require_read(code, stderr.read())


def _dataset(file: Any, name: str) -> Any:
    found = file
    for part in name.split("/"):
        is_there = hasattr(found, "keys") and part in found
        require(is_there, name, "missing or damaged", "a data set with an entry for each recording")
        found = member(found, part, name)
    require(getattr(found, "ndim", 0) == 1, f"{name} shape", getattr(found, "shape", "a group"), "(recordings,)")
    return found


def _main(path: str) -> None:
    with confined(SECONDS):
        import h5py

        pipe = SimpleNamespace(write=sys.stdout.buffer.write)
        with h5py.File(path, "r") as file:
            names = [name for name in ARRAYS if name != SPEAKER or name in file]
            arrays = {name: _dataset(file, name) for name in names}
            count = len(arrays[TIMES])
            for name, values in arrays.items():
                require(values.shape == (count,), f"{name} shape", values.shape, f"({count},), as {TIMES}")
            require(count > 0, "recordings", 0, "at least one")
            for number in range(count):
                for name in ARRAYS:
                    found = np.asarray(arrays[name][number] if name in arrays else [])
                    np.lib.format.write_array(pipe, found, allow_pickle=False)
        sys.stdout.flush()


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


if __name__ == "__main__":
    _main(*sys.argv[1:])
