"""One random case of the whole chain: a network, its placement, frames; reference == engine == compiled RTL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from random_networks import Options, frames, network

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import Mapping, map_network, refusal
from gradrtl.rtl.queues import LUT_RAM_WORDS
from gradrtl.rtl.verilog import generate
from gradrtl.sim import engine, reference
from gradrtl.sim.compare import first_difference
from gradrtl.sim.verify import verify
from gradrtl.sim.verilated import Model, Stalls

DENSE = Options(dense_only=True)
SCALES = (12, 60, 300)  # the largest number of sources and neurons of a layer
PES = np.array([1, 2, 3, 4, 5, 7, 8, 11, 16])
LONG = 0.125  # of the cases, for each kind of queue: it has a memory that is read at a clock edge
PATIENCE = 100_000  # cycles: more than any of these networks takes for a frame


@dataclass(frozen=True)
class Case:
    """A network on `pes` processing elements and the frames that it gets."""

    network: QuantizedNetwork
    frames: np.ndarray | tuple[np.ndarray, ...]
    pes: tuple[int, ...]
    pixels_a_beat: int = 4
    queue_depth: int = 16
    row_queue_depth: int = 8
    cancel: bool = False

    @property
    def count(self) -> int:
        """Frames."""
        return len(self.frames) if isinstance(self.frames, np.ndarray) else len(self.frames[0])

    @property
    def placement(self) -> Placement:
        return Placement(self.pes, self.pixels_a_beat, self.queue_depth, self.row_queue_depth, cancel=self.cancel)

    @property
    def mapping(self) -> Mapping:
        return map_network(self.network, self.placement)

    @property
    def built(self) -> bool:
        """There is hardware for the network."""
        return refusal(self.network) is None


@dataclass(frozen=True)
class Finding:
    """What came of a case: how much was compared with the RTL, and what is wrong, if anything."""

    frames: int = 0
    spikes: int = 0
    membranes: int = 0
    cycles: int = 0
    wrong: str | None = None


def case(seed: int, options: Options = DENSE, count: int = 6) -> Case:
    """Case number `seed`: more PEs than neurons, PEs that do not divide them, short queues, all among them.

    Sizes are drawn on three scales, and a number of PEs the less often the larger it is: what a case costs is its PEs.
    """
    generator = np.random.default_rng([seed, 1])
    largest = min(options.largest, int(generator.choice(SCALES)))
    net = network(seed, replace(options, largest=largest))
    return Case(
        net,
        frames(net, count, seed),
        tuple(int(p) for p in generator.choice(PES, len(net.layers), p=1 / PES / (1 / PES).sum())),
        int(generator.choice([1, 2, 4, 8])),
        *depths(seed, int(generator.integers(2, 18)), int(generator.integers(2, 10))),
        net.answers_early and net.input.kind != "static" and bool(generator.random() < 0.75),
    )


def depths(seed: int, events: int, rows: int) -> tuple[int, int]:
    """Entries of event queues and of row queues: those given, or in some cases more than LUT RAM is used for."""
    generator = np.random.default_rng([seed, 3])
    is_long = generator.random(2) < LONG
    events, rows = np.where(is_long, generator.integers(LUT_RAM_WORDS + 1, LUT_RAM_WORDS + 20, 2), (events, rows))
    return int(events), int(rows)


def check(one: Case, cache: Path, seed: int = 0) -> Finding:
    """Every spike, membrane and sum, free-running and under stalls on both sides, and all cycles as predicted.

    Of a network that there is no hardware for, the engine against the reference alone.
    """
    difference = machines_differ(one)
    if difference is not None or not one.built:
        return Finding(wrong=difference)
    return agree(one, generate(one.mapping, "tests/soak.py"), cache, seed)


def machines_differ(one: Case) -> str | None:
    """Where the engine differs from the reference."""
    expected = reference.run(one.network, one.frames)
    difference = first_difference(expected, engine.run(one.network, one.frames, trace=True, threads=1))
    return None if difference is None else f"engine against reference: {difference}"


def agree(one: Case, text: str, cache: Path, seed: int = 0, model: Model | None = None) -> Finding:
    """The Verilog `text` against the engine; `model` is `text` compiled, if it has been."""
    mapping = one.mapping
    found = []
    for stalls in (None, Stalls(0.3, 0.3, seed)):
        result = verify(
            mapping, text, one.frames, stalls=stalls, cache=cache, patience=PATIENCE, quick=True, model=model
        )
        if not result.passed:
            return Finding(wrong=f"RTL against engine, {'no stalls' if stalls is None else stalls}: {result}")
        if result.predicted != one.count:
            return Finding(wrong=f"cycles of {result.predicted} frames compared, expected {one.count}")
        found.append(result)
    return Finding(*(sum(getattr(r, name) for r in found) for name in ("frames", "spikes", "membranes", "cycles")))
