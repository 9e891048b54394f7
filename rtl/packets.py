"""The serial protocol of small boards, version 2, in software. This is its only definition.

A packet on the line is enclosed by two END bytes. An END or ESC inside is sent as ESC and a second byte (RFC 1055,
SLIP), so after any noise the next END starts a new packet. The fields, lowest byte first:

| field | bytes | |
| --- | ---: | --- |
| sequence, low byte | 1 | the request's number within its session; the answer repeats it |
| kind | 1 | of the table below; ANSWER is added in an answer |
| length | 2 | bytes that follow before the CRC: 4 and the payload's |
| sequence, high byte | 1 | |
| session | 3 | drawn at random by the host, never 0; the answer repeats it |
| payload | up to 65,531 | |
| CRC | 4 | CRC-32 of all fields above, as in Ethernet and zlib |

| kind | payload | answer's payload |
| --- | --- | --- |
| IDENTIFY (1) | none | `Identity`; from now on the board is in the session of this request |
| LOAD (2) | memory (1), first address (2), up to LOAD_WORDS words of 16 bits | none: the words are in place |
| FRAME (3) | a byte per pixel, row-major; then per step and source | of each read-out class and sums, 32-bit words |

The pixels, or the sources of a step, of several inputs follow each other in the order of the network. Pixels come once,
whatever else has steps.

Rules:

- A receiver silently drops everything but complete packets with correct CRC, length and kind. If no answer comes, the
  host sends the request again with the same number. A number is used once in a session: a repeated request is the same
  one.
- After power-up a board is in session 0. It drops LOAD and FRAME of a session other than its own. When an IDENTIFY
  names another session, frames in progress get no answer. So a killed host, or a board that has lost its memories,
  cannot cause wrong results in another session.
- A LOAD that comes while a frame is in progress is dropped, and so is one of more than LOAD_WORDS words.
- Up to FRAMES_AHEAD frames may be sent before the first result, and only with the same high byte of their numbers (the
  *turn*). Other frames are dropped. Results come in the order of the frames.
- A new IDENTIFY or LOAD replaces one whose answer has not begun.
- Version 1 had no session and an 8-bit number; its first four bytes were the same. A board of version 1 thus answers
  IDENTIFY, with MAGIC and its version where version 2 has high byte and session: see `version_of`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from ..errors import UserError, require

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD  # RFC 1055
IDENTIFY, LOAD, FRAME = 1, 2, 3
ANSWER = 0x80
SEQUENCE_BITS, SESSION_BITS, LENGTH_BITS = 16, 24, 16
HEADER = struct.Struct("<BBHI")  # low byte of the sequence, kind, length, high byte and session
TURN = 8  # low bits of a number; the bits above are its turn
LENGTH_AT = 4  # `length` counts the bytes from here to the CRC
TAG_BYTES = HEADER.size - LENGTH_AT
CRC_BYTES = 4
LOAD_HEADER = struct.Struct("<BH")
LOAD_WORDS = 128
LOADED_BITS = 16  # of a word
RESULT_BYTES = 4  # of the class, and of every sum
FRAMES_AHEAD = 4
MAGIC = b"GrSN"
VERSION = 2
IDENTITY = struct.Struct("<4sBBHH32s")
MAX_PAYLOAD = (1 << LENGTH_BITS) - 1 - TAG_BYTES
MAX_SOURCES = MAX_PAYLOAD
MAX_CLASSES = MAX_PAYLOAD // RESULT_BYTES - 1
MAX_MEMORIES = 255
LOAD_ADDRESS_BITS = 16
LONGEST = 2 * (HEADER.size + MAX_PAYLOAD + CRC_BYTES)  # bytes between two ENDs


@dataclass(frozen=True)
class Packet:
    """One packet: `sequence` 16 bits, `kind` 8, `session` 24; `payload` up to `MAX_PAYLOAD` bytes."""

    sequence: int
    kind: int
    payload: bytes = b""
    session: int = 0

    def __post_init__(self) -> None:
        for field, bits in (("sequence", SEQUENCE_BITS), ("kind", 8), ("session", SESSION_BITS)):
            value = getattr(self, field)
            require(0 <= value < 1 << bits, f"packet {field}", value, f"0 to {(1 << bits) - 1}")
        require(len(self.payload) <= MAX_PAYLOAD, "packet payload", f"{len(self.payload)} bytes", f"<= {MAX_PAYLOAD}")

    def encode(self) -> bytes:
        """The bytes on the line, both ENDs included."""
        tag = self.session << 8 | self.sequence >> 8
        content = HEADER.pack(self.sequence & 0xFF, self.kind, TAG_BYTES + len(self.payload), tag) + self.payload
        content += zlib.crc32(content).to_bytes(CRC_BYTES, "little")
        stuffed = content.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(bytes([END]), bytes([ESC, ESC_END]))
        return bytes([END]) + stuffed + bytes([END])

    @staticmethod
    def decode(stuffed: bytes) -> Packet | None:
        """The packet between two ENDs, None if it is damaged."""
        if stuffed.count(ESC) != stuffed.count(bytes([ESC, ESC_END])) + stuffed.count(bytes([ESC, ESC_ESC])):
            return None
        content = stuffed.replace(bytes([ESC, ESC_END]), bytes([END])).replace(bytes([ESC, ESC_ESC]), bytes([ESC]))
        if not HEADER.size + CRC_BYTES <= len(content) <= HEADER.size + MAX_PAYLOAD + CRC_BYTES:
            return None
        body, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
        low, kind, length, tag = HEADER.unpack_from(body)
        if zlib.crc32(body) != int.from_bytes(crc, "little") or length != len(body) - LENGTH_AT:
            return None
        return Packet((tag & 0xFF) << 8 | low, kind, body[HEADER.size :], tag >> 8)


class Decoder:
    """Bytes in, complete packets out; `damaged` counts the dropped ones."""

    def __init__(self) -> None:
        self._rest = b""
        self.damaged = 0

    def feed(self, received: bytes) -> list[Packet]:
        """The packets that `received` completes."""
        *pieces, self._rest = (self._rest + received).split(bytes([END]))
        packets = []
        for piece in filter(None, pieces):
            packet = Packet.decode(piece)
            if packet is None:
                self.damaged += 1
            else:
                packets.append(packet)
        # Bytes without an END do not pile up: one more than the longest packet is kept, and that is no packet.
        self._rest = self._rest[-LONGEST - 1 :]
        return packets


@dataclass(frozen=True)
class Identity:
    """What a board answers to IDENTIFY.

    `memories`: how many wait to be loaded; `sources`: bytes of a FRAME; `classes`: words of a result behind the first,
    so of one read-out its classes; `digest`: of the mapping, SHA-256. A design that the protocol can't carry is refused
    here, with `UserError`.
    """

    memories: int
    sources: int
    classes: int
    digest: bytes

    def __post_init__(self) -> None:
        other = "on a serial line (gradrtl generate writes a design with AXI ports)"
        for field, value, most in (
            ("memories to load", self.memories, MAX_MEMORIES),
            ("bytes per frame", self.sources, MAX_SOURCES),
            ("classes", self.classes, MAX_CLASSES),
        ):
            require(0 <= value <= most, field, value, f"at most {most} {other}")
        require(len(self.digest) == 32, "digest", f"{len(self.digest)} bytes", "32 bytes")

    def encode(self) -> bytes:
        return IDENTITY.pack(MAGIC, VERSION, self.memories, self.sources, self.classes, self.digest)

    @staticmethod
    def decode(payload: bytes) -> Identity | None:
        """None if this is no board of ours, or one that speaks another version."""
        if len(payload) != IDENTITY.size:
            return None
        magic, version, *rest = IDENTITY.unpack(payload)
        if (magic, version) != (MAGIC, VERSION):
            return None
        try:
            return Identity(*rest)
        except UserError:
            return None

    @property
    def result_bytes(self) -> int:
        """Payload of a result."""
        return RESULT_BYTES * (self.classes + 1)


def version_of(packet: Packet) -> int | None:
    """Version of the protocol in an answer to IDENTIFY, of whatever version; None if it is no such answer."""
    after_length = HEADER.pack(0, 0, 0, packet.session << 8 | packet.sequence >> 8)[LENGTH_AT:] + packet.payload
    for text in (packet.payload, after_length):  # from version 2 on, version 1
        if packet.kind == IDENTIFY | ANSWER and text[: len(MAGIC)] == MAGIC and len(text) > len(MAGIC):
            return text[len(MAGIC)]
    return None
