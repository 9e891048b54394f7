"""A sweep of PEs, weight bits and checkpoints, and the Pareto front of cycles, memory and accuracy."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from ..cache import libraries, recalled, remembered, sources
from ..cluster import Cluster, run
from ..errors import UserError, require
from ..files import whole
from ..locks import hold
from ..model.checkpoint import Checkpoint
from ..model.data import Dataset, files, load
from ..model.graph import Graph
from ..quantize.fold import fold
from ..quantize.graph_rounding import fold_graph
from ..quantize.network import QuantizedNetwork
from ..rtl.devices import DEVICES
from ..sim import engine
from ..sim.frames import Frames
from ..sim.measure import measure
from .frames import frames_for
from .place import RATE_IMAGES, Wanted, place, with_rates
from .quantise import formats_for, quantise

MEASURED = ("accuracy", "cycles", "memory_bits", "connectivity")  # fields of a point


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
        """The settings of the point, by which a table is sorted."""
        return self.checkpoint, self.weights, self.bits, self.pe, self.pixels_a_beat, self.images


@dataclass(frozen=True)
class Refused:
    """A design that cannot be built, and why: it does not fit its device, or `pe` does not fit the network."""

    checkpoint: str
    bits: int
    pe: str
    reason: str

    def __str__(self) -> str:
        return f"{self.checkpoint}, {self.bits} bits, pe {self.pe}: {self.reason}"


def front(points: list[Point]) -> list[Point]:
    """The Pareto front: no other point is at least as good in cycles, memory and accuracy, and better in one."""

    def cost(point: Point) -> tuple[float, ...]:
        return point.cycles, point.memory_bits, -point.accuracy

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    return [point for point in points if not any(beats(cost(other), cost(point)) for other in points)]


@dataclass(frozen=True)
class Sweep:
    """What all points of a sweep share: the data set's folder, pixels per beat (None: by device), images, sources."""

    folder: str
    pixels_a_beat: int | None
    images: int
    made_from: str

    def texts(self, content: str, bits: int, pe: str) -> dict[str, str]:
        """Everything that the figures of a point depend on. `content`: digest of the checkpoint's file."""
        asked = {"checkpoint": content, "bits": bits, "pe": pe, "beat": self.beat(pe), "images": self.images}
        return {name: str(value) for name, value in asked.items()} | {"made from": self.made_from}

    def beat(self, pe: str) -> int:
        """Pixels on the input bus: as given, else the device's, or 4."""
        return self.pixels_a_beat or (DEVICES[pe].pixels_a_beat if pe in DEVICES else 4)

    def design(self, checkpoint: Named, bits: int, pe: str, figures: dict[str, Any]) -> Point | Refused:
        """The point with the measured `figures`: connectivity, accuracy, cycles and memory bits; or why there is none,
        their `refused`.
        """
        if "refused" in figures:
            return Refused(checkpoint.path, bits, pe, figures["refused"])
        asked: dict[str, Any] = {"images": self.images, "made_from": self.made_from[:16]}
        return Point(
            checkpoint.path, checkpoint.weights, bits=bits, pe=pe, pixels_a_beat=self.beat(pe), **asked, **figures
        )


@dataclass(frozen=True)
class Named:
    """A checkpoint: its path, and digests of its weights and of its file."""

    path: str
    weights: str
    content: str

    @staticmethod
    def of(path: str) -> Named:
        checkpoint = Checkpoint.load(path)
        folded = fold_graph(checkpoint) if isinstance(checkpoint.network, Graph) else fold(checkpoint)
        weights = folded.notes["checkpoint"]["weights"][:16]
        return Named(path, weights, hashlib.sha256(Path(path).read_bytes()).hexdigest())

    def load(self) -> Checkpoint:
        """The checkpoint. On another machine than the one that named it, its file must be there, and the same."""
        found = Checkpoint.load(self.path)
        content = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()
        require(content == self.content, f"digest of {self.path}", content[:16], self.content[:16])
        return found


@dataclass(frozen=True)
class Task:
    """The designs of one checkpoint, rounded to `bits`, that are still to be measured: one for each of `pes`."""

    of: Sweep
    checkpoint: Named
    bits: int
    pes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.checkpoint.path} with {self.bits} bits"

    def texts(self, pe: str) -> dict[str, str]:
        return self.of.texts(self.checkpoint.content, self.bits, pe)


