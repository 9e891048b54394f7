"""One file format for networks and checkpoints: versioned, digested, free of pickle.

An archive is a NumPy `.npz` (a zip of `.npy` members, deflated). Its member `header` holds UTF-8 JSON: the kind of
content, the format version, the SHA-256 digest of everything else, and whatever the kind needs. The same content
always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError

FORMAT = "gradrtl"
VERSION = 1
LARGEST_MEMBER = 1 << 30  # bytes: a larger member is refused before it is unpacked


def digest(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256, in hexadecimal, of a header and arrays: names, dtypes, shapes and contents."""
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def save(path: str | Path, kind: str, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Write an archive of `kind` and return its digest; the file appears whole or not at all."""
    body = {"content": header, "kind": kind}
    envelope = {"format": FORMAT, "version": VERSION, "digest": digest(body, arrays), **body}
    members = {"header": np.frombuffer(json.dumps(envelope, sort_keys=True).encode(), dtype=np.uint8), **arrays}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in members.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return str(envelope["digest"])


def load(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read an archive of `kind`: its header and its arrays.

    Raises
    ------
    UserError
        The file is missing, truncated, altered, of another kind, or of a version this program does not know.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{kind} file {path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {info.filename.removesuffix(".npy"): _member(archive, info) for info in archive.infolist()}
        envelope = json.loads(arrays.pop("header").tobytes())
        known = isinstance(envelope, dict) and envelope.get("format") == FORMAT
    except UserError:
        raise
    except Exception as error:  # zip, npy and JSON readers raise many kinds on damaged bytes
        raise UserError(f"{kind} file {path}: not a {FORMAT} archive, or damaged ({error})") from None
    if not known:
        raise UserError(f"{kind} file {path}: not a {FORMAT} archive")
    if envelope.get("version") != VERSION:
        raise UserError(f"{kind} file {path}: version is {envelope.get('version')}, this program reads {VERSION}")
    if envelope.get("kind") != kind:
        raise UserError(f"{kind} file {path}: it holds a {envelope.get('kind')}")
    header = envelope.get("content")
    if not isinstance(header, dict) or envelope.get("digest") != digest({"content": header, "kind": kind}, arrays):
        raise UserError(f"{kind} file {path}: digest does not match, the file was altered")
    return header, arrays


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if info.file_size > LARGEST_MEMBER:
        raise UserError(f"member {info.filename} unpacks to {info.file_size} bytes: at most {LARGEST_MEMBER}")
    return np.lib.format.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
