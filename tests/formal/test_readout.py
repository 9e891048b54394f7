"""The read-out: every frame has one packet, with its class and its sums, whatever the listener does.

Checked for every input of the first cycles, enough for two packets; not by induction.
"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Assert, Const, Cover, Module, Mux, Signal, Value, signed
from prover import Claim, Refuted, free, prove

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.readout import Readout as Unit


def network(classes: int, steps: int, group: int, spiking: bool, kind: str = "static") -> QuantizedNetwork:
    neurons = classes * group
    neuron = IntNeuron("none", "soft" if spiking else "hard", np.array([1]), spiking=spiking, membrane_bits=3)
    synapses = Dense(np.ones((neurons, 1), np.int8), np.zeros(neurons, np.int64))
    readout = Readout("count" if spiking else "membrane", group)
    return QuantizedNetwork.chain(
        Input((1,), bits=1, kind=kind), (Layer("out", (1,), synapses, neuron, 2),), steps, readout
    )


class OnePacketEach(Claim):
    """A model of three lines, sums, sums being sent, beats sent, runs beside the unit."""

    def __init__(self, of: QuantizedNetwork, design: type[Unit] = Unit):
        self.network = of
        self.design = design

    def body(self, m: Module) -> None:
        net = self.network
        classes, steps = net.classes, net.steps
        mapping = map_network(net, (2,))
        unit = self.design(mapping.layers[0], net)
        m.submodules.unit = unit
        for signal in (unit.events.payload, unit.events.valid, unit.packets.ready, unit.abort):
            free(m, signal)
        event, packet = unit.events.payload, unit.packets.payload
        takes, sends = Signal(), Signal()
        m.d.comb += [
            takes.eq(unit.events.valid & unit.events.ready & ~unit.abort),
            sends.eq(unit.packets.valid & unit.packets.ready),
        ]

        # The model. A frame has no more than so many events: the width of a sum follows from that.
        shape = signed(unit.sum_bits)
        sums = [Signal(shape, name=f"model_sum{c}") for c in range(classes)]
        sent = [Signal(shape, name=f"model_sent{c}") for c in range(classes)]
        lead = int(net.stream)  # the number of the step
        step, beat = Signal(range(steps + 1)), Signal(range(classes + 2 + lead))
        number, number_sent = Signal(32), Signal(32)
        sending, bad = Signal(), Signal()
        for address, neuron in enumerate(unit.neurons):
            if neuron >= 0:
                with m.If(takes & ~event.end & (event.source == address)):
                    total = sums[neuron // net.readout.group]
                    m.d.sync += total.eq(total + event["value"])
        ends = Signal()
        m.d.comb += ends.eq(takes & event.end & (step == steps - 1))
        with m.If(takes & event.end):
            m.d.sync += step.eq(step + 1)
        with m.If(ends):
            m.d.sync += [step.eq(0), sending.eq(1), beat.eq(0), bad.eq(event.bad)]
            m.d.sync += [number_sent.eq(number), number.eq(number + 1)]
            m.d.sync += [new.eq(old) for new, old in zip(sent, sums, strict=True)]
        with m.If(ends | unit.abort):
            m.d.sync += [total.eq(0) for total in sums]
        with m.If(unit.abort):
            m.d.sync += [step.eq(0), number.eq(0)]
        with m.If(sends):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == classes + lead):
                m.d.sync += sending.eq(0)

        # What leaves is the model's; a token waits only for the packet before; a packet comes in time.
        winner = place_of_largest(sent)
        with m.If(unit.packets.valid):
            m.d.comb += [Assert(sending), Assert(packet.bad == bad), Assert(packet.last == (beat == classes + lead))]
            if lead:
                with m.If(beat == 0):
                    m.d.comb += Assert(packet.word == number_sent.as_signed())
            with m.If(beat == lead):
                m.d.comb += Assert(packet.word == winner)
            for c in range(classes):
                with m.If(beat == c + 1 + lead):
                    m.d.comb += Assert(packet.word == sent[c])
        m.d.comb += Assert(unit.events.ready == ~(event.end & (step == steps - 1) & sending))
        waited = Signal(range(classes + 2))
        m.d.sync += waited.eq(Mux(ends | unit.packets.valid | ~sending, 0, waited + 1))
        m.d.comb += Assert(waited <= classes)
        m.d.comb += [
            Cover(sends & packet.last & packet.bad & (winner == classes - 1)),
            Cover(sending & unit.abort),
            Cover(sending & unit.events.valid & ~unit.events.ready),
        ]


def place_of_largest(values: list[Signal]) -> Value:
    """Index of the largest value, the first of equal ones."""
    index: Value = Const(0, range(max(2, len(values))))
    best: Value = values[0]
    for place, value in enumerate(values[1:], 1):
        index, best = Mux(value > best, place, index), Mux(value > best, value, best)
    return index


@pytest.mark.parametrize(("classes", "steps", "group", "spiking"), [(2, 1, 1, True), (1, 2, 1, True)])
def test_one_packet_each(classes, steps, group, spiking):
    name = f"readout{classes}-{steps}-{group}-{'count' if spiking else 'membrane'}"
    depth = 2 * (steps + 2 * classes + 1)  # twice a frame of tokens alone, its search and its packet
    prove(OnePacketEach(network(classes, steps, group, spiking)), name, depth, "bmc", registers=True)


def test_a_packet_of_each_step_with_its_number():
    streamed = network(1, 1, 1, True, "spikes").streamed
    prove(OnePacketEach(streamed), "readout-stream", 10, "bmc", registers=True)


def test_packets_and_waits_are_reached():
    prove(OnePacketEach(network(2, 1, 1, True)), "readout2", 12, "cover", registers=True)


class Impatient(Unit):
    """Takes a frame's last token while the packet before is being sent."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.events.ready.eq(1)
        return m


def test_a_broken_read_out_is_refuted():
    with pytest.raises(Refuted, match="Assert failed"):
        prove(OnePacketEach(network(2, 1, 1, True), Impatient), "readout-broken", 4, "bmc", registers=True)
