"""The accumulators of a PE, for ever: forwarding never shows a stale sum, and who fires reads complete ones.

The solver picks any row; beside each bank, the sum of what was added to that row since it was last cleared is kept.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Fragment, Module, Signal, signed
from prover import Claim, constant, free, opened, prove, watch

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.latency import BANKS
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.rtl.pe import ProcessingElement

BITS = 2


def small_layer() -> LayerMapping:
    """Four rows on one PE, three sources that share targets."""
    weights = np.array([[1, -2, 0], [3, 0, 1], [0, 2, -1], [-3, 1, 3]], np.int8)
    layer = Layer(
        "only", (3,), Dense(weights, np.zeros(4, np.int64)), IntNeuron("none", "soft", np.array([5])), weight_bits=3
    )
    return map_network(
        QuantizedNetwork.chain(Input((3,), bits=BITS), (layer,), 2), Placement((1,), queue_depth=2)
    ).layers[0]


def element(m: Module) -> tuple[ProcessingElement, Fragment]:
    """A PE of `small_layer` into which anything may come, and what is inside it."""
    pe = ProcessingElement(small_layer(), 0)
    m.submodules.pe = inside = opened(pe)
    for signal in (pe.events.payload, pe.events.valid, pe.row, pe.read, pe.clear, pe.clear_row, pe.release):
        free(m, signal)
    return pe, inside


class CompleteSums(Claim):
    def body(self, m: Module) -> None:
        mapping = small_layer()
        pe, inside = element(m)
        # The fire unit touches a bank, and gives it back, only while it is full.
        m.d.comb += [Assume((touch & ~pe.full) == 0) for touch in (pe.read, pe.clear, pe.release)]

        reader, accumulators = pe.reader, pe.accumulators
        fetch, written = reader.fetch, accumulators.stage3
        fetched = (fetch.valid & ~fetch.event.end, fetch.valid & fetch.event.end, fetch.bank)
        behind = (accumulators.addends, accumulators.stage2, accumulators.stage3)
        stages = [fetched, *((stage.valid, stage.token, stage.bank) for stage in behind)]

        row = Signal(mapping.row_bits)
        constant(m, row)
        for b in range(BANKS):
            total = Signal(signed(mapping.current_bits), name=f"total{b}")
            adds, added = Signal(name=f"adds{b}"), Signal(name=f"added{b}")
            m.d.comb += adds.eq(written.valid & (written.bank == b) & (written.row == row))
            m.d.sync += added.eq(adds)
            with m.If(adds):
                m.d.sync += total.eq(total + written.product)
                m.d.comb += Assert(accumulators.total == (total + written.product)[: mapping.current_bits].as_signed())
                m.d.comb += Cover(added)  # the sum of the cycle before is forwarded
            with m.If(pe.clear[b] & (pe.clear_row == row)):
                m.d.sync += total.eq(0)

            # What the fire unit sees is the whole sum: it is there, and no synapse of the step is still on its way.
            was_read, then = Signal(name=f"was_read{b}"), Signal(signed(mapping.current_bits), name=f"then{b}")
            m.d.sync += [was_read.eq(pe.read[b] & (pe.row == row)), then.eq(total)]
            with m.If(was_read):
                m.d.comb += [Assert(pe.sums[b] == then), Cover(then == 3)]
            with m.If(pe.full[b]):
                m.d.comb += [Assert(~(valid & (bank == b))) for valid, _, bank in stages]

            # What makes it inductive. A bank that is busy has one token, on its way or arrived; synapses go before it.
            tokens = [token & (bank == b) for _, token, bank in stages]
            m.d.comb += Assert(reader.busy[b] == sum(tokens, pe.full[b]))
            for s, (valid, token, bank) in enumerate(stages):
                here = valid & (bank == b)
                m.d.comb += Assert(~(valid & token))
                m.d.comb += Assert(~(here & reader.busy[b]) | Cat(*tokens[:s], Const(0, 1)).any())
            m.d.comb += Assert(watch(m, inside, row, "accumulators", f"bank{b}") == total)
        for (valid, _, bank), (before, _, bank_before) in pairwise(stages):
            m.d.comb += Assert(~(valid & before) | (bank == bank_before))
        with m.If(fetched[0]):
            m.d.comb += Assert(fetch.bank == reader.bank)
        with m.If(fetched[1]):
            m.d.comb += Assert(fetch.bank != reader.bank)


def test_sums_are_complete():
    prove(CompleteSums(), "accumulators", 2)


def test_forwarding_is_reached():
    prove(CompleteSums(), "accumulators", 16, "cover")
