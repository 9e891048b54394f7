"""Largest membranes: what each output neuron's largest membrane of a frame has grown by."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..bits import signed_bits
from .mapping import LayerMapping
from .memory import read_port, write_port
from .streams import event_layout
from .update import output_value_shape


def growth_shape(mapping: LayerMapping, steps: int | None) -> Shape:
    """Shape of what a neuron's largest membrane grows by; in a frame's first step, and in a stream, of a membrane."""
    if steps is None:
        return output_value_shape(mapping)
    low, high = mapping.ranges.membrane
    return signed(signed_bits(low, max(high, high - low)))


class Largest(wiring.Component):
    """Turns the membranes of each step into growths, whose sum over a frame is a neuron's largest membrane.

    So a read-out that adds up values by class gets the sum of its neurons' largest membranes, whatever their order.
    In a stream (`steps` is None), whose read-out adds up those of one step, the largest membranes since its beginning
    leave instead of growths.

    Ports
    -----
    events
        In: events and tokens of the last core, a membrane of every neuron in every step, `steps` tokens a frame.
    growths
        Out: the same events and tokens, with values of `growth_shape`.

    The largest membranes lie in a memory, a word for each address. Latency: `latency.LARGEST_STAGE`. Throughput: an
    event a cycle; the same neuron's next event comes two cycles later or more, for a token lies between. Stalls:
    `growths.ready` low.
    """

    def __init__(self, mapping: LayerMapping, steps: int | None):
        self.mapping = mapping
        self.steps = steps
        bits = mapping.output_address_bits()
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(bits, output_value_shape(mapping)))),
                "growths": Out(stream.Signature(event_layout(bits, growth_shape(mapping, steps)))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping = self.mapping
        event, growth = self.events.payload, self.growths.payload
        step = Signal(range(max(2, self.steps or 1)), name="step")
        first = Signal(init=1, name="first")  # step of a frame
        value = Signal(output_value_shape(mapping), name="value")
        difference = Signal(signed(len(value) + 1), name="difference")
        taken = Signal(name="taken")
        leaves = Signal(name="leaves")
        m.submodules.largest = memory = Memory(
            shape=signed(mapping.membrane_bits), depth=max(2, len(mapping.sent[0])), init=[]
        )
        read, write = read_port(memory, "read"), write_port(memory, "write")
        m.d.comb += [
            self.events.ready.eq(~self.growths.valid | self.growths.ready),
            taken.eq(self.events.valid & self.events.ready),
            leaves.eq(self.growths.valid & self.growths.ready),
            read.addr.eq(event.source),
            read.en.eq(taken),
            difference.eq(value - read.data),
            growth["value"].eq(
                Mux(first, value, Mux(difference > 0, difference, 0))
                if self.steps
                else Mux(first | (difference > 0), value, read.data)
            ),
            write.addr.eq(growth.source),
            write.data.eq(value),
            write.en.eq(leaves & ~growth.end & (first | (difference > 0))),
        ]
        with m.If(self.events.ready):
            m.d.sync += self.growths.valid.eq(self.events.valid)
        with m.If(taken):
            m.d.sync += [value.eq(event["value"])]
            m.d.sync += [growth[name].eq(event[name]) for name in ("source", "end", "bad")]
        with m.If(leaves & growth.end):
            if self.steps is None:
                m.d.sync += first.eq(0)
            else:
                m.d.sync += [step.eq(Mux(step == self.steps - 1, 0, step + 1)), first.eq(step == self.steps - 1)]
        return m
