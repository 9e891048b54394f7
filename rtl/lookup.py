"""Lookup of a processing element: from an event to its list of synapses."""

from __future__ import annotations

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .mapping import LayerMapping
from .memory import read_port, word_layout


def pointer_layout(mapping: LayerMapping) -> data.StructLayout:
    """A word of a pointer memory, `SynapseFormat.pointer`."""
    return word_layout(mapping.synapse_format.pointer)


def run_layout(mapping: LayerMapping, event: ShapeLike) -> data.StructLayout:
    """An event or token of layout `event`, with the pointer of its list; the pointer of a token has no meaning."""
    return data.StructLayout({"event": event, "pointer": pointer_layout(mapping)})


class Lookup(wiring.Component):
    """Looks up the run of synapses of each event in the pointer memory of PE `pe`; tokens pass in order.

    The pointer memory's output register is the first stage, `runs` the second.

    Ports
    -----
    events
        In: events and tokens, `located_layout`.
    runs
        Out: `run_layout`. Events without synapses are dropped.

    Throughput: one event per cycle. Latency: an event accepted in cycle `a` is offered in `a + 2`, two lookup stages of
    `latency.LOOKUP_STAGE`. Stalls: `runs.ready` low while both stages hold an event.
    """

    def __init__(self, mapping: LayerMapping, pe: int, event: ShapeLike):
        self.mapping = mapping
        self.pe = pe
        self.event = event
        super().__init__(
            {
                "events": In(stream.Signature(event)),
                "runs": Out(stream.Signature(run_layout(mapping, event))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        events, runs = self.events, self.runs
        pointer = pointer_layout(self.mapping)
        pointers = [pointer.from_bits(word) for word in self.mapping.pointer_words(self.pe).tolist()]
        m.submodules.pointers = memory = Memory(shape=pointer, depth=max(2, len(pointers)), init=pointers)
        port = read_port(memory, "pointer")

        looked_up = Signal(name="looked_up")
        looked_event = Signal(self.event, name="looked_event")
        lookup_leaves = Signal(name="lookup_leaves")
        m.d.comb += [
            lookup_leaves.eq(~runs.valid | runs.ready),
            events.ready.eq(~looked_up | lookup_leaves),
            port.addr.eq(events.payload.source),
            port.en.eq(events.ready),
        ]
        with m.If(events.ready):
            m.d.sync += [looked_up.eq(events.valid), looked_event.eq(events.payload)]
        with m.If(lookup_leaves):
            m.d.sync += [
                runs.valid.eq(looked_up & (looked_event.end | (port.data.count != 0))),
                runs.payload.pointer.eq(port.data),
                runs.payload.event.eq(looked_event),
            ]
        return m
