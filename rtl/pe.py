"""A processing element: one column of a layer's neurons, with its own event queue, synapses and accumulators."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .fifo import Queue
from .latency import BANKS
from .loading import LoadableMemory, load_ports
from .mapping import LayerMapping
from .memory import read_port, write_port
from .placing import located_layout, place, synapse_layout


def value_shape(mapping: LayerMapping) -> Shape:
    """Shape of the value that comes with an event."""
    return unsigned(mapping.value_bits)


class ProcessingElement(wiring.Component):
    """Adds the synapses of each event into the accumulators of PE `pe`.

    An event waits in the queue, the pointer of its list is looked up, its run of synapses is read one a cycle, and
    each weight (times the value, on static input) is added to the accumulator of its target row, if there is one. An
    end-of-step token closes the accumulator bank in use; what follows goes into the other bank, once the fire unit has
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
        In, if `loadable`: a word for the synapse memory, which then has no contents of its own. Not while events are
        there.

    Throughput: one synapse a cycle and one event a cycle, whichever is more; an event without synapses costs its
    lookup, which overlaps the synapses of the events before it (two lookups run ahead). Latency: an event accepted in
    cycle `a` reaches the lookup in `a + 1` and is handed to the synapse reader in `a + 3`; a token handed over in
    cycle `h` makes its bank full in `h + token_latency` (`rtl/latency.py`). Stalls: whatever follows a token, while the
    bank it goes to is not released.
    """

    def __init__(self, mapping: LayerMapping, pe: int, loadable: bool = False):
        self.mapping = mapping
        self.pe = pe
        self.loadable = loadable
        self.event = located_layout(mapping, value_shape(mapping))
        super().__init__(
            {
                "events": In(stream.Signature(self.event)),
                "row": In(mapping.row_bits),
                "read": In(BANKS),
                "clear": In(BANKS),
                "clear_row": In(mapping.row_bits),
                "release": In(BANKS),
                "sums": Out(data.ArrayLayout(signed(mapping.current_bits), BANKS)),
                "full": Out(BANKS),
                "bad": Out(BANKS),
            }
            | (load_ports(mapping, 1) if loadable else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, pe = self.mapping, self.pe
        product_shape = signed(mapping.weight_bits + (mapping.value_bits if mapping.value_bits > 1 else 0))

        m.submodules.queue = queue = Queue(self.event, mapping.queue_depth)
        wiring.connect(m, wiring.flipped(self.events), queue.i)

        strided = mapping.stride_bits is not None
        pointer = data.StructLayout(
            {"count": mapping.count_bits} | ({} if strided else {"start": mapping.start_bits}),
        )
        fields = {"count": mapping.counts[pe]} | ({} if strided else {"start": mapping.starts[pe]})
        pointers = [{name: int(fields[name][a]) for name in fields} for a in range(mapping.counts.shape[1])]
        m.submodules.pointers = pointer_memory = Memory(shape=pointer, depth=max(2, len(pointers)), init=pointers)
        pointer_port = read_port(pointer_memory, "pointer")

        word = synapse_layout(mapping)

        # Lookup: the pointer memory's output register is the first stage, `run` the second.
        looked_up = Signal(name="looked_up")
        looked_event = Signal(self.event, name="looked_event")
        run_valid = Signal(name="run_valid")
        run = Signal(pointer, name="run")
        run_event = Signal(self.event, name="run_event")
        run_leaves = Signal(name="run_leaves")
        lookup_leaves = Signal(name="lookup_leaves")
        m.d.comb += [
            lookup_leaves.eq(~run_valid | run_leaves),
            queue.o.ready.eq(~looked_up | lookup_leaves),
            pointer_port.addr.eq(queue.o.payload.source),
            pointer_port.en.eq(queue.o.ready),
        ]
        with m.If(queue.o.ready):
            m.d.sync += [looked_up.eq(queue.o.valid), looked_event.eq(queue.o.payload)]
        with m.If(lookup_leaves):
            m.d.sync += [
                run_valid.eq(looked_up & (looked_event.end | (pointer_port.data.count != 0))),
                run.eq(pointer_port.data),
                run_event.eq(looked_event),
            ]

        # Synapse reader: one address a cycle; a token takes one cycle too.
        reading = Signal(name="reading")
        ends = Signal(name="ends")  # the run's last cycle
        left = Signal(mapping.count_bits, name="left")
        address = Signal(mapping.synapse_address_bits, name="address")
        read_event = Signal(self.event, name="read_event")
        synapse = self._synapses(m, word, address)
        bank = Signal(name="bank")
        busy = Signal(BANKS, name="busy")
        reader_free = Signal(name="reader_free")
        m.d.comb += [
            reader_free.eq(~reading | ends),
            run_leaves.eq(run_valid & reader_free & ~busy.bit_select(bank, 1)),
        ]
        m.d.sync += [left.eq(left - 1), ends.eq(left == 1), address.eq(address + 1)]
        with m.If(reader_free):
            m.d.sync += [
                reading.eq(run_leaves),
                left.eq(run.count - 1),
                ends.eq(run_event.end | (run.count == 1)),
                address.eq(Cat(Const(0, mapping.stride_bits), run_event.source) if strided else run.start),
                read_event.eq(run_event),
            ]
        reading_bank = Signal(name="reading_bank")
        with m.If(run_leaves):
            m.d.sync += reading_bank.eq(bank)
        m.d.sync += busy.eq(busy & ~self.release)
        with m.If(run_leaves & run_event.end):
            m.d.sync += [bank.eq(~bank), busy.eq((busy & ~self.release) | (1 << bank))]

        # Stage 1: the synapse word leaves its memory, its row is found. Stage 2: product and accumulator read. Stage 3:
        # add and write.
        stages = data.StructLayout({"valid": 1, "token": 1, "bad": 1, "bank": 1, "value": value_shape(mapping)})
        stage1, stage2, stage3 = (Signal(stages, name=f"stage{i}") for i in (1, 2, 3))
        event1 = Signal(self.event, name="event1")
        stage, weight, row = place(m, mapping, stage1, synapse, event1)
        weight2 = Signal(signed(mapping.weight_bits), name="weight2")
        row2 = Signal(mapping.row_bits, name="row2")
        row3 = Signal(mapping.row_bits, name="row3")
        product3 = Signal(product_shape, name="product3")
        m.d.sync += [
            stage1.valid.eq(reading & ~read_event.end),
            stage1.token.eq(reading & read_event.end),
            stage1.bad.eq(read_event.bad),
            stage1.bank.eq(reading_bank),
            stage1.value.eq(read_event.value),
            event1.eq(read_event),
            stage2.eq(stage),
            weight2.eq(weight),
            row2.eq(row),
            stage3.eq(stage2),
            row3.eq(row2),
            product3.eq(weight2 * stage2.value if mapping.value_bits > 1 else weight2),
        ]

        # Accumulator banks. The sum written last cycle is forwarded: the memory does not show it yet. That the rows
        # agree is found a stage earlier; the banks do, for a token lies between synapses of two.
        sum3 = Signal(signed(mapping.current_bits), name="sum3")
        read3 = Signal(signed(mapping.current_bits), name="read3")
        last_sum = Signal.like(sum3, name="last_sum")
        forward = Signal(name="forward")
        read_data = []
        for b in range(BANKS):
            memory = Memory(shape=signed(mapping.current_bits), depth=mapping.rows, init=[])
            m.submodules[f"bank{b}"] = memory
            read, write = read_port(memory, f"read{b}"), write_port(memory, f"write{b}")
            fires = self.read[b]
            accumulate = stage3.valid & (stage3.bank == b)
            m.d.comb += [
                read.en.eq(fires | (stage2.valid & (stage2.bank == b))),
                read.addr.eq(Mux(fires, self.row, row2)),
                write.en.eq(accumulate | self.clear[b]),
                write.addr.eq(Mux(self.clear[b], self.clear_row, row3)),
                write.data.eq(Mux(self.clear[b], 0, sum3)),
                self.sums[b].eq(read.data),
            ]
            read_data.append(read.data)
            with m.If(self.release[b]):
                m.d.sync += self.full[b].eq(0)
            with m.If(stage3.token & (stage3.bank == b)):
                m.d.sync += [self.full[b].eq(1), self.bad[b].eq(stage3.bad)]
        m.d.comb += [
            read3.eq(Mux(forward, last_sum, Mux(stage3.bank, read_data[1], read_data[0]))),
            sum3.eq(read3 + product3),
        ]
        m.d.sync += [last_sum.eq(sum3), forward.eq(stage3.valid & (row3 == row2))]
        return m

    def _synapses(self, m: Module, word: data.StructLayout, address: Signal) -> data.View:
        """The synapse at `address`, one cycle later."""
        mapping = self.mapping
        if self.loadable:
            m.submodules.synapses = loaded = LoadableMemory(mapping.synapse_depth, mapping.synapse_bits)
            m.d.comb += [
                loaded.write.eq(self.load_write),
                loaded.word.eq(self.load_word),
                loaded.address.eq(Mux(self.load_write, self.load_address, address)),
            ]
            return data.View(word, loaded.q)
        words = mapping.synapse_words(self.pe)
        m.submodules.synapses = memory = Memory(
            shape=unsigned(mapping.synapse_bits), depth=max(2, len(words)), init=words.tolist()
        )
        port = read_port(memory, "synapse")
        m.d.comb += [port.addr.eq(address), port.en.eq(1)]
        return data.View(word, port.data)
