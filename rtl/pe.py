"""A processing element: one column of a layer's neurons, with its own event queue, synapses and accumulators."""

from __future__ import annotations

from amaranth.hdl import Module, Shape, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .accumulators import Accumulators
from .addressing import located_layout
from .fifo import Queue
from .loading import load_ports
from .lookup import Lookup
from .mapping import LayerMapping
from .reader import Reader


def value_shape(mapping: LayerMapping) -> Shape:
    """Shape of the value that comes with an event."""
    return unsigned(mapping.value_bits)


class ProcessingElement(wiring.Component):
    """Adds the synapses of each event into the accumulators of PE `pe`: `Queue`, `Lookup`, `Reader`, `Accumulators`.

    An event waits in the queue. The pointer of its list is looked up, its synapses are read, one per cycle, and each
    weight (times the value, on static input) is added to the accumulator of its target row, if there is one. An
    end-of-step token closes the current accumulator bank. Later events go to the other bank, after the fire unit has
    released it.

    Ports
    -----
    events
        In: events and tokens, `located_layout`; ready comes from a register.
    row, read
        In: while `read[b]` is set, bank `b` belongs to the fire unit: it is read at `row`.
    clear, clear_row
        In: bank `b` is set to zero at `clear_row` where `clear[b]`.
    release
        In: bank `b` may be filled again.
    sums
        Out: the accumulator of each bank, one cycle after `read`; held while `read` is low.
    full, bad
        Out: bank `b` holds a complete step; the step's token was marked bad.
    load_write, load_address, load_word
        In, if `loadable`: a word for the synapse memory, which then has no initial contents. Not while there are
        events.

    Throughput: one synapse per cycle and one event per cycle, whichever is slower. An event without synapses costs its
    lookup, which overlaps the synapses of the events before it (two lookups run ahead). Latency: an event accepted in
    cycle `a` reaches the lookup in `a + 1` and is handed to the synapse reader in `a + 3`; a token handed over in
    cycle `h` makes its bank full in `h + token_latency` (`rtl/latency.py`). Stalls: events after a token, while their
    bank is not released.
    """

    def __init__(self, mapping: LayerMapping, pe: int, loadable: bool = False):
        self.mapping = mapping
        self.pe = pe
        self.loadable = loadable
        self.event = located_layout(mapping, value_shape(mapping))
        self.lookup = Lookup(mapping, pe, self.event)
        self.reader = Reader(mapping, pe, self.event, loadable)
        self.accumulators = Accumulators(mapping, value_shape(mapping))
        super().__init__(
            {
                "events": In(stream.Signature(self.event)),
                "row": In(mapping.row_bits),
                "read": In(mapping.banks),
                "clear": In(mapping.banks),
                "clear_row": In(mapping.row_bits),
                "release": In(mapping.banks),
                "sums": Out(data.ArrayLayout(signed(mapping.current_bits), mapping.banks)),
                "full": Out(mapping.banks),
                "bad": Out(mapping.banks),
            }
            | (load_ports(mapping, 1) if loadable else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.event, self.mapping.queue_depth)
        m.submodules.lookup = lookup = self.lookup
        m.submodules.reader = reader = self.reader
        m.submodules.accumulators = accumulators = self.accumulators
        wiring.connect(m, wiring.flipped(self.events), queue.i)
        wiring.connect(m, queue.o, lookup.events)
        wiring.connect(m, lookup.runs, reader.runs)
        m.d.comb += [accumulators.addends.eq(reader.addends), reader.release.eq(self.release)]
        for name in ("row", "read", "clear", "clear_row", "release"):
            m.d.comb += getattr(accumulators, name).eq(getattr(self, name))
        for name in ("sums", "full", "bad"):
            m.d.comb += getattr(self, name).eq(getattr(accumulators, name))
        if self.loadable:
            for name in ("load_write", "load_address", "load_word"):
                m.d.comb += getattr(reader, name).eq(getattr(self, name))
        return m
