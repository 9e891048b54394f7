"""What single nodes say of their own convention, kept as one text beside a graph.

A framework's modules know more of a neuron than a NIR file can say, such as the reset of each layer. As records they
have it in a field `convention`: a dict of what is otherwise for the node alone than for the graph.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any

from ...checks import fields, items
from ...errors import UserError, require, within
from .convention import Convention
from .records import LARGEST_DEPTH, LARGEST_NODES, Record

CONVENTION = "convention"  # the field of a node
CONVENTIONS = "metadata gradrtl nodes"  # the field of the outermost graph, in a file
Own = dict[str, Any]


def conventions(record: Record, way: tuple[str, ...] = ()) -> list[tuple[list[str], Own]]:
    """For each node with a convention of its own: the names that lead to it, and what is otherwise for it."""
    found = [([*way], record.fields[CONVENTION])] if CONVENTION in record.fields else []
    for name, node in record.nodes.items():
        found += conventions(node, (*way, name))
    return found


def with_conventions(record: Record) -> Record:
    """A graph that was read: what is kept beside it, put back into its nodes. `UserError` if it does not fit them."""
    if CONVENTIONS not in record.fields:
        return record
    try:
        body = json.loads(record.fields[CONVENTIONS])
    except (ValueError, RecursionError):
        raise UserError.of(CONVENTIONS, "no JSON", "what gradrtl wrote") from None
    record = replace(record, fields={name: value for name, value in record.fields.items() if name != CONVENTIONS})
    for item in items(CONVENTIONS, body, LARGEST_NODES):
        pair = items(CONVENTIONS, item, 2)
        require(len(pair) == 2, CONVENTIONS, item, "names of a node and its convention")
        own = fields(CONVENTIONS, pair[1], (), [field.name for field in dataclass_fields(Convention)])
        with within(CONVENTIONS):
            replace(Convention(), **own)
        record = _with(record, items(CONVENTIONS, pair[0], LARGEST_DEPTH), own)
    return record


def _with(record: Record, way: Sequence[Any], own: Own) -> Record:
    if not way:
        return replace(record, fields={**record.fields, CONVENTION: own})
    name = way[0]
    require(name in record.nodes if isinstance(name, str) else False, f"{CONVENTIONS} node", name, "one of the graph")
    return replace(record, nodes={**record.nodes, name: _with(record.nodes[name], way[1:], own)})
