"""Fork of the input: each event goes to all that hear it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import event_layout


@dataclass(frozen=True)
class Listener:
    """Who hears an input: its `addresses` among those of all, whether it is static, and the layout of its events."""

    addresses: range
    held: bool
    address_bits: int
    value: ShapeLike


class Fork(wiring.Component):
    """Hands every event to those that hear its input, in the cycle in which all of them take it; addresses count from 0
    for each of them.

    A token goes to all. With static inputs beside others (`held` in the layout of what comes), the token of the pixels
    goes to those alone that hear static inputs, and the token of a step to the others.

    Ports
    -----
    i
        In: `source_layout`.
    o, o1, ...
        Out: `event_layout`, for each listener. `valid` depends on the `ready` of all.

    Latency 0; throughput an event a cycle. Stalls: one of those that hear the event is not ready; the others do not
    matter.
    """

    def __init__(self, given: stream.Signature, listeners: Sequence[Listener]):
        self.listeners = tuple(listeners)
        self.shared = len({one.addresses for one in listeners}) > 1
        super().__init__(
            {"i": In(given)}
            | {
                f"o{number or ''}": Out(stream.Signature(event_layout(one.address_bits, one.value)))
                for number, one in enumerate(listeners)
            }
        )

    def heard(self, number: int) -> wiring.PureInterface:
        """The stream to listener `number`."""
        return getattr(self, f"o{number or ''}")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        event = self.i.payload
        ready = Signal(name="all_ready")
        free: list[Value] = []
        for number, one in enumerate(self.listeners):
            concerns = Signal(name=f"concerns{number}")
            sent = self.heard(number)
            m.d.comb += [
                concerns.eq(self._concerns(one)),
                sent.valid.eq(self.i.valid & ready & concerns),
                sent.payload.source.eq(event.source - one.addresses.start),
                *(sent.payload[name].eq(event[name]) for name in ("value", "end", "bad")),
            ]
            free.append(sent.ready | ~concerns)
        m.d.comb += [ready.eq(Cat(*free).all()), self.i.ready.eq(ready)]
        return m

    def _concerns(self, one: Listener) -> Value | int:
        """What comes is for this listener."""
        event, own = self.i.payload, one.addresses
        known = (event.source >= own.start) & (event.source < own.stop)
        if "held" in event.shape().members:
            return Mux(event.end, event.held == one.held, known)
        return event.end | known if self.shared else 1
