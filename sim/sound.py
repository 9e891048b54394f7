"""Sound for a stream behind a front end: its samples, as the hardware takes them, and the events of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..quantize.frontend import FrontEnd
from .beats import sound_words
from .frontend import counts


@dataclass(frozen=True)
class Sound:
    """Steps of sound.

    `words`: of each step the beats of its samples (`beats.sound_words`); `counts`: what the front end `settings` makes
    of them, uint8 `[steps, 1, sources]`, as a stream takes them.
    """

    settings: FrontEnd
    words: tuple[np.ndarray, ...]
    counts: np.ndarray

    @staticmethod
    def of(settings: FrontEnd, recordings: Sequence[np.ndarray], ends: bool = True) -> Sound:
        """Recordings, each int16 `[n]`, one after another.

        `ends`: the front end begins anew with each, and the last step of each is filled up with samples of 0. Otherwise
        there are samples without an end; those of the last step that are missing are 0, and sent.
        """
        if not ends:
            whole = np.concatenate(recordings)
            recordings = [np.pad(whole, (0, -len(whole) % settings.step))]
        found = [counts(settings, samples).reshape(-1, 1, settings.sources) for samples in recordings]
        words = [word for samples in recordings for word in sound_words(samples, settings.step, ends)]
        return Sound(settings, tuple(words), np.concatenate(found))

    @property
    def samples(self) -> np.ndarray:
        """Samples of each step, int64."""
        return np.array([len(words) for words in self.words])
