"""Results of a run, the same for reference, engine and compiled RTL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trace:
    """Every spike and membrane, in the network's own neuron order (row-major, before pooling).

    `spikes[l]` is uint8 0/1 `[frames, steps, neurons]`; `membranes[l]` is int32 of the same shape, after reset and
    saturation.
    """

    spikes: tuple[np.ndarray, ...]
    membranes: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Outcome:
    """Results of a run, and a trace if requested.

    `decided`: int64 `[frames, readouts]`, the class that each read-out found. `counts`: int64 `[frames, sums]`, the
    sums of all read-outs, one read-out after another.
    """

    decided: np.ndarray
    counts: np.ndarray
    trace: Trace | None = None

    @property
    def classes(self) -> np.ndarray:
        """The class of each frame, int64 `[frames]`: that of the first read-out."""
        return self.decided[:, 0]


def decided(sums: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """The class of each read-out, int64 `[frames, readouts]`, from the sums of all: the first of the largest."""
    parts = np.split(sums, np.cumsum(classes)[:-1], axis=1)
    return np.stack([part.argmax(axis=1) for part in parts], axis=1)
