"""Random graphs that the hardware can be: an input, dense populations with loops, skips, delays and shifts."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from random_networks import Options, _neuron, _Scene, _Seeded

from gradrtl.quantize.network import Connection, Dense, Input, Population, QuantizedNetwork, Readout

MOST = 6  # populations
SOME = Options(dense_only=True)


def graph(seed: int, largest: int = 12) -> QuantizedNetwork:
    """A graph of up to `MOST` populations of up to `largest` neurons, half of all with a loop or more.

    Population 0 reads the input; others what came before them, now and then the input as well, and what comes after
    them, or themselves, with a delay.
    """
    generator = np.random.default_rng([seed, 7])

    def pick(*values):
        return values[int(generator.integers(len(values)))]

    kind = pick("static", "spikes", "graded")
    sources = int(generator.integers(1, largest + 1))
    given = Input((sources,), int(generator.integers(1, 9)), kind, name="in")
    if kind == "spikes":
        given = Input((sources,), kind=kind, name="in")
    steps = int(generator.integers(1, 9))
    number = int(generator.integers(1, MOST + 1))
    sizes = [int(generator.integers(1, pick(3, largest) + 1)) for _ in range(number)]
    if number > 2 and generator.random() < 0.4:
        sizes[1] = sizes[0]  # which two sources of one connection can be
    loops = generator.random() < 0.6
    last = number - 1
    read_kind = pick("count", "count", "membrane", "largest", "sum")
    populations = []
    for index in range(number):
        spiking = index < last or read_kind == "count"
        found: list[tuple[tuple[str, ...], int]] = []  # sources and delay
        reads_input = index == 0 or (kind != "static" and generator.random() < 0.3)
        held = index == 0 and kind == "static"
        if reads_input or (kind == "static" and index > 0 and generator.random() < 0.15):
            found.append((("in",), 0))
            held = kind == "static"
        if not held:
            for source in range(index):
                if generator.random() < (0.9 if source == index - 1 else 0.35) or not found:
                    found.append(((f"p{source}",), pick(0, 0, 0, 1, 2, 3)))
            if index > 2 and sizes[0] == sizes[1] and generator.random() < 0.5:
                found.append((("p0", "p1"), pick(0, 1)))
            for source in range(index, number if loops else index):
                feeds = source < last or read_kind == "count"
                if feeds and generator.random() < 0.5:
                    found.append(((f"p{source}",), pick(1, 1, 1, 2, 3, 9)))
                    if generator.random() < 0.2:
                        found.append(((f"p{source}",), 2))
        connections = []
        for names, delay in found:
            bits = int(generator.integers(2, 9))
            columns = sources if names == ("in",) else sizes[int(names[0][1:])]
            weight = generator.integers(-(1 << bits - 1), 1 << bits - 1, (sizes[index], columns))
            weight[generator.random(weight.shape) > pick(1.0, 0.6, 0.3)] = 0
            shift = pick(0, 0, 1, 3) if names == ("in",) else pick(0, 0, 2, 6)
            connections.append(Connection(names, Dense(weight.astype(np.int8)), bits, delay, shift))
        bias = generator.integers(-20, 40, sizes[index], dtype=np.int64)
        largest_sum = max(np.abs(c.synapses.weight.astype(int)).sum(axis=1).max() << c.shift for c in connections)
        scene = _Scene.of(connections[0].synapses, sizes[index], given.largest if found[0][0] == ("in",) else 1, steps)
        neuron = _neuron(_Seeded(generator), SOME, generator, scene, spiking)
        if spiking and generator.random() < 0.6:  # so that many fire
            neuron = replace(neuron, threshold=np.array([1 + int(generator.integers(0, max(1, largest_sum // 2)))]))
        populations.append(Population(f"p{index}", (sizes[index],), neuron, bias, tuple(connections)))
    group = pick(*(n for n in range(1, sizes[last] + 1) if sizes[last] % n == 0))
    return QuantizedNetwork((given,), tuple(populations), steps, (Readout(read_kind, group),))


def frames(network: QuantizedNetwork, count: int, seed: int = 0) -> np.ndarray:
    """`count` random frames: sparse to full, an all-zero and an all-largest one among the first three."""
    generator = np.random.default_rng(seed)
    given = network.inputs[0]
    sources = prod(given.shape)
    static = given.kind == "static"
    shape = (count, sources) if static else (count, network.steps, sources)
    most = 255 if static else given.largest
    values = generator.integers(0, most + 1, shape, dtype=np.uint8)
    rates = generator.random((count,) + (1,) * (len(shape) - 1))
    values[generator.random(shape) > rates] = 0
    values[1:2] = 0
    values[2:3] = most
    return values
