"""Image sets: IDX folders (MNIST, Fashion-MNIST) and the CIFAR-10 binary batches, checked before they are used."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..errors import UserError, require

IDX_IMAGES, IDX_LABELS = 0x0803, 0x0801  # magic numbers: unsigned bytes, 3 and 1 dimensions
LARGEST_FILE = 1 << 30  # bytes, unpacked
CIFAR10_SHAPE = (3, 32, 32)
CIFAR10_RECORD = 1 + prod(CIFAR10_SHAPE)


@dataclass(frozen=True)
class Dataset:
    """`images` uint8 `[n, channels, height, width]` and their `labels` uint8 `[n]`."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        require(self.images.dtype == np.uint8, "images dtype", self.images.dtype, "uint8")
        require(self.images.ndim == 4, "images dimensions", self.images.ndim, "4: [n, channels, height, width]")
        require(self.labels.dtype == np.uint8, "labels dtype", self.labels.dtype, "uint8")
        count = len(self.images)
        require(self.labels.shape == (count,), "labels shape", self.labels.shape, f"({count},), one for each image")
        require(self.images.size > 0, "images shape", self.images.shape, "no empty dimension")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Dataset:
        return Dataset(self.images[part], self.labels[part])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image: `(channels, height, width)`."""
        return self.images.shape[1:]

    @property
    def frames(self) -> np.ndarray:
        """The images as the simulators take them: uint8 `[n, channels * height * width]`."""
        return self.images.reshape(len(self), -1)

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1


def load(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Training and test set of a folder of CIFAR-10 batches or of IDX files, told apart by their names."""
    folder = Path(folder)
    if (folder / "test_batch.bin").exists():
        return load_cifar10(folder)
    return load_idx(folder)


def split(train: Dataset, held_out: int = 5000) -> tuple[Dataset, Dataset]:
    """Training and validation set: the last `held_out` images are the validation set, always the same ones."""
    require(0 < held_out < len(train), "held_out", held_out, f"1 to {len(train) - 1}")
    return train[: len(train) - held_out], train[len(train) - held_out :]


def load_idx(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Training and test set of a folder of four IDX files, gzipped or not.

    Where the folder has a `SHA256SUMS`, the files that it names must match it.

    Raises
    ------
    UserError
        A file is missing, has another magic number, size or checksum than it should, or counts disagree.
    """
    folder = Path(folder)
    sums = _checksums(folder)
    sets = []
    for part in ("train", "t10k"):
        images = _read_idx(_find(folder, f"{part}-images", "idx3-ubyte"), IDX_IMAGES, sums)
        labels = _read_idx(_find(folder, f"{part}-labels", "idx1-ubyte"), IDX_LABELS, sums)
        require(len(images) == len(labels), f"{folder} {part} labels", len(labels), f"{len(images)}, one an image")
        sets.append(Dataset(images[:, None], labels))
    train, test = sets
    require(train.shape == test.shape, f"{folder} test image shape", test.shape, f"{train.shape} as in training")
    return train, test


def load_cifar10(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Training and test set of a folder of the official binary batches (`data_batch_1..5.bin`, `test_batch.bin`).

    A record is one label byte, then the red, green and blue planes of a 32 x 32 image.
    """
    folder = Path(folder)
    sums = _checksums(folder)
    batches = [_read_cifar10(folder / f"data_batch_{number}.bin", sums) for number in range(1, 6)]
    train = Dataset(np.concatenate([b.images for b in batches]), np.concatenate([b.labels for b in batches]))
    return train, _read_cifar10(folder / "test_batch.bin", sums)


def _read_cifar10(path: Path, sums: dict[str, str]) -> Dataset:
    content = _bytes(path, sums)
    whole = len(content) > 0 and len(content) % CIFAR10_RECORD == 0
    require(whole, f"{path} size", len(content), f"a multiple of {CIFAR10_RECORD} bytes, one record an image")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, CIFAR10_RECORD)
    labels = records[:, 0].copy()
    require(int(labels.max()) < 10, f"{path} largest label", labels.max(), "0 to 9")
    return Dataset(records[:, 1:].reshape(-1, *CIFAR10_SHAPE).copy(), labels)


def _read_idx(path: Path, magic: int, sums: dict[str, str]) -> np.ndarray:
    """Contents of one IDX file, uint8, as many dimensions as its magic number says."""
    content = _bytes(path, sums)
    dimensions = magic & 0xFF
    start = 4 * (1 + dimensions)
    require(len(content) >= start, f"{path} size", len(content), f"at least the {start} bytes of its header")
    found, *shape = struct.unpack(f">{1 + dimensions}I", content[:start])
    require(found == magic, f"{path} magic number", f"{found:#010x}", f"{magic:#010x}")
    size = start + prod(shape)
    require(len(content) == size, f"{path} size", len(content), f"{size} bytes for its shape {tuple(shape)}")
    require(prod(shape) > 0, f"{path} shape", tuple(shape), "no empty dimension")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()


def _find(folder: Path, stem: str, ending: str) -> Path:
    for name in (f"{stem}-{ending}", f"{stem}.{ending}"):
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                return path
    raise UserError(f"data folder {folder}: no {stem}-{ending} or {stem}-{ending}.gz in it")


def _checksums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of a folder's `SHA256SUMS`; empty if there is none."""
    path = folder / "SHA256SUMS"
    if not path.is_file():
        return {}
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        return {name.lstrip("*"): checksum for checksum, name in lines}
    except ValueError:
        raise UserError(f"{path}: each line is a checksum and a file name") from None


def _bytes(path: Path, sums: dict[str, str]) -> bytes:
    """Unpacked contents of a file whose checksum, where one is known, is right."""
    if not path.is_file():
        raise UserError(f"data file {path}: no such file")
    require(path.stat().st_size <= LARGEST_FILE, f"{path} size", path.stat().st_size, f"at most {LARGEST_FILE} bytes")
    content = path.read_bytes()
    if path.name in sums:
        found = hashlib.sha256(content).hexdigest()
        require(found == sums[path.name], f"{path} SHA-256", found, f"{sums[path.name]} (SHA256SUMS)")
    if path.suffix != ".gz":
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"data file {path}: damaged gzip ({error})") from None
    require(len(content) <= LARGEST_FILE, f"{path} size unpacked", f"over {LARGEST_FILE}", f"at most {LARGEST_FILE}")
    return content
