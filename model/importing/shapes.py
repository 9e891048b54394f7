"""The shape of what every node puts out: inferred here, for files leave it out or state it in many ways."""

from __future__ import annotations

from math import prod

import numpy as np

from ...errors import UserError, require
from ...shapes import shape_of
from .geometry import CONVOLUTIONS, DENSE, POOLS, groups, pool_kernel, weight, window
from .neurons import FIELDS, NEURONS
from .records import Findings, Plain, Record

Shape = tuple[int, ...]


def inferred(plain: Plain, findings: Findings) -> dict[str, Shape]:
    """The shape of each node's output, `(n,)`, `(channels, length)` or `(channels, height, width)`.

    What cannot be found is among the errors of `findings`, and left out.
    """
    found: dict[str, Shape] = {}
    failed: set[str] = set()
    for name, node in plain.nodes.items():
        if node.type == "Input" and not plain.before(name):
            with findings.gathered():
                shape = _input(plain, name, node, findings)
                if shape is not None:
                    found[name] = shape
    for hinted in (False, True):
        changed = True
        while changed:
            changed = False
            for name, node in plain.nodes.items():
                if name in found or name in failed:
                    continue
                before = [found[source] for source in plain.before(name) if source in found]
                try:
                    made = _output(f"node {name}", node, before[0]) if before else _hint(node, hinted)
                except UserError as error:
                    findings.errors.append(str(error))
                    failed.add(name)
                    continue
                if made is not None:
                    found[name] = made
                    changed = True
    for name in plain.nodes:
        behind = any(source in failed for source in plain.before(name))
        with findings.gathered():
            unknown = name not in found and name not in failed and not behind and not failed
            require(not unknown, f"node {name} shape", "unknown", "an Input before it that states its shape")
    for source, target in plain.edges:
        if source in found and target in found:
            with findings.gathered():
                _check_edge(plain, found, source, target)
    return found


def dimensions(given: object) -> Shape | None:
    """A shape as a file states it: leading axes of 1 are dropped from more than three."""
    if given is None:
        return None
    array = np.asarray(given).reshape(-1)
    if (
        array.dtype.kind not in "iuf"
        or array.size == 0
        or not (array.astype(float) == np.rint(array.astype(float))).all()
    ):
        return None
    shape = tuple(int(n) for n in array)
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return shape if all(n > 0 for n in shape) else None


def settled(shape: Shape) -> Shape:
    """`shape` as inputs and populations have it: `(n,)` or `(channels, height, width)`."""
    if len(shape) == 2:
        return (shape[0], 1, shape[1])
    return shape if len(shape) in (1, 3) else (prod(shape),)


def _input(plain: Plain, name: str, node: Record, findings: Findings) -> Shape | None:
    """The shape of an Input as its readers need it: without leading axes of 1, with the axis of channels."""
    stated = dimensions(node.fields.get("shape", node.fields.get("input_type")))
    if stated is None:
        return None
    reader = _first_reader(plain, name)
    shape = stated
    if reader is not None and reader.type in (*CONVOLUTIONS, *POOLS):
        rank = 2 if reader.type == "Conv1d" else 3
        while len(shape) > rank and shape[0] == 1:
            shape = shape[1:]
        if len(shape) == rank - 1:
            shape = (1, *shape)
    else:
        while len(shape) > 1 and shape[0] == 1 and len(shape) != 3:
            shape = shape[1:]
        if len(shape) == 2:
            shape = (prod(shape),)
    if shape != stated:
        findings.note(f"node {name}: its shape {stated} is read as {shape}")
    shape_of(f"node {name} shape", settled(shape))
    return shape


def _first_reader(plain: Plain, name: str, seen: frozenset[str] = frozenset()) -> Record | None:
    """The first node behind `name` that does not take any shape."""
    for target in plain.after(name):
        node = plain.nodes[target]
        if node.type not in ("Scale", "Delay", "Input", "Output"):
            return node
        if target not in seen:
            return _first_reader(plain, target, seen | {target})
    return None


def _hint(node: Record, hinted: bool) -> Shape | None:
    """The shape of a node of which nothing that leads to it is known: from its own fields."""
    if node.type in DENSE:
        full = np.asarray(node.fields.get("weight", 0))
        return (full.shape[-2],) if full.ndim >= 2 else None
    if node.type in CONVOLUTIONS and node.fields.get("input_shape") is not None:
        full = np.asarray(node.fields.get("weight", 0))
        spatial = dimensions(node.fields["input_shape"])
        rank = 1 if node.type == "Conv1d" else 2
        if full.ndim == rank + 2 and spatial is not None and len(spatial) == rank:
            inner = full.shape[1] * groups("", node, full)
            return _output("node", node, (inner, *spatial))
    if hinted and node.type in NEURONS:
        sizes = [np.asarray(node.fields[field]).shape for field in FIELDS[node.type] if field in node.fields]
        largest = max(sizes, key=prod, default=())
        return dimensions(largest) if prod(largest) > 1 else None
    if hinted and node.type == "Output":
        return dimensions(node.fields.get("shape", node.fields.get("output_type")))
    return None


def _output(where: str, node: Record, shape: Shape) -> Shape:
    """Shape of the output of a node for an input of `shape`."""
    if node.type in DENSE:
        full = weight(where, node, 2)
        require(
            full.shape[1] == prod(shape), f"{where} weight columns", full.shape[1], f"{prod(shape)}, what leads to it"
        )
        return (len(full),)
    if node.type in CONVOLUTIONS:
        rank = 2 if node.type == "Conv1d" else 3
        full = weight(where, node, rank + 1)
        names = "(channels, length)" if rank == 2 else "(channels, height, width)"
        require(len(shape) == rank, f"{where} input shape", shape, names)
        inner = full.shape[1] * groups(where, node, full)
        require(inner == shape[0], f"{where} weight inputs", inner, f"{shape[0]}, the channels that lead to it")
        kernel = (1, full.shape[2]) if rank == 2 else (full.shape[2], full.shape[3])
        found = window(where, node, kernel).size(where, (1, shape[1]) if rank == 2 else (shape[1], shape[2]))
        return (len(full), found[1]) if rank == 2 else (len(full), *found)
    if node.type in POOLS:
        require(len(shape) == 3, f"{where} input shape", shape, "(channels, height, width)")
        return (shape[0], *window(where, node, pool_kernel(where, node)).size(where, (shape[1], shape[2])))
    if node.type == "Flatten":
        return (prod(shape),)
    if node.type in NEURONS and len(shape) == 1:  # maps of which each value is computed
        stated = _hint(node, True)
        return stated if stated is not None and len(stated) == 3 and prod(stated) == prod(shape) else shape
    return shape


def _check_edge(plain: Plain, found: dict[str, Shape], source: str, target: str) -> None:
    """What several nodes lead to one must have one size; so must what a shape that was not inferred says."""
    node = plain.nodes[target]
    if node.type in DENSE:
        columns = np.asarray(node.fields["weight"]).shape[-1]
        size = prod(found[source])
        require(columns == size, f"node {target} weight columns", columns, f"{size}, the outputs of {source}")
    elif node.type not in (*CONVOLUTIONS, *POOLS):
        sizes = prod(found[source]), prod(found[target])
        require(sizes[0] == sizes[1], f"edge {source} -> {target}", f"from {sizes[0]} values to {sizes[1]}", "as many")
    else:
        _output(f"node {target}", node, found[source])
