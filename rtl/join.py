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

    Ports that are held have their turn in the first step of a frame alone. The token of the last of them is handed on,
    too; it and their events are marked `held`.

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
        held: int = 0,
        steps: int = 1,
    ):
        """`event`: `event_layout`, perhaps with more fields. `locate`: of the address of a port, by its number. The
        first `held` ports have one step for a frame's `steps`; 0 if that is so of all ports, or of none.
        """
        self.held = held
        self.steps = steps
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
        closes = is_last
        if self.held:
            held = Signal(name="held")
            m.d.comb += [held.eq(turn < self.held), offered.held.eq(held)]
            closes = is_last | (turn == self.held - 1)
        first = self._first(m, free & valid & offered.end & is_last)
        with m.If(free):
            m.d.sync += [self.events.valid.eq(valid & (~offered.end | closes)), event.eq(offered)]
            m.d.sync += event.bad.eq(offered.bad | bad)
            with m.If(valid & offered.end):
                m.d.sync += [turn.eq(Mux(is_last, first, turn + 1)), bad.eq(~is_last & (offered.bad | bad))]
        return m

    def _first(self, m: Module, ends: Value) -> Value | int:
        """The port whose turn is first in the next step, in the cycle in which this one `ends`."""
        if not self.held:
            return 0
        step = Signal(range(max(2, self.steps)), name="step")
        last_step = Signal(name="last_step")
        m.d.comb += last_step.eq(step == self.steps - 1)
        with m.If(ends):
            m.d.sync += step.eq(Mux(last_step, 0, step + 1))
        return Mux(last_step, 0, self.held)
