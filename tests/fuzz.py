"""Damaged files through every loader: a right result or a `UserError`, nothing else. `make fuzz`; see `--help`.

Bytes are damaged; of archives also the contents, under a digest that is right, and what the zip and its members claim
of their sizes (`damage.py`). All runs with 1 GB of memory beyond what the program itself takes. Every sixteenth
network that is accepted is run: the engine must equal the reference.

Each case has a number, which repeats it. Results are kept in `build/fuzz/found.jsonl`, those of some hundred cases in a
line: an interrupted campaign goes on where it stopped, and starts anew when a source has changed. Cases run in
processes here, or on the workers of a Dask scheduler (docs/scale-out.md).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import damage
import event_files
import float_networks
import hostile
import numpy as np
import random_networks
from fake_accelerator import fake_verilog, small_network
from nir_files import random_neurons

from gradrtl import cluster
from gradrtl.cache import sources
from gradrtl.cluster import Cluster
from gradrtl.errors import UserError
from gradrtl.model import recordings
from gradrtl.model.architecture import read_description
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import load_cifar10, load_idx
from gradrtl.model.events import gesture, spoken, wav
from gradrtl.model.events.sets import READERS
from gradrtl.model.importing import hdf5
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import import_graph
from gradrtl.quantize.fold import fold
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine, reference
from gradrtl.steps.frames import load_frames
from gradrtl.store import Store
from gradrtl.workers import PACKAGES

FILES = 200_000  # of a campaign
MEMORY = 1 << 30  # bytes beyond what the program itself takes
LONGEST = 10.0  # seconds: a case that takes longer is a hang
ARCHIVES = ("network", "checkpoint", "recordings")
PIECE = 500  # cases of a task
FOLDER = Path("build/fuzz")
NETWORK = 8  # a random network with a convolution


@dataclass(frozen=True)
class Target:
    """A loader, and a whole file that it accepts. `kind`: that of an archive, `json` or `verilog`."""

    load: Callable[[Path], Any]
    whole: bytes
    file: str
    kind: str = ""
    share: int = 1  # of the cases


def targets(folder: Path) -> dict[str, Target]:
    """Every loader of files that a user gives; whole files are written to `folder` first."""
    network = random_networks.network(NETWORK, random_networks.Options(largest=12, most_layers=2))
    rates = tuple(np.ones(layer.sources) for layer in network.layers)
    network = replace(network, rates=rates, placement=Placement((2,) * len(network.layers)))
    network.save(folder / "network.npz")
    made = float_networks.checkpoint(float_networks.network(1), 1)
    made.save(folder / "checkpoint.npz")
    (folder / "layers.json").write_text(json.dumps(made.network.to_json()))
    frames = random_networks.frames(network, 2)
    np.save(folder / "frames.npy", frames)
    np.savez(folder / "frames.npz", **{network.inputs[0].name: frames})
    images = struct.pack(">4I", 0x803, 3, 4, 4) + bytes(range(48))
    labels = struct.pack(">2I", 0x801, 3) + bytes([0, 1, 2])
    batch = bytes([7]) + bytes(3072)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(batch)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(batch).hexdigest()}  data_batch_1.bin\n")
    (folder / "foreign.v").write_text(fake_verilog(map_network(small_network((3, 2, 2), steps=1), (1, 1))))

    def whole(name: str, load: Callable[[Path], Any], kind: str = "", share: int = 1) -> Target:
        return Target(load, (folder / name).read_bytes(), name, kind, share)

    hdf5.write(folder / "model.nir", random_neurons(4))
    events = event_files.some(40)
    for suffix, write in (("bin", event_files.nmnist), ("aedat", event_files.aedat), ("dat", event_files.dat)):
        write(folder / f"events.{suffix}", events)
    for name, write in (
        ("evt2.raw", event_files.evt2),
        ("evt3.raw", event_files.evt3),
        ("tonic.npy", event_files.array),
    ):
        write(folder / name, events)
    one = np.array([0.0, 0.5]), np.array([3, 699]), 1, 0
    event_files.spoken(folder / "spoken.h5", [one, one])
    event_files.sound(folder / "1_a_0.wav", np.arange(-20, 20))
    event_files.gestures(folder)
    few = recordings.Recordings(np.ones((2, 3, 1, 1, 4), np.uint8), np.zeros(2, np.uint8))
    recordings.save(folder / "set.npz", few, few)
    shape = made.network.input_shape
    return {
        "network": whole("network.npz", QuantizedNetwork.load, "network", 8),
        "checkpoint": whole("checkpoint.npz", lambda path: fold(Checkpoint.load(path)), "checkpoint", 6),
        "description": whole("layers.json", lambda path: read_description(path, shape), "json", 2),
        "frames": whole("frames.npy", lambda path: load_frames(path, network)),
        "frames by input": whole("frames.npz", lambda path: load_frames(path, network)),
        "idx images": whole("train-images-idx3-ubyte", lambda path: load_idx(path.parent)),
        "idx labels": whole("t10k-labels-idx1-ubyte", lambda path: load_idx(path.parent)),
        "checksums": whole("SHA256SUMS", lambda path: load_cifar10(path.parent)),
        "verilog": whole("foreign.v", hostile.let_pass, "verilog"),
        "nir": whole("model.nir", lambda path: import_graph(hdf5.read(path), Convention())),
        "recordings": whole("set.npz", recordings.load, "recordings", 2),
        **{
            f"events {name}": whole(name, lambda path: READERS[path.suffix](path, (2, 40, 40)))
            for name in ("events.bin", "events.aedat", "events.dat", "evt2.raw", "evt3.raw", "tonic.npy")
        },
        "spoken digits": whole("spoken.h5", lambda path: list(spoken.read(path))),
        "sound": whole("1_a_0.wav", wav.read),
        "gestures": whole("user01_natural_labels.csv", lambda path: list(gesture.read(path.parent, "train"))),
        "cifar10 batch": whole("data_batch_3.bin", lambda path: load_cifar10(path.parent)),
    }


def damaged(target: Target, given: Any, rng: np.random.Generator) -> bytes:
    """A damaged file of `target`; `given` is what its whole file holds."""
    way = rng.random()
    if target.kind == "verilog":
        return hostile.mixed(target.whole.decode(), rng).encode("latin-1")
    if target.kind == "json" and way < 0.7:
        body = json.loads(target.whole)
        damage.of_json(body, rng)
        return json.dumps(body).encode()
    if target.kind in ARCHIVES and way < 0.55:
        return damage.of_contents(target.kind, *given, rng)
    if target.kind in ARCHIVES and way < 0.7:
        return damage.of_claims(target.kind, *given, rng)
    return damage.of_bytes(target.whole, rng)


def run(name: str, target: Target, given: Any, folder: Path, number: int) -> bool:
    """Case `number` of a target; True if its file was accepted. Anything but a result or a `UserError` is raised."""
    rng = np.random.default_rng([number, *name.encode()])
    path = folder / target.file
    path.write_bytes(damaged(target, given, rng))
    start = time.monotonic()
    try:
        found = target.load(path)
    except UserError as error:
        text = str(error)
        if not text.isprintable() or len(text) > 2000:
            raise AssertionError("not one line that can be printed") from error
        return False
    finally:
        assert time.monotonic() - start < LONGEST, "a hang"
    if isinstance(found, QuantizedNetwork) and number % 16 == 0:
        check(found)
    return True


def check(network: QuantizedNetwork) -> None:
    """The engine equals the reference on a frame."""
    frames = random_networks.frames(network, 1)
    expected, found = reference.run(network, frames), engine.run(network, frames, trace=True, threads=1)
    assert (found.counts == expected.counts).all()
    for a, b in zip(expected.trace.membranes, found.trace.membranes, strict=True):
        np.testing.assert_array_equal(a, b)


@contextmanager
def limited() -> Iterator[None]:
    """At most `MEMORY` more bytes than the program has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@dataclass(frozen=True)
