"""Frames as beats of the accelerator's input stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..quantize.frontend import SAMPLE_BITS
from ..rtl.frame_words import event_words, pixel_words
from ..rtl.inputs import Inputs
from ..rtl.mapping import Mapping
from .frames import Frames


def most_beats(mapping: Mapping) -> int:
    """Input beats per frame; for spike input, the largest number possible."""
    if mapping.input.kind == "static":
        return mapping.beats
    return mapping.input.values(mapping.network.steps) + mapping.segments


def records_of(mapping: Mapping, frames: Frames, traces: list[np.ndarray]) -> bytes | memoryview:
    """Frames for the driver: number of beats, beats of 64 bits, then expected spikes and membranes by layer."""
    frames = mapping.input.stacked(frames)
    count = len(frames)
    expected = [np.ascontiguousarray(array).reshape(count, -1).view(np.uint8) for array in traces]
    if mapping.input.kind == "static":
        return np.concatenate([_pixel_beats(mapping, frames), *expected], axis=1).data
    return _records(spike_beats(mapping.input, frames), expected)


def sample_records(samples: Sequence[np.ndarray], traces: list[np.ndarray]) -> bytes:
    """The same for steps of sound: `samples` are beats from `sound_words`."""
    return _records(samples, [np.ascontiguousarray(array).reshape(len(samples), -1).view(np.uint8) for array in traces])


def sound_words(samples: np.ndarray, step: int, ends: bool) -> list[np.ndarray]:
    """Samples of a recording, int16 `[n]`, as beats of steps: `ends` tells TLAST of the last one, bit `SAMPLE_BITS`."""
    words = samples.astype(np.uint16).astype(np.uint32)
    if ends:
        words[-1] |= 1 << SAMPLE_BITS
    return np.split(words, range(step, len(words), step))


def _records(beats: Sequence[np.ndarray], expected: list[np.ndarray]) -> bytes:
    return b"".join(
        np.array([len(words), *words], dtype="<u8").tobytes() + b"".join(array[n].tobytes() for array in expected)
        for n, words in enumerate(beats)
    )


def words_of(mapping: Mapping, frames: Frames) -> list[list[int]]:
    """The `s_axis_tdata` of each beat of each frame; TLAST is on the last."""
    stacked = mapping.input.stacked(frames)
    if mapping.input.kind != "static":
        return [words.tolist() for words in spike_beats(mapping.input, stacked)]
    return _pixel_beats(mapping, stacked).view("<u8")[:, 1:].tolist()


def _pixel_beats(mapping: Mapping, frames: np.ndarray) -> np.ndarray:
    """Static frames as beats: uint8 `[n, 8 * (1 + beats)]`."""
    beats, lanes = mapping.beats, mapping.pixels_a_beat
    words = np.zeros((len(frames), 1 + beats, 8), dtype=np.uint8)
    words[:, 0] = np.array([beats], dtype="<u8").view(np.uint8)
    words[:, 1:, :lanes] = pixel_words(frames, lanes)
    return words.reshape(len(frames), -1)


def spike_beats(given: Inputs, frames: np.ndarray) -> list[np.ndarray]:
    """Stacked frames `[n, segments, sources]` as words (`event_words`)."""
    return event_words(frames, given.kind == "graded", given.dropped if given.is_mixed else None)
