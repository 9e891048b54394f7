"""The host's side of the serial protocol: sends images to a board, returns its answers, repeats lost requests.

The protocol is that of `rtl/packets.py`. Bytes may be damaged, and other programs may use the board before or
meanwhile. Every image gets its own result, or a `LineError` says in one line what is wrong.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .errors import require
from .line import Line, LineError
from .rtl.outputs import Outputs
from .rtl.packets import (
    ANSWER,
    FRAME,
    FRAMES_AHEAD,
    IDENTIFY,
    IDENTITY,
    LOAD,
    LOAD_HEADER,
    LOAD_WORDS,
    SEQUENCE_BITS,
    SESSION_BITS,
    TURN,
    VERSION,
    Decoder,
    Identity,
    Packet,
    version_of,
)

BITS_A_BYTE = 10  # start, data, stop
PATIENCE = 0.25  # seconds without an answer, beyond the time that the bytes need, before a request is repeated
BACKOFF = 3  # a repeated request doubles the patience, at most this often
ATTEMPTS = 50  # attempts without an answer to any frame before the host gives up
ASKED = 8  # attempts of a single request
REOPENED = 4  # after this many attempts at frames, a new session is opened
PREPARED = 5  # attempts to open a session and load the memories
NUMBERS = 1 << SEQUENCE_BITS  # requests of a session


class Unanswered(LineError):
    """No attempt of a request was answered."""


@dataclass(frozen=True)
class Answer:
    """The board's result for one image: the class, and the sum of every class.

    Of a network with several read-outs, `klass` is the class of the first, `others` those of the others; `sums` are
    those of all, one read-out after another.
    """

    klass: int
    sums: tuple[int, ...]
    others: tuple[int, ...] = ()


@dataclass
class Statistics:
    """Counts of packets and sessions.

    `damaged`: incomplete packets or wrong CRC; `stale`: of another session, or answers to no open request; `refused`:
    answers with a wrong length or class; `sessions`: sessions opened.
    """

    sent: int = 0
    repeated: int = 0
    damaged: int = 0
    stale: int = 0
    refused: int = 0
    sessions: int = 0


def draw_session() -> int:
    """A session's number, 1 to 2^24 - 1, at random."""
    return 1 + secrets.randbelow((1 << SESSION_BITS) - 1)


