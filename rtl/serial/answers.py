"""What is sent: identities, acknowledgements of LOADs, results."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..fifo import Queue
from ..memory import read_port
from ..packets import ANSWER, FRAME, FRAMES_AHEAD, IDENTIFY, LOAD, Identity
from ..readout import WORD_BITS, packet_layout
from .sender import PacketSender


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

    def __init__(self, identity: Identity):
        self.identity = identity
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

    def elaborate(self, platform: object) -> Module:
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

        text = self.identity.encode()
        m.submodules.identity = memory = Memory(shape=unsigned(8), depth=len(text), init=list(text))
        letters = read_port(memory, "letters")
        place = Signal(range(len(text) + 1), name="place")
        settled = Signal(name="settled")
        # One beat waits here, so that no path runs from the sender into the read-out.
        m.submodules.beats = beats = Queue(packet_layout(), 1)
        wiring.connect(m, wiring.flipped(self.packets), beats.i)
        packet, payload = beats.o, sender.payload
        byte = Signal(range(WORD_BITS // 8), name="byte")
        m.d.comb += letters.addr.eq(place)
        with m.FSM():
            with m.State("idle"):
                m.d.sync += [place.eq(0), settled.eq(0), byte.eq(0)]
                with m.If(packet.valid & packet.payload.bad):
                    m.next = "drop"
                with m.Elif(packet.valid):
                    self._start(m, sender, sequences.o.payload, FRAME, WORD_BITS // 8 * (self.identity.classes + 1))
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
    def _start(m: Module, sender: PacketSender, sequence: Value, kind: int, length: int) -> None:
        m.d.comb += [
            sender.start.eq(1),
            sender.sequence.eq(sequence),
            sender.kind.eq(kind | ANSWER),
            sender.length.eq(length),
        ]
