"""Pool of the fire unit: from updated rows to rows of events. A max pool sends the OR of the rows of a window."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .mapping import LayerMapping
from .streams import row_layout
from .update import output_value_shape, updated_layout


class Pool(wiring.Component):
    """Offers each updated row. In a joined window, the last row has the OR of all spikes, and the others are empty.

    Ports
    -----
    updated
        In: `updated_layout`.
    rows
        Out: `row_layout`, one for each row; must be taken in the same cycle.

    Throughput: one row per cycle. Latency: one cycle. Never stalls.
    """

    def __init__(self, mapping: LayerMapping):
        self.mapping = mapping
        row = row_layout(mapping.scan.output_bits, mapping.pes, output_value_shape(mapping))
        super().__init__({"updated": In(updated_layout(mapping)), "rows": Out(stream.Signature(row))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, tags = self.mapping, self.updated.tags
        mask = self.updated.mask
        if mapping.scan.joined:
            before = Signal(mapping.pes, name="before")  # spikes in this window so far
            with m.If(self.updated.valid):
                m.d.sync += before.eq(Mux(tags.sends, 0, before | mask))
            mask = Mux(tags.sends, before | mask, 0)
        payload = self.rows.payload
        m.d.sync += [
            self.rows.valid.eq(self.updated.valid),
            payload.row.eq(tags.output),
            payload.mask.eq(mask),
            payload.end.eq(tags.end),
            payload.bad.eq(tags.bad),
        ]
        spiking = mapping.layer.neuron.spiking
        for p in range(mapping.pes):
            m.d.sync += payload["values"][p].eq(1 if spiking else self.updated.membranes[p])
        return m
