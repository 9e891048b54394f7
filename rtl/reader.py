"""Synapse reader of a processing element: from runs to single synapses, each with its target row."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .addressing import target_row
from .latency import HELD
from .loading import LoadableMemory, load_ports
from .lookup import run_layout
from .mapping import LayerMapping
from .memory import read_port, word_layout


def tags_layout(mapping: LayerMapping, value: ShapeLike) -> data.StructLayout:
    """Tags of a synapse: `valid`, or `token` for an end-of-step token; its bank, and the value of its event."""
    return data.StructLayout({"valid": 1, "token": 1, "bad": 1, "bank": mapping.bank_bits, "value": value})


def addend_layout(mapping: LayerMapping, value: ShapeLike) -> data.StructLayout:
    """A synapse or token on its way to the accumulators: `tags_layout`, then the weight and the target row."""
    return data.StructLayout(
        tags_layout(mapping, value).members
        | {"weight": signed(mapping.synapse_format.weight_bits), "row": mapping.row_bits}
    )


class Reader(wiring.Component):
    """Reads the synapses of each run in PE `pe`, one per cycle, and computes their rows.

    A token closes the current bank. Later events go to the other bank, after the fire unit has released it. Those that
    are held go to a bank of their own.

    Ports
    -----
    runs
        In: `run_layout`.
    release
        In: bank `b` may be filled again.
    addends
        Out: `addend_layout`, at most one per cycle; must be taken in the same cycle. `valid` and `token` exclude each
        other.
    fetch
        Out: the address in the synapse memory in this cycle, for traces and proofs: `valid` for a synapse or token,
        `ends` in the last cycle of a run, `left` cycles that follow in it, its event and bank.
    bank, busy
        Out, for traces and proofs: bank of the next run; banks whose token was handed over and that are not released.
    load_write, load_address, load_word
        In, if `loadable`: see `ProcessingElement`.

    Throughput: one synapse or token per cycle, without a bubble between runs. Latency: the first address of a run taken
    in cycle `h` is on `fetch` in `h + 1`, its synapse on `addends` in `h + 2`; in a convolution
    `latency.CONVOLUTION` cycles later. Stalls: events after a token, while their bank is busy.
    """

    def __init__(self, mapping: LayerMapping, pe: int, event: data.StructLayout, loadable: bool = False):
        self.mapping = mapping
        self.pe = pe
        self.event = event
        self.loadable = loadable
        fetch = {
            "valid": 1,
            "ends": 1,
            "left": mapping.synapse_format.count_bits,
            "address": mapping.synapse_address_bits,
            "bank": mapping.bank_bits,
            "event": event,
        }
        super().__init__(
            {
                "runs": In(stream.Signature(run_layout(mapping, event))),
                "release": In(mapping.banks),
                "addends": Out(addend_layout(mapping, event["value"].shape)),
                "fetch": Out(data.StructLayout(fetch)),
                "bank": Out(1),
                "busy": Out(mapping.banks),
            }
            | (load_ports(mapping, 1) if loadable else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, fetch = self.mapping, self.fetch
        run, pointer = self.runs.payload.event, self.runs.payload.pointer
        reader_free = Signal(name="reader_free")
        begins = Signal(name="begins")
        bank: Value = Mux(run.held, HELD, self.bank) if mapping.is_mixed else self.bank
        m.d.comb += [
            reader_free.eq(~fetch.valid | fetch.ends),
            self.runs.ready.eq(reader_free & ~self.busy.bit_select(bank, 1)),
            begins.eq(self.runs.valid & self.runs.ready),
        ]
        start = pointer.start if mapping.stride_bits is None else Cat(Const(0, mapping.stride_bits), run.source)
        m.d.sync += [
            fetch.left.eq(fetch.left - 1),
            fetch.ends.eq(fetch.left == 1),
            fetch.address.eq(fetch.address + 1),
        ]
        with m.If(reader_free):
            m.d.sync += [
                fetch.valid.eq(begins),
                fetch.left.eq(pointer.count - 1),
                fetch.ends.eq(run.end | (pointer.count == 1)),
                fetch.address.eq(start),
                fetch.event.eq(run),
            ]
        with m.If(begins):
            m.d.sync += fetch.bank.eq(bank)
        m.d.sync += self.busy.eq(self.busy & ~self.release)
        with m.If(begins & run.end):
            after = Mux(run.held, self.bank, ~self.bank) if mapping.is_mixed else ~self.bank
            m.d.sync += [self.bank.eq(after), self.busy.eq((self.busy & ~self.release) | (1 << bank))]

        # The synapse word leaves its memory, and its row is computed.
        tags = Signal(tags_layout(mapping, self.event["value"].shape), name="tags")
        event = Signal(self.event, name="event")
        m.d.sync += [
            tags.valid.eq(fetch.valid & ~fetch.event.end),
            tags.token.eq(fetch.valid & fetch.event.end),
            tags.bad.eq(fetch.event.bad),
            tags.bank.eq(fetch.bank),
            tags.value.eq(fetch.event.value),
            event.eq(fetch.event),
        ]
        row_tags, weight, row = target_row(m, mapping, tags, self._synapses(m), event)
        m.d.comb += [
            *(self.addends[name].eq(row_tags[name]) for name in row_tags.shape().members),
            self.addends.weight.eq(weight),
            self.addends.row.eq(row),
        ]
        return m

    def _synapses(self, m: Module) -> data.View:
        """The synapse at `fetch.address`, one cycle later."""
        mapping, word = self.mapping, self.mapping.synapse_format.synapse
        layout = word_layout(word)
        if self.loadable:
            m.submodules.synapses = loaded = LoadableMemory(mapping.synapse_depth, word.bits)
            m.d.comb += [
                loaded.write.eq(self.load_write),
                loaded.word.eq(self.load_word),
                loaded.address.eq(Mux(self.load_write, self.load_address, self.fetch.address)),
            ]
            return data.View(layout, loaded.q)
        words = mapping.synapse_words(self.pe).tolist()
        m.submodules.synapses = memory = Memory(shape=unsigned(word.bits), depth=max(2, len(words)), init=words)
        port = read_port(memory, "synapse")
        m.d.comb += [port.addr.eq(self.fetch.address), port.en.eq(1)]
        return data.View(layout, port.data)