class Host:
    """Talks to one board over `line`.

    `baud` gives the duration of a byte; 0 for a line without a fixed speed. `patience` is in seconds. `draw` gives
    the numbers of sessions. `outputs` are the board's read-outs, if it has several. A session begins at `identify`,
    after NUMBERS requests, and when the board has not answered for long. In the last two cases the memories are
    loaded again.
    """

    def __init__(
        self,
        line: Line,
        baud: int = 0,
        patience: float = PATIENCE,
        draw: Callable[[], int] = draw_session,
        outputs: Outputs | None = None,
    ):
        self.line = line
        self.outputs = outputs
        self.patience = patience
        self.seconds_a_byte = BITS_A_BYTE / baud if baud else 0.0
        self.statistics = Statistics()
        self.identity: Identity | None = None
        self._draw = draw
        self._decoder = Decoder()
        self._session = 0
        self._used = 0  # numbers of the session
        self._blocks: list[bytes] = []

    def identify(self) -> Identity:
        """Open a session and ask the board who it is.

        `LineError`: it does not answer, has another version of the protocol, or is not the same board as before.
        """
        self._session, self._used = self._draw(), 0
        self.statistics.sessions += 1
        identity = Identity.decode(self._ask(IDENTIFY, b"", IDENTITY.size))
        if identity is None:
            raise LineError("the board on this port is not one of gradrtl synth")
        if self.identity not in (None, identity):
            raise LineError("another board, or another bitstream, answers on this line than before")
        self.identity = identity
        return identity

    def load(self, images: Sequence[np.ndarray], progress: Callable[[int, int], None] | None = None) -> None:
        """Fill the board's memories: `images[m]` are words of at most 16 bits. Blocks of zeros are skipped.

        `progress` is called with the blocks done and their total. `UserError`: not as many memories as the board has.
        """
        memories = (self.identity or self.identify()).memories
        require(len(images) == memories, "memories to load", len(images), f"{memories}, as many as the board has")
        blocks = [
            (memory, first, words[first : first + LOAD_WORDS])
            for memory, words in enumerate(images)
            for first in range(0, len(words), LOAD_WORDS)
        ]
        self._blocks = [
            LOAD_HEADER.pack(memory, first) + words.astype("<u2").tobytes()
            for memory, first, words in blocks
            if words.any()
        ]
        require(len(self._blocks) <= NUMBERS // 2, "blocks to load", len(self._blocks), f"at most {NUMBERS // 2}")
        try:
            self._load(progress)
        except Unanswered:
            self._prepare()

    def classify(self, images: np.ndarray) -> Iterator[Answer]:
        """Results of `images`, in order, as they come; several are under way at a time.

        Frames as the engine takes them: uint8 `[n, sources]`, or `[n, steps, sources]` of an input that is new at each
        step. Those of several inputs are side by side (`rtl.inputs.Inputs.packed`).
        """
        self.identity = self.identity or self.identify()
        size = self.identity.sources
        if self.outputs is not None:
            words = self.identity.classes + 1
            accepted = f"{words}, as in the board's results"
            require(self.outputs.words == words, "words of the read-outs", self.outputs.words, accepted)
        require(images.dtype == np.uint8, "images dtype", images.dtype, "uint8")
        accepted = f"[images, {size} pixels], or [images, steps, sources] with so many values"
        require(images.ndim in (2, 3) and prod(images.shape[1:]) == size, "images shape", images.shape, accepted)
        return self._results(images)

    def _results(self, images: np.ndarray) -> Iterator[Answer]:
        waiting: deque[_Request] = deque()
        begun, attempts = 0, 0
        deadline = 0.0
        while begun < len(images) or waiting:
            if self._used == NUMBERS and not waiting:
                self._prepare()
            while begun < len(images) and self._may_follow(waiting):
                waiting.append(_Request(self._next(FRAME, images[begun].tobytes())))
                self._send_in_turn(waiting[-1])
                begun += 1
                deadline = self._deadline([w.packet for w in waiting])
            answered = [request for packet in self._receive() if (request := self._match(packet, waiting))]
            # Answers come in the order of the requests: one that was overtaken is lost.
            lost = [w for w in waiting if not w.answer and any(w.turn < later.turn for later in answered)]
            if answered:
                attempts, deadline = 0, self._deadline([w.packet for w in waiting])
            elif time.monotonic() > deadline:
                attempts += 1
                if attempts > ATTEMPTS:
                    raise Unanswered(self._silence(ATTEMPTS, f"on image {begun - len(waiting)}"))
                lost = [w for w in waiting if not w.answer]
                if attempts % REOPENED == 0:
                    self._prepare()
                    if _turn(self._used) != _turn(self._used + len(lost) - 1):
                        self._used = _turn(self._used) + 1 << TURN
                    for request in lost:
                        request.packet = self._next(FRAME, request.packet.payload)
                deadline = self._deadline([w.packet for w in waiting], attempts)
            for request in lost:
                self.statistics.repeated += 1
                self._send_in_turn(request)
            while waiting and (answer := waiting[0].answer):
                waiting.popleft()
                yield answer

    def _may_follow(self, waiting: Sequence[_Request]) -> bool:
        """Whether one more frame may be sent: not too many, all of one turn, and the session has a number for it."""
        same_turn = not waiting or _turn(waiting[0].packet.sequence) == _turn(self._used)
        return len(waiting) < FRAMES_AHEAD and same_turn and self._used < NUMBERS

    def _prepare(self) -> None:
        """Open a session and load the memories again, if they were loaded: the board may have lost them."""
        for attempt in range(PREPARED):
            try:
                self.identify()
                self._load()
                return
            except Unanswered:
                if attempt == PREPARED - 1:
                    raise

    def _load(self, progress: Callable[[int, int], None] | None = None) -> None:
        for done, block in enumerate(self._blocks, 1):
            self._ask(LOAD, block, 0)
            if progress:
                progress(done, len(self._blocks))

    def _ask(self, kind: int, payload: bytes, answer_bytes: int) -> bytes:
        """Send one request, and repeat it until its answer of `answer_bytes` comes."""
        request = self._next(kind, payload)
        for attempt in range(ASKED):
            self.statistics.repeated += attempt > 0
            self._send(request)
            deadline = self._deadline([request], attempt)
            while time.monotonic() < deadline:
                for packet in self._receive():
                    version = version_of(packet)
                    if version not in (None, VERSION) and (packet.sequence ^ request.sequence) & 0xFF == 0:
                        raise LineError(
                            f"the board's serial protocol is version {version}, expected {VERSION}: "
                            "build its bitstream anew with gradrtl synth"
                        )
                    if not _answers(packet, request):
                        self.statistics.stale += 1
                    elif len(packet.payload) != answer_bytes:
                        self.statistics.refused += 1
                    else:
                        return packet.payload
        raise Unanswered(self._silence(ASKED, "to identify it" if kind == IDENTIFY else "to load its memories"))

    def _match(self, packet: Packet, waiting: Sequence[_Request]) -> _Request | None:
        """The request that `packet` answers; it keeps the first answer."""
        for request in waiting:
            if _answers(packet, request.packet) and not request.answer:
                request.answer = self._answer(packet.payload)
                self.statistics.refused += request.answer is None
                return request if request.answer else None
        self.statistics.stale += 1
        return None

    def _answer(self, payload: bytes) -> Answer | None:
        """The result in `payload`; None if it is not one."""
        assert self.identity is not None
        if len(payload) != self.identity.result_bytes:
            return None
        outputs = self.outputs or Outputs((self.identity.classes,))
        words = np.frombuffer(payload, dtype="<i4")[None]
        decided, sums = outputs.decided(words)[0].tolist(), outputs.sums(words)[0].tolist()
        exist = all(0 <= klass < classes for klass, classes in zip(decided, outputs.classes, strict=True))
        return Answer(decided[0], tuple(sums), tuple(decided[1:])) if exist else None

    def _silence(self, attempts: int, aim: str) -> str:
        told = f"the board does not answer: {attempts} attempts {aim}"
        if self.statistics.stale:
            told += f"; {self.statistics.stale} answers to other requests came: another program may use the board"
        if self.statistics.refused:
            told += f"; {self.statistics.refused} answers had a wrong length or class"
        return told

    def _send_in_turn(self, request: _Request) -> None:
        request.turn = self.statistics.sent
        self._send(request.packet)

    def _next(self, kind: int, payload: bytes) -> Packet:
        """A request with the session's next number."""
        self._used += 1
        return Packet(self._used - 1, kind, payload, self._session)

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
    """A frame that waits for its answer: `turn` orders all frames sent, repetitions included."""

    packet: Packet
    turn: int = 0
    answer: Answer | None = None


def _turn(number: int) -> int:
    return number >> TURN


def _answers(packet: Packet, request: Packet) -> bool:
    """Whether `packet` has the session and number of `request`, and the kind of its answer."""
    asked = (request.session, request.sequence, request.kind | ANSWER)
    return (packet.session, packet.sequence, packet.kind) == asked
