"""Reads a NIR file (HDF5) into `Record`s, in a process of its own (`hdf5_process`).

Sizes are checked before anything is unpacked. `python -m gradrtl.model.importing.hdf5 FILE OUT` is that process: it
writes the nodes to OUT, arrays and one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError, require, within
from ...files import whole
from ..hdf5_process import command, confined, environment, member, require_read
from .conventions import CONVENTION, CONVENTIONS, conventions, with_conventions
from .records import GRAPH, LARGEST_DEPTH, LARGEST_NODES, METADATA, Record

LARGEST_TOTAL = 1 << 28  # bytes of all arrays together, unpacked
LARGEST_TEXT = 4096  # bytes of one text
LARGEST_METADATA = 1 << 20
LARGEST_EDGES = 1 << 16
BESIDE = (METADATA, CONVENTIONS)  # fields of the outermost graph that are kept as its metadata
SECONDS = 60  # of time and of processor time
NIR_VERSION = "1.0.8"  # whose layout is written
PACKED = 4096  # bytes from which arrays are compressed


def read(path: str | Path) -> Record:
    """The graph of a NIR file.

    Raises
    ------
    UserError
        The file is missing, damaged, too large, or no NIR file.
    ModuleNotFoundError
        `h5py` is not installed.
    """
    path = Path(path)
    require(path.is_file(), "NIR file", path, "a file that exists")
    with within(f"NIR file {path}"), tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "nodes.npz"
        words = command(__name__, path, str(out))
        try:
            done = subprocess.run(words, env=environment(), capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"not read within {SECONDS} seconds: damaged") from None
        require_read(done.returncode, done.stderr)
        with np.load(out, allow_pickle=False) as arrays:
            return with_conventions(_record(json.loads(arrays["tree"].tobytes()), arrays))


def write(path: str | Path, record: Record) -> None:
    """Write a graph as a NIR file, which appears whole or not at all.

    What nodes say of a convention of their own is kept beside the graph, where other programs do not look; `read` gives
    it back to the nodes.
    """
    import h5py

    told = conventions(record)
    if told:
        record = replace(record, fields={**record.fields, CONVENTIONS: json.dumps(told)})
    with whole(path) as part, h5py.File(part, "w", libver=("v108", "v108")) as file:
        file.create_dataset("version", data=NIR_VERSION, dtype=h5py.string_dtype())
        _write(file.create_group("node"), record)


def _write(group: Any, record: Record) -> None:
    import h5py

    text = h5py.string_dtype()
    group.create_dataset("type", data=record.type, dtype=text)
    for name, value in record.fields.items():
        if name in BESIDE:
            group.require_group("metadata").create_dataset(name.removeprefix("metadata "), data=value, dtype=text)
        elif name == CONVENTION:
            continue
        elif isinstance(value, str):
            group.create_dataset(name, data=value, dtype=text)
        else:
            array = np.asarray(value)
            group.create_dataset(name, data=array, compression="gzip" if array.nbytes > PACKED else None)
    if record.type == GRAPH:
        nodes = group.create_group("nodes")
        for name, node in record.nodes.items():
            _write(nodes.create_group(name), node)
        pairs = [list(edge) for edge in record.edges]
        group.create_dataset("edges", data=pairs, shape=(len(pairs), 2), dtype=text)


def _record(tree: dict[str, Any], arrays: Any) -> Record:
    fields = {name: arrays[value] if is_array else value for name, (is_array, value) in tree["fields"].items()}
    nodes = {name: _record(node, arrays) for name, node in tree["nodes"].items()}
    return Record(tree["type"], fields, nodes, tuple((a, b) for a, b in tree["edges"]))


class _Reader:
    """What has been read so far: arrays by number, their bytes, the number of nodes."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.bytes = 0
        self.nodes = 0

    def node(self, group: Any, where: str, depth: int) -> dict[str, Any]:
        """A node of the file as JSON; arrays are named by their number."""
        import h5py

        require(depth <= LARGEST_DEPTH, where, "nested", f"at most {LARGEST_DEPTH} deep")
        self.nodes += 1
        require(self.nodes <= LARGEST_NODES, "nodes", f"more than {LARGEST_NODES}", f"at most {LARGEST_NODES}")
        require(isinstance(group, h5py.Group), where, "no group", "a group with the fields of a node")
        kind = self.value(group, "type", where) if "type" in group else None
        require(isinstance(kind, str), f"{where} type", kind, "text, the type of a node")
        found: dict[str, Any] = {"type": kind, "fields": {}, "nodes": {}, "edges": []}
        for name in group:
            if name in ("type", "metadata", CONVENTION, *BESIDE) or (
                kind == GRAPH and name in ("nodes", "edges", "input_type", "output_type")
            ):
                continue
            value = self.value(group, name, where)
            if isinstance(value, np.ndarray):
                number = f"a{len(self.arrays)}"
                self.arrays[number] = value
                found["fields"][name] = [True, number]
            else:
                found["fields"][name] = [False, value]
        if depth == 0 and "metadata" in group:
            kept = self.member(group, "metadata", where)
            for field in BESIDE:
                name = field.removeprefix("metadata ")
                if isinstance(kept, h5py.Group) and name in kept:
                    found["fields"][field] = [False, self.value(kept, name, where, LARGEST_METADATA)]
        if kind == GRAPH:
            inner = self.member(group, "nodes", where)
            require(isinstance(inner, h5py.Group), f"{where} nodes", "no group", "a group of nodes")
            for name in inner:
                require(name.isprintable() and name != "", f"{where} node name", repr(name), "printable characters")
                below = f"node {name}" if where == "graph" else f"{where}.{name}"
                found["nodes"][name] = self.node(self.member(inner, name, where), below, depth + 1)
            found["edges"] = self.edges(group, where)
        return found

    def member(self, group: Any, name: str, where: str) -> Any:
        """`group[name]`, if that is stored in this file."""
        require(name in group, f"{where} {name}", "missing", f"the fields of a {GRAPH}: nodes and edges")
        return member(group, name, f"{where} {name}")

    def value(self, group: Any, name: str, where: str, longest: int = LARGEST_TEXT) -> Any:
        """A field: an array of numbers, or text."""
        import h5py

        data = self.member(group, name, where)
        label = f"{where} {name}"
        require(isinstance(data, h5py.Dataset), label, "a group", "numbers or text")
        if h5py.check_string_dtype(data.dtype) is not None:
            require(data.shape == (), label, "several texts", "one")
            text = data[()]
            text = text.decode("utf8", errors="replace") if isinstance(text, bytes) else str(text)
            require(len(text) <= longest and text.isprintable(), label, "not a short text", "printable characters")
            return text
        require(data.shape is not None and data.dtype.kind in "biuf", label, data.dtype, "numbers or text")
        self.bytes += data.size * data.dtype.itemsize
        require(self.bytes <= LARGEST_TOTAL, "size", f"more than {LARGEST_TOTAL} bytes", f"at most {LARGEST_TOTAL}")
        array = np.asarray(data[()])
        return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)

    def edges(self, group: Any, where: str) -> list[tuple[str, str]]:
        """The edges of a graph; a graph without edges may store them as an empty array of any kind."""
        import h5py

        data = self.member(group, "edges", where)
        require(isinstance(data, h5py.Dataset), f"{where} edges", "a group", "an array of pairs of names")
        if data.size == 0 or data.shape is None:
            return []
        pairs = data.ndim == 2 and data.shape[1] == 2 and h5py.check_string_dtype(data.dtype) is not None
        require(pairs, f"{where} edges", f"{data.dtype} {data.shape}", "an array of pairs of names")
        require(data.shape[0] <= LARGEST_EDGES, f"{where} edges", data.shape[0], f"at most {LARGEST_EDGES}")
        text = [
            [end.decode("utf8", errors="replace") if isinstance(end, bytes) else str(end) for end in pair]
            for pair in data[()]
        ]
        return [(a, b) for a, b in text]


def _main(path: str, out: str) -> None:
    with confined(SECONDS):
        import h5py

        reader = _Reader()
        with h5py.File(path, "r") as file:
            root = reader.member(file, "node", "file") if "node" in file else file
            require("type" in root, "contents", "another HDF5 file", "a NIR graph under the name node")
            tree = reader.node(root, "graph", 0)
        text = np.frombuffer(json.dumps(tree).encode(), np.uint8)
        np.savez(out, tree=text, **reader.arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    _main(*sys.argv[1:])
