"""Host driver, serial pins and accelerator together, on a simulated board: every class is right on any line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_networks import Options, frames, network

from gradrtl.errors import UserError
from gradrtl.host import Host, LineError, open_line
from gradrtl.model.data import load_idx
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.loading import image
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.packets import LOAD, LOAD_HEADER, LOAD_WORDS, Packet
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
    images = test.frames[:40]
    expected = engine.run(net, images)
    with SimulatedBoard(program) as board:
        line = NoisyLine(open_line(board.port, 1_000_000), rate, 1) if rate else open_line(board.port, 1_000_000)
        host = Host(line, patience=0.5 if rate else 60.0)
        assert host.identify() == identity(mapping)
        answers = list(host.classify(images))
    assert [a.klass for a in answers] == expected.classes.tolist()
    assert [a.sums for a in answers] == [tuple(row) for row in expected.counts.tolist()]
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
    images = frames(net, 20, 3)
    expected = reference.run(net, images)
    with SimulatedBoard(build(generate_serial(mapping, DIVISOR))) as board:
        line = NoisyLine(open_line(board.port, 1_000_000), 5e-4, 2)
        host = Host(line, patience=0.2)
        assert host.identify().memories == len(image(mapping))
        host.load(image(mapping))
        answers = list(host.classify(images))
    assert [a.klass for a in answers] == expected.classes.tolist()


@pytest.mark.rtl
def test_damaged_words_are_not_loaded():
    net, mapping = loadable()
    images = frames(net, 20, 3)
    words = image(mapping)[0]
    assert words.any()
    zeros = bytearray(Packet(99, LOAD, LOAD_HEADER.pack(0, 0) + bytes(2 * min(len(words), LOAD_WORDS))).encode())
    zeros[8] ^= 1  # of the payload
    with SimulatedBoard(build(generate_serial(mapping, DIVISOR))) as board:
        line = open_line(board.port, 1_000_000)
        host = Host(line, patience=60.0)
        host.load(image(mapping))
        line.write(bytes(zeros))
        answers = list(host.classify(images))
    expected = reference.run(net, images)
    assert [a.sums for a in answers] == [tuple(row) for row in expected.counts.tolist()]
    assert expected.counts.any()


def test_a_board_that_is_not_there():
    with pytest.raises(UserError, match="cannot be opened"):
        open_line("/dev/no-such-port", 1_000_000)


def test_a_line_without_a_board():
    class Dead:
        def read(self, size):
            return b""

        def write(self, data):
            return len(data)

    with pytest.raises(LineError, match="does not answer"):
        Host(Dead(), patience=0.0).identify()
