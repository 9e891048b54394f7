"""Small graphs of maps: residual networks, several convolutions into one population, readers that pool differently."""

from __future__ import annotations

from math import prod

import numpy as np
from graphs import population

from gradrtl.quantize.network import Connection, Conv, Dense, Input, IntNeuron, Pool, Population, QuantizedNetwork


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


GRAPHS = {
    "residual": residual(),
    "residual of spikes": residual("spikes", 4, 2),
    "mixed": mixed(),
    "together": together(),
}
