"""The synapse reader of a PE, for ever: a run of `count` synapses is `count` fetches, of its addresses, in order.

Whatever the pointer memory holds; a token takes one cycle and fetches nothing.
"""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, Signal
from prover import Claim, prove
from test_accumulators import element, small_layer


class WholeRuns(Claim):
    def body(self, m: Module) -> None:
        mapping = small_layer()
        pe, _ = element(m)
        m.d.comb += Assume((pe.release & ~pe.full) == 0)

        runs, fetch = pe.reader.runs, pe.reader.fetch
        run, event_of_run, begins = runs.payload.pointer, runs.payload.event, Signal()
        fetches = Signal()
        m.d.comb += [begins.eq(runs.valid & runs.ready), fetches.eq(fetch.valid & ~fetch.event.end)]

        # What is due of the run that was begun last: cycles, and the address of the next fetch.
        due, address = Signal(mapping.synapse_format.count_bits), Signal(mapping.synapse_address_bits)
        event, token = Signal(len(event_of_run.as_value())), Signal()
        m.d.sync += [due.eq(Mux(fetch.valid, due - 1, due)), address.eq(address + fetches)]
        with m.If(begins):
            m.d.sync += [due.eq(Mux(event_of_run.end, 1, run.count)), address.eq(run.start)]
            m.d.sync += [event.eq(event_of_run.as_value()), token.eq(event_of_run.end)]
            m.d.comb += Assert(event_of_run.end | (run.count != 0))
            m.d.comb += Assert(due == fetch.valid)  # the run before has ended, or does so now: none is cut short
        m.d.comb += [
            Assert(fetch.valid == (due != 0)),
            Assert(~fetch.valid | (fetch.event.as_value() == event)),
            Assert(~fetches | (fetch.address == address)),
            Assert(~fetch.valid | (fetches == ~token)),
            Cover(fetches & (due == 3)),
            Cover(begins & fetches),
            # What makes it inductive.
            Assert(~fetch.valid | ~token | (due == 1)),
            Assert(~fetch.valid | (fetch.ends == (due == 1))),
            Assert(~fetches | (fetch.left == due - 1)),
            Assert(~runs.valid | event_of_run.end | (run.count != 0)),
        ]


def test_runs_are_whole():
    prove(WholeRuns(), "runs", 2)


def test_long_runs_are_reached():
    prove(WholeRuns(), "runs", 14, "cover")
