"""A sweep of PEs, weight bits and checkpoints, and the Pareto front of cycles, memory and accuracy."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import sources
from ..files import whole
from ..locks import hold
from ..model.checkpoint import Checkpoint
from ..model.data import Dataset, load
from ..processes import end_with_parent
from ..quantize.fold import fold
from ..quantize.network import QuantizedNetwork
from ..quantize.ptq import quantize
from ..quantize.rounding import Formats
from ..rtl.devices import DEVICES
from ..sim import engine
from ..sim.measure import measure
from .place import Wanted, place, with_rates


@dataclass(frozen=True)
class Point:
    """One design.

    `pe`: PEs by layer, or a device. `cycles`: per frame, back to back. `accuracy`: of the integers, on all test images.
    """

    checkpoint: str
    weights: str  # digest of the checkpoint's weights
    connectivity: float
    bits: int
    pe: str
    pixels_a_beat: int
    images: int
    accuracy: float
    cycles: float
    memory_bits: int
    made_from: str  # digest of the data and of the sources that decide the figures

    @property
    def key(self) -> tuple[str | int, ...]:
        """The settings of the point, and what it was made from."""
        return self.checkpoint, self.weights, self.bits, self.pe, self.pixels_a_beat, self.images, self.made_from


def front(points: list[Point]) -> list[Point]:
    """The Pareto front: no other point is at least as good in cycles, memory and accuracy, and better in one."""

    def cost(point: Point) -> tuple[float, ...]:
        return point.cycles, point.memory_bits, -point.accuracy

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    return [point for point in points if not any(beats(cost(other), cost(point)) for other in points)]


def explored(
    checkpoint: str, bits: int, pes: list[str], folder: str, beat: int | None, images: int, made_from: str
) -> list[Point]:
    """The designs of one checkpoint, rounded to `bits` without fine-tuning: one for each of `pes`."""
    floats = fold(Checkpoint.load(checkpoint))
    network = quantize(floats, Formats(weight_bits=bits))
    training, test = _data(folder)
    network = with_rates(network, training.frames)
    accuracy = float((engine.run(network, test.frames, threads=1).classes == test.labels).mean())
    return [
        Point(
            checkpoint, floats.notes["checkpoint"]["weights"][:16], round(network.connectivity, 6), bits, pe,
            beat_of(pe, beat), images, accuracy, *_cost(network, pe, beat, test.frames[:images]), made_from,
        )
        for pe in pes
    ]  # fmt: skip


def _cost(network: QuantizedNetwork, pe: str, beat: int | None, frames: np.ndarray) -> tuple[float, int]:
    """Mean cycles per frame, back to back, and memory bits."""
    wanted = Wanted(device=pe, pixels_a_beat=beat) if pe in DEVICES else Wanted(pe, pixels_a_beat=beat)
    mapping = place(network, wanted)
    cycles = measure(mapping, frames, threads=1).back_to_back.interval.mean()
    return round(float(cycles), 2), mapping.memory_bits


@cache
def _data(folder: str) -> tuple[Dataset, Dataset]:
    return load(folder)


def read(path: Path) -> list[Point]:
    """Points of an earlier run; lines that are damaged, or of another version, are left out."""
    names = [field.name for field in fields(Point)]
    if not path.is_file():
        return []
    kinds: dict[str, Callable[[str], Any]] = {"connectivity": float, "accuracy": float, "cycles": float}
    kinds |= dict.fromkeys(("bits", "pixels_a_beat", "images", "memory_bits"), int)
    points = []
    with path.open(newline="", errors="replace") as file:
        for row in csv.DictReader(file):
            with suppress(KeyError, TypeError, ValueError):
                points.append(Point(**{name: kinds.get(name, str)(row[name]) for name in names}))
    return points


def write(path: Path, points: list[Point]) -> None:
    """Write `points` to `path`, sorted."""
    with whole(path) as part, part.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Point)])
        table.writerows(astuple(point) for point in sorted(points, key=lambda point: point.key))


def plot(path: Path, points: list[Point]) -> None:
    """Accuracy against cycles; the area of a mark is its memory, marks of the front are filled."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4))
    best = set(front(points))
    for index, bits in enumerate(sorted({point.bits for point in points})):
        some = [point for point in points if point.bits == bits]
        colour = f"C{index}"
        axis.scatter(
            [point.cycles for point in some],
            [100 * point.accuracy for point in some],
            s=[point.memory_bits / 4000 for point in some],
            facecolors=[colour if point in best else "none" for point in some],
            edgecolors=colour,
            label=f"{bits} bits",
        )
    axis.set_xlabel("cycles per frame")
    axis.set_ylabel("accuracy, %")
    axis.set_title("Area: memory bits; filled: Pareto front")
    axis.legend(markerscale=0.5)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def sweep(
    checkpoints: tuple[str, ...],
    widths: list[int],
    pes: tuple[str, ...],
    folder: Path,
    pixels_a_beat: int | None,
    images: int,
    out: Path,
    jobs: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Point]:
    """Measure every design that is not yet in `out/points.csv`; returns all points and writes `out/pareto.svg`.

    `progress` is called with 1 for each checkpoint and width that is done.
    """
    digests = {path: fold(Checkpoint.load(path)).notes["checkpoint"]["weights"][:16] for path in checkpoints}
    made_from = _made_from(folder)
    path = out / "points.csv"
    with hold(out):
        known = {point.key: point for point in read(path) if point.made_from == made_from}

        def missing(checkpoint: str, width: int) -> list[str]:
            asked = (checkpoint, digests[checkpoint], width)
            return [pe for pe in pes if (*asked, pe, beat_of(pe, pixels_a_beat), images, made_from) not in known]

        todo = [(c, width, wanted) for c in checkpoints for width in widths if (wanted := missing(c, width))]
        processes = min(jobs or len(os.sched_getaffinity(0)), max(1, len(todo)))
        apart = get_context("spawn")  # a forked process may not use the threads of its parent
        with ProcessPoolExecutor(processes, apart, end_with_parent, (os.getpid(),)) as pool:
            running = [
                pool.submit(explored, c, w, wanted, str(folder), pixels_a_beat, images, made_from)
                for c, w, wanted in todo
            ]
            for future in as_completed(running):
                known |= {point.key: point for point in future.result()}
                write(path, list(known.values()))
                progress(1)
        points = list(known.values())
        plot(out / "pareto.svg", points)
    return points


def beat_of(pe: str, pixels_a_beat: int | None) -> int:
    """Pixels on the input bus: as given, else the device's, or 4."""
    return pixels_a_beat or (DEVICES[pe].pixels_a_beat if pe in DEVICES else 4)


def _made_from(folder: Path) -> str:
    """Digest, 16 hexadecimal digits, of the data in `folder` and of the sources that determine the figures."""
    digest = hashlib.sha256(sources("gradrtl.model", "gradrtl.quantize", "gradrtl.rtl", "gradrtl.sim").encode())
    digest.update(sources("gradrtl.steps").encode())
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
