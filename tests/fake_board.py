"""A board in software, for tests of the host alone: the rules of `rtl/packets.py`, a clock of its own, faults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradrtl.rtl.packets import (
    ANSWER,
    FRAME,
    IDENTIFY,
    LOAD,
    LOAD_HEADER,
    Decoder,
    Identity,
    Packet,
)

WAIT = 0.005  # seconds that a read without bytes takes
PATIENT = 1000.0  # seconds of the board's time after which a host hangs

Fault = Callable[[Packet], list[Packet]]  # an answer becomes those that are sent


def same(answer: Packet) -> list[Packet]:
    return [answer]


class FakeBoard:
    """A line with a board at its end. The class of an image is its first pixel, the sums are its pixels.

    `fault` is applied to each answer. `lose(packet)` tells whether a request is lost on its way. Every packet taken is
    in `taken`; `memories[m]` holds what was loaded. `now` is its time, which passes while nothing is there to be read.
    """

    def __init__(self, memories: int = 0, sources: int = 5, classes: int = 5):
        self.identity = Identity(memories, sources, classes, bytes(32))
        self.fault: Fault = same
        self.lose: Callable[[Packet], bool] = lambda packet: False
        self.taken: list[Packet] = []
        self.now = 0.0
        self.out = b""
        self.dead = False
        self.closed = False
        self._decoder = Decoder()
        self.reset()

    def reset(self) -> None:
        """Power off and on: session and memories are gone."""
        self.session = 0
        self.memories: dict[tuple[int, int], int] = {}

    def write(self, data: bytes) -> int:
        for packet in self._decoder.feed(data):
            if not self.dead and not self.lose(packet):
                self._take(packet)
        return len(data)

    def read(self, size: int) -> bytes:
        self.now += 0 if self.out else WAIT
        assert self.now < PATIENT, "the host hangs"
        data, self.out = self.out[:size], self.out[size:]
        return data

    def _take(self, packet: Packet) -> None:
        if packet.kind == IDENTIFY:
            self.session = packet.session
            payload = self.identity.encode()
        elif packet.session != self.session:
            return
        elif packet.kind == LOAD:
            memory, first = LOAD_HEADER.unpack_from(packet.payload)
            words = np.frombuffer(packet.payload[LOAD_HEADER.size :], "<u2").tolist()
            self.memories |= {(memory, first + i): word for i, word in enumerate(words)}
            payload = b""
        else:
            assert packet.kind == FRAME
            payload = self.result(packet.payload)
        self.taken.append(packet)
        answer = Packet(packet.sequence, packet.kind | ANSWER, payload, self.session)
        for sent in self.fault(answer):
            self.out += sent.encode()

    def result(self, image: bytes) -> bytes:
        """Wrong, as from empty memories, unless they have been loaded."""
        loaded = {memory for memory, _ in self.memories} == set(range(self.identity.memories))
        sums = list(image)[: self.identity.classes] if loaded else [0] * self.identity.classes
        return np.array([sums[0], *sums], "<i4").tobytes()

    def __enter__(self) -> FakeBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


def images(count: int, seed: int = 1) -> np.ndarray:
    """Images that are all different, of 5 pixels; the first is the class."""
    found = np.random.default_rng(seed).integers(0, 256, (count, 5)).astype(np.uint8)
    found[:, 0] = np.arange(count) % 5
    return found
