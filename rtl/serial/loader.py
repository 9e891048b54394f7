"""The payload of a LOAD becomes words for the synapse memories."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ...errors import require
from ..loading import load_layout
from ..mapping import Mapping
from ..memory import read_port, write_port
from ..packets import LENGTH_BITS, LOAD_HEADER, LOAD_WORDS, LOADED_BITS


class Loader(wiring.Component):
    """Keeps the words of a LOAD until its END, then writes them.

    Ports
    -----
    open, payload, payload_valid, position, end, good
        In: as for `FrameAssembler`; `position` counts payload bytes.
    load
        Out: `load_layout`.
    done
        Out: one cycle, all words are in place.
    """

    def __init__(self, mapping: Mapping):
        layout = load_layout(mapping)
        require(layout["word"].width <= LOADED_BITS, "word to load", layout["word"].width, "at most 16 bits")
        super().__init__(
            {
                "open": In(1),
                "payload": In(8),
                "payload_valid": In(1),
                "position": In(LENGTH_BITS),
                "end": In(1),
                "good": In(1),
                "load": Out(layout),
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
        words, word, address = (Signal(range(LOAD_WORDS + 1), name=name) for name in ("words", "word", "address"))
        # `second`: byte of a word
        in_header = Signal(name="in_header")
        second = Signal(name="second")
        m.d.comb += [
            in_header.eq(self.position < LOAD_HEADER.size),
            second.eq(self.position[0] == (LOAD_HEADER.size + 1) % 2),
            write.addr.eq(words),
            write.data.eq(Cat(low, self.payload)),
            write.en.eq(opened & self.payload_valid & ~in_header & second & (words != LOAD_WORDS)),
            read.addr.eq(word),
        ]
        with m.If(self.open):
            m.d.sync += [opened.eq(1), words.eq(0)]
        with m.If(opened & self.payload_valid):
            m.d.sync += low.eq(self.payload)
            with m.If(in_header):
                m.d.sync += header.eq(Cat(header[8:], self.payload))
        with m.If(write.en):
            m.d.sync += words.eq(words + 1)
        with m.If(opened & self.end):
            m.d.sync += [opened.eq(0), writing.eq(self.good), word.eq(0)]

        # The memory's output is one cycle behind `word`.
        m.d.sync += [reading.eq(writing & (word != words)), address.eq(word)]
        with m.If(writing):
            m.d.sync += word.eq(word + 1)
            with m.If(word == words):
                m.d.sync += writing.eq(0)
                m.d.comb += self.done.eq(1)
        m.d.comb += [
            self.load.write.eq(reading),
            self.load.memory.eq(header[:8]),
            self.load.address.eq(header[8:] + address),
            self.load.word.eq(read.data),
        ]
        return m
