"""Receiver, loader and answers of the serial board, each alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from amaranth.sim import Simulator
from random_networks import Options, network

from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.packets import (
    ANSWER,
    END,
    ESC,
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
from gradrtl.rtl.serial.answers import Answers
from gradrtl.rtl.serial.loader import Loader
from gradrtl.rtl.serial.receiver import PacketReceiver

OPTIONS = Options(dense_only=True, largest=20, most_layers=1, most_steps=2)


def simulate(component, *testbenches: Callable) -> None:
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.run()


def received(line: bytes) -> list[tuple[bool, int, int, int, bytes]]:
    """Whether good, number, kind, session and payload, at each END that closes something."""
    receiver = PacketReceiver()
    found = []

    async def run(ctx):
        payload = bytearray()
        for byte in line:
            for valid in (1, 0):
                ctx.set(receiver.byte, byte)
                ctx.set(receiver.valid, valid)
                if ctx.get(receiver.begin):
                    payload.clear()
                if ctx.get(receiver.payload_valid):
                    payload.append(ctx.get(receiver.payload))
                if ctx.get(receiver.end):
                    fields = (ctx.get(getattr(receiver, name)) for name in ("good", "sequence", "kind", "session"))
                    good, *header = fields
                    found.append((bool(good), *header, bytes(payload)))
                await ctx.tick()

    simulate(receiver, run)
    return found


PACKETS = [
    Packet(0xDBC0, 0xC0, b"\xdb\xc0\xdc\xdd", 0xC0DBDC),
    Packet(1, IDENTIFY),
    Packet(0xFFFF, FRAME, bytes(40), 1),
]


@pytest.mark.parametrize("seed", range(8))
def test_after_any_bytes_the_next_packet_is_received(seed):
    """Garbage is random, mostly of bytes that mean something, or a packet that is cut short, lengthened or harmed."""
    generator = np.random.default_rng(seed)
    line, expected = b"", []
    for turn in range(30):
        packet = PACKETS[turn % len(PACKETS)]
        noise = bytes(generator.choice([END, ESC, 0xDC, 0xDD, 0, 255], int(generator.integers(25))).tolist())
        cut = PACKETS[int(generator.integers(3))].encode()[1:-1]
        cut = cut[: int(generator.integers(len(cut)))] + bytes(generator.integers(0, 256, turn % 3).tolist())
        line += (noise, cut, cut + noise)[turn % 3] + packet.encode()
        expected.append((True, packet.sequence, packet.kind, packet.session, packet.payload))
    found = received(line + bytes([0]))
    assert [one for one in found if one[0]] == expected


def test_a_wrong_escape_spoils_a_packet_whatever_its_crc():
    """ESC and another byte read as ESC: the line is that of a packet with an ESC, but for the byte behind it."""
    line = Packet(1, FRAME, bytes([ESC]), 5).encode()
    assert line.count(bytes([ESC, 0xDD])) == line.count(ESC) == 1
    assert [one[0] for one in received(line + b"\0")] == [True]
    assert [one[0] for one in received(line.replace(bytes([ESC, 0xDD]), bytes([ESC, 0x44])) + b"\0")] == [False]


MEMORIES = 2


@pytest.fixture(scope="module")
def loader_mapping():
    seed = next(s for s in range(100) if network(s, OPTIONS).input.kind == "static")
    return map_network(network(seed, OPTIONS), Placement((MEMORIES,), strided=(0,)))


def loaded(mapping, payload: bytes, good: bool = True) -> tuple[list[tuple[int, int, int]], int, int]:
    """Words written (memory, address, word), and in how many cycles `taken` and `done` were set."""
    loader = Loader(mapping)
    words: list[tuple[int, int, int]] = []
    counts = [0, 0]

    async def run(ctx):
        async def cycle(**inputs):
            for name, value in inputs.items():
                ctx.set(getattr(loader, name), value)
            if ctx.get(loader.load.write):
                words.append(tuple(ctx.get(getattr(loader.load, name)) for name in ("memory", "address", "word")))
            counts[0] += ctx.get(loader.taken)
            counts[1] += ctx.get(loader.done)
            await ctx.tick()
            for name in inputs:
                ctx.set(getattr(loader, name), 0)

        await cycle(open=1)
        for byte in payload:
            await cycle(payload=byte, payload_valid=1)
        await cycle(end=1, good=good)
        for _ in range(LOAD_WORDS + 4):
            await cycle()

    simulate(loader, run)
    return words, *counts


def block(memory: int, first: int, count: int) -> bytes:
    return LOAD_HEADER.pack(memory, first) + (np.arange(count) % 2).astype("<u2").tobytes()


@pytest.mark.parametrize(("memory", "first", "count"), [(0, 0, 1), (1, 0, 5), (0, 3, 2)])
def test_words_go_to_consecutive_addresses(loader_mapping, memory, first, count):
    words, taken, done = loaded(loader_mapping, block(memory, first, count))
    assert words == [(memory, first + i, i % 2) for i in range(count)]
    assert (taken, done) == (1, 1)


def test_as_many_words_as_a_load_holds(loader_mapping):
    words, taken, done = loaded(loader_mapping, block(0, 0, LOAD_WORDS))
    assert ([word for _, _, word in words], taken, done) == ([i % 2 for i in range(LOAD_WORDS)], 1, 1)


@pytest.mark.parametrize(
    "payload",
    [
        block(0, 0, LOAD_WORDS + 1),
        block(0, 0, 2 * LOAD_WORDS),
        block(0, 0, 2 * LOAD_WORDS + 1),
        block(0, 0, LOAD_WORDS) + b"\1",
        block(0, 0, 3) + b"\1",
        block(0, 0, 0),
        b"",
        block(MEMORIES, 0, 3),
        block(255, 0, 3),
    ],
    ids=["129 words", "256 words", "257 words", "128.5 words", "3.5 words", "none", "empty", "memory 2", "memory 255"],
)
def test_loads_that_are_dropped_whole(loader_mapping, payload):
    assert loaded(loader_mapping, payload) == ([], 0, 0)


def test_a_damaged_load_is_dropped(loader_mapping):
    assert loaded(loader_mapping, block(0, 0, 3), good=False) == ([], 0, 0)


class Asked:
    """Drives `Answers` of a design with one class: requests in, results in, packets out."""

    def __init__(self, script: Callable):
        self.answers = Answers(Identity(1, 4, 1, bytes(range(32))))
        self.line = bytearray()
        self.script = script
        self.finished = False
        simulate(self.answers, self._run, self._listen)
        self.packets = Decoder().feed(bytes(self.line))

    async def _run(self, ctx):
        self.ctx = ctx
        ctx.set(self.answers.bytes.ready, 1)
        await self.script(self)
        self.finished = True

    async def _listen(self, ctx):
        while not self.finished:
            if ctx.get(self.answers.bytes.valid) and ctx.get(self.answers.bytes.ready):
                self.line.append(ctx.get(self.answers.bytes.payload))
            await ctx.tick()

    async def pulse(self, name: str, sequence: int = 0) -> None:
        self.ctx.set(self.answers.sequence, sequence)
        self.ctx.set(getattr(self.answers, name), 1)
        await self.ctx.tick()
        self.ctx.set(getattr(self.answers, name), 0)

    async def renew(self, session: int) -> None:
        await self.pulse("renewed")
        self.ctx.set(self.answers.session, session)

    async def result(self, *words: int, bad: int = 0) -> None:
        packets = self.answers.packets
        for i, word in enumerate(words):
            self.ctx.set(packets.payload.word, word)
            self.ctx.set(packets.payload.last, i == len(words) - 1)
            self.ctx.set(packets.payload.bad, bad)
            self.ctx.set(packets.valid, 1)
            for _ in range(1000):
                taken = self.ctx.get(packets.ready)
                await self.ctx.tick()
                if taken:
                    break
            else:
                raise AssertionError("a result is never taken")
            self.ctx.set(packets.valid, 0)

    async def rest(self, cycles: int = 120) -> None:
        await self.ctx.tick().repeat(cycles)

    def may_open(self, sequence: int) -> bool:
        self.ctx.set(self.answers.sequence, sequence)
        return bool(self.ctx.get(self.answers.ready))


def told(asked: Asked) -> list[tuple[int, int, int]]:
    return [(p.session, p.sequence, p.kind) for p in asked.packets]


def test_results_have_number_session_and_words():
    async def script(asked):
        await asked.renew(0x812345)
        for number in (0x1201, 0x1202, 0x1203):
            await asked.pulse("framed", number)
        await asked.result(0, -5)
        await asked.result(0, 6, bad=1)
        await asked.result(0, 0x40DBC0DC)
        await asked.rest()

    asked = Asked(script)
    assert told(asked) == [(0x812345, 0x1201, FRAME | ANSWER), (0x812345, 0x1203, FRAME | ANSWER)]
    assert [np.frombuffer(p.payload, "<i4").tolist() for p in asked.packets] == [[0, -5], [0, 0x40DBC0DC]]


def test_a_new_session_leaves_the_frames_under_way_and_no_others_without_answer():
    async def script(asked):
        await asked.renew(1)
        for number in (10, 11):
            await asked.pulse("framed", number)
        await asked.renew(2)
        await asked.pulse("framed", 0)
        await asked.pulse("framed", 1)
        for value in range(4):
            await asked.result(0, value)
        await asked.pulse("framed", 2)
        await asked.result(0, 4)
        await asked.rest()

    asked = Asked(script)
    assert told(asked) == [(2, n, FRAME | ANSWER) for n in (0, 1, 2)]
    assert [p.payload[4] for p in asked.packets] == [2, 3, 4]


def test_a_frame_whose_answer_has_begun_keeps_its_session():
    async def script(asked):
        await asked.renew(1)
        await asked.pulse("framed", 10)
        await asked.result(0, 3)
        await asked.renew(2)
        await asked.pulse("framed", 20)
        await asked.result(0, 4)
        await asked.rest()

    assert told(Asked(script)) == [(1, 10, FRAME | ANSWER), (2, 20, FRAME | ANSWER)]


def test_frames_ahead_their_turn_and_idle():
    seen = []

    async def script(asked):
        seen.append((bool(asked.ctx.get(asked.answers.idle)), asked.may_open(0x01FF), asked.may_open(0x0200)))
        await asked.pulse("framed", 0x01FE)
        await asked.ctx.tick()
        seen.append((bool(asked.ctx.get(asked.answers.idle)), asked.may_open(0x01FF), asked.may_open(0x0200)))
        for number in (0x01FF, 0x0100, 0x0101):
            assert asked.may_open(number)
            await asked.pulse("framed", number)
            await asked.ctx.tick()
        seen.append(asked.may_open(0x0102))
        for value in range(FRAMES_AHEAD):
            await asked.result(0, value)
        await asked.rest()
        seen.append((bool(asked.ctx.get(asked.answers.idle)), asked.may_open(0x0200)))

    asked = Asked(script)
    assert seen == [(True, True, True), (False, True, False), False, (True, True)]
    assert [p.sequence for p in asked.packets] == [0x01FE, 0x01FF, 0x0100, 0x0101]


def test_identity_and_acknowledgement_have_the_number_of_their_request():
    async def script(asked):
        await asked.renew(3)
        await asked.pulse("identify", 0x1111)
        await asked.rest(250)
        await asked.pulse("load", 0x2222)
        await asked.rest(40)
        await asked.pulse("loaded", 0x9999)  # the header of the next packet is coming
        await asked.rest()

    asked = Asked(script)
    assert told(asked) == [(3, 0x1111, IDENTIFY | ANSWER), (3, 0x2222, LOAD | ANSWER)]
    assert Identity.decode(asked.packets[0].payload) == asked.answers.identity
    assert asked.packets[1].payload == b""


def test_an_acknowledgement_that_is_due_ends_with_its_session():
    async def script(asked):
        await asked.renew(3)
        asked.ctx.set(asked.answers.bytes.ready, 0)
        await asked.pulse("identify", 1)
        await asked.rest(4)
        await asked.pulse("load", 2)
        await asked.pulse("loaded", 2)
        await asked.pulse("identify", 0)
        await asked.renew(4)
        asked.ctx.set(asked.answers.bytes.ready, 1)
        await asked.rest(400)

    assert told(Asked(script)) == [(3, 1, IDENTIFY | ANSWER), (4, 0, IDENTIFY | ANSWER)]


def test_a_load_is_acknowledged_when_its_words_are_in_place_and_no_sooner():
    async def script(asked):
        await asked.renew(3)
        asked.ctx.set(asked.answers.bytes.ready, 0)
        await asked.pulse("identify", 1)
        await asked.rest(4)
        await asked.pulse("identify", 2)
        await asked.pulse("load", 3)
        asked.ctx.set(asked.answers.bytes.ready, 1)
        await asked.rest(400)

    assert told(Asked(script)) == [(3, 1, IDENTIFY | ANSWER)]
