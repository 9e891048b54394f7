"""Folders of WAV files: samples as they are, for a front end that makes events of them (docs/sound.md).

Label and speaker are in the names, such as `7_jackson_32.wav`. Python's own `wave` reads PCM of 16 bits, one channel.
"""

from __future__ import annotations

import re
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UserError, require, within

PATTERN = r"(?P<label>\d+)_(?P<speaker>[^_]+)_(?P<index>\d+)"
LARGEST_FILE = 1 << 28  # bytes


@dataclass(frozen=True)
class Sounds:
    """`samples`: int16 `[length]` of each recording, at `rate` in hertz; `labels` int32 `[n]`; `speakers` int32 `[n]`,
    the number of each among `names`; `index` int32 `[n]`, the number in the name, by which sets are split."""

    samples: tuple[np.ndarray, ...]
    rate: int
    labels: np.ndarray
    speakers: np.ndarray
    names: tuple[str, ...]
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Content:
    """What a WAV file holds: `data`, all of the `samples` in each of `channels` that its header tells of."""

    channels: int
    bits: int
    rate: int
    samples: int
    data: bytes

    @property
    def mono(self) -> np.ndarray:
        """The samples of one channel of 16 bits, int16 `[samples]`."""
        return np.frombuffer(self.data, "<i2").astype(np.int16)


def content(path: Path, largest: int = LARGEST_FILE) -> Content:
    """The content of a WAV file of at most `largest` bytes, of any format; `UserError` tells its fault."""
    require(path.is_file(), "file", "a folder" if path.is_dir() else "missing", "a WAV file")
    require(path.stat().st_size <= largest, "size", path.stat().st_size, f"at most {largest} bytes")
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, count = file.getparams()[:4]
            data = file.readframes(count)
    except (wave.Error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"not a WAV file of plain samples, or damaged ({str(error) or 'truncated'})") from None
    whole = len(data) == channels * width * count
    require(whole, "samples", len(data) // (channels * width), f"{count}, as the header says: it is truncated")
    return Content(channels, 8 * width, rate, count, data)


def read(path: Path) -> tuple[np.ndarray, int]:
    """Samples, int16 `[length]`, and their rate in hertz; `UserError` names the file and its fault."""
    with within(str(path)):
        found = content(path)
        require(found.channels == 1, "channels", found.channels, "1")
        require(found.bits == 16, "sample width", found.bits, "16 bits")
        require(found.rate > 0, "rate", found.rate, "1 or more samples in a second")
        require(found.samples > 0, "samples", 0, "at least 1")
        return found.mono, found.rate


def read_folder(folder: Path, pattern: str = PATTERN) -> Sounds:
    """All WAV files of a folder, in the order of their names.

    pattern
        Regular expression of a name without its suffix, with the groups `label`, `speaker` and `index`.

    Raises
    ------
    UserError
        A file is damaged, has another rate than the first, or a name that does not fit.
    """
    require(folder.is_dir(), "folder", folder, "a folder of WAV files")
    known = re.compile(pattern)
    paths = sorted(folder.glob("*.wav"))
    require(bool(paths), "folder", folder, "at least one .wav file in it")
    samples, rates, found = [], [], []
    for path in paths:
        match = known.fullmatch(path.stem)
        if match is None:
            raise UserError.of(f"{folder} file", path.name, f"a name of the pattern {pattern}")
        sound, rate = read(path)
        rates.append(rate)
        require(rate == rates[0], f"{path} rate", rate, f"{rates[0]}, that of {paths[0].name}")
        samples.append(sound)
        found.append(match)
    names = tuple(sorted({match["speaker"] for match in found}))
    labels, speakers, index = (
        np.array(values, np.int32)
        for values in (
            [int(match["label"]) for match in found],
            [names.index(match["speaker"]) for match in found],
            [int(match["index"]) for match in found],
        )
    )
    return Sounds(tuple(samples), rates[0], labels, speakers, names, index)
