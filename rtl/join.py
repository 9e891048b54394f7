"""Join: several streams of events become one, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.hdl import Array, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import event_layout


@dataclass(frozen=True)
class Port:
    """A stream that is joined: the width of its addresses, the shape of its values, which count `2**shift` times."""

    address_bits: int
    value: ShapeLike
    shift: int = 0


class Join(wiring.Component):
    """Takes its ports one after another, each up to its token, and hands on all events and one token a step.

    Sums commute, so the order of the ports changes no result: there is no arbiter. `locate` says what an address of a
    port becomes, fields of `event`. The token is marked bad if one of the step's tokens is.

    Ports
    -----
    port<i>
        In: `event_layout` of that port; those of one step end with a token.
    events
        Out: `event`.

    With one port this is a wire. With several the output comes from registers. Latency: `latency.JOIN`. Throughput: an
    event a cycle; the token of each port but the last costs a cycle. Stalls: `events.ready` low; the port whose turn it
    is has nothing, whatever waits at the others.
    """

    def __init__(
        self,
        ports: Sequence[Port],
        event: data.StructLayout,
        locate: Callable[[Module, int, Value], dict[str, Value]],
    ):
        """`event`: `event_layout`, perhaps with more fields. `locate`: of the address of a port, by its number."""
        self.ports = tuple(ports)
        self.locate = locate
        super().__init__(
            {f"port{i}": In(stream.Signature(event_layout(p.address_bits, p.value))) for i, p in enumerate(ports)}
            | {"events": Out(stream.Signature(event))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inputs = [getattr(self, f"port{i}") for i in range(len(self.ports))]
        event = self.events.payload
        if len(inputs) == 1:
            sent = inputs[0]
            m.d.comb += [self.events.valid.eq(sent.valid), sent.ready.eq(self.events.ready)]
            m.d.comb += [event[name].eq(sent.payload[name]) for name in ("value", "end", "bad")]
            m.d.comb += [event[name].eq(field) for name, field in self.locate(m, 0, sent.payload.source).items()]
            return m
        turn = Signal(range(len(inputs)), name="turn")
        is_last = Signal(name="is_last")
        bad = Signal(name="bad")  # a token of this step was
        free = Signal(name="free")
        offered = Signal(event.shape(), name="offered")
        valid = Signal(name="valid")
        m.d.comb += [
            is_last.eq(turn == len(inputs) - 1),
            free.eq(~self.events.valid | self.events.ready),
            valid.eq(Array(sent.valid for sent in inputs)[turn]),
        ]
        located = [self.locate(m, i, sent.payload.source) for i, sent in enumerate(inputs)]
        with m.Switch(turn):
            for i, (sent, port) in enumerate(zip(inputs, self.ports, strict=True)):
                with m.Case(i):
                    m.d.comb += [
                        sent.ready.eq(free),
                        *(offered[name].eq(field) for name, field in located[i].items()),
                        offered.value.eq(sent.payload.value << port.shift),
                        *(offered[name].eq(sent.payload[name]) for name in ("end", "bad")),
                    ]
        with m.If(free):
            m.d.sync += [self.events.valid.eq(valid & (~offered.end | is_last)), event.eq(offered)]
            m.d.sync += event.bad.eq(offered.bad | bad)
            with m.If(valid & offered.end):
                m.d.sync += [turn.eq(Mux(is_last, 0, turn + 1)), bad.eq(~is_last & (offered.bad | bad))]
        return m
