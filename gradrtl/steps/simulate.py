"""Simulation: classes, events and energy of frames, by the bit-accurate simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..quantize.network import QuantizedNetwork
from ..sim import engine
from ..sim.energy import dense, estimate
from ..sim.frames import Frames, check
from ..sim.operations import count
from . import notes

BLOCK = 2000  # frames between two calls of `progress`
COUNTED_IMAGES = 1000  # frames whose operations are counted


@dataclass(frozen=True)
class Simulation:
    """Results of a simulation.

    `classes` int64 `[n]`, `sums` int64 `[n, classes]`. Means per frame, by layer: `events`, `synaptic` operations.
    `energy`, `dense_energy`: estimates in nanojoules per frame, of the network and of its dense counterpart.
    """

    classes: np.ndarray
    sums: np.ndarray
    events: tuple[float, ...]
    synaptic: tuple[float, ...]
    energy: float
    dense_energy: float

    def accuracy(self, labels: np.ndarray) -> float:
        return float((self.classes == labels).mean())

    def notes(self, network: QuantizedNetwork, labels: np.ndarray | None = None) -> list[str]:
        """Notes on silent layers, on one class for nearly all frames, and on energy above that of the dense network."""
        return [
            *notes.on_events(network, self.events),
            *notes.on_answers(self.classes, self.sums, labels),
            *notes.on_energy(self.energy, self.dense_energy),
        ]

    def save(self, path: Path) -> None:
        """Write classes and sums to `path`, a .npz file."""
        with path.open("wb") as file:
            np.savez_compressed(file, classes=self.classes, sums=self.sums)


def simulate(
    network: QuantizedNetwork,
    frames: Frames,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Run `frames`; `progress` is called with the number of frames done since its last call."""
    parts = []
    for _, outcome in engine.blocks(network, frames, size=BLOCK, trace=False, threads=threads):
        parts.append(outcome)
        if progress is not None:
            progress(len(outcome.classes))
    some = tuple(values[:COUNTED_IMAGES] for values in check(network, frames))
    measured = count(network, some, threads=threads)
    return Simulation(
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.counts for part in parts]),
        tuple(float(events.sum(axis=1).mean()) for events in measured.events),
        tuple(float(synaptic.sum(axis=1).mean()) for synaptic in measured.synaptic),
        estimate(network, measured).nanojoules,
        dense(network).nanojoules,
    )
