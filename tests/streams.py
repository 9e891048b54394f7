"""Random graphs that can run without frames, and their steps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from dense_graphs import frames, graph

from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import Mapping, map_network


@cache
def stream(seed: int) -> QuantizedNetwork | None:
    """Graph `seed` of `dense_graphs` as a stream, its membranes clipped; None for one that cannot be."""
    made = graph(seed)
    if made.inputs[0].kind == "static":
        return None
    try:
        return clipped(made)
    except UserError:
        return None


def clipped(network: QuantizedNetwork) -> QuantizedNetwork:
    """A network as a stream, each membrane as wide as in a frame, 8 bits at least; `UserError` if it cannot be."""
    populations = tuple(
        replace(p, neuron=replace(p.neuron, membrane_bits=p.neuron.membrane_bits or max(8, ranges.membrane_bits)))
        for p, ranges in zip(network.populations, network.ranges, strict=True)
    )
    return replace(network, populations=populations).streamed


def steps(network: QuantizedNetwork, count: int, seed: int = 0) -> np.ndarray:
    """Random steps, `[count, 1, sources]`."""
    return frames(network, count, seed)


def mapped(network: QuantizedNetwork, seed: int) -> Mapping:
    """Few PEs, short queues: of edges as long as the rule against deadlock asks for, at least 2."""
    generator = np.random.default_rng(seed)
    pes = tuple(int(pes) for pes in generator.choice([1, 2, 3, 4], len(network.populations)))
    return map_network(network, Placement(pes, queue_depth=int(generator.integers(2, 10)), row_queue_depth=2))


def slow_to_fire() -> QuantizedNetwork:
    """A chain of one step per frame, whose hidden neuron fires in its third step at the earliest."""
    neuron = IntNeuron("none", "hard", threshold=12, membrane_bits=8)
    weights = Dense(np.array([[5]], np.int8), np.zeros(1, np.int64))
    layers = tuple(Layer(name, (1,), weights, neuron, 4) for name in ("hidden", "out"))
    return QuantizedNetwork.chain(Input((1,), kind="spikes"), layers, 1)
