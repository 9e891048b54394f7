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
    """Results of a run: `classes` int64 `[frames]`, `counts` int64 `[frames, classes]`, and a trace if requested."""

    classes: np.ndarray
    counts: np.ndarray
    trace: Trace | None = None
