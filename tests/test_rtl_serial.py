"""The serial board in Amaranth's simulator, pin to pin: identity, frames, damaged packets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from map_graphs import GRAPHS
from random_networks import Options, frames, network

from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.boards import board_design, board_of
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.packets import (
    ANSWER,
    END,
    FRAME,
    IDENTIFY,
    MAX_CLASSES,
    MAX_SOURCES,
    Decoder,
    Identity,
    Packet,
)
from gradrtl.rtl.serial import SerialAccelerator, identity
from gradrtl.rtl.serial.events import EventAssembler
from gradrtl.rtl.serial.frames import FrameAssembler
from gradrtl.sim import reference

DIVISOR = 4
BIT_TIMES = 10
OPTIONS = Options(dense_only=True, largest=20, most_layers=2, most_steps=3)
EVENTS = replace(OPTIONS, kinds=("graded",), most_steps=4)


def talk(mapping: Mapping, sent: bytes, patience: int) -> list[Packet]:
    """Send bytes, wait `patience` more byte times, return the packets that came back."""
    board = SerialAccelerator(mapping, DIVISOR)
    received = bytearray()
    finished = False

    async def send(ctx):
        nonlocal finished
        for byte in sent:
            for bit in [0, *((byte >> i) & 1 for i in range(8)), 1]:
                ctx.set(board.rx, bit)
                await ctx.tick().repeat(DIVISOR)
        await ctx.tick().repeat(DIVISOR * BIT_TIMES * patience)
        finished = True

    async def receive(ctx):
        while not finished:
            await ctx.tick()
            if ctx.get(board.tx):
                continue
            await ctx.tick().repeat(DIVISOR // 2)
            byte = 0
            for i in range(8):
                await ctx.tick().repeat(DIVISOR)
                byte |= ctx.get(board.tx) << i
            await ctx.tick().repeat(DIVISOR)
            assert ctx.get(board.tx) == 1
            received.append(byte)

    simulator = Simulator(board)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    return Decoder().feed(bytes(received))


def static_mapping() -> Mapping:
    seed = next(s for s in range(100) if network(s, OPTIONS).input.kind == "static")
    return map_network(network(seed, OPTIONS))


@pytest.mark.parametrize(
    ("sources", "classes", "told"),
    [
        (MAX_SOURCES + 1, 1, "bytes per frame is 65532, expected at most 65531 on a serial line"),
        (1, MAX_CLASSES + 1, "classes is 16382, expected at most 16381 on a serial line"),
    ],
)
def test_a_design_that_packets_cannot_carry_is_refused_when_it_is_made(sources, classes, told):
    weight = np.zeros((classes, sources), np.int8)
    weight[0, 0] = 1
    dense = Dense(weight, np.zeros(classes, np.int64))
    layer = Layer("out", (sources,), dense, IntNeuron("decaying_input", "hard", np.array([1])), 4)
    mapping = map_network(QuantizedNetwork.chain(Input((sources,), 8), (layer,), 1))
    with pytest.raises(UserError, match=told):
        SerialAccelerator(mapping, DIVISOR)
    with pytest.raises(UserError, match=told):
        board_design(mapping, board_of("ecp5-85"))


def result(outcome, index: int) -> bytes:
    words = [outcome.classes[index], *outcome.counts[index]]
    return np.array(words, dtype="<i4").tobytes()


@pytest.mark.parametrize("name", ["several static", "several graded", "spikes and pixels", "ahead", "read in all ways"])
def test_several_inputs_and_read_outs(name):
    """A value that its own input cannot have, though another could, makes a frame bad; the next is answered."""
    made = GRAPHS[name]
    mapping = map_network(made, (2,) * len(made.populations))
    given = frames(made, 3, 1)
    expected = reference.run(made, given)
    words = mapping.output.packets(expected.decided, expected.counts).astype("<i4")
    sent = [bytearray(one.tobytes()) for one in mapping.input.packed(mapping.input.stacked(given))]
    damaged = []
    wrong = {"several graded": 9, "ahead": 9 + 5, "spikes and pixels": 5}.get(name)  # where spikes are expected
    if wrong is not None:
        damaged = [bytearray(sent[0])]
        damaged[0][wrong] = 2  # which would be a count or pixel of the first input
    pause = bytes([END]) * 150
    packets = [Packet(i, FRAME, bytes(one)).encode() for i, one in enumerate([*damaged, *sent])]
    answers = talk(mapping, pause.join([*packets, b""]), 1)
    first = len(damaged)
    assert [(a.sequence, a.payload) for a in answers] == [(first + i, words[i].tobytes()) for i in range(3)]


def test_identity():
    mapping = static_mapping()
    (answer,) = talk(mapping, Packet(7, IDENTIFY).encode(), 70)
    assert (answer.sequence, answer.kind) == (7, IDENTIFY | ANSWER)
    assert Identity.decode(answer.payload) == identity(mapping)


def test_frames_are_answered_in_order_and_damaged_ones_are_not():
    mapping = static_mapping()
    images = frames(mapping.network, 4, 1)
    images[1, 0] = 0xC0  # needs stuffing
    outcome = reference.run(mapping.network, images)
    packets = [Packet(200 + i, FRAME, image.tobytes()).encode() for i, image in enumerate(images)]
    broken, short = (bytearray(Packet(250 + i, FRAME, images[2 + i].tobytes()).encode()) for i in range(2))
    broken[6] ^= 0x10
    del short[9]
    pause = bytes([END]) * 150  # results of so small a network take longer than its frames
    sent = pause.join([packets[0], packets[1], bytes(broken), bytes(short), packets[2], packets[3], b""])
    answers = talk(mapping, sent, 1)
    assert [(a.sequence, a.kind) for a in answers] == [(200 + i, FRAME | ANSWER) for i in range(4)]
    assert [a.payload for a in answers] == [result(outcome, i) for i in range(4)]


@pytest.mark.parametrize("noise", [b"", b"\x00", b"\xdb", b"\xdb\x01", b"\xc0\xc0", bytes(range(1, 10))])
def test_noise_before_a_packet(noise):
    mapping = static_mapping()
    answers = talk(mapping, noise + Packet(1, IDENTIFY).encode(), 70)
    assert [a.sequence for a in answers] == [1]


def test_sessions():
    """Frames of another session get no answer; a new session leaves those under way without one."""
    mapping = static_mapping()
    images = frames(mapping.network, 5, 1)
    outcome = reference.run(mapping.network, images)
    pause = bytes([END]) * 150

    def frame(index, session):
        return Packet(300 + index, FRAME, images[index].tobytes(), session).encode()

    damaged = bytearray(Packet(8, IDENTIFY, b"", 0x777777).encode())
    damaged[-2] ^= 1
    sent = [
        Packet(7, IDENTIFY, b"", 0x812345).encode() + bytes([END]) * 70,
        frame(0, 0x812345) + pause,
        bytes(damaged) + frame(1, 0x812345) + pause,
        frame(2, 0x812344) + pause,
        frame(3, 0x812345) + Packet(9, IDENTIFY, b"", 0x7ABCDE).encode() + pause,
        frame(4, 0x7ABCDE) + pause,
        Packet(10, IDENTIFY, b"", 0x7ABCDE).encode() + bytes([END]) * 70,
    ]
    answers = talk(mapping, b"".join(sent), 1)
    assert [(a.session, a.sequence, a.kind) for a in answers if a.sequence != 303] == [
        (0x812345, 7, IDENTIFY | ANSWER),
        (0x812345, 300, FRAME | ANSWER),
        (0x812345, 301, FRAME | ANSWER),
        (0x7ABCDE, 9, IDENTIFY | ANSWER),
        (0x7ABCDE, 304, FRAME | ANSWER),
        (0x7ABCDE, 10, IDENTIFY | ANSWER),
    ]
    assert all(a.session == 0x812345 for a in answers if a.sequence == 303)
    for answer in answers:
        if answer.kind == FRAME | ANSWER:
            assert answer.payload == result(outcome, answer.sequence - 300)


def test_frames_of_another_number_of_pixels_are_not_answered():
    mapping = static_mapping()
    image = frames(mapping.network, 1, 1)[0].tobytes()
    outcome = reference.run(mapping.network, np.frombuffer(image, np.uint8)[None])
    pause = bytes([END]) * 150
    sent = [Packet(i, FRAME, given).encode() for i, given in enumerate((image[:-1], image + b"\0", b"", image))]
    (answer,) = talk(mapping, pause.join([*sent, b""]), 1)
    assert (answer.sequence, answer.payload) == (3, result(outcome, 0))


@pytest.mark.parametrize("kind", ["spikes", "graded"])
def test_frames_of_steps_are_answered_and_damaged_ones_are_not(kind):
    """The frame behind a damaged one, cut short in its first step, is answered as ever: no step is lost."""
    options = replace(OPTIONS, kinds=(kind,), readouts=("count",))
    net = network(next(s for s in range(100) if network(s, options).steps > 1), options)
    mapping = map_network(net)
    given = frames(net, 4, 1)
    outcome = reference.run(net, given)
    packets = [Packet(i, FRAME, frame.tobytes()).encode() for i, frame in enumerate(given)]
    short = bytearray(packets[1])
    del short[11]
    pause = bytes([END]) * 150
    sent = pause.join([packets[0], bytes(short), packets[1], packets[2], packets[3], b""])
    answers = talk(mapping, sent, 1)
    assert [(a.sequence, a.payload) for a in answers] == [(i, result(outcome, i)) for i in range(4)]


@pytest.mark.parametrize("kind", ["count", "first"])
def test_no_frame_is_answered_before_its_checksum(kind):
    """A damaged frame of events has a spike of another class first, long before its end."""
    layer = Layer("out", (2,), Dense(np.eye(2, dtype=np.int8)), IntNeuron("none", "hard", threshold=1), 2)
    net = QuantizedNetwork.chain(Input((2,), kind="spikes"), (layer,), 12, Readout(kind))
    frame = np.zeros((1, 12, 2), np.uint8)
    frame[0, 0, 0] = frame[0, 6, 1] = 1
    good = Packet(5, FRAME, frame.tobytes()).encode()
    damaged = bytearray(good)
    place = good.index(bytes([1, 0, 0]))
    damaged[place : place + 2] = bytes([0, 1])
    decoder = Decoder()
    assert not decoder.feed(bytes(damaged))
    answers = talk(map_network(net), bytes(damaged) + bytes([END]) * 150 + good, 30)
    assert [(a.sequence, a.payload) for a in answers] == [(5, result(reference.run(net, frame), 0))]


@pytest.mark.parametrize("fault", [None, "held up", "held up for a byte", "too large", "cut short", "damaged"])
def test_every_frame_of_events_has_all_its_tokens(fault):
    net = network(next(s for s in range(100) if network(s, EVENTS).steps > 2), EVENTS)
    mapping = map_network(net)
    assembler = EventAssembler(mapping)
    largest, shape = net.input.largest, (net.steps, net.layers[0].sources)
    generator = np.random.default_rng(4)
    values = generator.integers(1, largest + 1, shape) * (generator.random(shape) < 0.7)
    values[0, 0] = largest
    sent = values.ravel().tolist()
    if fault == "too large":
        sent[0] = largest + 1
    if fault == "cut short":
        sent = sent[:1]
    found = []

    async def run(ctx):
        async def cycle(**inputs):
            for name, value in inputs.items():
                ctx.set(getattr(assembler, name), value)
            event = assembler.events
            if ctx.get(event.valid) and ctx.get(event.ready):
                found.append(tuple(ctx.get(event.payload[name]) for name in ("end", "source", "value", "bad")))
            await ctx.tick()
            for name in inputs:
                ctx.set(getattr(assembler, name), 0)

        for _ in range(2):
            ctx.set(assembler.events.ready, fault != "held up")
            await cycle(open=1)
            for number, byte in enumerate(sent):
                if fault == "held up for a byte":
                    ctx.set(assembler.events.ready, number > 1)
                await cycle(payload=byte, payload_valid=1)
                await cycle()
                await cycle()
            ctx.set(assembler.events.ready, 1)
            await cycle(end=1, good=fault not in ("damaged", "cut short"))
            for _ in range(net.steps + 4):
                await cycle()
            assert ctx.get(assembler.idle)

    simulator = Simulator(assembler)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    tokens = [event for event in found if event[0]]
    assert len(tokens) == 2 * net.steps
    assert [token[3] for token in tokens[net.steps - 1 :: net.steps]] == [int(fault is not None)] * 2
    if fault in (None, "damaged"):
        expected = []
        for step in values.tolist():
            expected += [(0, source, value) for source, value in enumerate(step) if value] + [(1,)]
        assert [event[:1] if event[0] else event[:3] for event in found] == expected * 2


def test_pixels_are_a_segment_before_the_steps():
    """Their bits that the network sees; every event and every token says whether it is one of pixels."""
    made = GRAPHS["spikes and pixels"]
    mapping = map_network(made, (1,) * len(made.populations))
    stacked = mapping.input.stacked(frames(made, 3, 1))
    assembler = EventAssembler(mapping)
    found = []

    async def run(ctx):
        async def cycle(**inputs):
            for name, value in inputs.items():
                ctx.set(getattr(assembler, name), value)
            event = assembler.events
            if ctx.get(event.valid):
                found.append(tuple(ctx.get(event.payload[name]) for name in ("end", "held", "source", "value", "bad")))
            await ctx.tick()
            for name in inputs:
                ctx.set(getattr(assembler, name), 0)

        ctx.set(assembler.events.ready, 1)
        for packed in mapping.input.packed(stacked).tolist():
            await cycle(open=1)
            for byte in packed:
                await cycle(payload=byte, payload_valid=1)
                await cycle()
                await cycle()
            await cycle(end=1, good=1)
            for _ in range(4):
                await cycle()

    simulator = Simulator(assembler)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    expected = []
    for frame in mapping.input.seen(stacked).tolist():
        for number, segment in enumerate(frame):
            expected += [(0, int(number == 0), source, value) for source, value in enumerate(segment) if value]
            expected.append((1, int(number == 0)))
    assert [event[:2] if event[0] else event[:4] for event in found] == expected
    assert not any(bad for end, _, _, _, bad in found if end)


@pytest.mark.parametrize("held_up", [False, True])
def test_a_beat_held_up_too_long_makes_the_frame_bad(held_up):
    """The datapath takes no beat before the END, so that all but the last two are lost; or it takes each at once."""
    net = network(next(s for s in range(100) if sources(s) > 8), OPTIONS)
    mapping = map_network(net, Placement((16, *[4] * (len(net.layers) - 1)), pixels_a_beat=2))
    assembler = FrameAssembler(mapping)
    count = mapping.layers[0].heard[0].edge.sources
    beats = []

    async def run(ctx):
        async def cycle(**inputs):
            for name, value in inputs.items():
                ctx.set(getattr(assembler, name), value)
            beat = assembler.beats
            if ctx.get(beat.valid) and ctx.get(beat.ready):
                beats.append((ctx.get(beat.payload.last), ctx.get(beat.payload.bad)))
            await ctx.tick()
            for name in inputs:
                ctx.set(getattr(assembler, name), 0)

        ctx.set(assembler.beats.ready, not held_up)
        await cycle(open=1)
        for pixel in range(count):
            await cycle(payload=pixel + 1, payload_valid=1)
            await cycle()
        await cycle(end=1, good=1)
        ctx.set(assembler.beats.ready, 1)
        for _ in range(4):
            await cycle()
        assert ctx.get(assembler.idle)

    simulator = Simulator(assembler)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    assert beats[-1] == (1, held_up)
    assert [last for last, _ in beats[:-1]] == [0] * (len(beats) - 1)
    assert len(beats) == (2 if held_up else mapping.beats)


def sources(seed: int) -> int:
    """Pixels of a random network, 0 if it reads spikes."""
    given = network(seed, OPTIONS)
    return given.layers[0].sources if given.input.kind == "static" else 0
