"""Frames as words of the input stream. It needs NumPy alone: packages for boards have a copy."""

from __future__ import annotations

import numpy as np

SPIKE_BITS = 32  # of a word of events
MARK_BIT = 31  # set: the end of a step; else the bits below are the address of a source
HELD_BIT = 30  # of a mark: the end of the pixels, of static inputs beside others
COUNT_BIT = 23  # of graded events: the lowest bit of the count, which reaches up to the mark


def pixel_words(frames: np.ndarray, pixels: int) -> np.ndarray:
    """Frames `[n, sources]` of uint8 as words of `pixels` bytes: uint8 `[n, words, pixels]`, the last word padded."""
    count, sources = frames.shape
    words = -(-sources // pixels)
    padded = np.zeros((count, words * pixels), np.uint8)
    padded[:, :sources] = frames
    return padded.reshape(count, words, pixels)


def event_words(frames: np.ndarray, graded: bool, dropped: np.ndarray | None = None) -> list[np.ndarray]:
    """Frames `[n, steps, sources]` of uint8 as words, uint32: addresses, if `graded` with counts, marks of steps.

    `dropped`: of static inputs beside others, how many low bits of its value each source loses. Before the steps the
    frames have the pixels, whose mark has `HELD_BIT`; those of which nothing is left are no words.
    """
    count, steps, sources = frames.shape
    marked = np.concatenate([frames, np.ones((count, steps, 1), np.uint8)], axis=2)
    frame, step, source = np.nonzero(marked if dropped is None else marked >> np.append(dropped, np.uint8(0)))
    counts = marked[frame, step, source].astype(np.uint32) << COUNT_BIT if graded else 0
    held = 0 if dropped is None else (step == 0) << HELD_BIT
    words = np.where(source == sources, 1 << MARK_BIT | held, source + counts).astype(np.uint32)
    return np.split(words, np.searchsorted(frame, np.arange(1, count)))
