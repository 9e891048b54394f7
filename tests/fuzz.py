"""Damaged files through every loader: a right result or a `UserError`, nothing else. `make fuzz`; see `--help`.

Bytes are damaged; of archives also the contents, under a digest that is right, and what the zip and its members claim
of their sizes (`damage.py`). All runs with 1 GB of memory beyond what the program itself takes. Every sixteenth
network that is accepted is run: the engine must equal the reference.

Each case has a number, which repeats it. Results are kept in `build/fuzz/`: an interrupted campaign goes on where it
stopped, and starts anew when a source has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import struct
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from rich.progress import Progress

from gradrtl.cache import sources
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

FILES = 200_000  # of a campaign
MEMORY = 1 << 30  # bytes beyond what the program itself takes
LONGEST = 10.0  # seconds: a case that takes longer is a hang
ARCHIVES = ("network", "checkpoint", "recordings")
PIECE = 500  # cases between two notes of what is done
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


def fuzz(files: int, first: int = 0, notes: Path | None = None) -> dict[str, Counter[str]]:
    """Run about so many files, from case `first` of each target on; how many each accepted and refused.

    With `notes`, a file, progress is shown and kept there.
    """
    key = fingerprint(files, first)
    done = json.loads(notes.read_text()) if notes is not None and notes.is_file() else {}
    if done.get("key") != key:
        done = {"key": key, "targets": {}}
    scratch = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as name, warnings.catch_warnings(), limited():
        warnings.simplefilter("error")  # a warning is more than a line
        folder = Path(name)
        every = targets(folder)
        shares = sum(target.share for target in every.values())
        with Progress(disable=notes is None) as bars:
            for what, target in every.items():
                cases = -(-files * target.share // shares)
                counted = done["targets"].setdefault(what, {"accepted": 0, "refused": 0})
                start = sum(counted.values())
                bar = bars.add_task(what, total=cases, completed=start)
                path = folder / target.file
                is_archive = target.kind in ARCHIVES
                given = damage.contents(path, target.kind) if is_archive else None
                target.load(path)  # the whole file: else a damaged one is refused for another reason
                for number in range(first + start, first + cases):
                    try:
                        accepted = run(what, target, given, folder, number)
                    except Exception as error:
                        kept = FOLDER / f"{target.file}-{number}"
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_bytes(path.read_bytes())
                        raise AssertionError(f"{what}, case {number} ({kept}): {error!r}") from error
                    counted["accepted" if accepted else "refused"] += 1
                    bars.advance(bar)
                    if notes is not None and (sum(counted.values()) % PIECE == 0 or number == first + cases - 1):
                        _note(notes, done)
                path.write_bytes(target.whole)  # a folder of data is read as a whole
    return {what: Counter(counted) for what, counted in done["targets"].items()}


def fingerprint(files: int, first: int) -> str:
    """SHA-256 of what results depend on: the packages, this script and its helpers, the cases."""
    sha = hashlib.sha256(f"{files} {first} {sources('gradrtl')}".encode())
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


def _note(path: Path, done: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(done))
    part.replace(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES, help="of all loaders together")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each loader")
    options = parser.parse_args()
    found = fuzz(options.files, options.first, FOLDER / f"found-{options.first}.json")
    for what, counted in found.items():
        print(f"{what}: {counted['accepted']} accepted, {counted['refused']} refused in one line")
    total = sum(sum(counted.values()) for counted in found.values())
    print(f"{total} files, none a traceback")
