"""The accelerator behind a serial port: packets in, packets out. What a packet is: `rtl/packets.py`."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..errors import require
from .datapath import Datapath
from .fifo import Queue
from .loading import image, load_layout
from .mapping import Mapping
from .packets import (
    ANSWER,
    CRC,
    CRC_BYTES,
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    FRAME,
    FRAMES_AHEAD,
    HEADER,
    IDENTIFY,
    LOAD,
    LOAD_HEADER,
    LOAD_WORDS,
    Identity,
)
from .readout import WORD_BITS, packet_layout
from .streams import beat_layout
from .uart import SHORTEST_BIT, Receiver, Transmitter

LENGTH_BITS = 16
LOADED_BITS = 16  # of a word on the line


def identity(mapping: Mapping) -> Identity:
    """What the board with `mapping` says of itself."""
    return Identity(
        memories=len(image(mapping)),
        sources=mapping.layers[0].layer.sources,
        classes=mapping.network.classes,
        digest=bytes.fromhex(mapping.digest),
    )


class PacketReceiver(wiring.Component):
    """Takes the stuffing off and follows the fields of a packet.

    Ports
    -----
    byte, valid
        In: from the serial receiver.
    sequence, kind, length
        Out: the header, complete from the first payload byte on.
    begin
        Out: one cycle, the header has just become complete.
    payload, payload_valid, position
        Out: one payload byte, and how many came before it. Nothing is verified yet.
    end, good
        Out: one cycle at the END of a packet; `good`: length and CRC are right.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "byte": In(8),
                "valid": In(1),
                "sequence": Out(8),
                "kind": Out(8),
                "length": Out(LENGTH_BITS),
                "begin": Out(1),
                "payload": Out(8),
                "payload_valid": Out(1),
                "position": Out(LENGTH_BITS),
                "end": Out(1),
                "good": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC.create()
        escaped, taken, broken, ended = Signal(), Signal(), Signal(), Signal()
        content = Signal(8)
        header = Signal(range(HEADER.size + 1))
        left, crc_left = Signal(LENGTH_BITS), Signal(range(CRC_BYTES + 1))
        m.d.comb += [
            content.eq(Mux(escaped, Mux(self.byte == ESC_END, END, ESC), self.byte)),
            taken.eq(self.valid & (self.byte != END) & ((self.byte != ESC) | escaped)),
            crc.data.eq(content),
            crc.valid.eq(taken),
            crc.start.eq(self.end),
            self.payload.eq(content),
            self.payload_valid.eq(taken & (header == HEADER.size) & (left != 0)),
            # The CRC shows a byte one cycle after it came; the END comes many cycles later.
            self.end.eq(ended & (header != 0)),
            self.good.eq((header == HEADER.size) & (left == 0) & (crc_left == 0) & ~broken & crc.match_detected),
        ]
        m.d.sync += [ended.eq(self.valid & (self.byte == END)), self.begin.eq(0)]
        with m.If(self.valid):
            m.d.sync += escaped.eq((self.byte == ESC) & ~escaped)
        with m.If(taken):
            with m.If(header != HEADER.size):
                m.d.sync += [
                    header.eq(header + 1),
                    Cat(self.sequence, self.kind, self.length).eq(
                        Cat(self.sequence, self.kind, self.length)[8:] | content << 8 * (HEADER.size - 1)
                    ),
                    self.position.eq(0),
                    crc_left.eq(CRC_BYTES),
                ]
                with m.If(header == HEADER.size - 1):
                    m.d.sync += [self.begin.eq(1), left.eq(Cat(self.length[8:], content))]
            with m.Elif(left != 0):
                m.d.sync += [left.eq(left - 1), self.position.eq(self.position + 1)]
            with m.Elif(crc_left != 0):
                m.d.sync += crc_left.eq(crc_left - 1)
            with m.Else():
                m.d.sync += broken.eq(1)
            with m.If(escaped & (self.byte != ESC_END) & (self.byte != ESC_ESC)):
                m.d.sync += broken.eq(1)
        with m.If(ended):
            m.d.sync += [header.eq(0), broken.eq(0), escaped.eq(0)]
        return m


