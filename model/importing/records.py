"""The nodes of a NIR graph as plain records, and graphs of them without nesting. Nothing here knows what a node does.

An importer of a framework makes `Record`s from its modules; `hdf5.read` makes them from a file. All else is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...errors import UserError, require

LARGEST_NODES = 4096
LARGEST_DEPTH = 16  # of nested graphs
GRAPH = "NIRGraph"
METADATA = "metadata gradrtl"  # the field of a graph that holds what an export kept beside it


@dataclass(frozen=True)
class Record:
    """A node: its type, as NIR names it, and its fields: arrays, numbers or text. A graph has nodes and edges."""

    type: str
    fields: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Record] = field(default_factory=dict)
    edges: tuple[tuple[str, str], ...] = ()


@dataclass
class Findings:
    """What was noticed during an import: `notes`, lines of text, and `errors`, what stands in its way."""

    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Keeps the `UserError` of the block, so that the next one is found too."""
        try:
            yield
        except UserError as error:
            if str(error) not in self.errors:
                self.errors.append(str(error))

    def stop(self) -> None:
        """Raise what was gathered, if anything was: the first error, and how many follow it."""
        if self.errors:
            more = len(self.errors) - 1
            raise UserError(self.errors[0] + (f" ({more} more: --check lists them)" if more else ""))


@dataclass(frozen=True)
class Plain:
    """A graph without nesting: nodes by name (those of a nested graph as `graph.node`), and edges, each once."""

    nodes: dict[str, Record]
    edges: tuple[tuple[str, str], ...]

    def before(self, name: str) -> list[str]:
        """The nodes whose edges lead to `name`."""
        return [source for source, target in self.edges if target == name]

    def after(self, name: str) -> list[str]:
        """The nodes to which edges lead from `name`."""
        return [target for source, target in self.edges if source == name]


def flattened(record: Record, findings: Findings) -> Plain:
    """`record`, a graph, without nesting. Edges that name no node are repaired where only one node can be meant.

    Raises
    ------
    UserError
        It is no graph, it is too large, or a nested graph has several inputs or outputs.
    """
    require(record.type == GRAPH, "node", f"a single {record.type}", f"a {GRAPH} with nodes and edges")
    nodes: dict[str, Record] = {}
    edges: list[tuple[str, str]] = []
    _flatten("", record, nodes, edges, findings, 0)
    return Plain(nodes, tuple(dict.fromkeys(edges)))


def _flatten(
    prefix: str,
    record: Record,
    nodes: dict[str, Record],
    edges: list[tuple[str, str]],
    findings: Findings,
    depth: int,
) -> None:
    """Add the nodes and edges of `record` under names that begin with `prefix`."""
    require(depth < LARGEST_DEPTH, "nested graphs", f"{depth} deep", f"at most {LARGEST_DEPTH}")
    for name, node in record.nodes.items():
        if node.type == GRAPH:
            _flatten(f"{prefix}{name}.", node, nodes, edges, findings, depth + 1)
        else:
            nodes[prefix + name] = node
        require(len(nodes) <= LARGEST_NODES, "nodes", f"more than {LARGEST_NODES}", f"at most {LARGEST_NODES}")
    for source, target in record.edges:
        with findings.gathered():
            ends = []
            for end, side in ((source, "Output"), (target, "Input")):
                name = _known(record, end, (source, target), findings)
                inner = record.nodes[name]
                if inner.type == GRAPH:
                    name = f"{name}.{_gate(prefix + name, inner, side)}"
                ends.append(prefix + name)
            edges.append((ends[0], ends[1]))


def _known(record: Record, name: str, edge: tuple[str, str], findings: Findings) -> str:
    """The node that the end `name` of an edge means."""
    if name in record.nodes:
        return name
    where = f"edge {edge[0]} -> {edge[1]}"
    like = [node for node in record.nodes if node.startswith(name) or name.startswith(node)]
    require(len(like) == 1, where, f"to or from {name}, which is no node", f"one of {', '.join(record.nodes)}")
    findings.note(f"{where}: there is no node {name}, read as {like[0]}")
    return like[0]


def _gate(where: str, record: Record, side: str) -> str:
    """The one node of the type `side` through which a nested graph is reached or left."""
    gates = [name for name, node in record.nodes.items() if node.type == side]
    require(
        len(gates) == 1,
        f"graph {where}",
        f"with {len(gates)} nodes {side}",
        "one: a nested graph has one input and output",
    )
    return gates[0]
