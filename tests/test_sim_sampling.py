"""Frames and spikes drawn from rates have those rates, also behind a pool, and give plans as frames do."""

from __future__ import annotations

import numpy as np
import pytest

from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, Pool, QuantizedNetwork
from gradrtl.sim.operations import arriving
from gradrtl.sim.sampling import sample

FRAMES = 3000


def network(pool: Pool | None, kind: str = "static") -> QuantizedNetwork:
    neuron = IntNeuron("none", "hard", np.array([9]))
    synapses = Conv(np.ones((2, 1, 3, 3), np.int8), np.zeros(2, np.int64))
    first = Layer("conv", (1, 7, 7), synapses, neuron, 4, pool)
    size = int(np.prod(first.output_shape))
    last = Layer("out", (size,), Dense(np.ones((3, size), np.int8), np.zeros(3, np.int64)), neuron, 4)
    return QuantizedNetwork.chain(Input((1, 7, 7), kind=kind), (first, last), steps=4)


@pytest.mark.parametrize("pool", [None, Pool("max", 2), Pool("average", 2)])
@pytest.mark.parametrize("kind", ["static", "spikes"])
def test_the_events_have_the_rates(pool, kind):
    net = network(pool, kind)
    generator = np.random.default_rng(1)
    most = (0.5 if kind == "static" else 1.5, 1.5)
    rates = tuple(generator.uniform(0, high, layer.sources) for high, layer in zip(most, net.layers, strict=True))
    frames, trace = sample(net, rates, FRAMES)
    for rate, read in zip(rates, (arriving(net, edge, (frames,), trace) for edge in net.edges), strict=True):
        assert np.abs((read != 0).sum(axis=(0, 1)) / FRAMES - rate).max() < 0.1
        busy = (read != 0).sum(axis=(1, 2))
        assert busy.std() > 0.2 * busy.mean(), "frames differ in how busy they are"
    assert not trace.spikes[-1].any()


def test_the_same_seed_gives_the_same_frames():
    net = network(None)
    rates = tuple(np.full(layer.sources, 0.3) for layer in net.layers)
    first, again, other = (sample(net, rates, 5, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
