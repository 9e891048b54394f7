"""The host alone, on a board in software; then with serial pins and accelerator, on a simulated board.

Every class is right on any line, after any other host.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fake_board import FakeBoard, images, same
from random_networks import Options, frames, network

from gradrtl import host as host_module
from gradrtl.errors import UserError
from gradrtl.host import Answer, Host, Statistics, draw_session
from gradrtl.line import LineError, open_line
from gradrtl.model.data import load_idx
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.loading import image
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.outputs import Outputs
from gradrtl.rtl.packets import ANSWER, END, FRAME, FRAMES_AHEAD, IDENTIFY, LOAD, LOAD_HEADER, LOAD_WORDS, TURN, Packet
from gradrtl.rtl.serial import identity
from gradrtl.rtl.verilog import generate_serial
from gradrtl.sim import engine, reference
from gradrtl.sim.board import DIVISOR, SimulatedBoard, build

ROOT = Path(__file__).parent.parent
OPTIONS = Options(dense_only=True, largest=20, most_layers=2, most_steps=3)


class NoisyLine:
    """A line that flips, loses and adds bytes on their way, `rate` of each, in both directions."""

    def __init__(self, line, rate: float, seed: int):
        self.line, self.rate = line, rate
        self.generator = np.random.default_rng(seed)
        self.harmed = 0

    def read(self, size: int) -> bytes:
        return self._harm(self.line.read(size))

    def write(self, data: bytes) -> int | None:
        return self.line.write(self._harm(data))

    def _harm(self, data: bytes) -> bytes:
        out = bytearray()
        for byte, chance in zip(data, self.generator.random(len(data)), strict=True):
            kind = int(chance / self.rate) if chance < 3 * self.rate else 3
            self.harmed += kind < 3
            if kind == 0:
                out.append(byte ^ 1 << int(self.generator.integers(8)))
            elif kind == 2:
                out += bytes([byte, int(self.generator.integers(256))])
            elif kind == 3:
                out.append(byte)
        return bytes(out)


@pytest.fixture
def board(monkeypatch):
    """A board in software; the host's clock is the board's."""
    fake = FakeBoard()
    monkeypatch.setattr(host_module.time, "monotonic", lambda: fake.now)
    return fake


def expected(given: np.ndarray) -> list[Answer]:
    return [Answer(int(image[0]), tuple(image.tolist())) for image in given]


def answers_of(outcome) -> list[Answer]:
    """Class and sums of every frame, as an engine or the reference computes them."""
    return [Answer(int(c), tuple(sums)) for c, sums in zip(outcome.classes, outcome.counts.tolist(), strict=True)]


def once(change):
    """A fault that is applied to the first answer to each frame alone."""
    seen = set()

    def fault(answer: Packet) -> list[Packet]:
        first = answer.kind == FRAME | ANSWER and (answer.session, answer.sequence) not in seen
        seen.add((answer.session, answer.sequence))
        return change(answer) if first else [answer]

    return fault


def test_results_in_order_each_number_once_in_a_session(board):
    given = images(30)
    host = Host(board)
    assert list(host.classify(given)) == expected(given)
    assert [p.kind for p in board.taken] == [IDENTIFY] + 30 * [FRAME]
    assert [p.sequence for p in board.taken] == list(range(31))
    assert {p.session for p in board.taken} == {board.session} != {0}
    assert host.statistics == Statistics(sent=31, sessions=1)


def test_hosts_draw_sessions_of_their_own(board):
    sessions = set()
    for _ in range(50):
        Host(board).identify()
        sessions.add(board.session)
    assert len(sessions) == 50
    assert all(0 < draw_session() < 1 << 24 for _ in range(1000))


def test_no_session_has_the_number_of_a_board_without_one(monkeypatch):
    monkeypatch.setattr(host_module.secrets, "randbelow", lambda limit: 0)
    assert draw_session() == 1
    monkeypatch.setattr(host_module.secrets, "randbelow", lambda limit: limit - 1)
    assert draw_session() == (1 << 24) - 1


@pytest.mark.parametrize("loss", ["requests", "answers"])
def test_what_is_lost_is_repeated_with_its_number(board, loss):
    given = images(40)
    generator = np.random.default_rng(1)
    if loss == "requests":
        board.lose = lambda packet: generator.random() < 0.3
    else:
        board.fault = lambda answer: [answer][generator.random() < 0.3 :]
    host = Host(board)
    assert list(host.classify(given)) == expected(given)
    assert host.statistics.repeated > 5
    sent = {p.sequence: p.payload for p in board.taken}
    assert all(sent[p.sequence] == p.payload for p in board.taken)


def test_an_overtaken_request_is_repeated_at_once(board):
    board.lose = lambda packet, seen=set(): packet.kind == FRAME and not seen and not seen.add(1)
    host = Host(board, patience=1000.0)
    assert list(host.classify(images(8))) == expected(images(8))
    assert board.now < 1.0
    assert host.statistics.repeated == 1


def test_as_many_frames_ahead_as_the_board_takes_and_all_of_one_turn(board):
    """The board answers only when the host has nothing more to send; 600 numbers pass two turns."""
    held, most = [], []
    board.fault = lambda answer: held.append(answer) or [answer] * (answer.kind != FRAME | ANSWER)
    read = board.read

    def late(size: int) -> bytes:
        ahead = [answer for answer in held if answer.kind == FRAME | ANSWER]
        assert len({answer.sequence >> TURN for answer in ahead}) <= 1
        most.append(len(ahead))
        board.out += b"".join(answer.encode() for answer in ahead)
        held.clear()
        return read(size)

    board.read = late
    host = Host(board)
    assert list(host.classify(images(600))) == expected(images(600))
    assert max(most) == FRAMES_AHEAD
    assert host.statistics.repeated == 0


@pytest.mark.parametrize(
    ("harmed", "counted"),
    [
        (lambda a: replace(a, payload=a.payload[:-4]), "refused"),
        (lambda a: replace(a, payload=a.payload + bytes(4)), "refused"),
        (lambda a: replace(a, payload=b""), "refused"),
        (lambda a: replace(a, payload=(5).to_bytes(4, "little") + a.payload[4:]), "refused"),  # no such class
        (lambda a: replace(a, payload=b"\xff" * 4 + a.payload[4:]), "refused"),  # class -1
        (lambda a: replace(a, payload=bytes(len(a.payload)), session=a.session ^ 1 << 23), "stale"),
        (lambda a: replace(a, payload=bytes(len(a.payload)), sequence=a.sequence ^ 1 << 8), "stale"),
        (lambda a: replace(a, payload=bytes(len(a.payload)), kind=LOAD | ANSWER), "stale"),
        (lambda a: replace(a, payload=bytes(len(a.payload)), kind=FRAME), "stale"),  # an echo
    ],
)
def test_answers_of_another_length_class_session_number_or_kind_are_not_taken(board, harmed, counted):
    given = images(12, 2)
    board.fault = once(lambda answer: [harmed(answer)])
    host = Host(board)
    assert list(host.classify(given)) == expected(given)
    assert getattr(host.statistics, counted) >= 12
    assert host.statistics.repeated >= 3


def test_the_first_of_two_answers_counts_and_the_second_harms_nobody(board):
    given = images(12, 2)
    board.fault = lambda answer: [answer, replace(answer, payload=bytes(len(answer.payload)))]
    board.fault = once(board.fault)
    host = Host(board)
    assert list(host.classify(given)) == expected(given)
    assert host.statistics.stale == 12


def test_answers_to_a_killed_host_are_stale(board):
    """A host dies with frames under way, the next one has the same numbers, and finds the old answers waiting."""
    late = []
    board.fault = lambda answer: late.append(answer) or [answer] * (answer.kind != FRAME | ANSWER)
    with pytest.raises(LineError):
        next(Host(board).classify(images(8, 3)))
    assert {answer.sequence for answer in late} >= {1, 2, 3, 4}
    board.fault = same
    given = images(8, 4)
    host = Host(board)
    results = host.classify(given)
    board.out += b"".join(answer.encode() for answer in late)
    assert list(results) == expected(given)
    assert host.statistics.stale == len(late)


def test_numbers_run_out_and_a_new_session_begins(board, monkeypatch):
    monkeypatch.setattr(host_module, "NUMBERS", 16)
    given = images(100)
    host = Host(board)
    assert list(host.classify(given)) == expected(given)
    used = [(p.session, p.sequence) for p in board.taken]
    assert len(used) == len(set(used))
    assert max(number for _, number in used) == 15
    assert host.statistics.sessions == 7 == len({session for session, _ in used})
    assert board.now < 1.0  # without waiting for an answer that nobody owes


def words(count: int) -> np.ndarray:
    return np.arange(1, count + 1, dtype=np.int64)


def test_memories_are_loaded_in_blocks_without_runs_of_zeros(board):
    board.identity = replace(board.identity, memories=2)
    first = np.concatenate([words(LOAD_WORDS), np.zeros(LOAD_WORDS, np.int64), words(3)])
    told = []
    Host(board).load([first, words(2)], lambda done, of: told.append((done, of)))
    assert board.memories == {
        **{(0, i): i + 1 for i in range(LOAD_WORDS)},
        **{(0, 2 * LOAD_WORDS + i): i + 1 for i in range(3)},
        **{(1, i): i + 1 for i in range(2)},
    }
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("given", [[], [words(1)] * 3])
def test_another_number_of_memories_is_refused(board, given):
    board.identity = replace(board.identity, memories=2)
    with pytest.raises(UserError, match=rf"memories to load is {len(given)}, expected 2"):
        Host(board).load(given)


def test_a_load_answered_with_a_payload_is_not_done(board):
    board.identity = replace(board.identity, memories=1)
    board.fault = lambda answer: [replace(answer, payload=b"x")] if answer.kind == LOAD | ANSWER else [answer]
    with pytest.raises(LineError, match=r"to load its memories; .* wrong length"):
        Host(board).load([words(1)])


def test_a_board_that_loses_power_is_loaded_again_before_it_is_asked_again(board):
    board.identity = replace(board.identity, memories=1)
    given = images(40)
    host = Host(board)
    host.load([words(3)])
    answers = []
    for answer in host.classify(given):
        answers.append(answer)
        if len(answers) in (10, 11, 25):
            board.reset()
    assert answers == expected(given)
    assert host.statistics.sessions >= 3


def test_a_session_that_another_host_took_is_opened_again(board):
    given = images(40)
    host = Host(board)
    answers = []
    for answer in host.classify(given):
        answers.append(answer)
        if len(answers) % 8 == 0:
            Host(board).identify()
    assert answers == expected(given)
    assert host.statistics.sessions >= 5


def test_frames_repeated_in_a_new_session_are_of_one_turn(board):
    """To open one takes 255 numbers here: one more would be of this turn, the other three of the next."""
    board.identity = replace(board.identity, memories=1)
    host = Host(board)
    host.load([words((1 << TURN) * LOAD_WORDS - 2 * LOAD_WORDS)])
    given, answers = images(12), []
    for answer in host.classify(given):
        answers.append(answer)
        if len(answers) == 1:
            board.reset()
    assert answers == expected(given)
    assert host.statistics.sessions == 2
    numbers = [p.sequence for p in board.taken if p.session == board.session]
    assert numbers.count((1 << TURN) - 2) == 1
    assert min(p.sequence for p in board.taken if p.kind == FRAME and p.session == board.session) == 1 << TURN


def test_answers_end_a_silence(board):
    """Each image is lost once: twelve silences, and none of four attempts, after which a session would be opened."""
    seen = set()
    board.lose = lambda packet: packet.kind == FRAME and not (packet.payload in seen or seen.add(packet.payload))
    host = Host(board)
    assert list(host.classify(images(48))) == expected(images(48))
    assert host.statistics.repeated == 48
    assert host.statistics.sessions == 1


def test_another_program_on_the_line_is_told(board):
    board.fault = lambda answer: [replace(answer, session=answer.session ^ 1)]
    with pytest.raises(LineError, match="8 answers to other requests came: another program may use the board"):
        Host(board).identify()


def test_the_version_of_another_request_does_not_count(board):
    text = board.identity.encode()
    other = text[:4] + bytes([3]) + text[5:]
    board.fault = lambda answer: [replace(answer, sequence=answer.sequence + 1, payload=other), answer]
    host = Host(board)
    assert host.identify() == board.identity
    assert host.statistics.stale == 1


def test_another_board_under_way_is_told(board):
    results = Host(board).classify(images(40))
    next(results)
    board.reset()
    board.identity = replace(board.identity, digest=bytes([1]) * 32)
    with pytest.raises(LineError, match="another board, or another bitstream"):
        list(results)


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_is_told_in_words(board, version):
    text = board.identity.encode()
    text = text[:4] + bytes([version]) + text[5:]
    if version == 1:  # magic and version stand where session and number stand now
        session = int.from_bytes(text[1:4], "little")
        board.fault = lambda a: [Packet(text[0] << 8 | a.sequence & 0xFF, a.kind, text[4:], session)]
    else:
        board.fault = lambda a: [replace(a, payload=text)]
    with pytest.raises(LineError, match=rf"serial protocol is version {version}, expected 2: .*gradrtl synth"):
        Host(board).identify()


def test_what_is_no_board_of_ours_is_told(board):
    board.fault = lambda answer: [replace(answer, payload=bytes(len(answer.payload)))]
    with pytest.raises(LineError, match="not one of gradrtl synth"):
        Host(board).identify()


def test_a_dead_line_ends_in_one_line_after_bounded_time(board):
    board.dead = True
    with pytest.raises(LineError, match=r"^the board does not answer: 8 attempts to identify it$"):
        Host(board).identify()
    assert 8 < board.now < 15
    assert board.taken == []


def test_a_board_that_falls_silent_ends_in_one_line(board):
    results = Host(board).classify(images(40))
    next(results)
    board.dead = True
    with pytest.raises(LineError, match="does not answer"):
        list(results)
    assert board.now < 300


def test_patience_doubles_up_to_a_limit(board):
    sent = []
    board.lose = lambda packet: sent.append(board.now) or True
    with pytest.raises(LineError):
        Host(board, patience=1.0).identify()
    waits = [round(later - earlier) for earlier, later in pairwise(sent)]
    assert waits == [1, 2, 4, 8, 8, 8, 8]


def test_slow_lines_get_the_time_that_their_bytes_need(board):
    sent = []
    board.lose = lambda packet: sent.append(board.now) or True
    with pytest.raises(LineError):
        Host(board, baud=100, patience=1.0).identify()
    assert 1 + 2 * 64 / 10 <= sent[1] - sent[0] < 1.1 + 2 * 64 / 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 5), np.int64), "images dtype is int64, expected uint8"),
        (np.zeros((2, 6), np.uint8), r"images shape is \(2, 6\), expected \[images, 5 pixels\], or"),
        (np.zeros(5, np.uint8), r"images shape is \(5,\), expected"),
    ],
)
def test_images_of_another_shape_are_refused_at_once(board, given, message):
    with pytest.raises(UserError, match=message):
        Host(board).classify(given)


def test_garbage_between_answers_does_no_harm(board):
    generator = np.random.default_rng(5)
    given = images(60)
    read = board.read

    def noisy(size):
        return generator.bytes(int(generator.integers(40))) + bytes([END]) + read(size)

    board.read = noisy
    board.now = 0.0
    assert list(Host(board).classify(given)) == expected(given)


@pytest.fixture(scope="module")
def mnist():
    net = QuantizedNetwork.load(ROOT / "networks" / "mnist-1pct.npz")
    mapping = map_network(net, Placement((4, 4), queue_depth=4))
    return net, mapping, build(generate_serial(mapping, DIVISOR))


@pytest.mark.rtl
@pytest.mark.parametrize("rate", [0.0, 2e-4])
def test_every_class_of_mnist_images(mnist, rate):
    net, mapping, program = mnist
    _, test = load_idx(ROOT / "data" / "mnist")
    given = test.frames[:40]
    outcome = engine.run(net, given)
    with SimulatedBoard(program) as board:
        line = NoisyLine(open_line(board.port, 1_000_000), rate, 1) if rate else open_line(board.port, 1_000_000)
        host = Host(line, patience=0.5 if rate else 60.0)
        assert host.identify() == identity(mapping)
        answers = list(host.classify(given))
    assert answers == answers_of(outcome)
    if rate:
        assert line.harmed > 5
        assert host.statistics.repeated > 2
    else:
        assert host.statistics.repeated == 0


def loadable() -> tuple[QuantizedNetwork, Mapping]:
    """A network whose memories come over the line."""
    seed = next(s for s in range(100) if network(s, OPTIONS).input.kind == "static")
    net = network(seed, OPTIONS)
    layers = len(net.layers)
    return net, map_network(net, Placement((16, *[4] * (layers - 1)), strided=tuple(range(layers))))


@pytest.mark.rtl
def test_memories_are_loaded_over_a_noisy_line():
    net, mapping = loadable()
    given = frames(net, 20, 3)
    outcome = reference.run(net, given)
    with SimulatedBoard(build(generate_serial(mapping, DIVISOR))) as board:
        line = NoisyLine(open_line(board.port, 1_000_000), 5e-4, 2)
        host = Host(line, patience=0.2)
        assert host.identify().memories == len(image(mapping))
        host.load(image(mapping))
        answers = list(host.classify(given))
    assert answers == answers_of(outcome)
    assert outcome.counts.any()


@pytest.mark.rtl
def test_damaged_words_are_not_loaded():
    net, mapping = loadable()
    given = frames(net, 20, 3)
    words = image(mapping)[0]
    assert words.any()
    zeros = LOAD_HEADER.pack(0, 0) + bytes(2 * min(len(words), LOAD_WORDS))
    with SimulatedBoard(build(generate_serial(mapping, DIVISOR))) as board:
        line = open_line(board.port, 1_000_000)
        host = Host(line, patience=60.0)
        host.load(image(mapping))
        harmed = bytearray(Packet(0x3FFF, LOAD, zeros, host._session).encode())
        harmed[-8] ^= 1  # the last word, or the CRC
        line.write(bytes(harmed))
        answers = list(host.classify(given))
    outcome = reference.run(net, given)
    assert answers == answers_of(outcome)
    assert outcome.counts.any()


@pytest.mark.rtl
def test_words_of_another_session_or_beside_a_frame_are_not_loaded():
    net, mapping = loadable()
    given = frames(net, 20, 3)
    outcome = reference.run(net, given)
    assert outcome.counts.any()
    zeros = [
        LOAD_HEADER.pack(memory, first) + bytes(2 * len(words[first : first + LOAD_WORDS]))
        for memory, words in enumerate(image(mapping))
        for first in range(0, len(words), LOAD_WORDS)
    ]
    with SimulatedBoard(build(generate_serial(mapping, DIVISOR))) as board, open_line(board.port, 1_000_000) as line:
        host = Host(line, patience=60.0)
        host.load(image(mapping))
        for block in zeros:
            line.write(Packet(0x3FFF, LOAD, block, host._session ^ 1).encode())
        frame = Packet(0x4000, FRAME, given[0].tobytes(), host._session).encode()
        beside = b"".join(Packet(0x3FFF, LOAD, block, host._session).encode() for block in zeros[:1])
        line.write(frame + beside)
        answers = list(host.classify(given))
    assert [a.sums for a in answers] == [tuple(row) for row in outcome.counts.tolist()]


def test_read_outs_are_told_apart(board):
    """The board's six words are two read-outs of two classes: a class that one of them cannot have is no answer."""
    given = images(2)
    given[:, 0], given[:, 2] = (1, 0), 1
    host = Host(board, outputs=Outputs((2, 2)))
    assert list(host.classify(given)) == [
        Answer(int(p[0]), (int(p[0]), int(p[1]), int(p[3]), int(p[4])), (1,)) for p in given
    ]
    assert host.statistics.refused == 0
    given[0, 2] = 2
    with pytest.raises(LineError, match="answers had a wrong length or class"):
        list(host.classify(given[:1]))


def test_read_outs_of_another_board(board):
    host = Host(board, outputs=Outputs((2, 3)))
    with pytest.raises(UserError, match="words of the read-outs is 7, expected 6, as in the board's results"):
        host.classify(images(1))
