"""Ways to damage a file: its bytes, the contents of an archive behind a digest that is right, and what a zip claims."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gradrtl import archive
from gradrtl.quantize import network_file

Arrays = dict[str, np.ndarray]

NUMBERS = (-1, 0, 1, 2, 3, 7, 255, 256, 65536, 65537, 2**22, 2**31 - 1, 2**31, 2**63, -(2**70), 10**40)
REALS = (1.0, 1.5, -0.5, 1e-300, 1e308, float("nan"), float("inf"), float("-inf"))
OTHERS = (None, True, False, "", "dense", "1", "a\nb", "\x1b[31m", "\ud800", "x" * 5000)
NESTS = ([], [1, 2], {}, [[]], {"a": 1}, [None], [True, 1], [1.0, 2.0], ["1", "2"], [2**16] * 3, [1] * 300)
LEAVES = (*NUMBERS, *REALS, *OTHERS, *NESTS)
DTYPES = (
    np.int8,
    np.int16,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
    np.uint8,
    np.bool_,
    np.complex64,
    "U3",
    "M8[s]",
)
SHAPES = ((0,), (1 << 16,), (1 << 26,), (1 << 40,), (1 << 62, 4), (-1,), (True,), (1,) * 40, (3.0,), (), ((2, 3),))
DESCRIPTIONS = ("|O", "|V0", "<U8", "<M8[s]", ">i8", "<f2", "|S0", "nonsense", [("a", "<i4")])


def of_bytes(whole: bytes, rng: np.random.Generator) -> bytes:
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


def of_contents(kind: str, header: dict[str, Any], arrays: Arrays, rng: np.random.Generator) -> bytes:
    """An archive with one or two values of its header or arrays changed; its digest is right."""
    header, arrays = copy.deepcopy(header), dict(arrays)
    for _ in range(rng.integers(1, 3)):
        if rng.random() < 0.75:
            of_json(header, rng)
        elif arrays:
            _of_arrays(arrays, rng)
    return packed(kind, header, {name: _npy(array) for name, array in arrays.items()}, arrays)


def of_claims(kind: str, header: dict[str, Any], arrays: Arrays, rng: np.random.Generator) -> bytes:
    """An archive whose members or directory claim what they do not hold, or unpack to much more than they take."""
    members = {name: _npy(array) for name, array in arrays.items()}
    names = list(members)
    name = names[rng.integers(len(names))]
    array = arrays[name]
    match rng.integers(6):
        case 0:
            members[name] = _npy(array, shape=SHAPES[rng.integers(len(SHAPES))])
        case 1:
            members[name] = _npy(array, descr=DESCRIPTIONS[rng.integers(len(DESCRIPTIONS))])
        case 2:
            members[name] = _npy(array, fortran_order=True)
        case 3:  # consistent with itself, and large
            size = 1 << int(rng.integers(20, 24))
            shape = (size,) if rng.random() < 0.5 else (2, size // 2)
            members[name] = _npy(np.zeros(shape, array.dtype))
        case 4:
            members |= {f"more{index}": bytes(1 << int(rng.integers(1, 23))) for index in range(rng.integers(1, 5))}
        case _:
            members |= {f"{'n' * 1000}{index}": b"" for index in range(int(rng.choice([1, 10, 1200])))}
    content = bytearray(packed(kind, header, members, arrays))
    if rng.random() < 0.3:  # sizes in the zip's own records
        record = content.rfind(b"PK\x01\x02" if rng.random() < 0.7 else b"PK\x05\x06")
        at = record + int(rng.integers(8, 42))
        content[at : at + 4] = int(rng.choice([0, 1, 2**20, 2**31, 2**32 - 1])).to_bytes(4, "little")
    return bytes(content)


def of_json(node: Any, rng: np.random.Generator) -> None:
    """Replace, remove or double a random value somewhere in `node`, a JSON object or array."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = keys[rng.integers(len(keys))]
    if isinstance(node[key], dict | list) and rng.random() < 0.8:
        of_json(node[key], rng)
    elif rng.random() < 0.15:
        del node[key]
    elif rng.random() < 0.1 and isinstance(node, dict):
        node[f"{key}x"] = node[key]
    elif isinstance(node[key], int) and rng.random() < 0.5:  # the right value in the wrong type, or a near one
        node[key] = (float(node[key]), str(node[key]), [node[key]], node[key] + 1, -node[key])[rng.integers(5)]
    else:
        node[key] = copy.deepcopy(LEAVES[rng.integers(len(LEAVES))])


def _of_arrays(arrays: Arrays, rng: np.random.Generator) -> None:
    name = list(arrays)[rng.integers(len(arrays))]
    array = arrays[name].copy()
    match rng.integers(6):
        case 0:
            del arrays[name]
        case 1:
            arrays[name] = np.zeros(array.shape, DTYPES[rng.integers(len(DTYPES))])
        case 2:
            arrays[name] = array.reshape(-1)[: rng.integers(array.size + 1)]
        case 3:
            arrays[name] = array[None]
        case 4:
            arrays[f"{name}x"] = array
        case _ if array.size and array.dtype.kind in "iuf":
            limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
            value = rng.choice([limits.min, limits.max]) if limits else rng.choice([np.nan, np.inf, 1e38, -1e-30])
            with np.errstate(all="ignore"):  # 1e38 in few bits
                array.reshape(-1)[rng.integers(array.size)] = value
            arrays[name] = array


def packed(kind: str, header: Any, members: dict[str, bytes], arrays: Arrays) -> bytes:
    """An archive of `members`, with the digest of `header` and `arrays`."""
    body = {"content": header, "kind": kind}
    envelope = {"format": archive.FORMAT, "version": archive.VERSION, "digest": archive.digest(body, arrays), **body}
    encoded = np.frombuffer(json.dumps(envelope).encode(), np.uint8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in {"header": _npy(encoded), **members}.items():
            how = zipfile.ZIP_DEFLATED if len(content) > 1 << 16 else zipfile.ZIP_STORED
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), content, how, compresslevel=1)
    return buffer.getvalue()


def _npy(array: np.ndarray, **claims: Any) -> bytes:
    """The member of an array, its header altered by `claims`."""
    words = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape, **claims}
    text = repr(words).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + array.tobytes()


def contents(path: Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of an archive, unchecked."""
    return archive.load(path, kind, lambda header, claims: header, network_file.VERSION)
