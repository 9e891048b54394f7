"""The synapse reader of a PE, for ever: a run of `count` synapses is `count` fetches, of its addresses, in order.

Whatever the pointer memory holds; a token takes one cycle and fetches nothing.
"""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, Signal
from amaranth.lib import data
from prover import Claim, inner, prove
from test_accumulators import element, small_layer


class WholeRuns(Claim):
    def body(self, m: Module) -> None:
        mapping = small_layer()
        pe, inside = element(m)
        m.d.comb += Assume((pe.release & ~pe.full) == 0)

        pointer = data.StructLayout({"count": mapping.count_bits, "start": mapping.start_bits})
        run = data.View(pointer, inner(inside, "run"))
        run_event, read_event = (data.View(pe.event, inner(inside, name)) for name in ("run_event", "read_event"))
        begins, reading = inner(inside, "run_leaves"), inner(inside, "reading")
        left, ends, address = (inner(inside, name) for name in ("left", "ends", "address"))
        fetches = Signal()
        m.d.comb += fetches.eq(reading & ~read_event.end)

        # What is due of the run that was begun last: cycles, and the address of the next fetch.
        due, place = Signal(mapping.count_bits), Signal(mapping.synapse_address_bits)
        event, token = Signal(len(run_event.as_value())), Signal()
        m.d.sync += [due.eq(Mux(reading, due - 1, due)), place.eq(place + fetches)]
        with m.If(begins):
            m.d.sync += [due.eq(Mux(run_event.end, 1, run.count)), place.eq(run.start)]
            m.d.sync += [event.eq(run_event.as_value()), token.eq(run_event.end)]
            m.d.comb += Assert(run_event.end | (run.count != 0))
            m.d.comb += Assert(due == reading)  # the run before has ended, or does so now: none is cut short
        m.d.comb += [
            Assert(reading == (due != 0)),
            Assert(~reading | (read_event.as_value() == event)),
            Assert(~fetches | (address == place)),
            Assert(~reading | (fetches == ~token)),
            Cover(fetches & (due == 3)),
            Cover(begins & fetches),
            # What makes it inductive.
            Assert(~reading | ~token | (due == 1)),
            Assert(~reading | (ends == (due == 1))),
            Assert(~fetches | (left == due - 1)),
            Assert(~inner(inside, "run_valid") | run_event.end | (run.count != 0)),
        ]


def test_runs_are_whole():
    prove(WholeRuns(), "runs", 2)


def test_long_runs_are_reached():
    prove(WholeRuns(), "runs", 14, "cover")