class PacketSender(wiring.Component):
    """Header, payload, CRC and stuffing of one packet.

    Ports
    -----
    start, sequence, kind, length
        In: with `start`, while `idle`, a packet begins.
    payload
        In: a stream of `length` bytes; may come later.
    bytes
        Out: to the serial transmitter.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "idle": Out(1),
                "sequence": In(8),
                "kind": In(8),
                "length": In(LENGTH_BITS),
                "payload": In(stream.Signature(8)),
                "bytes": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC.create()
        # Between line and accelerator, so that no path runs from one to the other.
        m.submodules.payloads = payloads = Queue(unsigned(8), 1)
        wiring.connect(m, wiring.flipped(self.payload), payloads.i)
        header, left, none_left = Signal(8 * HEADER.size), Signal(LENGTH_BITS), Signal()
        number = Signal(range(max(HEADER.size, CRC_BYTES)))
        raw, raw_valid, raw_taken, escaping = Signal(8), Signal(), Signal(), Signal()
        special = (raw == END) | (raw == ESC)
        out = self.bytes
        m.d.comb += raw_taken.eq(raw_valid & out.ready & (~special | escaping))
        with m.If(raw_valid):
            m.d.comb += [
                out.valid.eq(1),
                out.payload.eq(Mux(escaping, Mux(raw == END, ESC_END, ESC_ESC), Mux(special, ESC, raw))),
            ]
            with m.If(out.ready):
                m.d.sync += escaping.eq(special & ~escaping)
        m.d.comb += crc.data.eq(raw)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += [self.idle.eq(1), crc.start.eq(1)]
                m.d.sync += [header.eq(Cat(self.sequence, self.kind, self.length)), number.eq(0)]
                m.d.sync += [left.eq(self.length), none_left.eq(self.length == 0)]
                with m.If(self.start):
                    m.next = "open"
            with m.State("open"):
                m.d.comb += [out.valid.eq(1), out.payload.eq(END)]
                with m.If(out.ready):
                    m.next = "header"
            with m.State("header"):
                m.d.comb += [raw.eq(header[:8]), raw_valid.eq(1), crc.valid.eq(raw_taken)]
                with m.If(raw_taken):
                    m.d.sync += [header.eq(header >> 8), number.eq(number + 1)]
                    with m.If(number == HEADER.size - 1):
                        m.d.sync += number.eq(0)
                        m.next = "payload"
            with m.State("payload"):
                with m.If(none_left):
                    m.d.sync += header.eq(crc.crc)
                    m.next = "crc"
                with m.Else():
                    m.d.comb += [
                        raw.eq(payloads.o.payload),
                        raw_valid.eq(payloads.o.valid),
                        payloads.o.ready.eq(raw_taken),
                        crc.valid.eq(raw_taken),
                    ]
                    with m.If(raw_taken):
                        m.d.sync += [left.eq(left - 1), none_left.eq(left == 1)]
            with m.State("crc"):
                m.d.comb += [raw.eq(header[:8]), raw_valid.eq(1)]
                with m.If(raw_taken):
                    m.d.sync += [header.eq(header >> 8), number.eq(number + 1)]
                    with m.If(number == CRC_BYTES - 1):
                        m.next = "close"
            with m.State("close"):
                m.d.comb += [out.valid.eq(1), out.payload.eq(END)]
                with m.If(out.ready):
                    m.next = "idle"
        return m


class FrameAssembler(wiring.Component):
    """Payload bytes of a FRAME become beats for the datapath.

    A beat is sent on when the next one begins, so that the last is still here when the END has told whether the frame
    is good: a damaged frame ends with a beat marked bad, and its result is dropped. If the datapath holds a beat up for
    longer than it takes to receive the next, the frame counts as damaged.

    Ports
    -----
    open
        In: one cycle, a frame begins; only while `idle`.
    payload, payload_valid, end, good
        In: from the packet receiver, of any packet.
    beats
        Out: `beat_layout`.
    idle
        Out: the frame before has been sent on.
    """

    def __init__(self, mapping: Mapping):
        self.lanes = mapping.pixels_a_beat
        self.beats_a_frame = mapping.beats
        self.beat = beat_layout(self.lanes, max(1, (mapping.beats - 1).bit_length()))
        super().__init__(
            {
                "open": In(1),
                "payload": In(8),
                "payload_valid": In(1),
                "end": In(1),
                "good": In(1),
                "beats": Out(stream.Signature(self.beat)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        opened, closing, begun, late, bad = Signal(), Signal(), Signal(), Signal(), Signal()
        pixels = Signal(data.ArrayLayout(8, self.lanes))
        lane, index = Signal(range(self.lanes + 1)), Signal(self.beat["index"].shape)
        beat, beat_valid = Signal(self.beat), Signal()
        m.d.comb += [
            self.beats.payload.eq(beat),
            self.beats.valid.eq(beat_valid),
            self.idle.eq(~opened & ~closing & ~beat_valid),
        ]
        with m.If(self.beats.ready):
            m.d.sync += beat_valid.eq(0)
        with m.If(self.open):
            m.d.sync += [opened.eq(1), begun.eq(0), late.eq(0), lane.eq(0), index.eq(0)]
        with m.If(opened & self.payload_valid):
            m.d.sync += [begun.eq(1), lane.eq(Mux(lane == self.lanes, 1, lane + 1))]
            with m.If(lane == self.lanes):
                m.d.sync += [pixels[0].eq(self.payload), index.eq(index + 1)]
                m.d.sync += [beat.pixels.eq(pixels), beat.index.eq(index), beat.last.eq(0), beat.bad.eq(0)]
                m.d.sync += [beat_valid.eq(1), late.eq(late | (beat_valid & ~self.beats.ready))]
            for i in range(self.lanes):
                with m.If(lane == i):
                    m.d.sync += pixels[i].eq(self.payload)
        with m.If(opened & self.end):
            m.d.sync += [opened.eq(0), closing.eq(begun), bad.eq(late | ~self.good)]
        with m.If(closing & ~beat_valid):
            m.d.sync += [closing.eq(0), beat_valid.eq(1)]
            m.d.sync += [beat.pixels.eq(pixels), beat.index.eq(index), beat.last.eq(1), beat.bad.eq(bad)]
        return m


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

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = memory = Memory(shape=unsigned(LOADED_BITS), depth=LOAD_WORDS, init=[])
        read, write = memory.read_port(), memory.write_port()
        opened, writing, reading = Signal(), Signal(), Signal()
        header, low = Signal(8 * LOAD_HEADER.size), Signal(8)
        words, word, address = (Signal(range(LOAD_WORDS + 1)) for _ in range(3))
        in_header, second = Signal(), Signal()  # `second`: byte of a word
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


class Answers(wiring.Component):
    """Decides what is sent next, and makes its payload.

    Ports
    -----
    identify, loaded
        In: one cycle each, with `sequence`: such an answer is due.
    framed
        In: one cycle, a frame with `sequence` has been opened. At most `FRAMES_AHEAD` are open; see `room`.
    packets
        In: `packet_layout`, results in the order of the frames; those marked bad are dropped.
    bytes
        Out: to the serial transmitter.
    """

    def __init__(self, mapping: Mapping):
        self.mapping = mapping
        super().__init__(
            {
                "sequence": In(8),
                "identify": In(1),
                "loaded": In(1),
                "framed": In(1),
                "room": Out(1),
                "packets": In(stream.Signature(packet_layout())),
                "bytes": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.sender = sender = PacketSender()
        m.submodules.sequences = sequences = Queue(unsigned(8), FRAMES_AHEAD)
        wiring.connect(m, sender.bytes, wiring.flipped(self.bytes))
        m.d.comb += [
            sequences.i.payload.eq(self.sequence),
            sequences.i.valid.eq(self.framed),
            self.room.eq(sequences.i.ready),
        ]
        due = {kind: Signal(name=f"due_{name}") for kind, name in ((IDENTIFY, "identity"), (LOAD, "load"))}
        sequence = {kind: Signal(8, name=f"sequence_{kind}") for kind in due}
        for kind, asked in ((IDENTIFY, self.identify), (LOAD, self.loaded)):
            with m.If(asked):
                m.d.sync += [due[kind].eq(1), sequence[kind].eq(self.sequence)]

        text = identity(self.mapping).encode()
        m.submodules.identity = memory = Memory(shape=unsigned(8), depth=len(text), init=list(text))
        letters = memory.read_port()
        place, settled = Signal(range(len(text) + 1)), Signal()
        # One beat waits here, so that no path runs from the sender into the read-out.
        m.submodules.beats = beats = Queue(packet_layout(), 1)
        wiring.connect(m, wiring.flipped(self.packets), beats.i)
        packet, payload = beats.o, sender.payload
        byte = Signal(range(WORD_BITS // 8))
        m.d.comb += letters.addr.eq(place)
        with m.FSM():
            with m.State("idle"):
                m.d.sync += [place.eq(0), settled.eq(0), byte.eq(0)]
                with m.If(packet.valid & packet.payload.bad):
                    m.next = "drop"
                with m.Elif(packet.valid):
                    self._start(
                        m, sender, sequences.o.payload, FRAME, WORD_BITS // 8 * (self.mapping.network.classes + 1)
                    )
                    m.next = "result"
                with m.Elif(due[IDENTIFY]):
                    self._start(m, sender, sequence[IDENTIFY], IDENTIFY, len(text))
                    m.d.sync += due[IDENTIFY].eq(0)
                    m.next = "identity"
                with m.Elif(due[LOAD]):
                    self._start(m, sender, sequence[LOAD], LOAD, 0)
                    m.d.sync += due[LOAD].eq(0)
                    m.next = "sending"
            with m.State("drop"):
                m.d.comb += packet.ready.eq(1)
                with m.If(packet.valid & packet.payload.last):
                    m.d.comb += sequences.o.ready.eq(1)
                    m.next = "idle"
            with m.State("result"):
                m.d.comb += [
                    payload.valid.eq(packet.valid),
                    payload.payload.eq(packet.payload.word.as_unsigned().word_select(byte, 8)),
                ]
                with m.If(payload.valid & payload.ready):
                    m.d.sync += byte.eq(byte + 1)
                    with m.If(byte == WORD_BITS // 8 - 1):
                        m.d.comb += packet.ready.eq(1)
                        with m.If(packet.payload.last):
                            m.d.comb += sequences.o.ready.eq(1)
                            m.next = "sending"
            with m.State("identity"):
                m.d.sync += settled.eq(1)
                m.d.comb += [payload.valid.eq(settled), payload.payload.eq(letters.data)]
                with m.If(payload.valid & payload.ready):
                    m.d.sync += [place.eq(place + 1), settled.eq(0)]
                    with m.If(place == len(text) - 1):
                        m.next = "sending"
            with m.State("sending"), m.If(sender.idle):
                m.next = "idle"
        return m

    @staticmethod
    def _start(m: Module, sender: PacketSender, sequence, kind: int, length: int):
        m.d.comb += [
            sender.start.eq(1),
            sender.sequence.eq(sequence),
            sender.kind.eq(kind | ANSWER),
            sender.length.eq(length),
        ]


class SerialAccelerator(wiring.Component):
    """The datapath behind two serial pins.

    Ports
    -----
    rx, tx
        In, out: the line, see `rtl/uart.py`; a bit lasts `divisor` cycles.
    busy
        Out: a frame is being received (for a lamp).

    Static input only. Synapse memories of strided layers wait to be loaded. A request that the board can't take (a
    fifth frame before the first result) is dropped: the sender repeats it.
    """

    def __init__(self, mapping: Mapping, divisor: int):
        kind = mapping.network.input.kind
        require(kind == "static", "input kind of a board's network", kind, "static")
        require(divisor >= SHORTEST_BIT, "cycles of a serial bit", divisor, f"at least {SHORTEST_BIT}")
        self.mapping = mapping
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        mapping = self.mapping
        loadable = bool(image(mapping))
        m.submodules.uart_receiver = uart_receiver = Receiver(self.divisor)
        m.submodules.uart_transmitter = uart_transmitter = Transmitter(self.divisor)
        m.submodules.receiver = receiver = PacketReceiver()
        m.submodules.frames = frames = FrameAssembler(mapping)
        m.submodules.answers = answers = Answers(mapping)
        m.submodules.datapath = datapath = Datapath(mapping, loadable)
        wiring.connect(m, frames.beats, datapath.frames)
        wiring.connect(m, datapath.packets, answers.packets)
        wiring.connect(m, answers.bytes, uart_transmitter.bytes)
        frame_begins = receiver.begin & (receiver.kind == FRAME)
        fits = receiver.length == mapping.layers[0].layer.sources
        m.d.comb += [
            uart_receiver.pin.eq(self.rx),
            self.tx.eq(uart_transmitter.pin),
            self.busy.eq(~frames.idle),
            frames.open.eq(frame_begins & fits & frames.idle & answers.room),
            frames.payload.eq(receiver.payload),
            frames.payload_valid.eq(receiver.payload_valid),
            frames.end.eq(receiver.end),
            frames.good.eq(receiver.good),
            answers.sequence.eq(receiver.sequence),
            answers.identify.eq(receiver.end & receiver.good & (receiver.kind == IDENTIFY)),
        ]
        m.d.sync += [receiver.byte.eq(uart_receiver.byte), receiver.valid.eq(uart_receiver.valid)]
        begun = Signal()
        with m.If(frames.open):
            m.d.sync += begun.eq(1)
        with m.If(begun & receiver.payload_valid):
            m.d.comb += answers.framed.eq(1)
            m.d.sync += begun.eq(0)
        with m.If(receiver.end):
            m.d.sync += begun.eq(0)
        if loadable:
            m.submodules.loader = loader = Loader(mapping)
            m.d.comb += [
                loader.open.eq(receiver.begin & (receiver.kind == LOAD)),
                loader.payload.eq(receiver.payload),
                loader.payload_valid.eq(receiver.payload_valid),
                loader.position.eq(receiver.position),
                loader.end.eq(receiver.end),
                loader.good.eq(receiver.good),
                datapath.load.eq(loader.load),
                answers.loaded.eq(loader.done),
            ]
        return m
