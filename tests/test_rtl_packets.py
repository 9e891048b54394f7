"""Packets survive the line, or are seen to be damaged: every byte, every single fault, any way of cutting a stream."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from gradrtl.rtl.packets import (
    CRC_BYTES,
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    FRAME,
    HEADER,
    IDENTITY,
    Decoder,
    Identity,
    Packet,
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


@pytest.mark.parametrize("length", [0, 4, 6, 0xFFFF])
def test_another_length_in_the_header_is_seen(length):
    content = HEADER.pack(1, FRAME, length) + b"frame"
    assert Packet.decode(content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")) is None


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
    assert Identity.decode(text + b"\0") is None
    assert len(text) == IDENTITY.size
