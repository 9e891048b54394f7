"""Image sets: IDX folders (MNIST, Fashion-MNIST, EMNIST, your own) and the CIFAR-10 binary batches, checked when read.

An IDX file begins with two zero bytes, one byte for the type of its elements and one for the number of dimensions, then
the size of each dimension (32 bits, high byte first). Images are `[n, height, width]` or `[n, channels, height, width]`
of unsigned bytes; labels are `[n]`, of a wider type for more than 256 classes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, require
from .held_out import usually_held_out

IDX_IMAGES = {0x0803: "u1", 0x0804: "u1"}  # magic number -> NumPy type of the elements
IDX_LABELS = {0x0801: "u1", 0x0B01: ">i2", 0x0C01: ">i4"}
IDX_NAME = re.compile(
    r"(?:(?P<set>.+)[-_.])?(?P<part>train|t10k|test)-(?P<what>images[-.]idx[34]|labels[-.]idx1)-(?:ubyte|short|int)(?:\.gz)?"
)
SUM_LINE = re.compile(r"(?P<sum>[0-9a-fA-F]{64})\s+\*?(?P<name>.*\S)\s*")  # as `sha256sum` writes it
LARGEST_LABEL = (1 << 16) - 1
LARGEST_FILE = 1 << 30  # bytes, unpacked
CIFAR10_SHAPE = (3, 32, 32)
CIFAR10_RECORD = 1 + prod(CIFAR10_SHAPE)


@dataclass(frozen=True)
class Dataset:
    """`images` uint8 `[n, channels, height, width]` and their `labels` `[n]`, uint8 or, for more classes, int32."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        require(self.images.dtype == np.uint8, "images dtype", self.images.dtype, "uint8")
        require(self.images.ndim == 4, "images dimensions", self.images.ndim, "4: [n, channels, height, width]")
        require(self.labels.dtype in (np.uint8, np.int32), "labels dtype", self.labels.dtype, "uint8 or int32")
        count = len(self.images)
        require(self.labels.shape == (count,), "labels shape", self.labels.shape, f"({count},), one for each image")
        require(self.images.size > 0, "images shape", self.images.shape, "no empty dimension")
        require_label_range(self.labels)

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
        """The images in the format of the simulators: uint8 `[n, channels * height * width]`."""
        return self.images.reshape(len(self), -1)

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the images' shape, the images and their labels."""
        sha = hashlib.sha256(repr(self.images.shape).encode())
        sha.update(np.ascontiguousarray(self.images).data)
        sha.update(self.labels.astype("<i4").tobytes())
        return sha.hexdigest()

    def require_fit(self, shape: tuple[int, ...], classes: int, what: str) -> None:
        """`UserError` unless this `what` fits a network with images of `shape` and `classes` classes."""
        require(self.shape == shape, f"image shape of the {what}", self.shape, f"{shape}, which the network reads")
        most = f"at most {classes}, those of the network"
        require(self.classes <= classes, f"classes in the {what}", self.classes, most)


def require_label_range(labels: np.ndarray) -> None:
    """`UserError` if one of `labels`, of which there is one at least, can be the class of no network."""
    smallest, largest = int(labels.min()), int(labels.max())
    require(smallest >= 0, "smallest label", smallest, "0 or above")
    require(largest <= LARGEST_LABEL, "largest label", largest, f"at most {LARGEST_LABEL}")


