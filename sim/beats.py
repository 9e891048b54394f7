"""Frames as beats of the accelerator's input stream."""

from __future__ import annotations

import numpy as np

from ..quantize.network import QuantizedNetwork
from ..rtl.mapping import Mapping
from .frames import Frames

END_OF_STEP = 1 << 31  # bit 31 of a word marks the end of a step; below it stands the address of a source,
COUNT = 1 << 23  # and above that, from bit 23 on, the count of graded events


def most_beats(mapping: Mapping) -> int:
    """Input beats per frame; for spike input, the largest number possible."""
    network = mapping.network
    return mapping.beats if mapping.input.kind == "static" else network.steps * (mapping.sources + 1)


def records_of(mapping: Mapping, frames: Frames, traces: list[np.ndarray]) -> bytes | memoryview:
    """Frames for the driver: number of beats, beats of 64 bits, then expected spikes and membranes by layer."""
    frames = mapping.input.stacked(frames)
    count = len(frames)
    expected = [np.ascontiguousarray(array).reshape(count, -1).view(np.uint8) for array in traces]
    if mapping.input.kind == "static":
        return np.concatenate([_pixel_beats(mapping, frames), *expected], axis=1).data
    beats = spike_beats(mapping.network, frames)
    return b"".join(
        np.array([len(words), *words], dtype="<u8").tobytes() + b"".join(array[n].tobytes() for array in expected)
        for n, words in enumerate(beats)
    )


def words_of(mapping: Mapping, frames: Frames) -> list[list[int]]:
    """The `s_axis_tdata` of each beat of each frame; TLAST is on the last."""
    stacked = mapping.input.stacked(frames)
    if mapping.input.kind != "static":
        return [words.tolist() for words in spike_beats(mapping.network, stacked)]
    return _pixel_beats(mapping, stacked).view("<u8")[:, 1:].tolist()


def _pixel_beats(mapping: Mapping, frames: np.ndarray) -> np.ndarray:
    """Static frames as beats: uint8 `[n, 8 * (1 + beats)]`."""
    beats, lanes = mapping.beats, mapping.pixels_a_beat
    padded = np.zeros((len(frames), beats * lanes), dtype=np.uint8)
    padded[:, : frames.shape[1]] = frames
    words = np.zeros((len(frames), 1 + beats, 8), dtype=np.uint8)
    words[:, 0] = np.array([beats], dtype="<u8").view(np.uint8)
    words[:, 1:, :lanes] = padded.reshape(len(frames), beats, lanes)
    return words.reshape(len(frames), -1)


def spike_beats(network: QuantizedNetwork, frames: np.ndarray) -> list[np.ndarray]:
    """Frames `[n, steps, sources]` as words: source addresses, graded ones with counts; an end mark after each step."""
    count, steps, sources = frames.shape
    marked = np.concatenate([frames, np.ones((count, steps, 1), np.uint8)], axis=2)
    frame, step, source = np.nonzero(marked)
    counts = (
        marked[frame, step, source] * np.uint64(COUNT) if any(given.kind == "graded" for given in network.inputs) else 0
    )
    words = np.where(source == sources, END_OF_STEP, source + counts).astype(np.uint64)
    return np.split(words, np.searchsorted(frame, np.arange(1, count)))
