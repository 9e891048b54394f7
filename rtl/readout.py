"""The read-out: sums what the last layer sends, finds the class, sends the packet."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..bits import signed_bits
from ..quantize.interface import SUM_BITS
from ..quantize.network import QuantizedNetwork
from .fire import output_value_shape
from .mapping import LayerMapping
from .streams import event_layout

WORD_BITS = SUM_BITS


def packet_layout() -> data.StructLayout:
    """One beat of a result packet: beat 0 the class, then the sum of every class; `bad` on all of them."""
    return data.StructLayout({"word": signed(WORD_BITS), "last": 1, "bad": 1})


class Readout(wiring.Component):
    """Adds up the values of the last layer's events by class; at a frame's last token the sums move to the sender.

    Ports
    -----
    events
        In: events and tokens of the last core, `steps` tokens a frame.
    packets
        Out: `packet_layout`, `classes + 1` beats a frame.
    abort
        In: the frame being summed is void. A packet that is complete is still sent.

    Throughput: an event or token a cycle. Latency: a frame whose last token is taken in cycle `k` offers its first
    beat in `k + classes + 1` (the sender looks at one sum a cycle). Stalls: a frame's last token waits while the
    sender is busy with the frame before.
    """

    def __init__(self, mapping: LayerMapping, network: QuantizedNetwork):
        self.classes = network.classes
        self.group = network.readout.group
        self.steps = network.steps
        self.neurons = mapping.outputs
        self.value = output_value_shape(mapping)
        self.sum_bits = sum_bits(network)
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(mapping.output_address_bits, self.value))),
                "packets": Out(stream.Signature(packet_layout())),
                "abort": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        classes = self.classes
        event, packet = self.events.payload, self.packets.payload
        sums = [Signal(signed(self.sum_bits), name=f"sum{c}") for c in range(classes)]
        sending = [Signal(signed(self.sum_bits), name=f"sending{c}") for c in range(classes)]
        step = Signal(range(max(2, self.steps)), name="step")
        count = Signal(range(classes + 1), name="count")
        searching = Signal(name="searching")
        ready_to_send = Signal(name="ready_to_send")
        best = Signal(signed(self.sum_bits), name="best")
        best_class = Signal(range(max(2, classes)), name="best_class")
        bad = Signal(name="bad")
        frame_ends = Signal(name="frame_ends")
        taken = Signal(name="taken")
        m.d.comb += [
            frame_ends.eq(event.end & (step == self.steps - 1)),
            self.events.ready.eq(~(frame_ends & (searching | ready_to_send))),
            taken.eq(self.events.valid & self.events.ready & ~self.abort),
        ]

        with m.If(taken & ~event.end), m.Switch(event.source):
            for address, neuron in enumerate(self.neurons):
                if neuron >= 0:
                    total = sums[neuron // self.group]
                    with m.Case(address):
                        m.d.sync += total.eq(total + event["value"])
        with m.If(taken & event.end):
            m.d.sync += step.eq(Mux(frame_ends, 0, step + 1))
        with m.If(taken & frame_ends):
            m.d.sync += [new.eq(old) for new, old in zip(sending, sums, strict=True)]
            m.d.sync += [total.eq(0) for total in sums]
            m.d.sync += [searching.eq(1), count.eq(0), bad.eq(event.bad)]
        with m.If(self.abort):
            m.d.sync += [total.eq(0) for total in sums]
            m.d.sync += step.eq(0)

        # The sums go round once while the largest is found, and once more while they are sent.
        turn = Signal(name="turn")
        with m.If(turn):
            m.d.sync += [new.eq(old) for new, old in zip(sending, [*sending[1:], sending[0]], strict=True)]
        with m.If(searching):
            m.d.comb += turn.eq(1)
            m.d.sync += count.eq(count + 1)
            with m.If((count == 0) | (sending[0] > best)):
                m.d.sync += [best.eq(sending[0]), best_class.eq(count)]
            with m.If(count == classes - 1):
                m.d.sync += [searching.eq(0), ready_to_send.eq(1), count.eq(0)]

        m.d.comb += [
            self.packets.valid.eq(ready_to_send),
            packet.word.eq(Mux(count == 0, best_class, sending[0])),
            packet.last.eq(count == classes),
            packet.bad.eq(bad),
        ]
        with m.If(self.packets.valid & self.packets.ready):
            m.d.sync += count.eq(count + 1)
            m.d.comb += turn.eq(count != 0)
            with m.If(packet.last):
                m.d.sync += ready_to_send.eq(0)
        return m


def sum_bits(network: QuantizedNetwork) -> int:
    """Width of a class's sum: spikes of a group over all steps, or its membranes."""
    group = network.readout.group
    if network.readout.kind == "count":
        return signed_bits(0, group * network.steps)
    low, high = network.ranges[-1].membrane
    return signed_bits(group * low, group * high)
