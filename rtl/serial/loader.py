"""From the payload of a LOAD to words for the synapse memories."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from ...errors import require
from ..loading import image, load_layout
from ..mapping import Mapping
from ..memory import read_port, write_port
from ..packets import LOAD_ADDRESS_BITS, LOAD_HEADER, LOAD_WORDS, LOADED_BITS
from .receiver import payload_ports


class Loader(wiring.Component):
    """Keeps the words of a LOAD until its END, then writes them if the packet is good.

    Ports
    -----
    open, payload, payload_valid, end, good
        In: as for `FrameAssembler`.
    load
        Out: `load_layout`.
    taken
        Out: one cycle, with the `end` of a packet that will be written.
    done
        Out: one cycle, all its words are written.

    A packet of more than LOAD_WORDS words, of half a word or none, or for a memory that does not exist, is dropped.
    Latency: `done` comes `words + 1` cycles after `taken`. Throughput: one word per cycle. It never stalls: the next
    packet's END comes later than that.
    """

    def __init__(self, mapping: Mapping):
        layout = load_layout(mapping)
        self.memories = len(image(mapping))
        for field, most in (("word", LOADED_BITS), ("address", LOAD_ADDRESS_BITS)):
            bits = layout[field].width
            require(bits <= most, f"{field} to load", f"{bits} bits", f"at most {most} bits on a serial line")
        super().__init__(
            {
                **payload_ports(),
                "load": Out(layout),
                "taken": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = memory = Memory(shape=unsigned(LOADED_BITS), depth=LOAD_WORDS, init=[])
        read, write = read_port(memory, "read"), write_port(memory, "write")
        opened = Signal(name="opened")
        writing = Signal(name="writing")
        reading = Signal(name="reading")
        header = Signal(8 * LOAD_HEADER.size, name="header")
        low = Signal(8, name="low")
        memory_number, address = header[:8], header[8:]
        words = Signal(range(LOAD_WORDS + 1), name="words")
        word = Signal(range(LOAD_WORDS + 1), name="word")
        in_header = Signal(name="in_header")
        begun = Signal(range(LOAD_HEADER.size + 1), name="begun")
        second = Signal(name="second")
        whole = Signal(name="whole")  # `second`: byte of a word
        m.d.comb += [
            in_header.eq(begun != LOAD_HEADER.size),
            write.addr.eq(words),
            write.data.eq(Cat(low, self.payload)),
            write.en.eq(opened & self.payload_valid & second & (words != LOAD_WORDS)),
            read.addr.eq(word),
            self.taken.eq(opened & self.end & self.good & whole & (memory_number < self.memories)),
        ]
        with m.If(self.open):
            m.d.sync += [opened.eq(1), words.eq(0), begun.eq(0), second.eq(0), whole.eq(0)]
        with m.If(opened & self.payload_valid):
            # Whole while the last byte was a word's second; a byte after the last word that fits is one too many.
            m.d.sync += [low.eq(self.payload), whole.eq(second & (words != LOAD_WORDS))]
            with m.If(in_header):
                m.d.sync += [header.eq(Cat(header[8:], self.payload)), begun.eq(begun + 1)]
            with m.Else():
                m.d.sync += second.eq(~second)
        with m.If(write.en):
            m.d.sync += words.eq(words + 1)
        with m.If(opened & self.end):
            m.d.sync += [opened.eq(0), writing.eq(self.taken), word.eq(0)]

        # The memory's output is one cycle behind `word`.
        m.d.sync += reading.eq(writing & (word != words))
        with m.If(reading):
            m.d.sync += address.eq(address + 1)
        with m.If(writing):
            m.d.sync += word.eq(word + 1)
            with m.If(word == words):
                m.d.sync += writing.eq(0)
                m.d.comb += self.done.eq(1)
        m.d.comb += [
            self.load.write.eq(reading),
            self.load.memory.eq(memory_number),
            self.load.address.eq(address),
            self.load.word.eq(read.data),
        ]
        return m
