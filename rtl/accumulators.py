"""Accumulators of a processing element: two banks of sums, one of which is filled while the other is scanned.

Where a part of what is heard is held for the frame, a third bank has its sums.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .mapping import LayerMapping
from .memory import read_port, write_port
from .reader import addend_layout


class Accumulators(wiring.Component):
    """Adds each weight, times the value on static input, to the accumulator of its row, in a pipeline of two stages.

    Ports
    -----
    addends
        In: `addend_layout`.
    row, read, clear, clear_row, release
        In: from the fire unit, see `ProcessingElement`.
    sums, full, bad
        Out: to the fire unit, see `ProcessingElement`.
    stage2, stage3, total
        Out, for traces and proofs: the addend in the multiply and read stage, `addend_layout`; the addend in the write
        stage, with its product; the sum that is written.

    Throughput: one addend per cycle, for any sequence of rows. Latency: an addend of cycle `c` is written in `c + 2`; a
    token of cycle `c` makes its bank full in `c + 3`. Never stalls.
    """

    def __init__(self, mapping: LayerMapping, value: ShapeLike):
        self.mapping = mapping
        self.current = signed(mapping.current_bits)
        product = signed(mapping.synapse_format.weight_bits + (mapping.value_bits if mapping.value_bits > 1 else 0))
        written: dict[str, ShapeLike] = dict.fromkeys(("valid", "token", "bad"), 1)
        written |= {"bank": mapping.bank_bits, "row": mapping.row_bits, "product": product}
        super().__init__(
            {
                "addends": In(addend_layout(mapping, value)),
                "row": In(mapping.row_bits),
                "read": In(mapping.banks),
                "clear": In(mapping.banks),
                "clear_row": In(mapping.row_bits),
                "release": In(mapping.banks),
                "sums": Out(data.ArrayLayout(self.current, mapping.banks)),
                "full": Out(mapping.banks),
                "bad": Out(mapping.banks),
                "stage2": Out(addend_layout(mapping, value)),
                "stage3": Out(data.StructLayout(written)),
                "total": Out(self.current),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, stage2, stage3, total = self.mapping, self.stage2, self.stage3, self.total
        m.d.sync += [
            stage2.eq(self.addends),
            *(stage3[name].eq(stage2[name]) for name in ("valid", "token", "bad", "bank", "row")),
            stage3.product.eq(stage2.weight * stage2.value if mapping.value_bits > 1 else stage2.weight),
        ]

        # The sum written in the last cycle is forwarded, as the memory does not show it yet. Rows are compared one
        # stage
        # earlier. Banks need no comparison: there is a token between the synapses of two banks.
        before = Signal(self.current, name="before")
        last_sum = Signal(self.current, name="last_sum")
        forward = Signal(name="forward")
        for b in range(mapping.banks):
            memory = Memory(shape=self.current, depth=mapping.rows, init=[])
            m.submodules[f"bank{b}"] = memory
            read, write = read_port(memory, f"read{b}"), write_port(memory, f"write{b}")
            fires = self.read[b]
            accumulate = stage3.valid & (stage3.bank == b)
            m.d.comb += [
                read.en.eq(fires | (stage2.valid & (stage2.bank == b))),
                read.addr.eq(Mux(fires, self.row, stage2.row)),
                write.en.eq(accumulate | self.clear[b]),
                write.addr.eq(Mux(self.clear[b], self.clear_row, stage3.row)),
                write.data.eq(Mux(self.clear[b], 0, total)),
                self.sums[b].eq(read.data),
            ]
            with m.If(self.release[b]):
                m.d.sync += self.full[b].eq(0)
            with m.If(stage3.token & (stage3.bank == b)):
                m.d.sync += [self.full[b].eq(1), self.bad[b].eq(stage3.bad)]
        product = stage3.product << mapping.shift if mapping.shift else stage3.product
        m.d.comb += [
            before.eq(Mux(forward, last_sum, self._sum(stage3.bank))),
            total.eq(before + product),
        ]
        m.d.sync += [last_sum.eq(total), forward.eq(stage3.valid & (stage3.row == stage2.row))]
        return m

    def _sum(self, bank: Value) -> Value:
        """The sum that has been read from `bank`."""
        if self.mapping.is_mixed:
            return Array(self.sums[b] for b in range(self.mapping.banks))[bank]
        return Mux(bank, self.sums[1], self.sums[0])
