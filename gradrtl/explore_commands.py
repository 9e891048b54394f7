"""`gradrtl explore`: elements, weight bits, connectivity swept; the Pareto front of cycles, memory, accuracy."""

from __future__ import annotations

import csv
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, fields
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np

from .errors import require
from .model.checkpoint import Checkpoint
from .model.data import Dataset, load
from .options import bar, beat_option, data_option, place
from .quantize.fold import fold
from .quantize.network import WEIGHT_BITS, QuantizedNetwork
from .quantize.ptq import quantize
from .quantize.rounding import Formats
from .sim import engine
from .sim.cycles import predict
from .sim.events import events_of

CHECKPOINTS = tuple(f"checkpoints/mnist-mlp-{percent}-s0.npz" for percent in (5, 2, 1))


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
    def key(self) -> tuple:
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
    weights = [layer.synapses.weight for layer in network.layers]
    connectivity = sum(np.count_nonzero(weight) for weight in weights) / sum(weight.size for weight in weights)
    return [
        Point(
            checkpoint, floats.notes["checkpoint"]["weights"][:16], round(float(connectivity), 6), bits, pe, beat,
            images, accuracy, *_cost(network, pe, folder, beat, test.frames[:images]),
        )
        for pe in pes
    ]  # fmt: skip


def _cost(network: QuantizedNetwork, pe: str, folder: str, beat: int, frames: np.ndarray) -> tuple[float, int]:
    """Cycles of a mean frame, back to back, and memory bits."""
    mapping = place(network, pe, Path(folder), beat)
    trace = engine.run(network, frames, trace="spikes", threads=1).trace
    assert trace is not None
    cycles = predict(mapping, events_of(mapping, frames, trace)).interval.mean()
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
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Point)])
        table.writerows(astuple(point) for point in sorted(points, key=lambda point: point.key))
    part.replace(path)


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
    axis.set_xlabel("cycles a frame")
    axis.set_ylabel("accuracy, %")
    axis.set_title("Area: memory bits; filled: Pareto front")
    axis.legend(markerscale=0.5)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def numbers(words: str, accepted: range) -> list[int]:
    """`2,4,8` as numbers."""
    found = [int(word) if word.strip().isdecimal() else -1 for word in words.split(",")]
    require(all(n in accepted for n in found), "bits", words, f"numbers {accepted[0]} to {accepted[-1]}, such as 2,4,8")
    return sorted(set(found))


@click.command()
@click.argument("checkpoints", nargs=-1, type=click.Path())
@click.option("--bits", default="3,4,6,8", help="Weight bits to try, each 2 to 8.")
@click.option("--pe", "pes", multiple=True, default=("4,auto", "8,auto", "16,auto", "32,auto"), help="Elements to try.")
@click.option("--images", default=1000, type=int, help="Test images whose cycles are counted.")
@click.option("--jobs", type=int, help="Processes; default: one on each core.")
@beat_option
@data_option
@click.option("--out", default="build/explore", type=click.Path(path_type=Path), help="Folder; it resumes.")
def explore(checkpoints, bits, pes, images, jobs, pixels_a_beat, folder, out) -> None:
    """Sweep elements, weight bits and CHECKPOINTS (default: the committed ones); writes points.csv and pareto.svg.

    Weights are rounded after training. A point that is in points.csv already is not measured again.
    """
    checkpoints = checkpoints or CHECKPOINTS
    widths = numbers(bits, range(WEIGHT_BITS[0], WEIGHT_BITS[-1] + 1))
    _, test = load(folder)
    require(2 <= images <= len(test), "images", images, f"2 to {len(test)}")
    require(jobs is None or jobs >= 1, "jobs", jobs, "at least 1")
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
    with bar("exploring", len(todo)) as advance, ProcessPoolExecutor(processes, apart) as pool:
        running = [pool.submit(explored, c, w, pe, str(folder), pixels_a_beat, images) for c, w, pe in todo]
        for future in as_completed(running):
            known |= {point.key: point for point in future.result()}
            write(path, list(known.values()))
            advance()
    points = list(known.values())
    plot(out / "pareto.svg", points)
    best = sorted(front(points), key=lambda point: point.cycles)
    for point in best:
        click.echo(
            f"{point.cycles:9.1f} cycles {point.memory_bits:9} bits {100 * point.accuracy:6.2f} %   "
            f"{Path(point.checkpoint).stem}, {point.bits} bits, pe {point.pe}"
        )
    click.echo(f"{len(best)} of {len(points)} points on the front; wrote {path} and {out / 'pareto.svg'}")


COMMANDS = (explore,)
