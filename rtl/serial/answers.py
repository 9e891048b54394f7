"""Answers: identities, acknowledgements of LOADs, results."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..fifo import Queue
from ..memory import read_port
from ..packets import (
    ANSWER,
    FRAME,
    FRAMES_AHEAD,
    IDENTIFY,
    LOAD,
    RESULT_BYTES,
    SEQUENCE_BITS,
    SESSION_BITS,
    TAG_BYTES,
    TURN,
    Identity,
)
from ..readout import packet_layout
from .sender import PacketSender


class Answers(wiring.Component):
    """Selects the next answer, and makes its payload.

    Ports
    -----
    sequence, session
        In: number of the request that one of the following is about; session of the board.
    identify, load
        In: one cycle, such a request has come: an answer to one before, if it has not begun, is no longer due.
    loaded
        In: one cycle, the answer to `load` is due; that to `identify` is at once.
    renewed
        In: one cycle, `session` changes in the next: frames in progress get no answer. Not together with `framed`.
    framed
        In: one cycle, a frame has been opened; only while `ready`.
    ready, idle
        Out: a frame with `sequence` may be opened (fewer than FRAMES_AHEAD are in progress, all of its turn); no frame
        is in progress.
    packets
        In: `packet_layout`, results in the order of the frames; those marked bad are dropped.
    bytes
        Out: to the serial transmitter.

    Latency: the first byte is offered 2 cycles after a result is, or an answer is due. Throughput: one packet at a
    time, results first. Stalls: `bytes.ready` low.
    """

    def __init__(self, identity: Identity):
        self.identity = identity
        super().__init__(
            {
                "sequence": In(SEQUENCE_BITS),
                "session": In(SESSION_BITS),
                "identify": In(1),
                "load": In(1),
                "loaded": In(1),
                "renewed": In(1),
                "framed": In(1),
                "ready": Out(1),
                "idle": Out(1),
                "packets": In(stream.Signature(packet_layout())),
                "bytes": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        text = self.identity.encode()
        payload_bytes = {IDENTIFY: len(text), LOAD: 0, FRAME: self.identity.result_bytes}
        m.submodules.sender = sender = PacketSender(TAG_BYTES + max(payload_bytes.values()))
        # The numbers of the frames in progress; their high byte is the same.
        m.submodules.sequences = sequences = Queue(unsigned(TURN), FRAMES_AHEAD)
        turn = Signal(SEQUENCE_BITS - TURN, name="turn")
        wiring.connect(m, sender.bytes, wiring.flipped(self.bytes))
        ended = Signal(name="ended")  # the oldest frame has been answered or dropped
        # Number of oldest frames of a session that has ended.
        stale = Signal(range(FRAMES_AHEAD + 1), name="stale")
        m.d.comb += [
            sequences.i.payload.eq(self.sequence[:TURN]),
            sequences.i.valid.eq(self.framed),
            sequences.o.ready.eq(ended),
            self.ready.eq(sequences.i.ready & (self.idle | (self.sequence[TURN:] == turn))),
            self.idle.eq(~sequences.o.valid),
            sender.session.eq(self.session),
        ]
        with m.If(self.framed):
            m.d.sync += turn.eq(self.sequence[TURN:])
        with m.If(self.renewed):
            m.d.sync += stale.eq(sequences.level - ended)
        with m.Elif(ended & (stale != 0)):
            m.d.sync += stale.eq(stale - 1)

        m.submodules.identity = memory = Memory(shape=unsigned(8), depth=len(text), init=list(text))
        letters = read_port(memory, "letters")
        letter = Signal(range(len(text) + 1), name="letter")
        settled = Signal(name="settled")
        # One beat waits here, so that no path runs from the sender into the read-out.
        m.submodules.beats = beats = Queue(packet_layout(), 1)
        wiring.connect(m, wiring.flipped(self.packets), beats.i)
        packet, payload = beats.o, sender.payload
        due = Signal(name="due")
        identity_due = Signal(name="identity_due")
        due_sequence = Signal(SEQUENCE_BITS, name="due_sequence")
        byte = Signal(range(RESULT_BYTES), name="byte")
        kind = Signal(range(ANSWER), name="kind")  # of the packet being sent
        m.d.comb += [letters.addr.eq(letter), sender.kind.eq(kind | ANSWER)]
        with m.Switch(kind):
            for answered, count in payload_bytes.items():
                with m.Case(answered):
                    m.d.comb += sender.length.eq(TAG_BYTES + count)

        def start(sequence: Signal, answered: int) -> None:
            m.d.comb += [sender.start.eq(1), sender.sequence.eq(sequence)]
            m.d.sync += kind.eq(answered)

        with m.FSM():
            with m.State("idle"):
                m.d.sync += [letter.eq(0), settled.eq(0), byte.eq(0)]
                with m.If(packet.valid & (packet.payload.bad | (stale != 0))):
                    m.next = "drop"
                with m.Elif(packet.valid):
                    start(Cat(sequences.o.payload, turn), FRAME)
                    m.next = "result"
                with m.Elif(due & identity_due):
                    start(due_sequence, IDENTIFY)
                    m.d.sync += due.eq(0)
                    m.next = "identity"
                with m.Elif(due):
                    start(due_sequence, LOAD)
                    m.d.sync += due.eq(0)
                    m.next = "sending"
            with m.State("drop"):
                m.d.comb += packet.ready.eq(1)
                with m.If(packet.valid & packet.payload.last):
                    m.d.comb += ended.eq(1)
                    m.next = "idle"
            with m.State("result"):
                m.d.comb += [
                    payload.valid.eq(packet.valid),
                    payload.payload.eq(packet.payload.word.as_unsigned().word_select(byte, 8)),
                ]
                with m.If(payload.valid & payload.ready):
                    m.d.sync += byte.eq(byte + 1)
                    with m.If(byte == RESULT_BYTES - 1):
                        m.d.comb += packet.ready.eq(1)
                        with m.If(packet.payload.last):
                            m.d.comb += ended.eq(1)
                            m.next = "sending"
            with m.State("identity"):
                m.d.sync += settled.eq(1)
                m.d.comb += [payload.valid.eq(settled), payload.payload.eq(letters.data)]
                with m.If(payload.valid & payload.ready):
                    m.d.sync += [letter.eq(letter + 1), settled.eq(0)]
                    with m.If(letter == len(text) - 1):
                        m.next = "sending"
            with m.State("sending"), m.If(sender.idle):
                m.next = "idle"
        # After the state machine: a request in the cycle in which an answer begins is not lost.
        with m.If(self.identify | self.load):
            m.d.sync += [due.eq(self.identify), identity_due.eq(self.identify), due_sequence.eq(self.sequence)]
        with m.If(self.loaded & ~identity_due):
            m.d.sync += due.eq(1)
        return m
