"""The loaders: what is right is read, what is wrong is named."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model import data

MNIST = Path(__file__).parent.parent / "data" / "mnist"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small IDX folder: raw training files, gzipped test files."""
    rng = np.random.default_rng(1)
    for part, count in (("train", 20), ("t10k", 7)):
        images = idx(rng.integers(0, 256, (count, 5, 4), dtype=np.uint8))
        labels = idx(rng.integers(0, 10, count, dtype=np.uint8))
        if part == "train":
            (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
            (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
        else:
            (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
            (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path


def test_mnist() -> None:
    train, test = data.load(MNIST)
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.frames.shape == (10000, 784)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_idx_folder(folder: Path) -> None:
    train, test = data.load(folder)
    assert (len(train), len(test), train.shape) == (20, 7, (1, 5, 4))
    rest, held_out = data.split(train, 6)
    assert np.array_equal(np.concatenate([rest.images, held_out.images]), train.images)
    assert np.array_equal(held_out.labels, train.labels[14:])


@pytest.mark.parametrize("held_out", [0, 20, -1])
def test_split_refuses(folder: Path, held_out: int) -> None:
    with pytest.raises(UserError, match="held_out"):
        data.split(data.load(folder)[0], held_out)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no train-images-idx3-ubyte"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "size is 0"),
        (b"\0\0\x08", "size is 3"),
        (struct.pack(">4I", 0x0803, 20, 5, 4), "416 bytes"),
        (struct.pack(">4I", 0x0803, 20, 5, 4) + bytes(401), "size is 417"),
        (struct.pack(">4I", 0x0801, 20, 5, 4) + bytes(400), "magic number is 0x00000801"),
        (struct.pack(">4I", 0x0803, 19, 5, 4) + bytes(380), "labels is 20"),
        (struct.pack(">4I", 0x0803, 0, 5, 4), "no empty dimension"),
        (struct.pack(">4I", 0x0803, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), "size is 16"),
    ],
)
def test_damaged_idx(folder: Path, content: bytes, message: str) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match=message):
        data.load(folder)


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_damaged_gzip(folder: Path, damage: str) -> None:
    path = folder / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0x55
    path.write_bytes({"cut": bytes(content[:-9]), "flip": bytes(content), "text": b"hello"}[damage])
    with pytest.raises(UserError, match="t10k-images"):
        data.load(folder)


def test_checksums(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte"
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{right}  {path.name}\n")
    data.load(folder)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="SHA-256"):
        data.load(folder)
    (folder / "SHA256SUMS").write_text("not a list of checksums\n")
    with pytest.raises(UserError, match="checksum and a file name"):
        data.load(folder)


def cifar10_batch(count: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


def test_cifar10(tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(cifar10_batch(4, number))
    (tmp_path / "test_batch.bin").write_bytes(cifar10_batch(3, 0))
    train, test = data.load(tmp_path)
    assert train.images.shape == (20, 3, 32, 32)
    third = np.frombuffer(cifar10_batch(4, 3), dtype=np.uint8).reshape(4, 3073)
    assert train.labels[8:12].tolist() == third[:, 0].tolist()
    assert train.images[8, 2, 1, 5] == third[0, 1 + 2 * 1024 + 1 * 32 + 5]
    assert len(test) == 3

    (tmp_path / "test_batch.bin").write_bytes(cifar10_batch(3, 0)[:-1])
    with pytest.raises(UserError, match="multiple of 3073"):
        data.load(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(UserError, match="largest label is 10"):
        data.load(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(UserError, match="data_batch_4"):
        data.load_cifar10(tmp_path)
