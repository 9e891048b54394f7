"""Simulation: classes, events and energy of frames, by the bit-accurate simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..quantize.network import QuantizedNetwork
from ..rtl.outputs import Outputs
from ..sim import engine
from ..sim.energy import dense, estimate
from ..sim.frames import Frames, check
from ..sim.operations import count
from . import notes

BLOCK = 2000  # frames between two calls of `progress`
COUNTED_IMAGES = 1000  # frames whose operations are counted, which takes longer than to run them


@dataclass(frozen=True)
class Simulation:
    """Results of a simulation.

    `decided` int64 `[n, readouts]`, `sums` int64 `[n, sums]` of all read-outs, as in `Outcome`. Means per frame, by
    layer: `events`, `synaptic` operations, of so many frames as are `counted` (`some_of`).
    `energy`, `dense_energy`: estimates in nanojoules per frame, of the network and of its dense counterpart.
    """

    decided: np.ndarray
    sums: np.ndarray
    events: tuple[float, ...]
    synaptic: tuple[float, ...]
    counted: int
    energy: float
    dense_energy: float

    @property
    def classes(self) -> np.ndarray:
        """The class of each frame, int64 `[n]`: that of the first read-out."""
        return self.decided[:, 0]

    def answers(self, network: QuantizedNetwork) -> list[dict[str, Any]]:
        """Each read-out as in `Outputs.table`, with how many frames got each of its classes."""
        return [
            {**row, "answers": np.bincount(found, minlength=row["classes"])}
            for row, found in zip(Outputs.table(network), self.decided.T, strict=True)
        ]

    def accuracy(self, labels: np.ndarray) -> float:
        return float((self.classes == labels).mean())

    def notes(self, network: QuantizedNetwork, labels: np.ndarray | None = None) -> list[str]:
        """Notes on silent layers, on one class for nearly all frames, and on energy above that of the dense network."""
        return [
            *notes.on_events(network, self.events),
            *notes.on_answers(self.classes, self.sums[:, : network.classes], labels),
            *notes.on_energy(self.energy, self.dense_energy),
        ]

    def save(self, path: Path) -> None:
        """Write classes and sums to `path`, a .npz file."""
        with path.open("wb") as file:
            np.savez_compressed(file, classes=self.classes, sums=self.sums, decided=self.decided)


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
    some = some_of(network, frames)
    measured = count(network, some, threads=threads)
    return Simulation(
        np.concatenate([part.decided for part in parts]),
        np.concatenate([part.counts for part in parts]),
        tuple(float(events.sum(axis=1).mean()) for events in measured.events),
        tuple(float(synaptic.sum(axis=1).mean()) for synaptic in measured.synaptic),
        len(some[0]),
        estimate(network, measured).nanojoules,
        dense(network).nanojoules,
    )


def some_of(network: QuantizedNetwork, frames: Frames) -> tuple[np.ndarray, ...]:
    """At most `COUNTED_IMAGES` of `frames`, evenly spread; of a stream, which keeps its state, the first. By inputs."""
    given = check(network, frames)
    number = len(given[0])
    if network.stream or number <= COUNTED_IMAGES:
        return tuple(values[:COUNTED_IMAGES] for values in given)
    chosen = np.arange(COUNTED_IMAGES) * number // COUNTED_IMAGES
    return tuple(values[chosen] for values in given)
