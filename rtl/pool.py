"""Pool of the fire unit: from updated rows to rows of events. A max pool sends the OR of the rows of a window."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .mapping import LayerMapping
from .memory import read_port, write_port
from .streams import row_layout
from .update import output_value_shape, updated_layout


class Pool(wiring.Component):
    """Offers each updated row, as it leaves by `mapping.outgoing[way]`.

    In a joined window, the last row has the OR of all spikes, and the others are empty. Where the scan goes window by
    window, a register holds the spikes of the window so far; where the pool is one of several, a memory does, a word
    for each window of a row of them.

    Ports
    -----
    updated
        In: `updated_layout`.
    rows
        Out: `row_layout`, one for each row; must be taken in the same cycle.

    Throughput: one row per cycle. Latency: one cycle. Never stalls.
    """

    def __init__(self, mapping: LayerMapping, way: int = 0):
        self.mapping = mapping
        self.way = way
        self.outgoing = mapping.outgoing[way]
        row = row_layout(self.outgoing.output_bits, mapping.pes, output_value_shape(mapping))
        super().__init__({"updated": In(updated_layout(mapping)), "rows": Out(stream.Signature(row))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, tags = self.mapping, self.updated.tags
        suffix = str(self.way or "")
        mask, sends, output = self.updated.mask, tags[f"sends{suffix}"], tags[f"output{suffix}"]
        if self.outgoing.pool is not None:
            mask = Mux(sends, self._in_memory(m, mask, suffix) if self.outgoing.joined else mask, 0)
        elif self.outgoing.joined:
            before = Signal(mapping.pes, name="before")  # spikes in this window so far
            with m.If(self.updated.valid):
                m.d.sync += before.eq(Mux(tags.sends, 0, before | mask))
            mask = Mux(tags.sends, before | mask, 0)
        payload = self.rows.payload
        m.d.sync += [
            self.rows.valid.eq(self.updated.valid),
            payload.row.eq(output),
            payload.mask.eq(mask),
            payload.end.eq(tags.end),
            payload.bad.eq(tags.bad),
        ]
        spiking = mapping.population.neuron.spiking
        for p in range(mapping.pes):
            m.d.sync += payload["values"][p].eq(1 if spiking else self.updated.membranes[p])
        return m

    def _in_memory(self, m: Module, mask: Value, suffix: str) -> Value:
        """Spikes of the row's window up to the row itself."""
        mapping, tags = self.mapping, self.updated.tags
        m.submodules.windows = memory = Memory(shape=unsigned(mapping.pes), depth=max(2, self.outgoing.width), init=[])
        read, write = read_port(memory, "window", "comb"), write_port(memory, "spikes")
        column = tags[f"output{suffix}"][: max(1, self.outgoing.x_bits)] if self.outgoing.x_bits else 0
        spikes = Signal(mapping.pes, name="spikes_so_far")
        m.d.comb += [
            read.addr.eq(column),
            spikes.eq(Mux(tags[f"opens{suffix}"], 0, read.data) | mask),
            write.addr.eq(column),
            write.data.eq(spikes),
            write.en.eq(self.updated.valid & tags[f"inside{suffix}"]),
        ]
        return spikes
