"""Convolution in hardware: from the address of an event to its list and bases, from the taps of a synapse to its row.

A core without convolutions passes both through unchanged. The arithmetic is that of `rtl/convolution.py`.
"""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, ShapeLike, Signal, Value, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory

from ..bits import unsigned_bits
from .convolution import Axis
from .lists import Heard
from .mapping import LayerMapping
from .memory import read_port
from .streams import event_layout


def located_layout(mapping: LayerMapping, value: ShapeLike) -> data.StructLayout:
    """An event as the PEs receive it: `event_layout` with a list as its source, and its bases (`Axis.bases`).

    In a core only part of whose input is held, `held` marks the events of that part, and the token behind them.
    """
    event, kernel = event_layout(mapping.list_bits, value), mapping.kernel
    bases = {"y": kernel.rows.base_bits, "x": kernel.columns.base_bits} if kernel else {}
    return data.StructLayout(event.members | bases | ({"held": 1} if mapping.is_mixed else {}))


def locate(m: Module, mapping: LayerMapping, heard: Heard, source: Value, suffix: str = "") -> dict[str, Value]:
    """List and bases of an event at the address `source` of a port, in the same cycle: fields of `located_layout`.

    Addresses that come from a scan hold group, row, column and lane. Those of an input are pixel numbers; a
    table holds their lists and bases. `suffix` stands behind its name.
    """
    sources, kernel = heard.sources, mapping.kernel
    if kernel is None:
        return {"source": source + heard.first if len(mapping.heard) > 1 else source}
    if sources is None:
        return {
            "source": source + heard.first,
            "y": Const(kernel.rows.first_base),
            "x": Const(kernel.columns.first_base),
        }
    rows, columns = sources.rows, sources.columns
    if sources.outgoing is None:
        _, y, x = np.unravel_index(heard.addresses, heard.edge.input_shape)
        entry = data.StructLayout(
            {"source": mapping.list_bits, "y": kernel.rows.base_bits, "x": kernel.columns.base_bits}
        )
        found = zip(heard.lists.tolist(), rows.bases[y].tolist(), columns.bases[x].tolist(), strict=True)
        init = [{"source": number, "y": y, "x": x} for number, y, x in found]
        m.submodules[f"bases{suffix}"] = bases = Memory(shape=entry, depth=max(2, len(init)), init=init)
        port = read_port(bases, f"base{suffix}", "comb")
        m.d.comb += port.addr.eq(source)
        return {"source": port.data.source, "y": port.data.y, "x": port.data.x}
    lane, x, y, group = _split(source, sources.lane_bits, sources.outgoing.x_bits, sources.outgoing.y_bits)
    number: Value = Cat(_phase(columns, x), _phase(rows, y), lane, group)
    return {
        "source": number + heard.first if heard.first else number,
        "y": looked_up(rows.bases, y),
        "x": looked_up(columns.bases, x),
    }


def target_row(
    m: Module, mapping: LayerMapping, stage: data.View, synapse: data.View, event: data.View
) -> tuple[data.View, Value, Value]:
    """The pipeline `stage` of a synapse of the located `event`, its weight and its row.

    Without delay in a dense layer, `latency.CONVOLUTION` cycles later in a convolution, where `stage.valid` is 0 if
    there is no such row.
    """
    kernel = mapping.kernel
    if kernel is None:
        return stage, synapse.weight, synapse.row
    rows, columns = kernel.rows, kernel.columns
    target_tags, row_tags = Signal(stage.shape(), name="target_tags"), Signal(stage.shape(), name="row_tags")
    target_weight = Signal(synapse.weight.shape(), name="target_weight")
    weight = Signal(synapse.weight.shape(), name="weight")
    group = Signal(mapping.scan.group_bits, name="group")
    named = (("y", rows), ("x", columns))
    target_y, target_x = (Signal(unsigned_bits(len(axis.reached) - 1), name=f"target_{name}") for name, axis in named)
    row = Signal(mapping.row_bits, name="row")
    starts = np.arange(mapping.scan.groups) * mapping.scan.group_rows
    exists = looked_up(rows.reached >= 0, target_y) & looked_up(columns.reached >= 0, target_x)
    m.d.sync += [
        target_tags.eq(stage),
        target_weight.eq(synapse.weight),
        group.eq(synapse.group),
        target_y.eq(event.y + synapse.y),
        target_x.eq(event.x + synapse.x),
        row_tags.eq(target_tags),
        row_tags.valid.eq(target_tags.valid & exists),
        weight.eq(target_weight),
        row.eq(
            looked_up(starts, group)
            + looked_up(np.maximum(rows.reached, 0), target_y)
            + looked_up(np.maximum(columns.reached, 0), target_x)
        ),
    ]
    return row_tags, weight, row


def _split(source: Value, *bits: int) -> list[Value]:
    """Fields of `source` from the lowest bit up; the last one has the remaining bits."""
    fields, at = [], 0
    for width in bits:
        fields.append(source[at : at + width])
        at += width
    return [*fields, source[at:]]


def _phase(axis: Axis, index: Value) -> Value:
    """Phase of the source row, or column, at `index`, in as many bits as the axis has for it."""
    return looked_up(axis.phases, index, axis.phase_bits) if axis.phase_bits else Const(0, 0)


def looked_up(table: np.ndarray, index: Value, bits: int | None = None) -> Value:
    """`table[index]` as a table of constants of `bits`, by default as many as needed.

    Indices beyond the end give the last entry.
    """
    shape = unsigned(bits or unsigned_bits(int(table.max())))
    constants = [Const(int(value), shape) for value in table]
    return constants[0] if len(set(table)) == 1 else Array(constants)[index]
