"""One file format for networks and checkpoints: versioned, digested, free of pickle.

An archive is a NumPy `.npz` (a zip of `.npy` members, deflated). Its member `header` holds UTF-8 JSON: the kind of
content, the format version, the SHA-256 digest of everything else, and fields of that kind. The same content
always gives the same bytes.

A file may come from anywhere. Its claims are checked in this order, each before memory is allocated for it: the size of
the zip directory, the sizes of the members, the header, the types and shapes of the arrays (those by the kind's own
rules), and last the digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from .errors import UserError, require, within
from .files import whole

FORMAT = "gradrtl"
VERSION = 1  # of a kind of content, unless it says otherwise
LARGEST_TOTAL = 1 << 28  # bytes of all members together, unpacked
LARGEST_HEADER = 1 << 22  # bytes of JSON
LARGEST_DIRECTORY = 1 << 20  # bytes of the zip's list of members
LARGEST_RANK = 8  # dimensions of an array
NUMBERS = "biuf"  # kinds of dtypes that are stored
PIECE = 1 << 20  # bytes that are unpacked at a time

Read = TypeVar("Read")


@dataclass(frozen=True)
class Claim:
    """What the header of a member states about its array, before it is unpacked."""

    dtype: np.dtype
    shape: tuple[int, ...]


Claims = dict[str, Claim]


def digest(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256, in hexadecimal, of a header and arrays: names, dtypes, shapes and contents."""
    sha = hashlib.sha256(_json(header).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def save(
    path: str | Path, kind: str, header: dict[str, Any], arrays: dict[str, np.ndarray], version: int = VERSION
) -> str:
    """Write an archive of `kind` and `version` and return its digest; the file appears whole or not at all.

    Raises
    ------
    UserError
        The file cannot be written, the header is not JSON, or the contents are larger than `load` would read.
    """
    for name, array in arrays.items():
        require(array.dtype.kind in NUMBERS, f"{kind} array {name} dtype", array.dtype, "numbers")
    body = {"content": header, "kind": kind}
    envelope = {"format": FORMAT, "version": version, "digest": digest(body, arrays), **body}
    encoded = _json(envelope).encode()
    require(len(encoded) <= LARGEST_HEADER, f"{kind} header", f"{len(encoded)} bytes", f"at most {LARGEST_HEADER}")
    members = {"header": np.frombuffer(encoded, dtype=np.uint8), **arrays}
    total = sum(array.nbytes + 256 for array in members.values())
    require(total <= LARGEST_TOTAL, f"{kind} size", f"{total} bytes", f"at most {LARGEST_TOTAL}")
    with whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in members.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)
    return str(envelope["digest"])


def kind_of(path: str | Path) -> str:
    """The kind of an archive, of which nothing else is checked; "" if the file is none."""
    try:
        with Path(path).open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                header = json.loads(_unpacked(archive, _members(archive)["header"]).tobytes())
                return str(header["kind"])
    except Exception:  # as in `load`, which tells the reason
        return ""


def load(
    path: str | Path, kind: str, read: Callable[[dict[str, Any], Claims], Read], newest: int = VERSION
) -> tuple[Read, dict[str, np.ndarray]]:
    """Read an archive of `kind`. Returns the result of `read(header, claims of the arrays)`, and the arrays.

    `read` raises `UserError` where header or claims are wrong; nothing but the header is unpacked before. Versions 1 to
    `newest` are read.

    Raises
    ------
    UserError
        The file is missing, truncated, altered, of another kind or version, too large, or refused by `read`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{kind} file {path}: no such file")
    with within(f"{kind} file {path}"):
        try:
            with path.open("rb") as file:
                _check_directory(file)
                with zipfile.ZipFile(file) as archive:
                    members = _members(archive)
                    envelope = _envelope(archive, members, kind, newest)
                    claims = {name: _claim(archive, info) for name, info in members.items() if name != "header"}
                    found = read(envelope["content"], claims)
                    arrays = {name: _unpacked(archive, members[name]) for name in claims}
            same = envelope["digest"] == digest({"content": envelope["content"], "kind": kind}, arrays)
        except UserError:
            raise
        except Exception as error:  # zip, npy and JSON readers raise many kinds on damaged bytes
            told = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"not a {FORMAT} archive, or damaged ({told[:200]})") from None
        if not same:
            raise UserError("digest does not match, the file was altered")
    return found, arrays


def _json(value: Any) -> str:
    """`value` as JSON, with NumPy's numbers and arrays as plain ones; `UserError` for other types."""

    def plain(item: Any) -> Any:
        if isinstance(item, np.generic | np.ndarray):
            return item.tolist()
        raise UserError.of("header value", repr(item), "a JSON value")

    try:
        return json.dumps(value, sort_keys=True, default=plain)
    except (TypeError, RecursionError) as error:
        raise UserError.of("header", str(error), "an object with text as keys, of moderate depth") from None


