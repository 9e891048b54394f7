"""The join, for ever: every event of the port whose turn it is leaves once, moved by its offset, and a token a step."""

from __future__ import annotations

import pytest
from amaranth.hdl import Array, Assert, Cover, Module, Mux, Signal
from prover import Claim, free, inner, opened, prove

from gradrtl.rtl.join import Join, Port
from gradrtl.rtl.streams import event_layout


class OneTokenAStep(Claim):
    """A queue of one entry and a counter, beside the unit: what is in the register, and which port is next."""

    def __init__(self, ports: int):
        self.ports = [Port(2, 2) for _ in range(ports)]

    def body(self, m: Module) -> None:
        count = len(self.ports)
        join = Join(self.ports, event_layout(4, 2), lambda m, i, source: {"source": source + 4 * i})
        m.submodules.join = inside = opened(join)
        inputs = [getattr(join, f"port{i}") for i in range(count)]
        for sent in inputs:
            free(m, sent.payload)
            free(m, sent.valid)
        free(m, join.events.ready)
        out = join.events
        turn, bad, full = Signal(range(count)), Signal(), Signal()
        held = Signal(out.payload.shape())
        taken, leaves, end, last = Signal(), Signal(), Signal(), Signal()
        takes = [Signal(name=f"takes{i}") for i in range(count)]
        payload = Signal(out.payload.shape())
        for i, sent in enumerate(inputs):
            m.d.comb += [takes[i].eq(sent.valid & sent.ready), Assert(~takes[i] | (turn == i))]
            with m.If(turn == i):
                m.d.comb += [
                    payload.source.eq(sent.payload.source + 4 * i),
                    payload.value.eq(sent.payload.value),
                    payload.end.eq(sent.payload.end),
                    payload.bad.eq(sent.payload.bad | bad),
                ]
        m.d.comb += [
            taken.eq(Array(takes)[turn]),
            leaves.eq(out.valid & out.ready),
            end.eq(taken & payload.end),
            last.eq(turn == count - 1),
            Assert(out.valid == full),
            Assert(~full | (out.payload.as_value() == held.as_value())),
            # No event waits without need.
            Assert(taken | ~Array(sent.valid for sent in inputs)[turn] | (full & ~out.ready)),
        ]
        with m.If(taken):
            m.d.sync += [held.eq(payload), full.eq(~payload.end | last)]
        with m.Elif(leaves):
            m.d.sync += full.eq(0)
        with m.If(end):
            m.d.sync += [turn.eq(Mux(last, 0, turn + 1)), bad.eq(~last & payload.bad)]
        m.d.comb += [
            Assert(turn < count),
            Assert(inner(inside, "turn") == turn),
            Assert(inner(inside, "bad") == bad),
            Cover(leaves & held.end & held.bad),
            Cover(end & ~last & bad),
        ]


@pytest.mark.parametrize("ports", [2, 3])
def test_every_event_once_and_one_token_a_step(ports):
    prove(OneTokenAStep(ports), f"join{ports}", 2)


def test_bad_tokens_are_reached():
    prove(OneTokenAStep(3), "join3", 8, "cover")
