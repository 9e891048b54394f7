"""Packets survive the line, or are seen to be damaged: every byte, every single fault, any way of cutting a stream."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.rtl.packets import (
    ANSWER,
    CRC_BYTES,
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    FRAME,
    HEADER,
    IDENTIFY,
    IDENTITY,
    LOAD,
    LONGEST,
    MAGIC,
    MAX_CLASSES,
    MAX_PAYLOAD,
    MAX_SOURCES,
    VERSION,
    Decoder,
    Identity,
    Packet,
    version_of,
)

SPECIAL = bytes([END, ESC, ESC_END, ESC_ESC])
PAYLOADS = [b"", bytes(range(256)), SPECIAL, SPECIAL[::-1], bytes([ESC, ESC_END]), bytes([ESC, ESC, ESC_ESC, END, END])]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_comes_back_and_has_ends_outside_alone(payload):
    packet = Packet(END, FRAME, payload)
    line = packet.encode()
    assert line[0] == line[-1] == END
    assert END not in line[1:-1]
    assert Packet.decode(line[1:-1]) == packet


@pytest.mark.parametrize("bit", range(8))
def test_one_wrong_bit_is_seen(bit):
    line = Packet(3, FRAME, b"frame").encode()
    for place in range(1, len(line) - 1):
        harmed = bytearray(line)
        harmed[place] ^= 1 << bit
        assert Decoder().feed(bytes(harmed)) == []


@pytest.mark.parametrize("length", [0, 4, 8, 10, 0xFFFF])
def test_another_length_in_the_header_is_seen(length):
    content = HEADER.pack(1, FRAME, length, 0) + b"frame"
    assert Packet.decode(content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")) is None


def test_layout_on_the_line():
    """Sequence low, kind, length, sequence high, session, payload, CRC."""
    line = Packet(0x0201, FRAME, b"ab", 0x050403).encode()
    assert line[1:-5] == bytes([0x01, FRAME, 6, 0, 0x02, 0x03, 0x04, 0x05]) + b"ab"
    assert line[-5:-1] == zlib.crc32(line[1:-5]).to_bytes(4, "little")


@pytest.mark.parametrize("packet", [Packet(0xFFFF, ANSWER | LOAD, b"", 0xFFFFFF), Packet(0x8000, 1, b"x", 0x800000)])
def test_every_bit_of_number_and_session_comes_back(packet):
    assert Packet.decode(packet.encode()[1:-1]) == packet


@pytest.mark.parametrize(
    "fields", [{"sequence": 1 << 16}, {"kind": 256}, {"session": 1 << 24}, {"sequence": -1}, {"payload": bytes(65532)}]
)
def test_a_packet_that_the_line_cannot_carry(fields):
    with pytest.raises(UserError, match=f"packet {next(iter(fields))} is .*, expected"):
        Packet(**{"sequence": 0, "kind": FRAME, **fields})


@pytest.mark.parametrize("wrong", [b"\xdb", b"\xdb\x01", b"\xdb\xdb"])
def test_a_wrong_escape_is_seen_whatever_the_crc(wrong):
    content = HEADER.pack(1, FRAME, 4 + len(wrong), 0) + wrong
    content += zlib.crc32(content).to_bytes(CRC_BYTES, "little")
    assert ESC not in content[: HEADER.size] + content[-CRC_BYTES:]
    assert Packet.decode(content) is None


def test_bytes_without_an_end_do_not_pile_up():
    decoder = Decoder()
    for _ in range(40):
        assert decoder.feed(bytes(8192)) == []
    assert len(decoder._rest) <= LONGEST + 1
    longest = Packet(1, FRAME, bytes([END]) * MAX_PAYLOAD)
    assert decoder.feed(longest.encode()) == [longest]


def test_a_stream_cut_anywhere():
    packets = [Packet(i, FRAME, payload) for i, payload in enumerate(PAYLOADS)]
    line = b"noise" + b"".join(packet.encode() for packet in packets)
    cuts = np.sort(np.random.default_rng(1).integers(0, len(line), 40))
    decoder = Decoder()
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(line)], strict=True):
        found += decoder.feed(line[begin:end])
    assert found == packets
    assert decoder.damaged == 1


def test_identity_of_another_version_or_size_is_none():
    text = Identity(2, 784, 10, bytes(range(32))).encode()
    assert Identity.decode(text) == Identity(2, 784, 10, bytes(range(32)))
    assert Identity.decode(text[:4] + bytes([text[4] + 1]) + text[5:]) is None
    assert Identity.decode(b"XXXX" + text[4:]) is None
    assert Identity.decode(text + b"\0") is None
    assert Identity.decode(text[:6] + b"\xff\xff" + text[8:]) is None  # more pixels than a packet holds
    assert len(text) == IDENTITY.size


@pytest.mark.parametrize(
    ("field", "most"), [("memories", 255), ("sources", MAX_SOURCES), ("classes", MAX_CLASSES), ("digest", bytes(32))]
)
def test_a_design_that_the_line_cannot_carry_is_refused(field, most):
    given = {"memories": 2, "sources": 784, "classes": 10, "digest": bytes(32)}
    Identity(**{**given, field: most})
    with pytest.raises(UserError, match="expected"):
        Identity(**{**given, field: most + 1 if isinstance(most, int) else most + b"x"})


def test_the_largest_frame_and_result_fill_a_packet():
    assert 4 * (MAX_CLASSES + 1) <= MAX_PAYLOAD < 4 * (MAX_CLASSES + 2)
    assert Identity(0, 1, MAX_CLASSES, bytes(32)).result_bytes == 4 * (MAX_CLASSES + 1)
    assert len(Packet(0, FRAME, bytes(MAX_SOURCES)).encode()) == MAX_SOURCES + HEADER.size + CRC_BYTES + 2
    assert int.from_bytes(Packet(0, FRAME, bytes(MAX_SOURCES)).encode()[3:5], "little") == 0xFFFF


def version_1(sequence: int, payload: bytes) -> Packet:
    """An answer to IDENTIFY as version 1 sent it: sequence, kind, length and payload; seen as a packet of today."""
    content = struct.pack("<BBH", sequence, IDENTIFY | ANSWER, len(payload)) + payload
    packet = Packet.decode(content + zlib.crc32(content).to_bytes(CRC_BYTES, "little"))
    assert packet is not None
    return packet


def test_version_of_an_old_board_of_this_one_and_of_a_later_one():
    text = Identity(2, 784, 10, bytes(range(32))).encode()
    old = version_1(9, MAGIC + b"\x01" + text[5:])
    assert (version_of(old), old.sequence & 0xFF) == (1, 9)
    assert version_of(Packet(9, IDENTIFY | ANSWER, text, 5)) == VERSION == 2
    assert version_of(Packet(9, IDENTIFY | ANSWER, MAGIC + b"\x07 and more", 5)) == 7
    for other in (Packet(9, FRAME | ANSWER, text), Packet(9, IDENTIFY | ANSWER, MAGIC), Packet(9, IDENTIFY | ANSWER)):
        assert version_of(other) is None