class Piece:
    """Cases of one target: `count` of them, from number `first` on."""

    target: str
    first: int
    count: int

    def __str__(self) -> str:
        return f"{self.target} {self.first}+{self.count}"


def pieces(files: int, first: int = 0) -> list[Piece]:
    """About so many cases of all targets together, from case `first` of each on."""
    with whole_files() as (_, every):
        shares = {name: target.share for name, target in every.items()}
    found = []
    for name, share in shares.items():
        end = first + -(-files * share // sum(shares.values()))
        found += [Piece(name, start, min(PIECE, end - start)) for start in range(first, end, PIECE)]
    return found


@contextmanager
def whole_files() -> Iterator[tuple[Path, dict[str, Target]]]:
    """A folder with the targets' files."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name), targets(Path(name))


def work(some: Sequence[Piece]) -> list[dict[str, int]]:
    """How many files of each piece were accepted and refused, in a worker."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")  # a warning is more than a line
        for module in ("asyncio", "dask", "distributed", "tornado"):  # threads of a worker
            warnings.filterwarnings("ignore", module=rf"{module}\b")
        stack.enter_context(limited())
        folder, every = stack.enter_context(whole_files())
        return [tried(piece, every[piece.target], folder) for piece in some]


def tried(piece: Piece, target: Target, folder: Path) -> dict[str, int]:
    path = folder / target.file
    given = damage.contents(path, target.kind) if target.kind in ARCHIVES else None
    counted = {"accepted": 0, "refused": 0}
    path.write_bytes(target.whole)
    target.load(path)  # the whole file: else a damaged one is refused for another reason
    for number in range(piece.first, piece.first + piece.count):
        try:
            accepted = run(piece.target, target, given, folder, number)
        except Exception as error:
            kept = FOLDER / f"{target.file}-{number}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(path.read_bytes())
            raise AssertionError(f"{piece.target}, case {number} ({kept}): {error!r}") from error
        counted["accepted" if accepted else "refused"] += 1
    path.write_bytes(target.whole)  # a folder of data is read as a whole
    return counted


