"""A sweep of PEs, weight bits and checkpoints, and the Pareto front of cycles, memory and accuracy."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, fields
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ..errors import require
from ..files import whole
from ..model.checkpoint import Checkpoint
from ..model.data import Dataset, load
from ..processes import end_with_parent
from ..quantize.fold import fold
from ..quantize.network import QuantizedNetwork
from ..quantize.ptq import quantize
from ..quantize.rounding import Formats
from ..sim import engine
from ..sim.measure import measure
from .place import place


@dataclass(frozen=True)
class Point:
    """One design. `cycles`: mean distance of results back to back; `accuracy`: of the integers, on all test images."""

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

    @property
    def key(self) -> tuple[str | int, ...]:
        """What was asked for."""
        return self.checkpoint, self.weights, self.bits, self.pe, self.pixels_a_beat, self.images


def front(points: list[Point]) -> list[Point]:
    """The points that no other beats: none is as good in cycles, memory and accuracy, and better in one."""

    def cost(point: Point) -> tuple[float, ...]:
        return point.cycles, point.memory_bits, -point.accuracy

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    return [point for point in points if not any(beats(cost(other), cost(point)) for other in points)]


def explored(checkpoint: str, bits: int, pes: list[str], folder: str, beat: int, images: int) -> list[Point]:
    """The designs of one checkpoint, rounded to `bits` after training: one for each of `pes`."""
    floats = fold(Checkpoint.load(checkpoint))
    network = quantize(floats, Formats(weight_bits=bits))
    _, test = _data(folder)
    accuracy = float((engine.run(network, test.frames, threads=1).classes == test.labels).mean())
    return [
        Point(
            checkpoint, floats.notes["checkpoint"]["weights"][:16], round(network.connectivity, 6), bits, pe, beat,
            images, accuracy, *_cost(network, pe, folder, beat, test.frames[:images]),
        )
        for pe in pes
    ]  # fmt: skip


def _cost(network: QuantizedNetwork, pe: str, folder: str, beat: int, frames: np.ndarray) -> tuple[float, int]:
    """Cycles of a mean frame, back to back, and memory bits."""
    mapping = place(network, pe, Path(folder), beat)
    cycles = measure(mapping, frames, threads=1).back_to_back.interval.mean()
    return round(float(cycles), 2), mapping.memory_bits


@cache
def _data(folder: str) -> tuple[Dataset, Dataset]:
    return load(folder)


def read(path: Path) -> list[Point]:
    """Points of an earlier run; a last line that was cut off is left out."""
    names = [field.name for field in fields(Point)]
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        require(table.fieldnames == names, f"columns of {path}", table.fieldnames, ",".join(names))
        rows = [row for row in table if None not in row.values()]
    kinds = {
        "connectivity": float,
        "bits": int,
        "pixels_a_beat": int,
        "images": int,
        "accuracy": float,
        "cycles": float,
        "memory_bits": int,
    }
    return [Point(**{name: kinds.get(name, str)(row[name]) for name in names}) for row in rows]


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
    pixels_a_beat: int,
    images: int,
    out: Path,
    jobs: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Point]:
    """Measure every design that `out/points.csv` does not hold yet; returns all points and writes `out/pareto.svg`.

    `progress` is called with 1 for each checkpoint and width that is done.
    """
    digests = {path: fold(Checkpoint.load(path)).notes["checkpoint"]["weights"][:16] for path in checkpoints}
    out.mkdir(parents=True, exist_ok=True)
    path = out / "points.csv"
    known = {point.key: point for point in read(path)}

    def missing(checkpoint: str, width: int) -> list[str]:
        beat = pixels_a_beat
        return [pe for pe in pes if (checkpoint, digests[checkpoint], width, pe, beat, images) not in known]

    todo = [(c, width, wanted) for c in checkpoints for width in widths if (wanted := missing(c, width))]
    processes = min(jobs or len(os.sched_getaffinity(0)), max(1, len(todo)))
    apart = get_context("spawn")  # a forked process may not use the threads of its parent
    with ProcessPoolExecutor(processes, apart, end_with_parent, (os.getpid(),)) as pool:
        running = [pool.submit(explored, c, w, pe, str(folder), pixels_a_beat, images) for c, w, pe in todo]
        for future in as_completed(running):
            known |= {point.key: point for point in future.result()}
            write(path, list(known.values()))
            progress(1)
    points = list(known.values())
    plot(out / "pareto.svg", points)
    return points
