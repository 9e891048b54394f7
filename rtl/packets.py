"""The serial protocol of small boards: what a packet is, in software.

A packet is `sequence` (1 byte), `kind` (1), `length` of the payload (2, lowest byte first), the payload, and the CRC-32
of all that (4, lowest byte first; the one of Ethernet and zlib). It travels between two END bytes, and an END or ESC
inside it is sent as ESC and a second byte, as in RFC 1055 (SLIP): whatever noise does, the next END starts afresh.
A receiver drops, in silence, whatever is not a whole packet with a right CRC; who expects an answer asks again, with
the same sequence number. Every request may be repeated without harm: the same frame gives the same result.

| kind | payload | answer |
| --- | --- | --- |
| IDENTIFY | none | `Identity` |
| LOAD | memory (1), first address (2), up to LOAD_WORDS words of 16 bits | LOAD, no payload: the words are in place |
| FRAME | one byte a pixel, row-major | RESULT: the class, then the sum of every class, 32-bit signed words |

An answer has the sequence number of its request, and its kind with ANSWER set. Frames may be sent ahead, up to
FRAMES_AHEAD without a result; results come in the order of the frames.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from amaranth.lib.crc import catalog

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD  # RFC 1055
IDENTIFY, LOAD, FRAME = 1, 2, 3
ANSWER = 0x80
HEADER = struct.Struct("<BBH")
CRC = catalog.CRC32_ISO_HDLC(data_width=8)  # the hardware's; equal to `zlib.crc32`
CRC_BYTES = 4
LENGTH_BITS = 16
LOAD_HEADER = struct.Struct("<BH")
LOAD_WORDS = 128
LOADED_BITS = 16  # of a word
FRAMES_AHEAD = 4
MAGIC = b"GrSN"
VERSION = 1
IDENTITY = struct.Struct("<4sBBHH32s")
MAX_PAYLOAD = 0xFFFF


@dataclass(frozen=True)
class Packet:
    """One packet: `sequence` and `kind` 0 to 255."""

    sequence: int
    kind: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the line, both ENDs included."""
        content = HEADER.pack(self.sequence, self.kind, len(self.payload)) + self.payload
        content += zlib.crc32(content).to_bytes(CRC_BYTES, "little")
        stuffed = content.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(bytes([END]), bytes([ESC, ESC_END]))
        return bytes([END]) + stuffed + bytes([END])

    @staticmethod
    def decode(stuffed: bytes) -> Packet | None:
        """The packet between two ENDs, None if it is damaged."""
        content = stuffed.replace(bytes([ESC, ESC_END]), bytes([END])).replace(bytes([ESC, ESC_ESC]), bytes([ESC]))
        if len(content) < HEADER.size + CRC_BYTES:
            return None
        body, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
        sequence, kind, length = HEADER.unpack_from(body)
        if zlib.crc32(body) != int.from_bytes(crc, "little") or length != len(body) - HEADER.size:
            return None
        return Packet(sequence, kind, body[HEADER.size :])


class Decoder:
    """Bytes in, whole packets out; `damaged` counts what had to be dropped."""

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
        self._rest = self._rest[-2 * MAX_PAYLOAD :]
        return packets


@dataclass(frozen=True)
class Identity:
    """What a board answers to IDENTIFY.

    `memories`: how many wait to be loaded; `sources`: pixels of a frame; `digest`: of the mapping, SHA-256.
    """

    memories: int
    sources: int
    classes: int
    digest: bytes

    def encode(self) -> bytes:
        return IDENTITY.pack(MAGIC, VERSION, self.memories, self.sources, self.classes, self.digest)

    @staticmethod
    def decode(payload: bytes) -> Identity | None:
        """None if this is no board of ours, or one that speaks another version."""
        if len(payload) != IDENTITY.size:
            return None
        magic, version, *rest = IDENTITY.unpack(payload)
        return Identity(*rest) if (magic, version) == (MAGIC, VERSION) else None
