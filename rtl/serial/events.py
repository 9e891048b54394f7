"""The payload of a FRAME becomes events for the datapath, where the input is new at each step."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ...quantize.network import Input
from ..inputs import largest_sent
from ..mapping import Mapping
from ..streams import source_signature
from .receiver import payload_ports


class EventAssembler(wiring.Component):
    """Payload bytes of a FRAME, one for each source and step, become events, with a token after each step.

    The pixels of static inputs beside others are a segment of their own before the steps, with a token as well.

    A byte that is not 0 is an event with that value. A frame always has all its tokens. The last one waits until the
    END has told whether the frame is good, and says so: the result of a damaged frame is dropped. A frame also counts
    as damaged if a byte is larger than values of its input are, or if the datapath holds an event up for longer than it
    takes to receive the next byte.

    Ports
    -----
    open
        In: one cycle between header and payload, a frame begins; only while `idle`.
    payload, payload_valid, end, good
        In: from the packet receiver, of any packet.
    events
        Out: `event_layout`.
    idle
        Out: the frame before has been sent on.

    Latency: an event is offered a cycle after its byte, the last token two cycles after `end`; each step that is
    missing costs a cycle. Throughput: as the line sends. Stalls: none; see above.
    """

    def __init__(self, mapping: Mapping):
        self.sources = mapping.sources
        self.segments = mapping.segments
        self.input = mapping.input
        super().__init__(
            {
                **payload_ports(),
                "events": Out(source_signature(mapping)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        event = self.events.payload
        opened = Signal(name="opened")
        closing = Signal(name="closing")
        begun = Signal(name="begun")
        spoilt = Signal(name="spoilt")  # from the byte that did not fit or came too early on
        token_due = Signal(name="token_due")
        source = Signal(range(max(2, self.sources)), name="source")
        step = Signal(range(max(2, self.segments)), name="step")
        free = Signal(name="free")
        fits = Signal(name="fits")
        last_source = Signal(name="last_source")
        last_step = Signal(name="last_step")
        m.d.comb += [
            free.eq(~self.events.valid | self.events.ready),
            fits.eq(free & ~token_due & ~spoilt & (self.payload <= self._largest(source))),
            last_source.eq(source == self._last_source(step)),
            last_step.eq(step == self.segments - 1),
            self.idle.eq(~opened & ~closing & ~self.events.valid),
        ]
        with m.If(self.events.ready):
            m.d.sync += self.events.valid.eq(0)
        with m.If(self.open):
            m.d.sync += [opened.eq(1), begun.eq(0), spoilt.eq(0), source.eq(0), step.eq(0)]
        with m.If(opened & self.payload_valid):
            m.d.sync += begun.eq(1)
            with m.If(fits):
                value = self._seen(source)
                m.d.sync += [
                    self.events.valid.eq(value != 0),
                    event.source.eq(source),
                    event["value"].eq(value),
                    event.end.eq(0),
                    source.eq(source + 1),
                ]
                with m.If(last_source):
                    first_source = self.input.held_sources  # of a step
                    m.d.sync += [source.eq(first_source), token_due.eq(~last_step)]
            with m.Else():
                m.d.sync += spoilt.eq(1)
        with m.Elif(free & (token_due | closing)):
            m.d.sync += [self.events.valid.eq(1), event.end.eq(1), event.bad.eq(spoilt), token_due.eq(0)]
            with m.If(last_step):
                m.d.sync += closing.eq(0)
            with m.Else():
                m.d.sync += step.eq(step + 1)
        if self.input.is_mixed:
            with m.If(free):
                m.d.sync += event.held.eq(step == 0)
        with m.If(opened & self.end):
            m.d.sync += [opened.eq(0), closing.eq(begun), spoilt.eq(spoilt | ~self.good)]
        return m

    def _largest(self, source: Value) -> Value | int:
        """The largest value of `source`, in its own input."""
        if len({largest_sent(one) for one in self.input.inputs}) == 1:
            return largest_sent(self.input.inputs[0])
        return self._by_source(source, lambda one: Const(largest_sent(one)))

    def _seen(self, source: Value) -> Value:
        """The bits of the payload that the input of `source` has."""
        if not any(one.dropped for one in self.input.inputs):
            return self.payload
        return self._by_source(source, lambda one: self.payload >> one.dropped)

    def _by_source(self, source: Value, value: Callable[[Input], Value]) -> Value:
        """The `value` of the input of `source`."""
        *others, (last, _) = self.input.by_address
        found = value(last)
        for one, own in reversed(others):
            found = Mux(source < own.stop, value(one), found)
        return found

    def _last_source(self, step: Value) -> Value | int:
        """The last source of the segment `step`."""
        last = self.sources - 1
        return Mux(step == 0, self.input.held_sources - 1, last) if self.input.is_mixed else last
