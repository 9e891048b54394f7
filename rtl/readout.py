"""The read-out: adds up the events of the last layer, finds the class, sends the packet."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..bits import signed_bits
from ..quantize.interface import SUM_BITS
from ..quantize.network import QuantizedNetwork
from ..quantize.network import Readout as Described
from ..shapes import OF_SPIKES
from .largest import growth_shape
from .latency import BANKS
from .mapping import LayerMapping
from .memory import read_port, write_port
from .outputs import NUMBER_BITS
from .streams import event_layout
from .update import output_value_shape

WORD_BITS = SUM_BITS
assert NUMBER_BITS == WORD_BITS
FLIP_FLOP_BITS = 256  # without LUT RAM, sums of at most this many bits are flip-flops


def packet_layout() -> data.StructLayout:
    """One beat of a result packet: `Outputs` says which word is which; `bad` on all of them."""
    return data.StructLayout({"word": signed(WORD_BITS), "last": 1, "bad": 1})


class Readout(wiring.Component):
    """Adds up the values of the last layer's events by class; at a frame's last token the sums move to the sender.

    Ports
    -----
    events
        In: events and tokens of the last core, `steps` tokens per frame.
    packets
        Out: `packet_layout`, `classes + 1` beats per frame, and one more for the number of a step.
    abort
        In: the frame being summed is void, or what is left of it. A packet that is complete is still sent.
    complete, release
        Of one of several read-outs, with a `Gather` behind: Out: a frame's last token has been taken; In: the packet of
        that frame has been sent, or is void.

    decides, ends
        Of first spikes that answer early: Out: the token that decides a frame is taken, and is not its last one; a
        frame's last token is taken.

    Of first spikes, the first step with an event decides: what comes after it in a frame is dropped. In a chain the
    token of that step is taken as the frame's last one, so that the packet leaves early; a malformed frame is marked if
    it was so until then. In other graphs the flag of a frame comes with its last token, and the packet waits for it.

    In a stream a frame is one step, and the packet of the first read-out begins with the number of the step.

    The sums are in two banks of memory; one is filled while the other is sent. Size is proportional to the classes.

    Throughput: one event or token per cycle. Latency: a frame whose last token is taken in cycle `k` offers its first
    beat in `k + classes + 1` (the sender reads one sum per cycle). Stalls: a frame's last token waits while the
    sender is busy with the frame before.
    """

    def __init__(
        self,
        mapping: LayerMapping,
        network: QuantizedNetwork,
        number: int = 0,
        cancels: bool = False,
        waits: bool = False,
    ):
        """The read-out `number` of `network`, of the population of `mapping`. `cancels`: with `decides` and `ends`.
        `waits`: a packet leaves after its frame's last token in any case, and is marked if that says so.

        Values are those that its core sends; of largest membranes, their growths (`rtl/largest.py`).
        """
        described = network.readouts[number]
        self.classes = network.classes_of[number]
        self.group = described.group
        self.steps = network.steps
        self.neurons = mapping.sent[0]
        steps = None if network.stream else network.steps
        self.value = growth_shape(mapping, steps) if described.kind == "largest" else output_value_shape(mapping)
        self.sum_bits = sum_bits(mapping, described, network.steps)
        self.shared = len(network.readouts) > 1
        self.numbered = network.stream and number == 0
        self.first = described.kind == "first"
        self.early = network.answers_early and not waits
        self.cancels = cancels
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(mapping.output_address_bits(), self.value))),
                "packets": Out(stream.Signature(packet_layout())),
                "abort": In(1),
            }
            | ({"complete": Out(1), "release": In(1)} if self.shared else {})
            | ({"decides": Out(1), "ends": Out(1)} if self.cancels else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        classes = self.classes
        event, packet = self.events.payload, self.packets.payload
        step = Signal(range(max(2, self.steps)), name="step")
        count = Signal(range(classes + 1), name="count")
        searching = Signal(name="searching")
        ready_to_send = Signal(name="ready_to_send")
        best = Signal(signed(self.sum_bits), name="best")
        best_class = Signal(range(max(2, classes)), name="best_class")
        bad = Signal(name="bad")
        frame_ends = Signal(name="frame_ends")
        decided = Signal(name="decided")  # of first spikes: a step before had one
        taken = Signal(name="taken")
        bank = Signal(name="bank")  # the one that is filled
        present = Signal(classes, name="present")
        at_end: Value = event.end & (step == self.steps - 1)
        m.d.comb += [
            frame_ends.eq(event.end & ~decided & (at_end | present.any()) if self.early else at_end),
            self.events.ready.eq(~(frame_ends & (searching | ready_to_send))),
            taken.eq(self.events.valid & self.events.ready & ~self.abort),
        ]

        if self.cancels:
            m.d.comb += [self.decides.eq(taken & frame_ends & ~at_end), self.ends.eq(taken & at_end)]

        # An event's class is found and its sum is read, then the sum is written back. A class that has no sum yet has
        # no bit in `present`: so a bank is empty at once.
        event_class = Signal(range(max(2, classes)), name="event_class")
        exists = Signal(name="exists")
        with m.Switch(event.source):
            for address, neuron in enumerate(self.neurons):
                if neuron >= 0:
                    with m.Case(address):
                        m.d.comb += [exists.eq(1), event_class.eq(int(neuron) // self.group)]
        adds = Signal(name="adds")
        add_bank = Signal(name="add_bank")
        add_class = Signal.like(event_class, name="add_class")
        first = Signal(name="first")
        value = Signal(range(self.steps + 1) if self.first else Shape.cast(self.value), name="value")
        present_sending = Signal(classes, name="present_sending")
        m.d.comb += adds.eq(taken & ~event.end & exists & ~decided if self.first else taken & ~event.end & exists)
        add = Signal(name="add")
        m.d.sync += [
            add.eq(adds),
            add_bank.eq(bank),
            add_class.eq(event_class),
            first.eq(~present.bit_select(event_class, 1)),
            value.eq(self.steps - step if self.first else event["value"]),
        ]
        with m.If(adds):
            m.d.sync += present.eq(present | (1 << event_class))
        with m.If(taken & event.end):
            m.d.sync += step.eq(Mux(at_end if self.early else frame_ends, 0, step + 1))
        with m.If(taken & frame_ends):
            m.d.sync += [bank.eq(~bank), present_sending.eq(present), present.eq(0)]
            m.d.sync += [searching.eq(1), count.eq(0), bad.eq(event.bad)]
        if self.first:
            with m.If(taken & event.end):
                m.d.sync += decided.eq(~at_end & (decided | present.any()))
            with m.If(self.abort):
                m.d.sync += decided.eq(0)
        with m.If(self.abort):
            m.d.sync += [present.eq(0), step.eq(0)]

        # The bank being filled is read for the next event, or at its end for the first class. The other bank is read
        # for
        # the next class.
        shown = Signal(range(classes + 1), name="shown")  # class whose sum has been read
        next_shown = Signal.like(shown, name="next_shown")
        total = Signal(signed(self.sum_bits), name="total")
        sums = []
        for b in range(BANKS):
            memory = Memory(shape=signed(self.sum_bits), depth=max(2, classes), init=[], attrs=self._style(platform))
            m.submodules[f"sums{b}"] = memory
            write = write_port(memory, f"write{b}")
            read = read_port(memory, f"read{b}", transparent_for=(write,))
            m.d.comb += [
                read.en.eq(1),
                read.addr.eq(Mux(bank == b, Mux(event.end, 0, event_class), next_shown)),
                write.en.eq(add & (add_bank == b)),
                write.addr.eq(add_class),
                write.data.eq(total),
            ]
            sums.append(read.data)
        m.d.comb += total.eq(Mux(first, 0, Mux(add_bank, sums[1], sums[0])) + value)
        # Whether that class has a sum is read with it: the comparison below begins at a register.
        shown_exists = Signal(name="shown_exists")
        m.d.sync += [shown.eq(next_shown), shown_exists.eq(present_sending.bit_select(next_shown, 1))]
        with m.If(taken & frame_ends):
            m.d.sync += shown_exists.eq(present[0])

        # All sums are read once to find the largest, and once more to send them.
        current = Signal(signed(self.sum_bits), name="current")
        m.d.comb += current.eq(Mux(shown_exists, Mux(bank, sums[0], sums[1]), 0))
        with m.If(searching):
            m.d.comb += next_shown.eq(count + 1)
            m.d.sync += count.eq(count + 1)
            with m.If((count == 0) | (current > best)):
                m.d.sync += [best.eq(current), best_class.eq(count)]
            with m.If(count == classes - 1):
                m.d.comb += next_shown.eq(0)
                m.d.sync += [searching.eq(0), ready_to_send.eq(1), count.eq(0)]
        with m.Elif(ready_to_send):
            m.d.comb += next_shown.eq(shown)

        word: Value = Mux(count == 0, best_class, current)
        sends: Value = self.packets.valid & self.packets.ready
        if self.numbered:
            word, sends = self._number(m, taken & frame_ends, word, sends)
        m.d.comb += [
            self.packets.valid.eq(ready_to_send),
            packet.word.eq(word),
            packet.last.eq(count == classes),
            packet.bad.eq(bad),
        ]
        with m.If(sends):
            m.d.sync += count.eq(count + 1)
            m.d.comb += next_shown.eq(count)
            with m.If(packet.last):
                m.d.comb += next_shown.eq(0)
                if not self.shared:
                    m.d.sync += ready_to_send.eq(0)
        if self.shared:
            m.d.comb += self.complete.eq(searching | ready_to_send)
            with m.If(self.release):
                m.d.sync += [searching.eq(0), ready_to_send.eq(0)]
        return m

    def _number(self, m: Module, ends: Value, word: Value, sends: Value) -> tuple[Value, Value]:
        """The number of a step in front of the other words: the word that is offered, and whether another one than the
        number is taken. `ends`: the token of a step is taken, which counts the steps since reset.
        """
        number = Signal(NUMBER_BITS, name="number")
        number_sending = Signal(NUMBER_BITS, name="number_sending")
        number_sent = Signal(name="number_sent")
        with m.If(ends):
            m.d.sync += [number_sending.eq(number), number.eq(number + 1)]
        with m.If(self.abort):
            m.d.sync += number.eq(0)
        with m.If(self.packets.valid & self.packets.ready):
            m.d.sync += number_sent.eq(~self.packets.payload.last)
        return Mux(number_sent, word, number_sending.as_signed()), sends & number_sent

    def _style(self, platform: object) -> dict[str, str]:
        """The iCE40 has no LUT RAM: small memories of sums are flip-flops there."""
        few = getattr(platform, "family", "") == "iCE40" and self.classes * self.sum_bits <= FLIP_FLOP_BITS
        return {"ram_style": "registers"} if few else {}


def sum_bits(mapping: LayerMapping, readout: Described, steps: int) -> int:
    """Width of a class's sum: spikes of a group over all steps, or its membranes, of one step or of all."""
    group = readout.group
    if readout.kind in OF_SPIKES:
        return signed_bits(0, group * steps)
    low, high = mapping.ranges.membrane
    if readout.kind == "sum":
        group *= steps
    return signed_bits(group * low, group * high)
