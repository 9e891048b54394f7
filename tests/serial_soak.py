"""Hosts of all kinds on simulated boards. `make serial-soak`; `--help` tells the rest.

Hosts use a board one after another. Some of them are killed while the board works on their frames; while one is at
work, a second is refused. Lines repeat packets of earlier hosts, lose, change and add bytes. Every class and every sum
is compared with the reference. Seeds are fixed; what depends on time, such as how far a killed host came, is not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from gradrtl.host import Host, Statistics
from gradrtl.line import LineError, SerialLine, open_line
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.loading import image
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.packets import END, FRAMES_AHEAD, Decoder
from gradrtl.rtl.verilog import generate_serial
from gradrtl.sim import reference
from gradrtl.sim.board import DIVISOR, SimulatedBoard, build

BAUD = 1_000_000
PATIENCE = 0.1  # seconds
SOURCES, CLASSES = 16, 10
POOL = 400  # different images
BOARD_HOSTS = 8  # hosts after which a board is switched off and on
KINDS = ("alone", "hostile", "closed", "alone", "closed", "hostile", "killed")  # of hosts, in turn
NOISE, GARBAGE, REPLAYS, OLD_ANSWERS = 2e-4, 0.03, 0.02, 0.3  # shares of bytes, of packets


@dataclass
class Counts:
    """What has been done: images answered and those wrong; hosts, and how many were killed, closed or refused."""

    images: int = 0
    wrong: int = 0
    hosts: int = 0
    killed: int = 0
    closed: int = 0
    refused_hosts: int = 0
    replayed: int = 0
    garbage_bytes: int = 0
    harmed_bytes: int = 0
    boards: int = 0
    line: Statistics = field(default_factory=Statistics)

    def text(self) -> str:
        counts = asdict(self)
        line = counts.pop("line")
        told = [f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items()]
        packets = [f"{value:,} {name}" for name, value in line.items()]
        return f"{', '.join(told)}; packets of the line: {', '.join(packets)}"


@dataclass(frozen=True)
class Design:
    """A compiled board: its memories to load, images and the words that each must be answered with."""

    program: Path
    memories: list[np.ndarray]
    images: np.ndarray
    answers: list[tuple[int, ...]]


def design(hidden: int, steps: int, placement: Placement, seed: int) -> Design:
    """A network of one hidden layer with `hidden` neurons, at random."""
    generator = np.random.default_rng(seed)

    def layer(name: str, targets: int, inputs: int, threshold: int) -> Layer:
        weight = generator.integers(-8, 8, (targets, inputs)) * (generator.random((targets, inputs)) < 0.5)
        neuron = IntNeuron("decaying_input", "hard", np.array([threshold]))
        return Layer(name, (inputs,), Dense(weight.astype(np.int8), np.zeros(targets, np.int64)), neuron, 4)

    layers = (layer("hidden", hidden, SOURCES, 30), layer("out", CLASSES, hidden, 2))
    network = QuantizedNetwork.chain(Input((SOURCES,), 4), layers, steps)
    mapping = map_network(network, placement)
    shape = (POOL, SOURCES)
    images = (generator.integers(0, 256, shape) * (generator.random(shape) < 0.6)).astype(np.uint8)
    outcome = reference.run(network, images)
    answers = [(int(klass), *sums) for klass, sums in zip(outcome.classes, outcome.counts.tolist(), strict=True)]
    return Design(build(generate_serial(mapping, DIVISOR)), image(mapping), images, answers)


def designs() -> list[Design]:
    """One with memories to load; one that takes longer for a frame than the line for the answer to IDENTIFY."""
    return [
        design(24, 6, Placement((4, 4), strided=(0,)), 1),
        design(60, 60, Placement((1, 1)), 2),
    ]


class Past:
    """Packets of all hosts so far, as they stood on the line: requests, and answers by the number they have."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answers: dict[int, list[bytes]] = defaultdict(list)