def fuzz(
    files: int,
    first: int = 0,
    notes: Path | None = None,
    where: Cluster = Cluster(1),  # noqa: B008 (frozen)
    say: Callable[[str], None] | None = None,
) -> dict[str, Counter[str]]:
    """Run about so many files, from case `first` of each target on; how many each accepted and refused.

    Results are kept in the file `notes`, if there is one.
    """
    todo = {str(piece): piece for piece in pieces(files, first)}
    with ExitStack() as stack:
        store = None if notes is None else stack.enter_context(Store(notes, "piece", fingerprint()))
        before = {} if store is None else {name: store.value(line) for name, line in store.lines.items()}
        found = {name: before[name] for name in todo if name in before}
        found |= cluster.run(work, todo, where, store=store, code=fingerprint, say=say)
    counted: dict[str, Counter[str]] = {}
    for name, piece in todo.items():
        counted.setdefault(piece.target, Counter()).update(found[name])
    return counted


def fingerprint() -> str:
    """SHA-256 of what results depend on: the packages, this script and its helpers."""
    sha = hashlib.sha256(sources(*PACKAGES).encode())
    for name in (
        "fuzz.py",
        "nir_files.py",
        "damage.py",
        "hostile.py",
        "event_files.py",
        "random_networks.py",
        "limit_networks.py",
        "float_networks.py",
    ):
        sha.update((Path(__file__).parent / name).read_bytes())
    return sha.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES, help="of all loaders together")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each loader")
    Cluster.add_arguments(parser)
    given = parser.parse_args()
    found = fuzz(given.files, given.first, FOLDER / "found.jsonl", Cluster.of(given), print)
    for what, counted in found.items():
        print(f"{what}: {counted['accepted']} accepted, {counted['refused']} refused in one line")
    total = sum(sum(counted.values()) for counted in found.values())
    print(f"{total} files, none a traceback")
    return 0


if __name__ == "__main__":
    import fuzz as by_name  # as workers import it

    try:
        code = by_name.main()
    except UserError as error:
        code = f"error: {error}"
    sys.exit(code)
