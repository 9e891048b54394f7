"""One layer in hardware: processing elements that integrate, a fire unit that scans, a serialiser that sends."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .addressing import locate, located_layout
from .fire import FireUnit
from .latency import BANKS
from .loading import load_ports
from .mapping import LayerMapping
from .pe import ProcessingElement, value_shape
from .serialiser import Serialiser
from .streams import event_layout
from .update import output_value_shape


class Core(wiring.Component):
    """The core of one layer.

    Ports
    -----
    events
        In: events and end-of-step tokens, broadcast to all PEs; taken if no PE's queue is full.
    spikes
        Out: this layer's events and tokens, addresses in scan order; in a membrane read-out the membranes, as events
        of the last step.
    load_write, load_address, load_word
        In, if `loadable`: a word for the synapse memory of the PE whose bit is set.

    `fire_valid`, `fire_spikes`, `fire_membranes` show every update of the layer, for traces. Integration of a step
    overlaps the scan of the step before. Throughput: the cycles of a step are the largest of its events, the synapses
    of its most loaded PE, its rows and its spikes; `sim/timing/` is exact.
    """

    def __init__(self, mapping: LayerMapping, steps: int, static: bool, loadable: bool = False):
        self.mapping = mapping
        self.loadable = loadable
        self.steps = steps
        self.static = static
        super().__init__(
            {
                "events": In(stream.Signature(event_layout(mapping.address_bits, value_shape(mapping)))),
                "spikes": Out(stream.Signature(event_layout(mapping.output_address_bits, output_value_shape(mapping)))),
            }
            | (load_ports(mapping, mapping.pes) if loadable else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping = self.mapping
        m.submodules.fire = fire = FireUnit(mapping, self.steps, self.steps if self.static else 1)
        m.submodules.serialiser = serialiser = Serialiser(
            mapping.scan.output_bits,
            mapping.pes,
            output_value_shape(mapping),
            mapping.row_queue_depth,
            mapping.output_address_bits,
        )
        event = self.events.payload
        located = Signal(located_layout(mapping, value_shape(mapping)), name="located")
        m.d.comb += [located[name].eq(event[name]) for name in ("value", "end", "bad")]
        locate(m, mapping, event.source, located)
        pes = [ProcessingElement(mapping, p, self.loadable) for p in range(mapping.pes)]
        for p, pe in enumerate(pes):
            m.submodules[f"pe{p}"] = pe
            m.d.comb += [
                pe.events.payload.eq(located),
                pe.events.valid.eq(self.events.valid & self.events.ready),
                pe.row.eq(fire.row),
                pe.read.eq(fire.read),
                pe.clear.eq(fire.clear),
                pe.clear_row.eq(fire.clear_row),
                pe.release.eq(fire.release),
                fire.sums[p].eq(pe.sums),
            ]
            if self.loadable:
                m.d.comb += [
                    pe.load_write.eq(self.load_write[p]),
                    pe.load_address.eq(self.load_address),
                    pe.load_word.eq(self.load_word),
                ]
        # `fire.running`, one cycle later: it is on the longest path, so a register drives nothing else.
        cleared = Signal(name="cleared")
        m.d.sync += cleared.eq(fire.running)
        m.d.comb += [
            self.events.ready.eq(cleared & Cat(pe.events.ready for pe in pes).all()),
            fire.bad.eq(pes[0].bad),
            fire.credit.eq(serialiser.credit),
        ]
        m.d.comb += [fire.full[b].eq(Cat(pe.full[b] for pe in pes).all()) for b in range(BANKS)]
        wiring.connect(m, fire.rows, serialiser.rows)
        wiring.connect(m, serialiser.events, wiring.flipped(self.spikes))

        fire_valid = Signal(name="fire_valid")
        fire_spikes = Signal.like(fire.update_spikes, name="fire_spikes")
        fire_membranes = Signal.like(fire.update_membranes, name="fire_membranes")
        m.d.comb += [
            fire_valid.eq(fire.update_valid),
            fire_spikes.eq(fire.update_spikes),
            fire_membranes.eq(fire.update_membranes),
        ]
        return m
