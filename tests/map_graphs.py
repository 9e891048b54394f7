"""Small graphs of maps: residual networks, several convolutions into one population, readers that pool differently."""

from __future__ import annotations

from math import prod

import numpy as np
from graphs import population

from gradrtl.quantize.network import (
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Pool,
    Population,
    QuantizedNetwork,
    Readout,
)


def kernel(channels: int, sources: int, size: tuple[int, int] = (3, 3), seed: int = 0, **geometry) -> Conv:
    """A convolution of 4 bits, half of it missing; by default of the same size."""
    generator = np.random.default_rng(seed)
    weight = generator.integers(-7, 8, (channels, sources, *size))
    weight[generator.random(weight.shape) < 0.5] = 0
    return Conv(weight.astype(np.int8), **{"padding": (size[0] // 2, size[1] // 2)} | geometry)


def maps(name: str, shape: tuple[int, int, int], *inputs: Connection, threshold: int = 8) -> Population:
    return Population(name, shape, IntNeuron("shift", "soft", threshold, 2), 0, inputs)


def dense(neurons: int, sources: int, seed: int = 0) -> Dense:
    weight = np.random.default_rng(seed).integers(-7, 8, (neurons, sources), dtype=np.int8)
    return Dense(weight)


def residual(kind: str = "static", side: int = 5, channels: int = 3, steps: int = 3) -> QuantizedNetwork:
    """Three layers of maps, and an output that hears the last two of them, added, through a pool that the third layer
    does not have.
    """
    shape = (channels, side, side)
    pool = Pool("max", 2)
    pooled = channels * (side // 2) ** 2
    return QuantizedNetwork(
        (Input((1, side, side), 2, kind, name="image"),),
        (
            maps("a", shape, Connection("image", kernel(channels, 1, seed=1), 4), threshold=6),
            maps("b", shape, Connection("a", kernel(channels, channels, seed=2), 4)),
            maps("c", shape, Connection(("b", "a"), kernel(channels, channels, seed=3), 4)),
            population("output", 4, Connection(("c", "b"), dense(4, pooled, 4), 4, pool=pool), threshold=12),
        ),
        steps,
    )


def mixed(steps: int = 4) -> QuantizedNetwork:
    """Into one population of maps: two convolutions of different kernels, one of them back, and a dense connection.

    It is heard as it is, through a max pool of 2 and an average pool of 3.
    """
    shape = (3, 4, 6)
    every = prod(shape)
    return QuantizedNetwork(
        (Input((2, 4, 6), kind="spikes", name="image"),),
        (
            maps(
                "a",
                shape,
                Connection("image", kernel(3, 2, (1, 3), 1, stride=(1, 1)), 4),
                Connection("a", kernel(3, 3, (3, 5), 2), 4, delay=1, shift=1),
                Connection("code", dense(every, 5, 3), 4, delay=2),
                threshold=20,
            ),
            maps("b", (2, 2, 3), Connection("a", kernel(2, 3, (2, 2), 4, stride=(2, 2), padding=(0, 0)), 4)),
            population("code", 5, Connection("b", dense(5, 12, 5), 4), threshold=9),
            population(
                "output",
                4,
                Connection("a", dense(4, 18, 6), 4, pool=Pool("max", 2)),
                Connection("a", dense(4, 6, 7), 4, pool=Pool("average", 3), shift=1),
                Connection("code", dense(4, 5, 8), 4, delay=1),
                threshold=25,
            ),
        ),
        steps,
    )


def together(steps: int = 3) -> QuantizedNetwork:
    """Neurons without convolutions that are heard as maps."""
    return QuantizedNetwork(
        (Input((6,), 3, "graded", name="row"),),
        (
            maps("drawn", (2, 4, 4), Connection("row", dense(32, 6, 1), 4), threshold=20),
            maps("b", (2, 2, 2), Connection("drawn", kernel(2, 2, (2, 2), 2, stride=(2, 2), padding=(0, 0)), 4)),
            population(
                "output",
                3,
                Connection("b", dense(3, 8, 3), 4),
                Connection("drawn", dense(3, 2, 4), 4, pool=Pool("max", 3)),
            ),
        ),
        steps,
    )


def held(steps: int = 4) -> QuantizedNetwork:
    """Pixels beside a loop and what comes back, into neurons and into maps; one population hears them twice."""
    return QuantizedNetwork(
        (Input((1, 4, 4), 3, name="image"),),
        (
            population(
                "ring",
                6,
                Connection("ring", dense(6, 6, 2), 4, delay=1, shift=1),
                Connection("image", dense(6, 16, 1), 4),
                Connection("maps", dense(6, 32, 3), 4, delay=2),
                threshold=30,
            ),
            maps(
                "maps",
                (2, 4, 4),
                Connection("ring", dense(32, 6, 4), 4, delay=1),
                Connection("image", kernel(2, 1, (3, 3), 5), 4, shift=1),
                Connection("image", kernel(2, 1, (1, 1), 6), 4),
                threshold=20,
            ),
            maps(
                "twice",
                (2, 4, 4),
                Connection("image", kernel(2, 1, (3, 3), 8), 4),
                Connection("image", kernel(2, 1, (1, 3), 9), 4, shift=2),
                threshold=40,
            ),
            population(
                "output", 3, Connection("maps", dense(3, 32, 7), 4), Connection("ring", dense(3, 6, 8), 4),
                Connection("twice", dense(3, 32, 9), 4, delay=1), threshold=25,
            ),
        ),
        steps,
    )  # fmt: skip


def late(kind: str = "graded", steps: int = 5) -> QuantizedNetwork:
    """An input that is heard at once, a step late, and later than a frame has steps; by one population only so."""
    return QuantizedNetwork(
        (Input((7,), 1 if kind == "spikes" else 2, kind, name="row"),),
        (
            population(
                "a",
                5,
                Connection("row", dense(5, 7, 1), 4),
                Connection("row", dense(5, 7, 2), 4, delay=1, shift=1),
                Connection("row", dense(5, 7, 3), 4),
                Connection("b", dense(5, 4, 4), 4, delay=1),
                threshold=20,
            ),
            population("b", 4, Connection("row", dense(4, 7, 5), 4, delay=2), Connection("a", dense(4, 5, 6), 4)),
            population("c", 4, Connection("row", dense(4, 7, 7), 4, delay=3)),
            population("d", 2, Connection("row", dense(2, 7, 8), 4, delay=steps + 1), threshold=1),
            population("output", 3, Connection(("b", "c"), dense(3, 4, 8), 4), Connection("d", dense(3, 2, 9), 4)),
        ),
        steps,
    )


def only_late(steps: int = 3) -> QuantizedNetwork:
    """An input that nobody hears at once, so that its queues hold it up."""
    late = [Connection("row", dense(3, 4, delay), 4, delay=delay) for delay in (1, 3)]
    ring = Connection("a", dense(3, 3, 3), 4, delay=1)
    return QuantizedNetwork(
        (Input((4,), kind="spikes", name="row"),), (population("a", 3, *late, ring, threshold=5),), steps
    )


def behind(steps: int = 4) -> QuantizedNetwork:
    """An input that slow neurons hear late: their full queue holds it up, and not the other input, that others hear."""
    return QuantizedNetwork(
        (Input((6,), kind="spikes", name="slow"), Input((20,), kind="spikes", name="fast")),
        (
            population("a", 24, Connection("slow", dense(24, 6, 1), 4, delay=1), threshold=5),
            population("b", 1, Connection("fast", dense(1, 20, 2), 4)),
            population("output", 3, Connection("a", dense(3, 24, 3), 4)),
        ),
        steps,
    )


def beside(steps: int = 4) -> QuantizedNetwork:
    """What hears an input late waits for each of its events, and is waited for by what hears another one at once."""
    return QuantizedNetwork(
        (Input((6,), kind="spikes", name="slow"), Input((3,), kind="spikes", name="fast")),
        (
            population("a", 8, Connection("slow", dense(8, 6, 1), 4, delay=1), threshold=5),
            population("output", 3, Connection("fast", dense(3, 3, 2), 4), Connection("a", dense(3, 8, 3), 4)),
        ),
        steps,
    )


def several(*kinds: str, steps: int = 4) -> QuantizedNetwork:
    """Three inputs: alone, beside each other, one of them twice, late, and through a convolution."""
    bits = {"static": 5, "spikes": 1, "graded": 3}
    shapes = ((1, 3, 3), (5,), (6,))
    inputs = tuple(
        Input(shape, max(1, bits[kind] - number), kind, name=name)
        for number, (shape, kind, name) in enumerate(zip(shapes, kinds, "xyz", strict=True))
    )
    late = [int(kind != "static") for kind in kinds]
    return QuantizedNetwork(
        inputs,
        (
            maps(
                "a",
                (2, 3, 3),
                Connection("x", kernel(2, 1, seed=1), 4),
                Connection("z", dense(18, 6, 2), 4, delay=2 * late[2]),
                Connection("b", dense(18, 4, 3), 4, delay=1),
                threshold=30,
            ),
            population(
                "b", 4, Connection("y", dense(4, 5, 4), 4, shift=1), Connection("z", dense(4, 6, 5), 4),
                Connection("y", dense(4, 5, 6), 4, delay=late[1]), threshold=40,
            ),
            population(
                "output", 3, Connection("a", dense(3, 18, 7), 4), Connection("b", dense(3, 4, 8), 4), threshold=20
            ),
        ),
        steps,
    )  # fmt: skip


def ahead(steps: int = 4) -> QuantizedNetwork:
    """Pixels beside spikes: what hears the pixels alone is done with a frame before its spikes have come."""
    return QuantizedNetwork(
        (Input((6,), kind="spikes", name="spikes"), Input((1, 3, 3), 3, name="image")),
        (
            population("early", 5, Connection("image", dense(5, 9, 1), 4), threshold=20),
            population(
                "ring", 4, Connection("early", dense(4, 5, 2), 4, delay=1), Connection("spikes", dense(4, 6, 3), 4),
                Connection("ring", dense(4, 4, 4), 4, delay=1), threshold=9,
            ),
            population(
                "both", 3, Connection("ring", dense(3, 4, 5), 4), Connection("spikes", dense(3, 6, 6), 4, delay=1),
                Connection("image", dense(3, 9, 7), 4, shift=1), threshold=30,
            ),
        ),
        steps,
        (Readout(source="both"), Readout(source="early")),
    )  # fmt: skip


def read(*kinds: str, kind: str = "spikes", delay: int = 2, steps: int = 3) -> QuantizedNetwork:
    """A ring whose populations are all read out, some of which hear it late; sizes and groups differ."""
    inputs = (Input((6,), 1 if kind == "spikes" else 3, kind, name="row"),)
    made, readouts = [], []
    for number, what in enumerate(kinds):
        neurons = (6, 4, 9, 2)[number]
        source, sources = ("row", 6) if number < 2 else ("spiking", 5)
        spiking = what == "count"
        made.append(
            population(
                f"read{number}",
                neurons,
                Connection(source, dense(neurons, sources, number), 4, 0 if source == "row" else delay),
                threshold=8 if spiking else 1,
                spiking=spiking,
            )
        )
        readouts.append(Readout(what, (2, 1, 3, 1)[number], f"read{number}"))
    ring = population(
        "spiking", 5, Connection("row", dense(5, 6, 9), 4),
        *([] if kind == "static" else [Connection("spiking", dense(5, 5, 8), 4, delay=1)]), threshold=7,
    )  # fmt: skip
    return QuantizedNetwork(inputs, (*made, ring), steps, tuple(readouts))


GRAPHS = {
    "residual": residual(),
    "residual of spikes": residual("spikes", 4, 2),
    "mixed": mixed(),
    "together": together(),
    "held": held(),
    "held for one step": held(1),
    "late": late(),
    "late spikes": late("spikes", 2),
    "only late": only_late(),
    "behind": behind(),
    "beside": beside(),
    "several static": several("static", "static", "static"),
    "several spikes": several("spikes", "spikes", "spikes"),
    "several graded": several("graded", "spikes", "graded"),
    "pixels and counts": several("static", "graded", "spikes"),
    "spikes and pixels": several("spikes", "static", "spikes"),
    "pixels last": several("graded", "static", "static"),
    "pixels for one step": several("static", "spikes", "static", steps=1),
    "ahead": ahead(),
    "read twice": read("count", "membrane"),
    "read in all ways": read("largest", "count", "sum", "membrane"),
    "read of pixels": read("count", "sum", "count", kind="static", delay=0, steps=2),
    "read late": read("membrane", "largest", "largest", kind="graded", delay=5, steps=2),
}