def work(tasks: Sequence[Task]) -> list[list[Point | Refused]]:
    """The designs of some tasks, in a worker."""
    return [explored(task.of, task.checkpoint, task.bits, task.pes) for task in tasks]


def explored(of: Sweep, checkpoint: Named, bits: int, pes: Sequence[str]) -> list[Point | Refused]:
    """The designs of one checkpoint, rounded to `bits` without fine-tuning: one for each of `pes`.

    What the cache holds is not measured again.
    """

    @cache
    def made() -> tuple[QuantizedNetwork, float]:
        found = checkpoint.load()
        training, test = _data(of.folder)
        network = quantise(found, formats_for(found, per_channel=False, weight_bits=bits), training, "weights")
        accuracy = float((engine.run(network, frames_for(network, test), threads=1).classes == test.labels).mean())
        return with_rates(network, frames_for(network, training[:RATE_IMAGES])), accuracy

    def figures(pe: str) -> dict[str, Any]:
        network, accuracy = made()
        frames = frames_for(network, _data(of.folder)[1][: of.images])
        try:
            cycles, bits = _cost(network, pe, of.pixels_a_beat, frames)
        except UserError as error:
            return {"refused": str(error)}
        found = {"accuracy": accuracy, "cycles": cycles, "memory_bits": bits}
        return found | {"connectivity": round(network.connectivity, 6)}

    return [
        of.design(
            checkpoint, bits, pe, remembered("point", of.texts(checkpoint.content, bits, pe), partial(figures, pe))
        )
        for pe in pes
    ]


def _cost(network: QuantizedNetwork, pe: str, beat: int | None, frames: Frames) -> tuple[float, int]:
    """Mean cycles per frame, back to back, and memory bits."""
    wanted = Wanted(device=pe, pixels_a_beat=beat) if pe in DEVICES else Wanted(pe, pixels_a_beat=beat)
    mapping = place(network, wanted)
    cycles = measure(mapping, frames, threads=1).back_to_back.interval.mean()
    return round(float(cycles), 2), mapping.memory_bits


@cache
def _data(folder: str) -> tuple[Dataset, Dataset]:
    return load(folder)


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
    if points:
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
    cluster: Cluster,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] | None = None,
) -> tuple[list[Point], list[Refused]]:
    """Measure every design that the cache does not hold; writes `out/points.csv` and `out/pareto.svg`.

    Returns the points, and the designs that cannot be built, which end nothing. `progress` is called with 1 for each
    checkpoint and width that is done, `say` with a line about that now and then.
    """
    code = partial(made_from, folder)
    of = Sweep(str(folder), pixels_a_beat, images, code())
    designs: list[Point | Refused] = []
    todo = []
    with hold(out):
        for checkpoint, bits in product(map(Named.of, dict.fromkeys(checkpoints)), dict.fromkeys(widths)):
            whole_task = Task(of, checkpoint, bits, tuple(dict.fromkeys(pes)))
            missing = []
            for pe in whole_task.pes:
                figures = recalled("point", whole_task.texts(pe))
                if figures is None:
                    missing.append(pe)
                else:
                    designs.append(of.design(checkpoint, bits, pe, figures))
            if missing:
                todo.append(replace(whole_task, pes=tuple(missing)))
            else:
                progress(1)
        write(out / "points.csv", _points(designs))
        for _, found in run(work, {task: task for task in todo}, cluster, keep=_remember, code=code, say=say):
            designs += found
            write(out / "points.csv", _points(designs))
            progress(1)
        plot(out / "pareto.svg", _points(designs))
    return _points(designs), [one for one in designs if isinstance(one, Refused)]


def _points(designs: list[Point | Refused]) -> list[Point]:
    return [one for one in designs if isinstance(one, Point)]


def _remember(task: Task, designs: list[Point | Refused]) -> None:
    """Keep the figures of `designs` in the cache: a worker on another machine has a cache of its own."""
    for one in designs:
        remembered("point", task.texts(one.pe), partial(_figures, one))


def _figures(design: Point | Refused) -> dict[str, Any]:
    if isinstance(design, Refused):
        return {"refused": design.reason}
    return {name: getattr(design, name) for name in MEASURED}


def made_from(folder: Path) -> str:
    """Digest, in hexadecimal, of the data in `folder`, and of the sources and libraries that determine the figures."""
    packages = [f"gradrtl.{name}" for name in ("model", "quantize", "rtl", "sim", "steps")]
    digest = hashlib.sha256(f"{sources(*packages)} {libraries()}".encode())
    for path in sorted(files(folder)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