def _check_directory(file: BinaryIO) -> None:
    """Refuse a zip with a large list of members: reading the list would take much memory."""
    size = file.seek(0, io.SEEK_END)
    require(size <= 2 * LARGEST_TOTAL, "size", f"{size} bytes", f"at most {2 * LARGEST_TOTAL}")
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22 or tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise UserError(f"not a {FORMAT} archive, or damaged (no zip directory)")
    directory = struct.unpack_from("<I", tail, at + 12)[0]
    require(directory <= LARGEST_DIRECTORY, "zip directory", f"{directory} bytes", f"at most {LARGEST_DIRECTORY}")
    file.seek(0)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name without `.npy`; `UserError` for members of another kind and for large ones."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    usual = all(
        info.filename.endswith(".npy") and info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        for info in archive.infolist()
    )
    if not usual or len(members) < len(archive.infolist()) or "header" not in members:
        raise UserError(f"not a {FORMAT} archive, or damaged (its members)")
    header = members["header"].file_size
    require(header <= LARGEST_HEADER, "header", f"{header} bytes", f"at most {LARGEST_HEADER}")
    total = sum(info.file_size for info in members.values())
    require(total <= LARGEST_TOTAL, "unpacked size", f"{total} bytes", f"at most {LARGEST_TOTAL}")
    return members


def _envelope(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], kind: str, newest: int) -> dict[str, Any]:
    """The header of an archive of `kind`, its digest not compared."""
    claim = _claim(archive, members["header"])
    require(claim.dtype == np.uint8, "header dtype", claim.dtype, "uint8")
    envelope = json.loads(_unpacked(archive, members["header"]).tobytes())
    if not isinstance(envelope, dict) or envelope.get("format") != FORMAT:
        raise UserError(f"not a {FORMAT} archive")
    version = envelope.get("version")
    known = " or ".join(map(str, range(1, newest + 1)))
    require(type(version) is int and 1 <= version <= newest, "version", version, f"{known}, what this program reads")
    require(envelope.get("kind") == kind, "kind", envelope.get("kind"), kind)
    require(isinstance(envelope.get("content"), dict), "content", envelope.get("content"), "an object")
    require(isinstance(envelope.get("digest"), str), "digest", envelope.get("digest"), "text")
    return envelope


def _claim(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Claim:
    """Type and shape of a member's array, from its first bytes; `UserError` unless its size is as they say."""
    with archive.open(info) as file:
        return _npy(file, info)


def _npy(file: Any, info: zipfile.ZipInfo) -> Claim:
    """Read the `.npy` header of a member and check it. `file` is then at the first number."""
    expected = f"a {FORMAT} array: numbers, at most {LARGEST_RANK} dimensions"
    require(np.lib.format.read_magic(file) == (1, 0), f"member {info.filename}", "another npy version", expected)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    plain = dtype.kind in NUMBERS and not fortran and len(shape) <= LARGEST_RANK
    plain = plain and all(type(n) is int and 0 <= n <= LARGEST_TOTAL for n in shape)
    require(plain, f"member {info.filename}", f"{dtype} {shape}", expected)
    size = file.tell() + dtype.itemsize * math.prod(shape)
    require(size == info.file_size, f"member {info.filename} size", info.file_size, f"{size} bytes, as its array has")
    return Claim(dtype, shape)


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """A member's array, writable. Its claims have been checked."""
    with archive.open(info) as file:
        claim = _npy(file, info)
        array = np.zeros(claim.shape, claim.dtype)
        flat = array.reshape(-1).view(np.uint8)
        for first in range(0, flat.size, PIECE):
            part = flat[first : first + PIECE]
            part[:] = np.frombuffer(file.read(part.size), np.uint8, part.size)
    return array
