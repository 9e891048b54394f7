"""Archives: what a file claims is checked before anything is allocated for it."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradrtl import archive
from gradrtl.errors import UserError

KIND = "test"
MOST = 6 << 20  # bytes that a refusal may allocate


def read(header: dict[str, Any], claims: archive.Claims) -> dict[str, Any]:
    return {"header": header, "claims": claims}


def envelope(arrays: dict[str, np.ndarray], **given: Any) -> bytes:
    body = {"content": {}, "kind": KIND}
    whole = {"format": archive.FORMAT, "version": archive.VERSION, "digest": archive.digest(body, arrays), **body}
    return json.dumps({**whole, **given}).encode()


def npy(array: np.ndarray, **given: Any) -> bytes:
    """The member of an array, with other words in its header if they are given."""
    buffer = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **given}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + array.tobytes()


def pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def header_of(content: bytes) -> dict[str, bytes]:
    return {"header.npy": npy(np.frombuffer(content, np.uint8))}


def refused(path: Path, load: Callable[[Path], Any] = lambda path: archive.load(path, KIND, read)) -> str:
    """The message of a refusal, which takes a line, and little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            load(path)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_comes_back_writable(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "none": np.zeros((0, 2)), "one": np.array([True])}
    archive.save(tmp_path / "file.npz", KIND, {"x": 1}, arrays)
    found, read_arrays = archive.load(tmp_path / "file.npz", KIND, read)
    assert found["header"] == {"x": 1}
    assert found["claims"]["a"] == archive.Claim(np.dtype(np.int16), (2, 3))
    assert read_arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read_arrays[name], array)
        assert read_arrays[name].dtype == array.dtype
        assert read_arrays[name].flags.writeable


def test_numbers_of_numpy_can_be_saved(tmp_path: Path) -> None:
    header = {"whole": np.int64(3), "real": np.float32(0.5), "flag": np.bool_(True), "many": np.arange(2)}
    archive.save(tmp_path / "file.npz", KIND, header, {})
    found, _ = archive.load(tmp_path / "file.npz", KIND, read)
    assert found["header"] == {"whole": 3, "real": 0.5, "flag": True, "many": [0, 1]}


@pytest.mark.parametrize("value", [{1, 2}, object(), {"deep": lambda: 0}, b"bytes"])
def test_what_is_no_json_is_refused_when_it_is_saved(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UserError, match="header value is"):
        archive.save(tmp_path / "file.npz", KIND, {"x": value}, {})
    with pytest.raises(UserError, match="header is"):
        archive.save(tmp_path / "file.npz", KIND, {"x": {("a", "b"): 1}}, {})
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_that_could_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST_TOTAL", 4096)
    with pytest.raises(UserError, match=r"test size is .* bytes, expected at most 4096"):
        archive.save(tmp_path / "file.npz", KIND, {}, {"a": np.zeros(4096, np.uint8)})
    monkeypatch.setattr(archive, "LARGEST_HEADER", 64)
    with pytest.raises(UserError, match=r"test header is .* bytes, expected at most 64"):
        archive.save(tmp_path / "file.npz", KIND, {}, {})


@pytest.mark.parametrize("array", [np.array([None]), np.array(["text"]), np.zeros(1, "M8[s]"), np.zeros(1, complex)])
def test_only_numbers_are_written(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"test array a dtype is .*, expected numbers"):
        archive.save(tmp_path / "file.npz", KIND, {}, {"a": array})


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    piece = bytes(1 << 24)
    path = pack(tmp_path / "bomb.npz", header_of(envelope({})) | {f"a{index}.npy": piece for index in range(17)})
    assert path.stat().st_size < 1 << 19
    assert "unpacked size is" in refused(path)


def test_a_header_of_unusual_size_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "header.npz", {"header.npy": bytes(archive.LARGEST_HEADER + 1)})
    assert f"header is {archive.LARGEST_HEADER + 1} bytes, expected at most" in refused(path)