class HostileLine:
    """A line that repeats old packets, loses, changes and adds bytes; `peaceful`, it only keeps what passes."""

    def __init__(self, line: SerialLine, past: Past, counts: Counts, generator: np.random.Generator, peaceful: bool):
        self.line, self.past, self.counts, self.generator = line, past, counts, generator
        self.peaceful = peaceful
        self._sent, self._received = Decoder(), Decoder()
        self._old = b""  # answers of the past that come next
        self._between = True  # packets

    def write(self, data: bytes) -> int | None:
        past, chance = self.past, self.generator.random
        if not self.peaceful:
            if past.requests and chance() < REPLAYS:
                self.counts.replayed += 1
                self.line.write(past.requests[int(self.generator.integers(len(past.requests)))])
            for packet in self._sent.feed(data):
                same = past.answers[packet.sequence]
                if same and chance() < OLD_ANSWERS:
                    self.counts.replayed += 1
                    self._old += same[int(self.generator.integers(len(same)))]
        past.requests.append(data)
        return self.line.write(self._harmed(data))

    def read(self, size: int) -> bytes:
        data = b""
        if self._between:
            data, self._old = self._old, b""
        new = self.line.read(size)
        for packet in self._received.feed(new):
            self.past.answers[packet.sequence].append(packet.encode())
        if new:
            self._between = new[-1] == END
        return data + self._harmed(new)

    def _harmed(self, data: bytes) -> bytes:
        if self.peaceful or not data:
            return data
        generator, out = self.generator, bytearray()
        if generator.random() < GARBAGE:
            out += generator.bytes(int(generator.integers(1, 40)))
            self.counts.garbage_bytes += len(out)
        for byte, chance in zip(data, generator.random(len(data)), strict=True):
            if chance >= NOISE:
                out.append(byte)
                continue
            self.counts.harmed_bytes += 1
            if chance < NOISE / 2:  # else it is lost
                out.append(byte ^ 1 << int(generator.integers(8)))
        return bytes(out)


class Soak:
    """Hosts on boards, from `seed`; `counts` tells what came of them."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.counts = Counts()
        self._past = Past()
        self._kinds = cycle(KINDS)

    def run(self, designs: list[Design], images: int, deadline: float) -> None:
        """Hosts on boards of `designs` in turn, until `images` are answered or `deadline` (monotonic) has passed."""
        for one in cycle(designs):
            with SimulatedBoard(one.program) as board:
                self.counts.boards += 1
                for _ in range(BOARD_HOSTS):
                    if self.counts.images >= images or time.monotonic() > deadline:
                        return
                    self._visit(one, board.port, next(self._kinds))

    def _visit(self, one: Design, port: str, kind: str) -> None:
        self.counts.hosts += 1
        if kind == "killed":
            self._killed(one, port)
            return
        chosen = self.generator.integers(POOL, size=int(self.generator.integers(FRAMES_AHEAD, 60)))
        # Of a host that ends early: often after its first frames, whose numbers the next host's first frames have.
        last = int(self.generator.integers(1, 4)) if kind == "closed" else len(chosen)
        with open_line(port, BAUD) as line:
            hostile = HostileLine(line, self._past, self.counts, self.generator, kind != "hostile")
            host = Host(hostile, patience=PATIENCE)
            self._refused(port)
            host.load(one.memories)
            for index, words in zip(chosen[:last], answers(host, one.images[chosen]), strict=False):
                self.counts.images += 1
                self.counts.wrong += words != one.answers[index]
        self.counts.closed += kind == "closed"
        for name, value in asdict(host.statistics).items():
            setattr(self.counts.line, name, getattr(self.counts.line, name) + value)

    def _refused(self, port: str) -> None:
        try:
            open_line(port, BAUD).close()
        except LineError:
            self.counts.refused_hosts += 1

    def _killed(self, one: Design, port: str) -> None:
        """A process that is killed (SIGKILL) after its first few answers."""
        context = multiprocessing.get_context("spawn")
        mine, its = context.Pipe(duplex=False)
        other = context.Process(target=endless, args=(port, one.memories, one.images, its))
        other.start()
        its.close()
        for _ in range(int(self.generator.integers(1, 5))):
            mine.recv()
        self._refused(port)
        other.kill()
        other.join()
        mine.close()
        self.counts.killed += 1


def answers(host: Host, images: np.ndarray) -> Iterator[tuple[int, ...]]:
    for answer in host.classify(images):
        yield (answer.klass, *answer.sums)


def endless(port: str, memories: list[np.ndarray], images: np.ndarray, told: Connection) -> None:
    """A host that sends images until it is killed, and tells of each answer."""
    host = Host(open_line(port, BAUD), patience=PATIENCE)
    host.load(memories)
    while True:
        for answer in host.classify(images):
            told.send(answer.klass)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30, help="after which it ends, and has failed")
    given = parser.parse_args()
    soak = Soak(given.seed)
    soak.run(designs(), given.images, time.monotonic() + 60 * given.minutes)
    print(soak.counts.text())
    return 1 if soak.counts.wrong or soak.counts.images < given.images else 0


if __name__ == "__main__":
    raise SystemExit(main())
