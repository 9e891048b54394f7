"""The loaders: what is right is read, what is wrong is named."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model import data
from gradrtl.model.held_out import usually_held_out

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


def test_checksums_that_are_no_file_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "SHA256SUMS")
    with pytest.raises(UserError, match="SHA256SUMS is not a regular file"):
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


def rename(folder: Path, name: str, **parts: str) -> None:
    for path in list(folder.iterdir()):
        part = "train" if path.name.startswith("train") else "t10k"
        path.rename(folder / path.name.replace(part, f"{name}{parts.get(part, part)}"))


def test_emnist_names(folder: Path) -> None:
    plain = data.load(folder)
    rename(folder, "emnist-balanced-", t10k="test")
    for where in (folder, folder / "emnist-balanced"):
        found = data.load(where)
        assert [part.digest for part in found] == [part.digest for part in plain]
        assert sorted(data.files(where)) == sorted(folder.iterdir())
    with pytest.raises(UserError, match="emnist-letters: no such folder, and no data set"):
        data.load(folder / "emnist-letters")


def test_of_several_sets_one_is_named(folder: Path) -> None:
    plain = data.load(folder)[0]
    files = [(path.name, path.read_bytes()) for path in folder.iterdir()]
    rename(folder, "emnist-digits-", t10k="test")
    for name, content in files:
        (folder / f"emnist-mnist-{name}").write_bytes(content)
    with pytest.raises(UserError, match="expected one data set, not emnist-digits, emnist-mnist"):
        data.load(folder)
    assert data.load(folder / "emnist-mnist")[0].digest == plain.digest


def test_images_with_channels_and_many_classes(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("t10k", 3)):
        (tmp_path / f"{part}-images-idx4-ubyte").write_bytes(idx(np.full((count, 3, 4, 5), 7, np.uint8)))
        labels = (np.arange(count) * 100).astype(">i4")
        content = struct.pack(">2I", 0x0C01, count) + labels.tobytes()
        (tmp_path / f"{part}-labels-idx1-int").write_bytes(content)
    train, test = data.load(tmp_path)
    assert train.shape == (3, 4, 5)
    assert (train.classes, train.labels.dtype) == (501, np.int32)
    assert (test.labels.tolist(), test.labels.dtype) == ([0, 100, 200], np.uint8)
    short = np.array([1, -1, 0, 0, 0, 0], ">i2")
    (tmp_path / "train-labels-idx1-int").write_bytes(struct.pack(">2I", 0x0B01, 6) + short.tobytes())
    with pytest.raises(UserError, match="smallest label is -1"):
        data.load(tmp_path)
    (tmp_path / "train-labels-idx1-int").write_bytes(content[:4] + struct.pack(">Ii", 1, 1 << 16))
    with pytest.raises(UserError, match="labels is 1, expected 6"):
        data.load(tmp_path)
    with pytest.raises(UserError, match="largest label is 65536"):
        data.Dataset(train.images[:1], np.array([1 << 16], np.int32))


def test_a_tenth_is_held_out_of_few_images(folder: Path) -> None:
    train, _ = data.load(folder)
    assert [len(part) for part in data.split(train)] == [18, 2]
    counts = (2, 9, 10, 1000, 49_999, 50_000, 60_000)
    assert [usually_held_out(count) for count in counts] == [1, 1, 1, 100, 4999, 5000, 5000]


def test_the_digest_is_that_of_images_labels_and_shape(folder: Path) -> None:
    train, _ = data.load(folder)
    others = (
        train[:19],
        data.Dataset(train.images, 9 - train.labels),
        data.Dataset(train.images ^ np.uint8(1), train.labels),
        data.Dataset(train.images.reshape(20, 1, 4, 5), train.labels),
    )
    assert len({train.digest, *(other.digest for other in others)}) == 5
    assert data.Dataset(train.images, train.labels.astype(np.int32)).digest == train.digest


NAME = "train-labels-idx1-ubyte"


def sums_of(folder: Path) -> str:
    return hashlib.sha256((folder / NAME).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "{right}  ./{name}\n",
        "{right} *{name}\r\n",
        "{upper}  {name}\n",
        "{upper} .\\{name}\n",
        "\ufeff{right}  {name}\n",
        "# made by hand\n\n  # and indented\n{right}  {name}\n",
    ],
)
@pytest.mark.parametrize("wrong", [False, True])
def test_checksums_as_other_programs_write_them(text: str, wrong: bool, folder: Path) -> None:
    """They are read, and compared: a wrong sum is found in each."""
    right = "0" * 63 + "a" if wrong else sums_of(folder)
    written = text.format(right=right, upper=right.upper(), name=NAME)
    (folder / "SHA256SUMS").write_bytes(written.encode())
    if wrong:
        with pytest.raises(UserError, match="SHA-256 is"):
            data.load(folder)
    else:
        data.load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{right}  mnist/{name}\n".encode, "line 1 is mnist/train-labels-idx1-ubyte, expected the name of a file in"),
        ("{right}  {name}\n{right}  train-images\n".encode, "line 2 is train-images"),
        ("SHA256 ({name}) = {right}\n".encode, "a checksum and a file name, not in BSD style"),
        (lambda: "{right}  {name}\n".encode("utf-16"), "encoding is UTF-16"),
        (lambda: "{right}  {name}\n".encode("utf-16-le"), "encoding is UTF-16 or binary"),
        (lambda: b"\xff{right}", "encoding is unknown"),
        ("{right}\n".encode, "a checksum and a file name"),
        ("{right}  {name}\n" + "0" * 64 + "  {name}\n", "one checksum for"),
    ],
)
def test_checksums_that_cannot_be_compared_are_refused(content: object, message: str, folder: Path) -> None:
    made = content() if callable(content) else str(content).encode()
    right = sums_of(folder)
    for old, new in (("{right}", right), ("{name}", NAME)):
        for encoding in ("utf-8", "utf-16-le"):
            made = made.replace(old.encode(encoding), new.encode(encoding))
    (folder / "SHA256SUMS").write_bytes(made)
    with pytest.raises(UserError, match=message) as caught:
        data.load(folder)
    assert "\n" not in str(caught.value)


def test_data_that_does_not_fit_a_network(folder: Path) -> None:
    _, test = data.load(folder)
    test.require_fit((1, 5, 4), 10, "test set")
    with pytest.raises(UserError, match="image shape of the test set is"):
        test.require_fit((1, 4, 5), 10, "test set")
    with pytest.raises(
        UserError, match=f"classes in the test set is {test.classes}, expected at most {test.classes - 1}"
    ):
        test.require_fit((1, 5, 4), test.classes - 1, "test set")


def test_no_more_images_are_trained_on_than_there_are() -> None:
    some = list(range(60))
    assert data.limited(some, None) == data.limited(some, 60) == some
    assert data.limited(some, 1) == [0]
    for images in (0, 61):
        told = f"images is {images}, expected 1 to 60, the training images that are not held out"
        with pytest.raises(UserError, match=told):
            data.limited(some, images)