def load(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Training and test set of a folder of CIFAR-10 batches or IDX files, recognised by their names."""
    folder = Path(folder)
    if (folder / "test_batch.bin").exists():
        return load_cifar10(folder)
    return load_idx(folder)


def files(folder: str | Path) -> tuple[Path, ...]:
    """The files from which `load` reads images and labels."""
    if (Path(folder) / "test_batch.bin").exists():
        return tuple(sorted(Path(folder).glob("*_batch*.bin")))
    return tuple(idx_files(folder)[1].values())


def split(train: Any, held_out: int | None = None) -> tuple[Any, Any]:
    """Training and validation set: the last `held_out` images (None: `usually_held_out`) are the validation set.

    It may be of any kind that has a length and can be sliced, such as recordings.
    """
    if held_out is None:
        held_out = usually_held_out(len(train))
    require(0 < held_out < len(train), "held_out", held_out, f"1 to {len(train) - 1}, of {len(train)} training images")
    return train[: len(train) - held_out], train[len(train) - held_out :]


def limited(training: Any, images: int | None) -> Any:
    """The first `images` of what `split` leaves to train on; None: all. `UserError` if there are fewer."""
    most = len(training)
    accepted = f"1 to {most}, the training images that are not held out"
    require(images is None or 1 <= images <= most, "images", images, accepted)
    return training[:images]


def load_idx(folder: str | Path) -> tuple[Dataset, Dataset]:
    """Training and test set of a folder of four IDX files, gzipped or not.

    Their names are those of MNIST (`train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`, ...) or of EMNIST, which begin
    with the name of the set (`emnist-balanced-test-images-idx3-ubyte`). If a folder has several sets,
    `folder` names one as a sub-folder: `gzip/emnist-balanced`. Files named in a `SHA256SUMS` there must match it.

    Raises
    ------
    UserError
        A file is missing, its magic number, size or checksum is wrong, or counts disagree.
    """
    folder, files = idx_files(folder)
    sums = _checksums(folder)
    sets = []
    for part in ("train", "t10k"):
        images = read_images(files[part, "images"], sums)
        labels = read_labels(files[part, "labels"], sums)
        require(len(images) == len(labels), f"{folder} {part} labels", len(labels), f"{len(images)}, one per image")
        sets.append(Dataset(images, labels))
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


def read_images(path: Path, sums: dict[str, str] | None = None) -> np.ndarray:
    """Images of one IDX file, gzipped or not: uint8 `[n, channels, height, width]`.

    `sums`: SHA-256 by file name, which the file must match. Raises `UserError` for a damaged or another file.
    """
    images = _read_idx(path, IDX_IMAGES, sums or {})
    return images if images.ndim == 4 else images[:, None]


def read_labels(path: Path, sums: dict[str, str] | None = None) -> np.ndarray:
    """Labels of one IDX file, gzipped or not: `[n]`, uint8 or, for more classes, int32. As `read_images` otherwise."""
    labels = _read_idx(path, IDX_LABELS, sums or {})
    return labels.astype(np.uint8) if int(labels.max()) < 256 and int(labels.min()) >= 0 else labels


def _read_cifar10(path: Path, sums: dict[str, str]) -> Dataset:
    content = _bytes(path, sums)
    whole = len(content) > 0 and len(content) % CIFAR10_RECORD == 0
    require(whole, f"{path} size", len(content), f"a multiple of {CIFAR10_RECORD} bytes, one record an image")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, CIFAR10_RECORD)
    labels = records[:, 0].copy()
    require(int(labels.max()) < 10, f"{path} largest label", labels.max(), "0 to 9")
    return Dataset(records[:, 1:].reshape(-1, *CIFAR10_SHAPE).copy(), labels)


def _read_idx(path: Path, types: dict[int, str], sums: dict[str, str]) -> np.ndarray:
    """Contents of one IDX file, uint8 or int32, as many dimensions as its magic number says."""
    content = _bytes(path, sums)
    require(len(content) >= 4, f"{path} size", len(content), "at least the 4 bytes of a magic number")
    (magic,) = struct.unpack(">I", content[:4])
    known = " or ".join(f"{number:#010x}" for number in types)
    require(magic in types, f"{path} magic number", f"{magic:#010x}", known)
    dimensions, kind = magic & 0xFF, np.dtype(types[magic])
    start = 4 * (1 + dimensions)
    require(len(content) >= start, f"{path} size", len(content), f"at least the {start} bytes of its header")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    size = start + prod(shape) * kind.itemsize
    require(len(content) == size, f"{path} size", len(content), f"{size} bytes for its shape {tuple(shape)}")
    require(prod(shape) > 0, f"{path} shape", tuple(shape), "no empty dimension")
    values = np.frombuffer(content, dtype=kind, offset=start).reshape(shape)
    return values.astype(np.uint8 if kind.itemsize == 1 else np.int32)


def idx_files(folder: str | Path) -> tuple[Path, dict[tuple[str, str], Path]]:
    """The folder and the four IDX files that `load_idx` reads: `("train" or "t10k", "images" or "labels")` -> path."""
    folder, wanted = Path(folder), None
    if not folder.exists() and folder.parent.is_dir():
        folder, wanted = folder.parent, folder.name
    require(folder.is_dir(), "data folder", folder, "a folder of IDX files or of CIFAR-10 batches")
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for path in sorted(folder.iterdir(), key=_preference):
        name = IDX_NAME.fullmatch(path.name)
        if name is not None and path.is_file() and wanted in (None, name["set"]):
            key = "train" if name["part"] == "train" else "t10k", name["what"][:6]
            found.setdefault(name["set"] or "", {}).setdefault(key, path)
    several = ", ".join(sorted(found))
    require(len(found) <= 1, "data folder", folder, f"one data set, not {several}: add a name, as in {folder}/NAME")
    files = next(iter(found.values()), {})
    if wanted is not None and not files:
        raise UserError(f"data folder {folder / wanted}: no such folder, and no data set of that name beside it")
    for part in ("train", "t10k"):
        for what, ending in (("images", "idx3-ubyte"), ("labels", "idx1-ubyte")):
            if (part, what) not in files:
                missing = f"{part}-{what}-{ending}"
                raise UserError(f"data folder {folder / (wanted or '')}: no {missing} or {missing}.gz in it")
    return folder, files


def _preference(path: Path) -> tuple[int, int, str]:
    """Compressed files come first, and `t10k` before `test`, if a folder has both."""
    return (0 if path.suffix == ".gz" else 1), (1 if "test-" in path.name else 0), path.name


def _checksums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of a folder's `SHA256SUMS`, as `sha256sum` writes it; empty if there is none.

    Blank lines and comments (`#`) are skipped. A name that is not a file of the folder is refused.
    """
    path = folder / "SHA256SUMS"
    if not path.exists():
        return {}
    require(path.is_file(), str(path), "not a regular file", "the checksums of the folder")  # a pipe would never end
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content:
        raise UserError(f"{path} encoding is UTF-16 or binary, expected UTF-8, as sha256sum writes it")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} encoding is unknown, expected UTF-8, as sha256sum writes it") from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = SUM_LINE.fullmatch(line)
        bsd = ", not in BSD style" if line.startswith("SHA256 (") else ""
        require(found is not None, f"{path} line {number}", line[:80], f"a checksum and a file name{bsd}")
        assert found is not None
        name = Path(found["name"].replace("\\", "/")).as_posix()  # without ./
        require((folder / name).is_file(), f"{path} line {number}", found["name"], f"the name of a file in {folder}")
        before = sums.setdefault(name, found["sum"].lower())
        require(before == found["sum"].lower(), f"{path} line {number}", line[:80], f"one checksum for {name}")
    return sums


def _bytes(path: Path, sums: dict[str, str]) -> bytes:
    """Unpacked contents of a file. Its checksum is compared if it is known."""
    if not path.is_file():
        raise UserError(f"data file {path}: no such file")
    require(path.stat().st_size <= LARGEST_FILE, f"{path} size", path.stat().st_size, f"at most {LARGEST_FILE} bytes")
    content = path.read_bytes()
    if path.name in sums:
        found = hashlib.sha256(content).hexdigest()
        require(found == sums[path.name], f"{path} SHA-256", found, f"{sums[path.name]}, as SHA256SUMS has it")
    if path.suffix != ".gz":
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"data file {path}: damaged gzip ({error})") from None
    require(len(content) <= LARGEST_FILE, f"{path} size unpacked", f"over {LARGEST_FILE}", f"at most {LARGEST_FILE}")
    return content
