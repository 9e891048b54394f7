"""The computer's side of the serial protocol: sends images to a board, returns its answers, repeats what was lost.

The protocol is that of `rtl/packets.py`. Whatever the line does to bytes, every image gets its result, or `LineError`
says that the board does not answer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .errors import UserError, require
from .rtl.packets import (
    ANSWER,
    FRAME,
    FRAMES_AHEAD,
    IDENTIFY,
    LOAD,
    LOAD_HEADER,
    LOAD_WORDS,
    Decoder,
    Identity,
    Packet,
)

BITS_A_BYTE = 10  # start, data, stop
BACKOFF = 5  # repetitions double the patience up to this often
ATTEMPTS = 50  # of one request, before the line counts as dead
PATIENCE = 0.25  # seconds without an answer, beyond the time that the bytes need, before a request is repeated


class LineError(UserError):
    """The board does not answer, or is not the one that is wanted."""


class Line(Protocol):
    """What a serial port must do; `serial.Serial` does. `read` returns what is there within its timeout."""

    def read(self, size: int) -> bytes: ...

    def write(self, data: bytes) -> int | None: ...


def open_line(port: str, baud: int) -> Line:
    """The serial device `port`; `UserError` if it cannot be opened."""
    try:
        import serial
    except ImportError as error:
        raise UserError("pyserial is not installed: pip install 'gradrtl[fpga]'") from error
    try:
        return serial.Serial(port, baud, timeout=0.005)
    except (serial.SerialException, OSError, ValueError) as error:
        raise UserError(f"serial port {port} cannot be opened: {error}") from error


@dataclass(frozen=True)
class Answer:
    """The board's result for one image: the class, and the sum of every class."""

    klass: int
    sums: tuple[int, ...]


@dataclass
class Statistics:
    """What happened on the line."""

    sent: int = 0
    repeated: int = 0
    damaged: int = 0


class Host:
    """Talks to one board over `line`.

    `baud` tells how long bytes take; 0 for a line that has no speed of its own. `patience` is in seconds.
    """

    def __init__(self, line: Line, baud: int = 0, patience: float = PATIENCE):
        self.line = line
        self.patience = patience
        self.seconds_a_byte = BITS_A_BYTE / baud if baud else 0.0
        self.statistics = Statistics()
        self._decoder = Decoder()
        self._sequence = 0

    def identify(self) -> Identity:
        """Ask the board who it is."""
        for _ in range(ATTEMPTS):
            identity = Identity.decode(self._ask(IDENTIFY, b""))
            if identity is not None:
                return identity
        raise LineError("the board on this port is not one of this program, or of another version")

    def load(self, images: Sequence[np.ndarray], progress: Callable[[int, int], None] | None = None) -> None:
        """Fill the board's memories, `images[m]` words of at most 16 bits each; runs of zeros are left out.

        `progress` is told how many blocks of how many are done.
        """
        blocks = [
            (memory, place, words[place : place + LOAD_WORDS])
            for memory, words in enumerate(images)
            for place in range(0, len(words), LOAD_WORDS)
        ]
        blocks = [block for block in blocks if block[2].any()]
        for done, (memory, place, words) in enumerate(blocks):
            self._ask(LOAD, LOAD_HEADER.pack(memory, place) + words.astype("<u2").tobytes())
            if progress:
                progress(done + 1, len(blocks))

    def classify(self, images: np.ndarray) -> Iterator[Answer]:
        """Results of `images` (uint8 `[n, sources]`), in order, as they come; several are under way at a time."""
        require(images.dtype == np.uint8, "images dtype", images.dtype, "uint8")
        require(images.ndim == 2, "images dimensions", images.ndim, "2: [images, pixels]")
        waiting: deque[_Request] = deque()
        place, attempts = 0, 0
        deadline = 0.0
        while place < len(images) or waiting:
            while place < len(images) and len(waiting) < FRAMES_AHEAD:
                waiting.append(_Request(Packet(self._next(), FRAME, images[place].tobytes())))
                self._send_in_turn(waiting[-1])
                place += 1
                deadline = self._deadline([w.packet for w in waiting])
            answered = [w for packet in self._receive() for w in waiting if w.take(packet)]
            # Answers come in the order of the requests: one that was overtaken is lost.
            lost = [w for w in waiting if not w.answer and any(w.turn < later.turn for later in answered)]
            if answered:
                attempts, deadline = 0, self._deadline([w.packet for w in waiting])
            elif time.monotonic() > deadline:
                attempts += 1
                if attempts > ATTEMPTS:
                    raise LineError(f"the board does not answer: {ATTEMPTS} attempts on image {place - len(waiting)}")
                lost = [w for w in waiting if not w.answer]
                deadline = self._deadline([w.packet for w in waiting], attempts)
            for request in lost:
                self.statistics.repeated += 1
                self._send_in_turn(request)
            while waiting and (answer := waiting[0].answer):
                waiting.popleft()
                yield answer

    def _ask(self, kind: int, payload: bytes) -> bytes:
        """One request, repeated until its answer comes."""
        request = Packet(self._next(), kind, payload)
        for attempt in range(ATTEMPTS):
            self.statistics.repeated += attempt > 0
            self._send(request)
            deadline = self._deadline([request], attempt)
            while time.monotonic() < deadline:
                for packet in self._receive():
                    if (packet.sequence, packet.kind) == (request.sequence, kind | ANSWER):
                        return packet.payload
        raise LineError(f"the board does not answer: {ATTEMPTS} attempts")

    def _send_in_turn(self, request: _Request) -> None:
        request.turn = self.statistics.sent
        self._send(request.packet)

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) % 256
        return self._sequence

    def _send(self, packet: Packet) -> None:
        self.statistics.sent += 1
        self.line.write(packet.encode())

    def _receive(self) -> list[Packet]:
        packets = self._decoder.feed(self.line.read(4096))
        self.statistics.damaged = self._decoder.damaged
        return packets

    def _deadline(self, requests: Sequence[Packet], attempt: int = 0) -> float:
        """When the answer to `requests` is overdue: stuffing can double the bytes; a slow board gets more time."""
        bytes_due = 2 * sum(len(r.payload) + 64 for r in requests)
        return time.monotonic() + self.patience * 2 ** min(attempt, BACKOFF) + self.seconds_a_byte * bytes_due


@dataclass
class _Request:
    """A frame under way: `turn` orders those that were sent, repetitions included."""

    packet: Packet
    turn: int = 0
    answer: Answer | None = None

    def take(self, packet: Packet) -> bool:
        """Keep `packet` if it is the answer, and the first."""
        if self.answer or packet.kind != FRAME | ANSWER or packet.sequence != self.packet.sequence:
            return False
        self.answer = _answer(packet.payload)
        return True


def _answer(payload: bytes) -> Answer:
    klass, *sums = np.frombuffer(payload, dtype="<i4").tolist()
    return Answer(klass, tuple(sums))
