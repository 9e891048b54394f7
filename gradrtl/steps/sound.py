"""A folder of spoken words as recordings: WAV files, through the front end, to a training and a test set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checks import whole, wholes
from ..errors import require, within
from ..model.events import wav
from ..model.recordings import Recordings
from ..quantize.frontend import SAMPLE_BITS, FrontEnd
from ..shapes import LARGEST_STEPS
from ..sim import frontend

NAME = re.compile(r"(?P<word>[^_]+)_(?P<speaker>.+)_(?P<take>\d{1,6})")  # of a file: 7_jackson_32.wav
PLAIN = 100  # percent of the speed
SPEEDS = (50, 200)  # percent, the slowest and the fastest
LARGEST_FILE = 1 << 26  # bytes


@dataclass(frozen=True)
class Split:
    """Which recordings are which.

    test_takes
        Takes below this number are the test set.
    speaker
        All takes of this speaker are the test set instead, and nothing of it is trained on.
    held_takes
        So many takes of the rest, those with the lowest numbers, are the last of the training set: training can hold
        them out. Takes count from 0.
    speeds
        Percent: the other takes of the rest are there once at each of these speeds, the pitch changing as well.
    """

    test_takes: int = 5
    speaker: str | None = None
    held_takes: int = 5
    speeds: tuple[int, ...] = (PLAIN,)

    def __post_init__(self) -> None:
        for name in ("test_takes", "held_takes"):
            object.__setattr__(self, name, whole(name.replace("_", " "), getattr(self, name), 0, 1_000_000))
        object.__setattr__(self, "speeds", wholes("speeds", self.speeds, *SPEEDS))
        once = len(set(self.speeds)) == len(self.speeds) > 0
        require(once, "speeds", ", ".join(map(str, self.speeds)), "one or more, each once")


@dataclass(frozen=True)
class _Take:
    path: Path
    word: str
    speaker: str
    take: int


def recordings_of(
    folder: Path, settings: FrontEnd, steps: int, split: Split | None = None
) -> tuple[Recordings, Recordings]:
    """Training and test set from `folder`. Labels and groups are numbers of the words and speakers in `made`.

    Its files are `WORD_SPEAKER_TAKE.wav`, of one channel, 16 bits and the front end's rate. Each is `steps` long: cut
    off, or filled up with silence. Raises `UserError` for a folder or a file that is not so.
    """
    split = split or Split()
    steps = whole("steps", steps, 1, LARGEST_STEPS)
    takes = _takes(folder)
    words = sorted({take.word for take in takes})
    speakers = sorted({take.speaker for take in takes})
    if split.speaker is not None:
        require(split.speaker in speakers, "speaker", split.speaker, f"one of {', '.join(speakers[:32])}")
    heard: dict[bool, list[np.ndarray]] = {False: [], True: []}  # by whether it is of the test set
    notes: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    first = split.test_takes if split.speaker is None else 0
    for take in sorted(takes, key=lambda one: (-one.take, one.word, one.speaker)):
        is_test = take.take < first if split.speaker is None else take.speaker == split.speaker
        held = take.take < first + split.held_takes
        samples = samples_of(take.path, settings.rate)
        for speed in (PLAIN,) if is_test or held else split.speeds:
            heard[is_test].append(frontend.counts(settings, at_speed(samples, speed), steps))
            notes[is_test].append((words.index(take.word), speakers.index(take.speaker)))
    for is_test, what in ((False, "training"), (True, "test")):
        require(len(heard[is_test]) > 0, f"recordings of the {what} set", 0, "1 or more: other takes or speakers")
    made = {"front end": settings.to_json(), "words": words, "speakers": speakers}
    sets = [
        Recordings(
            np.stack(heard[is_test]),
            np.array([label for label, _ in notes[is_test]], np.uint8 if len(words) < 257 else np.int32),
            np.array([group for _, group in notes[is_test]], np.int32),
            made,
        )
        for is_test in (False, True)
    ]
    return sets[0], sets[1]


def samples_of(path: Path, rate: int) -> np.ndarray:
    """The samples of a WAV file, int16 `[n]`; `UserError` unless it has one channel, 16 bits and `rate`."""
    with within(f"sound file {path}"):
        found = wav.content(path, LARGEST_FILE)
        for name, wanted in (("channels", 1), ("bits", SAMPLE_BITS), ("rate", rate)):
            value = getattr(found, name)
            require(value == wanted, name, value, f"{wanted}, which the front end takes")
        require(found.samples > 0, "samples", 0, "1 or more")
        return found.mono


def at_speed(samples: np.ndarray, percent: int) -> np.ndarray:
    """Samples played at another speed, int16: interpolated in integers, between the two that are nearest."""
    if percent == PLAIN:
        return samples
    place = np.arange(-(-len(samples) * PLAIN // percent)) * percent
    at, part = place // PLAIN, place % PLAIN
    wide = samples.astype(np.int64)
    after = wide[np.minimum(at + 1, len(samples) - 1)]
    return ((wide[at] * (PLAIN - part) + after * part + PLAIN // 2) // PLAIN).astype(np.int16)


def _takes(folder: Path) -> list[_Take]:
    require(folder.is_dir(), "sound folder", folder, "a folder of WAV files")
    found = []
    for path in sorted(folder.glob("*.wav")):
        name = NAME.fullmatch(path.stem)
        require(name is not None, f"sound file {path} name", path.name, "WORD_SPEAKER_TAKE.wav")
        assert name is not None
        found.append(_Take(path, name["word"], name["speaker"], int(name["take"])))
    require(len(found) > 0, "sound folder", folder, "a folder with WAV files: WORD_SPEAKER_TAKE.wav")
    return found