def test_a_long_directory_is_refused(tmp_path: Path) -> None:
    names = {f"{'n' * 60000}{index}.npy": b"" for index in range(20)}
    assert "zip directory is" in refused(pack(tmp_path / "long.npz", header_of(envelope({})) | names))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy(np.zeros(4), shape=(1 << 27,)), "size is 160, expected 1073741952 bytes"),
        (npy(np.zeros(4), shape=(3,)), "size is 160, expected 152 bytes"),
        (npy(np.zeros(4), shape=(-4,)), r"is float64 \(-4,\), expected a gradrtl array"),
        (npy(np.zeros(4), shape=(True, 4)), "expected a gradrtl array"),
        (npy(np.zeros(4), shape=(1,) * 9), "expected a gradrtl array"),
        (npy(np.zeros(4), fortran_order=True), "expected a gradrtl array"),
        (npy(np.zeros(4), descr="|O"), r"is object \(4,\), expected a gradrtl array"),
        (npy(np.zeros(4), descr="|V0"), "expected a gradrtl array"),
        (npy(np.zeros(4), descr="<U2"), "expected a gradrtl array"),
        (npy(np.zeros(4), descr="<M8[s]"), "expected a gradrtl array"),
        (b"\x93NUMPY\x02\x00" + npy(np.zeros(4))[8:], "another npy version"),
        (b"", "not a gradrtl archive, or damaged"),
    ],
)
def test_what_a_member_claims_is_compared_with_its_size(tmp_path: Path, member: bytes, message: str) -> None:
    path = pack(tmp_path / "claims.npz", header_of(envelope({})) | {"a.npy": member})
    with pytest.raises(UserError, match=message):
        archive.load(path, KIND, read)
    refused(path)


def test_unusual_members_are_refused(tmp_path: Path) -> None:
    header = header_of(envelope({}))
    assert "its members" in refused(pack(tmp_path / "other.npz", header | {"a.txt": b""}))
    assert "its members" in refused(pack(tmp_path / "bzip2.npz", header, zipfile.ZIP_BZIP2))
    assert "its members" in refused(pack(tmp_path / "none.npz", {"a.npy": npy(np.zeros(1))}))
    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.npy", header["header.npy"])
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("header.npy", header["header.npy"])
    assert "its members" in refused(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "other"}, "not a gradrtl archive"),
        ({"version": 2}, "version is 2, expected 1"),
        ({"version": True}, "version is True, expected 1"),
        ({"kind": "other"}, "kind is other, expected test"),
        ({"content": [1]}, r"content is \[1\], expected an object"),
        ({"digest": 7}, "digest is 7, expected text"),
        ({"digest": "0" * 64}, "digest does not match"),
    ],
)
def test_envelopes(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    path = pack(tmp_path / "envelope.npz", header_of(envelope({}, **given)))
    with pytest.raises(UserError, match=message):
        archive.load(path, KIND, read)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "1" * 5000, '{"a"', "\xff"])
def test_headers_that_are_no_json_object(tmp_path: Path, text: str) -> None:
    assert "not a gradrtl archive" in refused(pack(tmp_path / "json.npz", header_of(text.encode("latin-1"))))


def test_an_altered_array_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.npz", header_of(envelope({"a": np.zeros(3)})) | {"a.npy": npy(np.array([0.0, 1.0, 0.0]))})
    assert "digest does not match" in refused(path)
    whole = pack(tmp_path / "b.npz", header_of(envelope({"a": np.zeros(3)})) | {"a.npy": npy(np.zeros(3))}, 0)
    content = whole.read_bytes()
    at = content.index(npy(np.zeros(3))) + len(npy(np.zeros(3))) - 1
    whole.write_bytes(content[:at] + b"x" + content[at + 1 :])
    assert "Bad CRC-32" in refused(whole)


def test_a_refusal_of_the_reader_names_the_file_and_unpacks_nothing(tmp_path: Path) -> None:
    def no(header: dict[str, Any], claims: archive.Claims) -> None:
        raise UserError("a.shape is too large")

    path = tmp_path / "file.npz"
    archive.save(path, KIND, {}, {"a": np.zeros(1 << 24, np.uint8)})
    message = refused(path, lambda path: archive.load(path, KIND, no))
    assert message == f"test file {path}: a.shape is too large"
