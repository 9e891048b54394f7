"""Samples as steps: beats for the driver, counts for the simulator."""

from __future__ import annotations

import numpy as np
from sounds import SETTINGS

from gradrtl.sim import frontend
from gradrtl.sim.beats import sound_words
from gradrtl.sim.sound import Sound

LOUD = np.array([3, -2, 32767, -32768, 5, 6, 7, 8, 9, -1], np.int16)
SOFT = np.arange(8, dtype=np.int16)


def test_words_by_hand():
    found = sound_words(np.array([1, -1, 5], np.int16), 2, True)
    assert [part.tolist() for part in found] == [[1, 0xFFFF], [5 | 1 << 16]]
    assert [part.tolist() for part in sound_words(np.array([1, -32768], np.int16), 2, False)] == [[1, 0x8000]]


def test_recordings_begin_anew():
    sound = Sound.of(SETTINGS, [LOUD, SOFT])
    assert sound.samples.tolist() == [8, 2, 8]
    expected = np.concatenate([frontend.counts(SETTINGS, one) for one in (LOUD, SOFT)])
    assert np.array_equal(sound.counts[:, 0], expected.reshape(3, -1))
    assert [part[-1] >> 16 for part in sound.words] == [0, 1, 1]


def test_sound_without_an_end():
    sound = Sound.of(SETTINGS, [LOUD, SOFT], ends=False)
    assert sound.samples.tolist() == [8, 8, 8]
    given = np.concatenate([LOUD, SOFT, np.zeros(6, np.int16)])
    assert np.array_equal(np.concatenate(sound.words), given.view(np.uint16))
    assert np.array_equal(sound.counts[:, 0], frontend.counts(SETTINGS, given).reshape(3, -1))
