"""Damaged files through every loader: a right result or a `UserError`, nothing else. `make fuzz`; see `--help`.

Bytes are damaged; of archives, every second time, the contents instead, under a digest that is right, so that what is
behind the digest is reached. Each case has a number, which repeats it.
"""

from __future__ import annotations

import argparse
import copy
import struct
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import float_networks
import numpy as np
import random_networks
from rich.progress import track

from gradrtl import archive
from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import load_cifar10, load_idx
from gradrtl.quantize.fold import fold
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.steps.frames import load_frames

LEAVES = (None, True, -1, 0, 1, 3, 2**31, 2**63, -(2**70), 1.5, 1e308, float("nan"), "", "dense", [], [1, 2], {}, [[]])
DTYPES = (np.int8, np.int64, np.float32, np.float64, np.uint8, np.bool_, "U3", "M8[s]")
LONGEST = 10.0  # seconds: a case that takes longer is a hang


@dataclass(frozen=True)
class Target:
    """A loader, and a whole file that it accepts. `kind`: that of an archive whose contents can be altered."""

    load: Callable[[Path], Any]
    whole: bytes
    file: str
    kind: str = ""


def targets(folder: Path) -> dict[str, Target]:
    """Every loader of files that a user gives; whole files are written to `folder` first."""
    small = random_networks.Options(largest=12, most_layers=2)
    network = random_networks.network(3, small)
    network.save(folder / "network.npz")
    float_networks.checkpoint(float_networks.network(1), 1).save(folder / "checkpoint.npz")
    frames = random_networks.frames(network, 2)
    np.save(folder / "frames.npy", frames)
    images = struct.pack(">4I", 0x803, 3, 4, 4) + bytes(range(48))
    labels = struct.pack(">2I", 0x801, 3) + bytes([0, 1, 2])
    batch = bytes([7]) + bytes(3072)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(batch)
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  nothing\n")
    at = {name: (folder / name).read_bytes() for name in ("network.npz", "checkpoint.npz", "frames.npy", "SHA256SUMS")}
    return {
        "network": Target(QuantizedNetwork.load, at["network.npz"], "network.npz", "network"),
        "checkpoint": Target(
            lambda path: fold(Checkpoint.load(path)), at["checkpoint.npz"], "checkpoint.npz", "checkpoint"
        ),
        "frames": Target(lambda path: load_frames(path, network), at["frames.npy"], "frames.npy"),
        "idx images": Target(lambda path: load_idx(path.parent), images, "train-images-idx3-ubyte"),
        "idx labels": Target(lambda path: load_idx(path.parent), labels, "t10k-labels-idx1-ubyte"),
        "checksums": Target(lambda path: load_idx(path.parent), at["SHA256SUMS"], "SHA256SUMS"),
        "cifar10 batch": Target(lambda path: load_cifar10(path.parent), batch, "data_batch_3.bin"),
    }


def damage(whole: bytes, rng: np.random.Generator) -> bytes:
    """One to four random changes of bytes."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        at, end = sorted(int(x) for x in rng.integers(0, len(content) + 1, 2))
        match rng.integers(6):
            case 0 if content:
                content[min(at, len(content) - 1)] ^= 1 << int(rng.integers(8))
            case 1 if content:
                content[min(at, len(content) - 1)] = int(rng.choice([0, 1, 127, 128, 255]))
            case 2:
                del content[at:]
            case 3:
                del content[at : min(end, at + 16)]
            case 4:
                content[at:at] = content[at : min(end, at + 64)]
            case _:
                content[at:at] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(content)


def alter(path: Path, kind: str, rng: np.random.Generator) -> None:
    """Change a value of an archive's header or one of its arrays; its digest stays right."""
    header, arrays = archive.load(path, kind)
    header, arrays = copy.deepcopy(header), dict(arrays)
    for _ in range(rng.integers(1, 3)):
        if rng.random() < 0.7:
            _alter_leaf(header, rng)
            continue
        name = list(arrays)[rng.integers(len(arrays))]
        array = arrays[name].copy()
        match rng.integers(6):
            case 0:
                del arrays[name]
                if not arrays:
                    return
            case 1:
                dtype = DTYPES[rng.integers(len(DTYPES))]
                arrays[name] = np.zeros(array.shape, dtype)
            case 2:
                arrays[name] = array.reshape(-1)[: rng.integers(array.size + 1)]
            case 3:
                arrays[name] = array[None]
            case 4:
                arrays[f"{name}x"] = array
            case _ if array.size:
                limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
                value = rng.choice([limits.min, limits.max]) if limits else rng.choice([np.nan, np.inf, 1e38])
                array.reshape(-1)[rng.integers(array.size)] = value
                arrays[name] = array
    archive.save(path, kind, header, arrays)


def _alter_leaf(node: Any, rng: np.random.Generator) -> None:
    """Replace, or remove, a random value somewhere in `node`, a JSON object or array."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = keys[rng.integers(len(keys))]
    if isinstance(node[key], dict | list) and rng.random() < 0.8:
        _alter_leaf(node[key], rng)
    elif rng.random() < 0.2:
        del node[key]
    else:
        node[key] = copy.deepcopy(LEAVES[rng.integers(len(LEAVES))])


def run(name: str, target: Target, folder: Path, number: int) -> bool:
    """Case `number` of a target; True if its file was accepted. Anything but a result or a `UserError` is raised."""
    rng = np.random.default_rng([number, len(name)])
    path = folder / target.file
    if target.kind and rng.random() < 0.5:
        path.write_bytes(target.whole)
        alter(path, target.kind, rng)
    else:
        path.write_bytes(damage(target.whole, rng))
    start = time.monotonic()
    try:
        target.load(path)
    except UserError as error:
        if "\n" in str(error):
            raise AssertionError("more than a line") from error
        return False
    else:
        return True
    finally:
        assert time.monotonic() - start < LONGEST, "a hang"


def fuzz(cases: int, first: int = 0, shown: bool = False) -> Counter[str]:
    """Run so many cases of every target, with a progress bar if `shown`: how many files each accepted."""
    accepted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning is more than a line
        folder = Path(name)
        for what, target in targets(folder).items():
            target.load(folder / target.file)
            for number in track(range(first, first + cases), description=what, disable=not shown):
                try:
                    accepted[what] += run(what, target, folder, number)
                except Exception as error:
                    raise AssertionError(f"{what}, case {number}: {type(error).__name__}: {error}") from error
            (folder / target.file).write_bytes(target.whole)  # a folder of data is read as a whole
    return accepted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=15_000, help="of each of the seven loaders")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    found = fuzz(options.cases, options.first, shown=True)
    for what, accepted in found.items():
        print(f"{what}: {options.cases} files, {accepted} accepted, {options.cases - accepted} refused in one line")
